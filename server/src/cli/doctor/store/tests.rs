//! A good store, a missing one, and doubles that break their promise or lose what they are given.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::super::report::{Report, Verdict};
use super::*;

/// Overwrites what is to be created, or loses every object.
#[derive(Debug)]
struct Broken {
    inner: InMemory,
    loses: bool,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

#[async_trait]
impl ObjectStore for Broken {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let payload = if self.loses { PutPayload::from_static(b"another") } else { payload };
        self.inner.put_opts(location, payload, PutOptions { mode: PutMode::Overwrite, ..options }).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn findings() -> Findings {
    Findings::new(Duration::from_secs(5))
}

async fn report(url: &str) -> (Report, usize) {
    let findings = findings();
    let config = StoreConfig { url: url.into(), ..StoreConfig::default() };
    let tables = check(&findings, &config).await;
    (findings.into_report(Vec::new()), tables.len())
}

#[tokio::test]
async fn a_store_that_overwrites_fails_and_is_left_as_it_was() {
    let store = Store {
        objects: Arc::new(Broken { inner: InMemory::new(), loses: false }),
        root: Path::from("lake"),
    };
    let findings = findings();
    let place = |check| Place::new(Area::Store, check, "s");
    promise(&findings, &place("create_if_absent"), &store).await;
    probe(&findings, &place("speed"), &store).await;
    let report = findings.into_report(Vec::new());
    let (verdict, text) = report.of("create_if_absent");
    assert_eq!(verdict, Verdict::Failure);
    assert!(text.contains("overwrote") && text.contains("conditional writes"), "{text}");
    assert_eq!(report.of("speed").0, Verdict::Ok);
    assert_eq!(report.of("store").0, Verdict::Ok, "one clock agrees with itself");
    assert_eq!(store.objects.list(None).count().await, 0);
}

#[tokio::test]
async fn a_store_that_changes_what_it_is_given_fails() {
    let objects: Arc<dyn ObjectStore> = Arc::new(Broken { inner: InMemory::new(), loses: true });
    let store = Store { objects, root: Path::default() };
    let findings = findings();
    probe(&findings, &Place::new(Area::Store, "speed", "s"), &store).await;
    let report = findings.into_report(Vec::new());
    let (verdict, text) = report.of("speed");
    assert_eq!(verdict, Verdict::Failure);
    assert!(text.contains("not what was written"), "{text}");
    assert_eq!(report.of("store").0, Verdict::Skipped);
    assert_eq!(store.objects.list(None).count().await, 0);
}

#[tokio::test]
async fn a_directory_is_checked_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (found, tables) = report(&format!("file://{}", dir.path().display())).await;
    for check in ["open", "list", "create_if_absent", "speed", "tables", "store"] {
        assert_eq!(found.of(check).0, Verdict::Ok, "{check}: {}", found.of(check).1);
    }
    assert_eq!((found.failures(), tables), (0, 0));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    let missing = dir.path().join("a").join("b");
    let (found, _) = report(&format!("file://{}", missing.display())).await;
    assert_eq!(found.of("open").0, Verdict::Ok, "{}", found.of("open").1);
    assert!(!dir.path().join("a").exists());

    let (found, _) = report("file:///proc/nowhere/store").await;
    assert_eq!(found.of("open").0, Verdict::Failure, "{}", found.of("open").1);
    let (found, _) = report("memory://").await;
    assert_eq!(found.of("open").0, Verdict::Warning);
    let (found, _) = report("ftp://user:hush@host/x").await;
    let (verdict, text) = found.of("open");
    assert_eq!(verdict, Verdict::Failure);
    assert!(text.starts_with("ftp://host/x "), "{text}");
}

#[test]
fn a_median_is_in_the_middle() {
    let times = [9, 1, 5].map(Duration::from_millis).to_vec();
    assert_eq!(median(times), Duration::from_millis(5));
    assert_eq!(median(Vec::new()), Duration::ZERO);
}
