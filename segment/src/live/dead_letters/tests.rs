//! Objects that are damaged on purpose show which ones a read has looked at.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use ulid::Ulid;

use super::*;
use crate::log::tests::spec;
use crate::log::{TableLog, table_root};
use crate::sealed::{dead_letters_path, encode_dead_letters};

struct Stored {
    store: Arc<dyn ObjectStore>,
    table: Arc<LiveTable>,
    ids: u64,
}

impl Stored {
    async fn new() -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = table_root(&Path::default(), &spec().name);
        let log = TableLog::create(store.clone(), root.clone(), &spec()).await.unwrap();
        Self { table: LiveTable::new(log, store.clone(), root), store, ids: 0 }
    }

    /// An object that says it holds `from..to`, with a letter at each of `offsets`.
    async fn put(&mut self, partition: i32, range: std::ops::Range<i64>, offsets: &[i64]) -> Path {
        let letter = |offset: &i64| DeadLetter::new(partition, *offset, None, "no".into(), b"{", None);
        let letters: Vec<_> = offsets.iter().map(letter).collect();
        self.ids += 1;
        let name = dead_letters_path(partition, range.start, range.end, Ulid::from_parts(self.ids, 0));
        let path = Path::from(format!("{}/{name}", self.table.root()));
        self.store.put(&path, encode_dead_letters(&letters).unwrap().into()).await.unwrap();
        path
    }

    async fn damage(&self, path: &Path) {
        self.store.put(path, "damaged".into()).await.unwrap();
    }

    async fn read(
        &self,
        letters_max: usize,
        may_hold: impl Fn(&LetterObject) -> bool + Send + Sync,
    ) -> Result<Vec<(i32, i64)>> {
        let may_hold = |objects: &[LetterObject]| objects.iter().map(&may_hold).collect();
        let wanted = LettersWanted { may_hold: &may_hold, letters_max };
        let letters = self.table.stored_dead_letters(wanted).await?;
        Ok(letters.iter().map(|letter| (letter.partition, letter.offset)).collect())
    }
}

#[tokio::test]
async fn only_what_may_hold_the_wanted_is_read() {
    let mut stored = Stored::new().await;
    assert_eq!(stored.read(10, |_| true).await.unwrap(), []);
    stored.put(0, 0..10, &[3, 7]).await;
    // The commit of this one was lost, and its range was sealed again.
    stored.put(0, 0..10, &[3, 7]).await;
    let other = stored.put(1, 0..10, &[1]).await;
    let later = stored.put(0, 10..20, &[11]).await;
    let foreign = Path::from(format!("{}/_dead_letters/0/notes.parquet", stored.table.root()));
    stored.damage(&foreign).await;
    stored.damage(&other).await;
    stored.damage(&later).await;
    assert!(matches!(stored.read(10, |_| true).await, Err(SegmentError::Corrupt(_))));
    let found = stored.read(10, |object| object.partition == 0 && object.from < 10).await.unwrap();
    assert_eq!(found, [(0, 3), (0, 7)]);
}

#[tokio::test]
async fn enough_is_enough_and_the_newest_come_first() {
    let mut stored = Stored::new().await;
    for from in 0..5 {
        let oldest = stored.put(0, from * 10..from * 10 + 10, &[from * 10, from * 10 + 1]).await;
        if from < 3 {
            stored.damage(&oldest).await;
        }
    }
    assert_eq!(stored.read(1, |_| true).await.unwrap(), [(0, 40), (0, 41)]);
    assert_eq!(stored.read(2, |_| true).await.unwrap(), [(0, 40), (0, 41)]);
    assert_eq!(stored.read(0, |_| true).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_read_is_not_read_again() {
    let mut stored = Stored::new().await;
    let first = stored.put(0, 0..10, &[1]).await;
    assert_eq!(stored.read(10, |_| true).await.unwrap(), [(0, 1)]);
    stored.damage(&first).await;
    stored.put(0, 10..20, &[12]).await;
    assert_eq!(stored.read(10, |_| true).await.unwrap(), [(0, 1), (0, 12)]);
    // What is gone from the store is gone.
    stored.store.delete(&first).await.unwrap();
    assert_eq!(stored.read(10, |_| true).await.unwrap(), [(0, 12)]);
}
