//! The end of a run, when everything that was written is known: every event is there exactly once, open and sealed,
//! before and after one more restart, and the sealed ranges tile the offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use headwater_segment::log::{LogSnapshot, TableLog, table_root};
use headwater_server::store::Store;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use serde_json::Value;

use super::answer::{Answer, Question, contains};
use super::checker::{Ledger, Watched, ask};
use super::client::{AskError, Client};
use super::error::{self, ChaosError};
use super::model::Cut;

/// How long the table may take to show everything.
const VISIBLE_WITHIN: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(100);

/// The running process, asked for the last time.
pub(crate) struct Closing<'a> {
    pub(crate) client: &'a Client,
    pub(crate) ledger: &'a Ledger,
    pub(crate) url: String,
    pub(crate) process: u32,
    /// How long what one process knows at once may take to get around in a cluster. It is noted if it does.
    pub(crate) patience: Duration,
}

impl Closing<'_> {
    /// Waits until the table shows everything, and judges every kind of question and the dead letters.
    pub(crate) async fn check_visible(&self, watched: &Arc<Watched>) {
        let wanted = watched.model.lock().delivered_ends();
        let give_up = Instant::now() + VISIBLE_WITHIN;
        loop {
            let last = match ask(self.client, &self.url, self.process, Question::Totals, &watched.table).await
            {
                Ok(answer) if contains(&answer.cut, &wanted) => break,
                Ok(answer) => format!("{:?}", answer.cut),
                Err(error) => format!("{error:?}"),
            };
            if Instant::now() > give_up {
                let text = format!("{}: not everything is visible after {VISIBLE_WITHIN:?}", watched.table);
                let states = self.describe_partitions(&watched.table).await;
                return self.ledger.violation(format!("{text}: wanted {wanted:?}, got {last}\n{states}"));
            }
            tokio::time::sleep(LOOK).await;
        }
        for question in Question::ALL {
            let asked = async || ask(self.client, &self.url, self.process, question, &watched.table).await;
            match self.patiently(asked).await {
                Ok(answer) => self.check_complete(watched, answer, &wanted),
                Err(error) => {
                    self.ledger.violation(format!("{}: {question:?} at the end: {error:?}", watched.table))
                }
            }
        }
        self.check_dead_letters(watched).await;
    }

    /// Tries again after an error, until patience ends.
    async fn patiently<T>(&self, attempt: impl AsyncFn() -> Result<T, AskError>) -> Result<T, AskError> {
        let give_up = Instant::now() + self.patience;
        loop {
            match attempt().await {
                Err(_) if Instant::now() < give_up => {
                    self.ledger.note("questions at the end, when nothing is done, are answered");
                    tokio::time::sleep(LOOK).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn check_complete(&self, watched: &Arc<Watched>, answer: Answer, wanted: &Cut) {
        if !contains(&answer.cut, wanted) {
            let text =
                format!("{}: the cut at the end, {:?}, does not reach {wanted:?}", watched.table, answer.cut);
            self.ledger.violation(text);
        }
        self.ledger.judge(watched, answer);
    }

    async fn describe_partitions(&self, table: &str) -> String {
        let sql = format!("SELECT * FROM system.partitions WHERE table_name = '{table}' ORDER BY partition");
        match self.client.sql(&self.url, &sql).await {
            Ok(document) => document["rows"].to_string(),
            Err(error) => format!("{error:?}"),
        }
    }

    async fn check_dead_letters(&self, watched: &Watched) {
        let sql = format!(
            "SELECT partition, \"offset\", count(*) FROM system.dead_letters WHERE table_name = '{}' \
             GROUP BY partition, \"offset\"",
            watched.table
        );
        let expected = watched.model.lock().dead_letters();
        let give_up = Instant::now() + self.patience;
        loop {
            let fault = match self.client.sql(&self.url, &sql).await {
                Ok(document) => dead_letter_fault(&document, &expected),
                Err(error) => Some(format!("dead letters: {error:?}")),
            };
            let Some(fault) = fault else { return };
            if Instant::now() >= give_up {
                return self.ledger.violation(format!("{}: {fault}", watched.table));
            }
            self.ledger.note("system.dead_letters has all of them as soon as the cut says so");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks about the sealed part until its cut reaches `wanted`, or patience ends.
    async fn ask_sealed(&self, question: Question, table: &str, wanted: &Cut) -> Result<Answer, String> {
        let give_up = Instant::now() + self.patience;
        loop {
            let asked = async || self.client.sealed_sql(&self.url, &question.sql(table)).await;
            let document = self.patiently(asked).await.map_err(|error| format!("{error:?}"))?;
            let answer = Answer::read(&document, table, question, self.process)?;
            if contains(&answer.cut, wanted) || Instant::now() >= give_up {
                return Ok(answer);
            }
            self.ledger.note("what was sealed on command is sealed for the next question");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Seals everything, and checks what the store itself says.
    pub(crate) async fn check_sealed(&self, watched: &Arc<Watched>, store: &Store) -> error::Result<Sealed> {
        if let Err(error) = self.patiently(async || self.client.seal(&self.url, &watched.table).await).await {
            self.ledger.violation(format!("{}: seal at the end: {error:?}", watched.table));
        }
        for question in Question::ALL {
            let wanted = watched.model.lock().delivered_ends();
            match self.ask_sealed(question, &watched.table, &wanted).await {
                Ok(answer) => self.check_complete(watched, answer, &wanted),
                Err(fault) => self.ledger.violation(format!("{}: sealed only: {fault}", watched.table)),
            }
        }
        self.check_log(watched, store).await
    }

    /// Checks that the sealed ranges of a table tile its offsets. Returns the newest version of its log.
    pub(crate) async fn check_tiling(&self, table: &str, store: &Store) -> error::Result<Arc<LogSnapshot>> {
        let what = || format!("read the log of {table}");
        let log = TableLog::open(store.objects.clone(), table_root(&store.root, table)).await;
        let Some(log) = log.map_err(ChaosError::at(what()))? else {
            return Err(ChaosError::new(what(), "it is not there"));
        };
        let snapshot = log.snapshot();
        for fault in snapshot.check_tiling() {
            self.ledger.violation(format!("{table}: tiling: {fault}"));
        }
        Ok(snapshot)
    }

    async fn check_log(&self, watched: &Watched, store: &Store) -> error::Result<Sealed> {
        let root = table_root(&store.root, &watched.table);
        let what = || format!("list the objects of {}", watched.table);
        let snapshot = self.check_tiling(&watched.table, store).await?;
        let wanted = watched.model.lock().delivered_ends();
        let rows = watched.rows();
        let committed: Cut =
            wanted.keys().map(|p| (*p, snapshot.committed(*p).unwrap_or_default())).collect();
        if !contains(&committed, &wanted) {
            self.ledger.violation(format!("{}: committed {committed:?}, written {wanted:?}", watched.table));
        }
        let sealed_rows = snapshot.segments.rows();
        if sealed_rows != rows {
            let text = format!("the log's segments have {sealed_rows} rows, {rows} were written");
            self.ledger.violation(format!("{}: {text}", watched.table));
        }
        let named: BTreeSet<&str> = snapshot.segments.iter().map(|segment| segment.path.as_str()).collect();
        let objects = list(store, &root).await.map_err(ChaosError::at(what()))?;
        let orphans = orphans(&objects, &root, &named);
        Ok(Sealed { log_version: snapshot.version, segments: named.len(), orphans })
    }
}

/// What the store holds at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    /// Log version.
    pub(crate) log_version: u64,
    /// Segments in the log.
    pub(crate) segments: usize,
    /// Objects that are no segment of the log's last version: replaced by compaction and not deleted yet, or uploaded and
    /// never committed, by kills between the two and by fenced zombies.
    pub(crate) orphans: usize,
}

async fn list(store: &Store, root: &Path) -> object_store::Result<Vec<ObjectMeta>> {
    let data = Path::from(format!("{root}/data"));
    store.objects.list(Some(&data)).try_collect().await
}

fn orphans(objects: &[ObjectMeta], root: &Path, named: &BTreeSet<&str>) -> usize {
    let prefix = format!("{root}/");
    objects
        .iter()
        .filter(|object| !named.contains(object.location.as_ref().trim_start_matches(&prefix)))
        .count()
}

/// Compares partition, offset and count of `system.dead_letters` with what was written.
fn dead_letter_fault(document: &Value, expected: &BTreeSet<(i32, i64)>) -> Option<String> {
    let mut given: BTreeMap<(i32, i64), u64> = BTreeMap::new();
    for row in document["rows"].as_array().into_iter().flatten() {
        let (Some(partition), Some(offset), Some(count)) =
            (row[0].as_i64(), row[1].as_i64(), row[2].as_u64())
        else {
            return Some(format!("dead letters: {row} is not partition, offset and count"));
        };
        given.insert((partition as i32, offset), count);
    }
    let first = |letters: Vec<&(i32, i64)>| {
        format!("{} (such as {:?})", letters.len(), &letters[..letters.len().min(10)])
    };
    let missing: Vec<_> = expected.iter().filter(|letter| !given.contains_key(letter)).collect();
    let unexpected: Vec<_> = given.keys().filter(|letter| !expected.contains(letter)).collect();
    let repeated: Vec<_> = given.iter().filter(|(_, count)| **count != 1).map(|(letter, _)| letter).collect();
    if missing.is_empty() && unexpected.is_empty() && repeated.is_empty() {
        return None;
    }
    Some(format!(
        "dead letters as (partition, offset): {} missing, {} unexpected, {} repeated; {} were written",
        first(missing),
        first(unexpected),
        first(repeated),
        expected.len()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dead_letters_are_compared_one_by_one() {
        let expected = BTreeSet::from([(0, 5), (1, 7)]);
        let fault = |rows: Value| dead_letter_fault(&json!({"rows": rows}), &expected);
        assert_eq!(fault(json!([[1, 7, 1], [0, 5, 1]])), None);
        assert!(fault(json!([[1, 7, 1]])).unwrap().contains("1 (such as [(0, 5)]) missing"));
        assert!(fault(json!([[1, 7, 2], [0, 5, 1]])).unwrap().contains("1 (such as [(1, 7)]) repeated"));
        assert!(
            fault(json!([[1, 7, 1], [0, 5, 1], [0, 6, 1]]))
                .unwrap()
                .contains("1 (such as [(0, 6)]) unexpected")
        );
        assert!(fault(json!([["x"]])).is_some());
    }
}
