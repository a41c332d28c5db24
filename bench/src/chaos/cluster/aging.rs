//! A table that keeps rows only for a while: what it may lack, and what it must have.
//!
//! Times grow with offsets, so retention takes away a partition's oldest rows first. Every answer must therefore be, per
//! partition, all rows from some offset on up to the cut: exactly those, and none missing that is younger than the
//! retention. What one version of the log has lost, no later one has again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::caller::{Caller, Reply};
use super::fleet::Front;
use super::watch::Outcome;
use crate::chaos::answer::{Judgement, contains, read_cut, totals};
use crate::chaos::checker::Ledger;
use crate::chaos::model::{Cut, Model, Totals};
use crate::chaos::producer::Shared as Produced;
use crate::chaos::stage::{AGING, RETENTION};

const SQL: &str =
    "SELECT count(*), sum(id), min(\"$offset\"), \"$partition\" FROM aging GROUP BY \"$partition\"";
const PAUSE: Duration = Duration::from_millis(50);
/// Answers that wait until what they say is certain; past this the oldest is given up.
const WAITING_MAX: usize = 5_000;

/// Asks about the table until it is told to end.
pub(crate) struct Aging {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Aged>,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aged {
    /// Answers that were right.
    pub(crate) exact: u64,
    /// Rows that retention had taken away by the last answer.
    pub(crate) removed: u64,
}

/// An answer.
#[derive(Clone, Debug)]
struct Extent {
    log_version: u64,
    cut: Cut,
    /// Per partition that has rows: how many, and the offset of the first.
    groups: BTreeMap<i32, (Totals, i64)>,
}

impl Extent {
    fn read(document: &Value) -> Result<Self, String> {
        let (log_version, cut) = read_cut(document, AGING)?;
        let mut groups = BTreeMap::new();
        for row in document["rows"].as_array().ok_or("the answer has no rows")? {
            let (first, partition) = (row[2].as_i64(), row[3].as_i64());
            let (Some(first), Some(partition)) = (first, partition) else {
                return Err(format!("{row} has no offset and partition"));
            };
            if groups.insert(partition as i32, (totals(row)?, first)).is_some() {
                return Err(format!("partition {partition} is there twice"));
            }
        }
        Ok(Self { log_version, cut, groups })
    }

    /// Compares with what was written, of which everything below `young` may be gone; `None`: everything.
    fn judge(&self, young: Option<&Cut>, model: &Model) -> Judgement {
        if let Some(partition) = self.groups.keys().find(|partition| !self.cut.contains_key(partition)) {
            return Judgement::Wrong(format!("partition {partition} is not in the cut"));
        }
        for (partition, end) in &self.cut {
            let Some(all) = model.partition(*partition, *end) else { return Judgement::Early };
            let (given, first) = self.groups.get(partition).copied().unwrap_or((Totals::default(), *end));
            let lacks_up_to = |offset| model.partition(*partition, offset).unwrap_or_default();
            let lacking = lacks_up_to(first.min(*end));
            let expected = Totals { rows: all.rows - lacking.rows, id_sum: all.id_sum - lacking.id_sum };
            if given != expected {
                let text =
                    format!("partition {partition} from {first} on: {given:?} instead of {expected:?}");
                return Judgement::Wrong(text);
            }
            let young = young.map_or(*end, |young| young.get(partition).copied().unwrap_or(0));
            if young < first && lacks_up_to(young.min(*end)) != lacking {
                let text = format!("partition {partition} lacks rows of {young} to {first}, which are young");
                return Judgement::Wrong(text);
            }
        }
        Judgement::Exact
    }

    /// What a later version of the log must not have again.
    fn returned(&self, earlier: &Self) -> Option<String> {
        let (earlier, later) =
            if earlier.log_version <= self.log_version { (earlier, self) } else { (self, earlier) };
        let first = |(partition, end): (&i32, &i64)| {
            let was = earlier.groups.get(partition).map_or(*end, |(_, first)| *first);
            let is = later.groups.get(partition).map(|(_, first)| *first)?;
            (is < was).then(|| format!("partition {partition} begins at {is} again, after {was}"))
        };
        earlier.cut.iter().find_map(first)
    }

    /// Rows below the first that is there.
    fn removed(&self, model: &Model) -> u64 {
        let of = |(partition, (_, first)): (&i32, &(Totals, i64))| {
            model.partition(*partition, *first).unwrap_or_default().rows
        };
        self.groups.iter().map(of).sum()
    }
}

impl Aging {
    /// Begins to ask.
    pub(crate) fn begin(
        ledger: Arc<Ledger>,
        caller: Caller,
        fronts: Vec<Arc<Front>>,
        produced: Arc<Produced>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asker = Asker {
            ledger,
            caller,
            produced,
            waiting: VecDeque::new(),
            cuts: BTreeMap::new(),
            newest: None,
            aged: Aged::default(),
        };
        let task = tokio::spawn(asker.ask_on(fronts, stop.clone()));
        Self { stop, task }
    }

    /// Ends the last question, and judges what is not judged yet. Everything is certain by now.
    pub(crate) async fn end(self) -> Aged {
        self.stop.store(true, Ordering::SeqCst);
        // A client that panicked has been seen on standard error.
        self.task.await.unwrap_or_default()
    }
}

struct Asker {
    ledger: Arc<Ledger>,
    caller: Caller,
    produced: Arc<Produced>,
    /// Answers, and when they came in milliseconds since the epoch.
    waiting: VecDeque<(Extent, i64)>,
    /// What each process of a broker said last.
    cuts: BTreeMap<u32, Cut>,
    /// The answer of the newest version so far.
    newest: Option<Extent>,
    aged: Aged,
}

impl Asker {
    async fn ask_on(mut self, fronts: Vec<Arc<Front>>, stop: Arc<AtomicBool>) -> Aged {
        for front in fronts.iter().cycle() {
            if stop.load(Ordering::SeqCst) || self.ledger.is_violated() {
                break;
            }
            if let Some(reply) = self.caller.ask(front, AGING, SQL, || true).await {
                self.take(&reply);
            }
            self.judge_waiting();
            tokio::time::sleep(PAUSE).await;
        }
        self.judge_waiting();
        self.aged
    }

    fn take(&mut self, reply: &Reply) {
        let extent = match Extent::read(&reply.document) {
            Ok(extent) => extent,
            Err(fault) => return self.caller.unreadable(reply, &fault),
        };
        self.caller.watch.record(reply.ticket, &Outcome::Answered(None));
        if let Some(process) = reply.process {
            let before = self.cuts.insert(process, extent.cut.clone());
            if let Some(before) = before.filter(|before| !contains(&extent.cut, before)) {
                self.ledger.violation(format!(
                    "{AGING}: the cut of broker process {process} went back from {before:?} to {extent:?}"
                ));
            }
        }
        if let Some(newest) = &self.newest
            && let Some(fault) = extent.returned(newest)
        {
            self.ledger.violation(format!("{AGING}: {fault}: {newest:?} and {extent:?}"));
        }
        if self.newest.as_ref().is_none_or(|newest| newest.log_version <= extent.log_version) {
            self.newest = Some(extent.clone());
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((extent, chrono::Utc::now().timestamp_millis()));
    }

    fn judge_waiting(&mut self) {
        for (extent, came_ms) in std::mem::take(&mut self.waiting) {
            let judgement = {
                let (model, timeline) = (self.produced.model.lock(), self.produced.timeline.lock());
                self.aged.removed = extent.removed(&model).max(self.aged.removed);
                extent.judge(timeline.since(came_ms - RETENTION.as_millis() as i64), &model)
            };
            match judgement {
                Judgement::Exact => self.aged.exact += 1,
                Judgement::Early => self.waiting.push_back((extent, came_ms)),
                Judgement::Wrong(fault) => {
                    self.ledger.violation(format!("{AGING}: {fault}; the answer was {extent:?}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chaos::model::Content;

    fn extent(log_version: u64, end: i64, rows: Value) -> Extent {
        let cut = json!({"log_version": log_version, "offsets": {"0": end}});
        Extent::read(&json!({"rows": rows, "cut": {"aging": cut}})).unwrap()
    }

    #[test]
    fn old_rows_may_be_gone_and_young_ones_may_not() {
        let mut model = Model::default();
        for offset in 0..10 {
            model.acknowledge(0, offset, Content::Row(offset as u32 + 1), None);
        }
        model.settle();
        let young = Cut::from([(0, 4)]);
        let judge = |extent: Extent| extent.judge(Some(&young), &model);
        let is_wrong = |extent: Extent| matches!(judge(extent), Judgement::Wrong(_));
        assert_eq!(judge(extent(1, 10, json!([[10, 55, 0, 0]]))), Judgement::Exact);
        assert_eq!(judge(extent(1, 10, json!([[6, 45, 4, 0]]))), Judgement::Exact);
        assert!(is_wrong(extent(1, 10, json!([[5, 40, 5, 0]]))), "a young row is gone");
        assert!(is_wrong(extent(1, 10, json!([[6, 45, 3, 0]]))), "a row in the middle is gone");
        assert!(is_wrong(extent(1, 10, json!([[7, 45, 4, 0]]))), "a row too many");
        assert!(is_wrong(extent(1, 10, json!([]))), "all gone");
        assert_eq!(judge(extent(1, 3, json!([]))), Judgement::Exact);
        assert_eq!(judge(extent(1, 11, json!([[7, 56, 4, 0]]))), Judgement::Early);
        assert_eq!(extent(1, 10, json!([])).judge(None, &model), Judgement::Exact);
        assert_eq!(extent(1, 10, json!([[6, 45, 4, 0]])).removed(&model), 4);
        assert!(is_wrong(extent(1, 10, json!([[10, 55, 0, 0], [1, 1, 0, 7]]))), "no such partition");
    }

    #[test]
    fn what_is_gone_does_not_return() {
        let old = extent(5, 10, json!([[6, 45, 4, 0]]));
        let returned = |version, first| extent(version, 12, json!([[1, 1, first, 0]])).returned(&old);
        assert!(returned(6, 3).is_some());
        assert!(returned(6, 4).is_none() && returned(9, 7).is_none());
        assert!(returned(4, 3).is_none(), "an earlier version");
        assert!(extent(6, 12, json!([])).returned(&old).is_none());
    }
}
