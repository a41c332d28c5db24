//! Versions, races and what is left behind, in memory and on the local disk.

use headwater_broker::dashboards::document::TimeRange;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;

use super::*;

fn dashboard(title: &str) -> Dashboard {
    Dashboard {
        title: title.into(),
        refresh_ms: 1_000,
        time: TimeRange { last: Duration::from_secs(60) },
        variables: Vec::new(),
        panels: Vec::new(),
    }
}

/// A store in memory, and one on disk in a directory that lives as long as it.
fn stores() -> Vec<(Arc<dyn ObjectStore>, Option<tempfile::TempDir>)> {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let local: Arc<dyn ObjectStore> = Arc::new(local);
    vec![(memory, None), (local, Some(directory))]
}

fn over(objects: &Arc<dyn ObjectStore>) -> ObjectDashboards {
    ObjectDashboards::new(objects.clone(), &Path::from("some/where"))
}

/// What a writer expects that has read this version.
fn at(revision: &Revision) -> Expected {
    Expected::Tag(Arc::clone(&revision.tag))
}

fn path_of(id: &str, file: &str) -> Path {
    Path::from(format!("some/where/dashboards/{id}/{file}"))
}

async fn objects_of(objects: &Arc<dyn ObjectStore>) -> Vec<String> {
    let listed: Vec<ObjectMeta> = objects.list(None).try_collect().await.unwrap();
    let mut names: Vec<String> = listed.into_iter().map(|object| object.location.to_string()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_dashboard_from_its_first_version_to_its_end() {
    for (objects, _directory) in stores() {
        let store = over(&objects);
        assert!(store.list().await.unwrap().is_empty());
        assert_eq!(store.get("a").await, Err(DashboardError::NotFound("a".into())));
        let one = store.put("a", &dashboard("one"), Expected::Absent).await.unwrap();
        let two = store.put("a", &dashboard("two"), at(&one)).await.unwrap();
        let b = store.put("b", &dashboard("b"), Expected::Absent).await.unwrap();
        assert_eq!((one.version, two.version, b.version), (1, 2, 1));
        let got = store.get("a").await.unwrap();
        assert_eq!((&got.revision, got.dashboard), (&two, dashboard("two")));
        assert_eq!(store.revision("a").await, Ok(Some(two.clone())));
        let listed: Vec<_> =
            store.list().await.unwrap().into_iter().map(|one| (one.id, one.title, one.revision)).collect();
        assert_eq!(
            listed,
            [("a".to_string(), "two".to_string(), two.clone()), ("b".to_string(), "b".to_string(), b)]
        );

        store.delete("a", at(&two)).await.unwrap();
        assert_eq!(store.get("a").await, Err(DashboardError::NotFound("a".into())));
        assert_eq!((store.revision("a").await, store.list().await.unwrap().len()), (Ok(None), 1));
        assert_eq!(store.delete("a", Expected::Present).await, Err(DashboardError::NotFound("a".into())));
        // Under the same name again: an old version means nothing of the new one.
        assert_eq!(store.put("a", &dashboard("again"), Expected::Absent).await.unwrap().version, 4);
        assert!(store.put("a", &dashboard("late"), at(&two)).await.is_err());
        assert_eq!(store.list().await.unwrap()[0].title, "again");
        // Another process sees the same.
        assert_eq!(over(&objects).get("a").await.unwrap().dashboard, dashboard("again"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_writers_that_saw_the_same_version_one_wins() {
    for (objects, _directory) in stores() {
        let mut newest = over(&objects).put("a", &dashboard("first"), Expected::Absent).await.unwrap();
        for version in 1..30 {
            let writing = (0..4).map(|writer| {
                let store = over(&objects);
                let (title, expected) = (format!("{version} by {writer}"), at(&newest));
                tokio::spawn(async move {
                    let written = store.put("a", &dashboard(&title), expected).await;
                    (title, written)
                })
            });
            let mut winners = Vec::new();
            for outcome in futures::future::join_all(writing).await {
                match outcome.unwrap() {
                    (title, Ok(written)) => winners.push((title, written)),
                    (_, Err(DashboardError::Conflict { .. })) => {}
                    (_, Err(error)) => panic!("{error}"),
                }
            }
            assert_eq!(winners.len(), 1, "{winners:?}");
            let got = over(&objects).get("a").await.unwrap();
            assert_eq!((got.dashboard.title, got.revision), winners[0]);
            newest = winners.remove(0).1;
        }
        assert_eq!(objects_of(&objects).await.len() as u64, VERSIONS_KEPT);
    }
}

/// Looks like a store whose answer to a write is lost, or that writes something else before.
#[derive(Debug)]
struct Meddling {
    inner: InMemory,
    /// What is done instead of the next write.
    next: Mutex<Option<Meddle>>,
    /// So many of the next looks fail.
    blind: Mutex<u32>,
}

#[derive(Debug)]
enum Meddle {
    LoseTheAnswer,
    LoseTheWrite,
    /// It is written, and so many looks after it fail.
    Blind(u32),
    /// Others write these versions first, and delete the others.
    OvertakeTo(u64),
}

impl std::fmt::Display for Meddling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("meddling")
    }
}

fn lost() -> StoreError {
    StoreError::Generic { store: "meddling", source: "no answer".into() }
}

#[async_trait]
impl ObjectStore for Meddling {
    async fn put_opts(
        &self,
        location: &Path,
        payload: object_store::PutPayload,
        options: PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        let meddle = self.next.lock().take();
        match meddle {
            None => self.inner.put_opts(location, payload, options).await,
            Some(Meddle::LoseTheWrite) => Err(lost()),
            Some(Meddle::LoseTheAnswer) => {
                self.inner.put_opts(location, payload, options).await?;
                Err(lost())
            }
            Some(Meddle::Blind(looks)) => {
                *self.blind.lock() = looks;
                self.inner.put_opts(location, payload, options).await
            }
            Some(Meddle::OvertakeTo(newest)) => {
                let others =
                    json!({"writer": "others", "updated_at_ms": 0, "dashboard": dashboard("others")});
                let directory = Path::from("some/where/dashboards/a");
                for version in 0..=newest {
                    let path = directory.clone().join(format!("{version:020}.json"));
                    match version + VERSIONS_KEPT > newest {
                        true => self.inner.put(&path, others.to_string().into()).await.map(|_| ())?,
                        false => self.inner.delete(&path).await?,
                    }
                }
                self.inner.put_opts(location, payload, options).await
            }
        }
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }
    async fn get_opts(
        &self,
        location: &Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.inner.get_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, object_store::Result<Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }
    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<ObjectMeta>> {
        let mut blind = self.blind.lock();
        match *blind {
            0 => self.inner.list(prefix),
            _ => {
                *blind -= 1;
                futures::stream::iter([Err(lost())]).boxed()
            }
        }
    }
    async fn list_with_delimiter(
        &self,
        prefix: Option<&Path>,
    ) -> object_store::Result<object_store::ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_a_writer_that_was_held_up_is_told() {
    let (meddling, objects) = meddling();
    let store = over(&objects);
    let one = store.put("a", &dashboard("one"), Expected::Absent).await.unwrap();

    *meddling.next.lock() = Some(Meddle::LoseTheAnswer);
    let two = store.put("a", &dashboard("two"), at(&one)).await.unwrap();
    assert_eq!(two.version, 2);
    *meddling.next.lock() = Some(Meddle::LoseTheWrite);
    let unwritten = store.put("a", &dashboard("three"), at(&two)).await;
    assert!(matches!(unwritten, Err(DashboardError::Unavailable(_))), "{unwritten:?}");
    assert_eq!(store.get("a").await.unwrap().dashboard, dashboard("two"));

    // Others have written version 3 as well.
    *meddling.next.lock() = Some(Meddle::OvertakeTo(5));
    let overtaken = store.put("a", &dashboard("three"), at(&two)).await;
    assert!(matches!(overtaken, Err(DashboardError::Conflict { .. })), "{overtaken:?}");
    assert_eq!(store.get("a").await.unwrap().dashboard, dashboard("others"));

    // Others are so much further that the number is free again: the write succeeds, and counts for nothing.
    *meddling.next.lock() = Some(Meddle::OvertakeTo(200));
    let five = store.revision("a").await.unwrap().unwrap();
    let overtaken = store.put("a", &dashboard("six"), at(&five)).await;
    assert!(matches!(overtaken, Err(DashboardError::Conflict { version: Some(200), .. })), "{overtaken:?}");
    let got = store.get("a").await.unwrap();
    assert_eq!((got.revision.version, got.dashboard), (200, dashboard("others")));
}

fn meddling() -> (Arc<Meddling>, Arc<dyn ObjectStore>) {
    let meddling =
        Arc::new(Meddling { inner: InMemory::new(), next: Mutex::default(), blind: Mutex::default() });
    (meddling.clone(), meddling)
}

#[tokio::test]
async fn a_write_that_happened_is_no_failure_because_nobody_could_look_afterwards() {
    let (meddling, objects) = meddling();
    let store = over(&objects);
    let mut newest = store.put("a", &dashboard("0"), Expected::Absent).await.unwrap();
    for looks in 1..=2 {
        *meddling.next.lock() = Some(Meddle::Blind(looks));
        let title = looks.to_string();
        newest = store.put("a", &dashboard(&title), at(&newest)).await.unwrap();
        let got = store.get("a").await.unwrap();
        assert_eq!((got.dashboard.title, &got.revision), (title, &newest));
    }
    let error = DashboardError::Unavailable("no answer".into());
    assert_eq!(not_looked_after("a", 7, HELD_UP_MIN / 2, &error), Ok(()));
    let said = not_looked_after("a", 7, HELD_UP_MIN, &error).unwrap_err().to_string();
    assert!(said.contains("was written as version 7") && said.contains("no answer"), "{said}");
}

#[tokio::test]
async fn a_version_of_an_earlier_life_is_not_taken_for_one_of_this() {
    for (objects, _directory) in stores() {
        let store = over(&objects);
        let before = store.put("a", &dashboard("before"), Expected::Absent).await.unwrap();
        assert_eq!(store.revision("a").await.unwrap().as_ref(), Some(&before));
        // As after a day and another one.
        store.delete("a", Expected::Present).await.unwrap();
        for object in objects_of(&objects).await {
            objects.delete(&Path::from(object)).await.unwrap();
        }
        let again = over(&objects).put("a", &dashboard("again"), Expected::Absent).await.unwrap();
        assert!(again.version == before.version && again.tag != before.tag);
        assert_eq!(store.revision("a").await, Ok(Some(again.clone())));
        assert_eq!(store.list().await.unwrap()[0].title, "again");
        let late = store.put("a", &dashboard("late"), at(&before)).await;
        assert!(matches!(late, Err(DashboardError::Conflict { version: Some(1), .. })), "{late:?}");
        assert_eq!(store.get("a").await.unwrap().revision, again);
    }
}

#[test]
fn what_was_deleted_is_forgotten_in_two_steps() {
    let day_ms = FORGET_AFTER.as_millis() as i64;
    let cases: [(&[u64], i64, &[u64]); 7] = [
        (&[1, 2, 3], day_ms, &[]),
        (&[1, 2, 3], day_ms + 1, &[1, 2]),
        // However late: what says that it is deleted goes alone.
        (&[1, 2, 3], 9 * day_ms, &[1, 2]),
        (&[3], 2 * day_ms, &[]),
        (&[3], 2 * day_ms + 1, &[3]),
        (&[3], 0, &[]),
        (&[], 9 * day_ms, &[]),
    ];
    for (versions, deleted_ms, expected) in cases {
        assert_eq!(to_forget(versions, deleted_ms), expected, "{versions:?} after {deleted_ms} ms");
    }
}

#[tokio::test]
async fn objects_with_other_names_are_no_versions() {
    let (objects, _) = stores().remove(0);
    let store = over(&objects);
    let names =
        ["9.json", "0000000000000000000009.json", "+0000000000000000009.json", "00000000000000000009"];
    for name in names {
        objects.put(&path_of("a", name), "{}".into()).await.unwrap();
    }
    assert_eq!(store.get("a").await, Err(DashboardError::NotFound("a".into())));
    assert_eq!((store.revision("a").await, store.list().await), (Ok(None), Ok(Vec::new())));
    let first = store.put("a", &dashboard("one"), Expected::Absent).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().revision, first);
    // The last number that there is.
    let last = json!({"writer": "w", "updated_at_ms": 0, "dashboard": dashboard("last")});
    objects.put(&path_of("a", &file_of(u64::MAX)), last.to_string().into()).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().revision.version, u64::MAX);
    let after = store.put("a", &dashboard("more"), Expected::Present).await;
    assert!(matches!(after, Err(DashboardError::Unavailable(_))), "{after:?}");
}

#[tokio::test]
async fn old_versions_leave_and_other_objects_stay() {
    let (objects, _) = stores().remove(0);
    let store = over(&objects);
    objects.put(&Path::from("some/where/dashboards/a/note.txt"), "x".into()).await.unwrap();
    objects
        .put(&Path::from("some/where/dashboards/a/sub/00000000000000000009.json"), "x".into())
        .await
        .unwrap();
    objects.put(&Path::from("some/where/tables/t/00000000000000000009.json"), "x".into()).await.unwrap();
    let mut newest = store.put("a", &dashboard("0"), Expected::Absent).await.unwrap();
    for _ in 1..50 {
        newest = store.put("a", &dashboard("n"), at(&newest)).await.unwrap();
    }
    assert_eq!(objects_of(&objects).await.len() as u64, VERSIONS_KEPT + 3);
    assert_eq!((store.get("a").await.unwrap().revision, newest.version), (newest.clone(), 50));
}

#[tokio::test]
async fn a_damaged_dashboard_is_said_and_hides_no_other() {
    let (objects, _) = stores().remove(0);
    let store = over(&objects);
    store.put("b", &dashboard("b"), Expected::Absent).await.unwrap();
    for (id, text) in [("a", "not json"), ("c", r#"{"writer":"x"}"#)] {
        let path = Path::from(format!("some/where/dashboards/{id}/00000000000000000001.json"));
        objects.put(&path, text.into()).await.unwrap();
        let error = store.get(id).await.unwrap_err();
        assert!(error.to_string().contains(path.as_ref()), "{error}");
    }
    let titles: Vec<_> = store.list().await.unwrap().into_iter().map(|one| one.title).collect();
    assert_eq!(titles, ["b"]);
}

#[tokio::test]
async fn there_are_only_so_many() {
    let (objects, _) = stores().remove(0);
    let store = over(&objects);
    for number in 0..DASHBOARDS_MAX {
        let path = Path::from(format!("some/where/dashboards/d{number}/00000000000000000001.json"));
        objects.put(&path, "{}".into()).await.unwrap();
    }
    let full = store.put("one-more", &dashboard("x"), Expected::Absent).await;
    assert!(matches!(full, Err(DashboardError::Full(_))), "{full:?}");
}
