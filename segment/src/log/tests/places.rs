//! The store around a table: dropping, purging, listing, and the promise that the log stands on.

use object_store::local::LocalFileSystem;
use object_store::{PutMode, PutOptions, PutPayload};

use super::super::{open_tables, self_test, table_root};
use super::*;

#[tokio::test]
async fn a_dropped_table_is_gone_and_its_name_is_free() {
    let store = memory();
    let log = started(&store, 1).await;
    log.commit(&segment(0, 0, 10)).await.unwrap();
    let object = log.snapshot().segments.iter().next().unwrap().location(&root());
    store.put(&object, "rows".into()).await.unwrap();
    let zombie = open(&store).await;
    assert_refused(TableLog::purge(store.clone(), root()).await, "drop it");

    log.drop_table().await.unwrap();
    log.drop_table().await.unwrap();
    assert!(TableLog::open(store.clone(), root()).await.unwrap().is_none());
    assert!(matches!(log.refresh().await, Err(SegmentError::NoSuchTable(_))));
    assert!(matches!(zombie.commit(&segment(0, 10, 20)).await, Err(SegmentError::NoSuchTable(_))));
    assert_eq!(TableLog::purge(store.clone(), root()).await.unwrap(), 1);
    assert!(store.head(&object).await.is_err());

    let anew =
        TableLog::create(store.clone(), root(), &spec_with("{name: other, type: DATE}")).await.unwrap();
    assert_eq!(anew.snapshot().segments.len(), 0);
    assert_eq!(anew.snapshot().committed(0), None);
    let epoch = anew.snapshot().stream.epoch;
    anew.commit(&commit(Change::FirstStart { epoch, starts: [(0, 10)].into(), topic_id: None }))
        .await
        .unwrap();
    // The offset fits again, but neither the old handle nor the old epoch does.
    assert!(matches!(zombie.commit(&segment(0, 10, 20)).await, Err(SegmentError::NoSuchTable(_))));
    assert!(matches!(zombie.drop_table().await, Ok(())));
    assert_fenced(anew.commit(&segment(0, 10, 20)).await, (10, 10));
    assert_reopens(&store, &anew).await;
    assert_refused(TableLog::purge(store.clone(), root()).await, "drop it");
}

/// Names of the tables that are opened.
async fn names(store: &Arc<dyn ObjectStore>, root: &Path) -> Vec<String> {
    let logs = open_tables(store, root).await.unwrap();
    let mut names: Vec<_> = logs.iter().map(|log| log.snapshot().spec.name.clone()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn all_tables_but_dropped_ones_are_opened() {
    let store = memory();
    let store_root = Path::from("wh");
    assert!(names(&store, &store_root).await.is_empty());
    for name in ["b", "a", "dropped"] {
        let mut spec = spec();
        spec.name = name.into();
        let log = TableLog::create(store.clone(), table_root(&store_root, name), &spec).await.unwrap();
        if name == "dropped" {
            log.drop_table().await.unwrap();
        }
    }
    assert_eq!(names(&store, &store_root).await, ["a", "b"]);
}

#[tokio::test]
async fn a_store_must_honour_create_if_absent() {
    let store = memory();
    self_test(&store, &Path::from("wh")).await.unwrap();
    let left: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert!(left.is_empty(), "{left:?}");

    let forgetful = Overwriting(InMemory::new());
    assert_refused(self_test(&forgetful, &Path::from("wh")).await, "overwrote");
}

#[tokio::test]
async fn a_table_lives_on_a_local_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
    self_test(&store, &Path::from("wh")).await.unwrap();
    let log = started(&store, 1).await;
    log.commit(&segment(0, 0, 10)).await.unwrap();
    log.checkpoint(log.snapshot().version).await;
    let rival = open(&store).await;
    rival.commit(&segment(0, 10, 20)).await.unwrap();
    assert_fenced(log.commit(&segment(0, 10, 20)).await, (10, 20));
    assert_reopens(&store, &log).await;
    let checkpoint =
        directory.path().join(format!("wh/tables/orders/_delta_log/{:020}.checkpoint.parquet", 2));
    assert!(checkpoint.exists());
    assert_eq!(names(&store, &Path::from("wh")).await, ["orders"]);
}

/// A store that takes create-if-absent for a plain put.
#[derive(Debug)]
struct Overwriting(InMemory);

impl std::fmt::Display for Overwriting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Overwriting {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.0.put_opts(location, payload, PutOptions { mode: PutMode::Overwrite, ..options }).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, object_store::Result<Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&Path>,
    ) -> object_store::Result<object_store::ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
