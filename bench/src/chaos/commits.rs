//! Watches a table's log in the store for new entries: when the harness strikes, how close it came, and how often segments
//! were merged beside all that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The newest entry of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit {
    pub(crate) version: u64,
    pub(crate) seen: Instant,
    /// Entries so far that merged segments.
    pub(crate) merges: u64,
}

/// A watch on one table's log.
pub(crate) struct Commits {
    newest: watch::Receiver<Option<Commit>>,
    task: JoinHandle<()>,
}

impl Commits {
    /// Asks the store for the next entry every `every`.
    pub(crate) fn watch(store: Arc<dyn ObjectStore>, table_root: Path, every: Duration) -> Self {
        let (sender, newest) = watch::channel(None);
        let task = tokio::spawn(async move {
            let (mut version, mut merges) = (0, 0);
            loop {
                let Some(text) = read(store.as_ref(), &entry(&table_root, version)).await else {
                    tokio::time::sleep(every).await;
                    continue;
                };
                merges += u64::from(is_merge(&text));
                sender.send_replace(Some(Commit { version, seen: Instant::now(), merges }));
                version += 1;
            }
        });
        Self { newest, task }
    }

    /// The newest entry.
    pub(crate) fn newest(&self) -> Option<Commit> {
        *self.newest.borrow()
    }

    /// Waits for an entry that is not there yet; `None` if none comes.
    pub(crate) async fn next(&self, within: Duration) -> Option<Commit> {
        let mut newest = self.newest.clone();
        newest.borrow_and_update();
        tokio::time::timeout(within, newest.changed()).await.ok()?.ok()?;
        *newest.borrow()
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(store: &dyn ObjectStore, entry: &Path) -> Option<Bytes> {
    store.get(entry).await.ok()?.bytes().await.ok()
}

/// Whether the entry replaces segments by others that hold the same rows.
fn is_merge(entry: &[u8]) -> bool {
    let actions = entry.split(|byte| *byte == b'\n');
    let mut actions = actions.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    actions.any(|action| action["remove"]["dataChange"] == Value::Bool(false))
}

fn entry(table_root: &Path, version: u64) -> Path {
    Path::from(format!("{table_root}/_delta_log/{version:020}.json"))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn entries_are_seen_in_order() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = Path::from("tables/t");
        let commits = Commits::watch(store.clone(), root.clone(), Duration::from_millis(1));
        assert!(commits.next(Duration::from_millis(20)).await.is_none());
        store.put(&entry(&root, 0), "{}".into()).await.unwrap();
        assert_eq!(commits.next(Duration::from_secs(5)).await.unwrap().version, 0);
        store.put(&entry(&root, 1), "{}".into()).await.unwrap();
        assert_eq!(commits.next(Duration::from_secs(5)).await.unwrap().version, 1);
        let merge = "{\"commitInfo\":{}}\n{\"remove\":{\"path\":\"a\",\"dataChange\":false}}\n";
        store.put(&entry(&root, 2), merge.into()).await.unwrap();
        assert_eq!(commits.next(Duration::from_secs(5)).await.unwrap().merges, 1);
        let expiry = "{\"remove\":{\"path\":\"a\",\"dataChange\":true}}";
        store.put(&entry(&root, 3), expiry.into()).await.unwrap();
        assert_eq!(commits.next(Duration::from_secs(5)).await.unwrap().merges, 1);
        assert_eq!(commits.newest().unwrap().version, 3);
    }
}
