//! How far a partition is: written by its consumer, read by system tables, metrics and readiness checks.

use parking_lot::Mutex;

use crate::clock::now_ms;
use crate::log::PartitionState;

/// What a partition's consumer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartitionStage {
    /// Not consuming yet.
    #[default]
    Starting,
    /// Reading what was produced before it started.
    CatchingUp,
    /// At the end of the partition, or close to it.
    Live,
    /// Paused on command.
    Paused,
    /// Stopped with an error; `last_error` says what to do.
    Failed,
    /// Left to other processes.
    Elsewhere,
}

impl PartitionStage {
    /// Name in `system.partitions`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::CatchingUp => "catching_up",
            Self::Live => "live",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Elsewhere => "elsewhere",
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Record {
    stage: PartitionStage,
    latest: Option<i64>,
    /// Whether the consumer stands at the end and hears of whatever comes next.
    at_end: bool,
    /// Where it stood when it last did. Control records of transactions take offsets that no reader ever sees, so this may be
    /// past the last row.
    end: Option<i64>,
    /// Until when it did: what is not visible now came after that.
    at_end_until_ms: Option<i64>,
    /// Kafka does not say how far the partition is.
    is_end_unknown: bool,
    rows_per_second: f64,
    rate_rows: u64,
    rate_since_ms: i64,
    rows: u64,
    dead_letters: u64,
    tombstones: u64,
    newest_timestamp_ms: Option<i64>,
    last_error: Option<String>,
    seal_error: Option<String>,
}

impl Record {
    /// From now on nothing says that the consumer still stands at the end.
    fn leave_end(&mut self) {
        if std::mem::take(&mut self.at_end) {
            self.at_end_until_ms = Some(now_ms());
        }
    }

    /// Messages that are in Kafka and not below `visible`; `None` if that cannot be known.
    fn lag(&self, visible: Option<i64>) -> Option<i64> {
        if self.at_end {
            return Some(0);
        }
        if self.is_end_unknown {
            return None;
        }
        let (latest, visible) = (self.latest?, visible?);
        // A topic that ends below what the table has of it is another one, or was cut: there is nothing to subtract.
        if self.stage == PartitionStage::Failed && latest < visible {
            return None;
        }
        Some((latest - visible.max(self.end.unwrap_or(visible))).max(0))
    }

    /// The longest that anything can have waited, in milliseconds: it came after the newest row, and after the consumer last stood
    /// at the end. The second bound holds whatever timestamps the messages have.
    fn freshness_ms(&self, lag: Option<i64>, newest_ms: Option<i64>, now_ms: i64) -> Option<i64> {
        if self.stage == PartitionStage::Elsewhere {
            return None;
        }
        if lag == Some(0) {
            return Some(0);
        }
        let bounds = newest_ms.into_iter().chain(self.at_end_until_ms);
        bounds.max().map(|since| (now_ms - since).max(0))
    }
}

/// The progress of one partition. Updated once per fetched batch.
#[derive(Debug, Default)]
pub struct PartitionProgress(Mutex<Record>);

/// What one fetched batch brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchProgress {
    /// Rows appended.
    pub rows: u64,
    /// Messages that could not be decoded.
    pub dead_letters: u64,
    /// Messages without a payload.
    pub tombstones: u64,
    /// Newest Kafka timestamp in the batch, in milliseconds.
    pub newest_timestamp_ms: Option<i64>,
}

impl PartitionProgress {
    /// Whether its consumer has caught up.
    pub(super) fn is_live(&self) -> bool {
        self.0.lock().stage == PartitionStage::Live
    }

    /// Counts a batch.
    pub fn batch(&self, batch: BatchProgress) {
        let mut record = self.0.lock();
        record.rows += batch.rows;
        record.dead_letters += batch.dead_letters;
        record.tombstones += batch.tombstones;
        record.newest_timestamp_ms = record.newest_timestamp_ms.max(batch.newest_timestamp_ms);
        record.leave_end();
    }

    /// The consumer begins at an offset that may be before what it has read.
    pub fn started(&self) {
        let mut record = self.0.lock();
        record.leave_end();
        record.end = None;
        record.stage = PartitionStage::CatchingUp;
        record.last_error = None;
    }

    /// Nothing is fetched for now: what comes waits.
    pub fn held_back(&self) {
        self.0.lock().leave_end();
    }

    /// The consumer stands at the end of the partition, whose next offset is `latest`.
    pub fn at_end(&self, latest: i64) {
        let mut record = self.0.lock();
        record.latest = record.latest.max(Some(latest));
        record.at_end = true;
        record.end = Some(latest);
        record.is_end_unknown = false;
        if record.stage == PartitionStage::CatchingUp {
            record.stage = PartitionStage::Live;
        }
    }

    /// The broker said that the partition's next offset is `latest`.
    pub fn latest(&self, latest: i64) {
        let mut record = self.0.lock();
        record.latest = Some(latest);
    }

    /// Whether Kafka says how far the partition is. While it does not, there may be anything behind what is visible.
    pub fn end_is_known(&self, is_known: bool) {
        let mut record = self.0.lock();
        record.is_end_unknown = !is_known;
        if !is_known {
            record.leave_end();
        }
    }

    /// The end that was known is that of another topic.
    pub fn forget_latest(&self) {
        let mut record = self.0.lock();
        record.leave_end();
        (record.latest, record.end) = (None, None);
    }

    /// Changes what the consumer is doing; leaving `Failed` clears the error.
    pub fn stage(&self, stage: PartitionStage) {
        let mut record = self.0.lock();
        record.stage = stage;
        if stage != PartitionStage::Live {
            record.leave_end();
        }
        if stage != PartitionStage::Failed {
            record.last_error = None;
        }
    }

    /// The consumer stopped with an error.
    pub fn failed(&self, error: impl Into<String>) {
        let mut record = self.0.lock();
        record.stage = PartitionStage::Failed;
        record.leave_end();
        record.last_error = Some(error.into());
    }

    /// Other processes consume the partition: but for the counts, what was known of it here is out of date from now on.
    pub fn elsewhere(&self) {
        let mut record = self.0.lock();
        *record = Record {
            stage: PartitionStage::Elsewhere,
            rate_rows: record.rows,
            rows: record.rows,
            dead_letters: record.dead_letters,
            tombstones: record.tombstones,
            ..Record::default()
        };
    }

    /// Something went wrong that is being retried. It does not hide why a partition has failed, and is nothing to a partition
    /// that is consumed elsewhere.
    pub fn trouble(&self, error: impl Into<String>) {
        let mut record = self.0.lock();
        if !matches!(record.stage, PartitionStage::Failed | PartitionStage::Elsewhere) {
            record.last_error = Some(error.into());
        }
    }

    /// What was going wrong is over.
    pub fn trouble_over(&self) {
        let mut record = self.0.lock();
        if record.stage != PartitionStage::Failed {
            record.last_error = None;
        }
    }

    /// Rows cannot be sealed, and are likely to be no better the next time. Whatever else comes and goes, that stands until
    /// [`can_seal`](Self::can_seal).
    pub fn cannot_seal(&self, error: impl Into<String>) {
        self.0.lock().seal_error = Some(error.into());
    }

    /// What could not be sealed is.
    pub fn can_seal(&self) {
        self.0.lock().seal_error = None;
    }

    /// Brings the rate up to date; called about once a second.
    pub fn tick(&self, now_ms: i64) {
        let mut record = self.0.lock();
        let elapsed_ms = now_ms - record.rate_since_ms;
        if record.rate_since_ms > 0 && elapsed_ms > 0 {
            let rate = (record.rows - record.rate_rows) as f64 * 1000.0 / elapsed_ms as f64;
            // Half of the old rate: a reading settles within a few seconds and does not jump.
            record.rows_per_second = (record.rows_per_second + rate) / 2.0;
            if record.rows_per_second < 0.05 {
                record.rows_per_second = 0.0;
            }
        }
        record.rate_rows = record.rows;
        record.rate_since_ms = now_ms;
    }
}

/// A reading of one partition's progress.
#[derive(Clone, Debug)]
pub struct ProgressSnapshot {
    /// Kafka partition.
    pub partition: i32,
    /// What the consumer is doing.
    pub stage: PartitionStage,
    /// First offset that the table has.
    pub first: Option<i64>,
    /// Every offset below this one is sealed and committed.
    pub committed: Option<i64>,
    /// Every offset below this one is queryable.
    pub visible: Option<i64>,
    /// The partition's next offset, as the broker last said.
    pub latest: Option<i64>,
    /// Messages that are in Kafka but not queryable yet; 0 at the end of the partition, `None` if Kafka does not say where that is.
    pub lag: Option<i64>,
    /// Rows appended per second, smoothed.
    pub rows_per_second: f64,
    /// The longest that anything can have waited to become queryable, in milliseconds; 0 if nothing waits.
    pub freshness_ms: Option<i64>,
    /// The newest Kafka timestamp of the rows, in milliseconds since the epoch.
    pub newest_timestamp_ms: Option<i64>,
    /// Rows appended since this process started.
    pub rows: u64,
    /// Undecodable messages since this process started.
    pub dead_letters: u64,
    /// Messages without payload since this process started.
    pub tombstones: u64,
    /// What is wrong.
    pub last_error: Option<String>,
    /// Why rows cannot be sealed.
    pub seal_error: Option<String>,
}

impl ProgressSnapshot {
    /// `sealed_newest_ms` finds the newest timestamp of what is sealed, for a process that has read nothing yet.
    pub(super) fn new(
        partition: i32,
        stream: Option<&PartitionState>,
        visible: Option<i64>,
        progress: Option<&PartitionProgress>,
        sealed_newest_ms: impl FnOnce() -> Option<i64>,
    ) -> Self {
        let record = progress.map(|progress| progress.0.lock().clone()).unwrap_or_default();
        let latest = match record.stage {
            // What Kafka says is not to be hidden by what the table has of another topic.
            PartitionStage::Failed => record.latest,
            _ => record.latest.max(visible),
        };
        let lag = record.lag(visible);
        let newest_timestamp_ms = record.newest_timestamp_ms.or_else(sealed_newest_ms);
        Self {
            partition,
            stage: record.stage,
            first: stream.map(|stream| stream.first),
            committed: stream.map(|stream| stream.committed),
            visible,
            latest,
            lag,
            rows_per_second: record.rows_per_second,
            freshness_ms: record.freshness_ms(lag, newest_timestamp_ms, now_ms()),
            newest_timestamp_ms,
            rows: record.rows,
            dead_letters: record.dead_letters,
            tombstones: record.tombstones,
            last_error: record.last_error.or_else(|| record.seal_error.clone()),
            seal_error: record.seal_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_is_consumed_elsewhere_has_no_lag_and_no_trouble() {
        let progress = PartitionProgress::default();
        progress.batch(BatchProgress { rows: 7, newest_timestamp_ms: Some(1), ..BatchProgress::default() });
        progress.latest(1000);
        progress.stage(PartitionStage::CatchingUp);
        progress.cannot_seal("no code");
        let snapshot = || ProgressSnapshot::new(0, None, Some(10), Some(&progress), || None);
        assert_eq!(snapshot().lag, Some(990));
        progress.elsewhere();
        progress.trouble("kafka: gone");
        let told = snapshot();
        assert_eq!((told.stage, told.rows), (PartitionStage::Elsewhere, 7));
        assert_eq!((told.lag, told.freshness_ms, told.last_error, told.seal_error), (None, None, None, None));

        progress.stage(PartitionStage::CatchingUp);
        progress.trouble("kafka: gone");
        assert!(snapshot().last_error.is_some());
    }

    /// At offset 10, whatever was read.
    fn told(progress: &PartitionProgress) -> ProgressSnapshot {
        ProgressSnapshot::new(0, None, Some(10), Some(progress), || None)
    }

    #[test]
    fn nothing_waits_at_the_end_of_a_quiet_partition() {
        let progress = PartitionProgress::default();
        let is_new = ProgressSnapshot::new(0, None, Some(10), Some(&progress), || Some(now_ms() - 9000));
        assert!(is_new.lag.is_none() && is_new.freshness_ms.is_some_and(|age| age >= 9000));
        // Rows of a year ago.
        progress.batch(BatchProgress { rows: 1, newest_timestamp_ms: Some(1), ..BatchProgress::default() });
        progress.latest(12);
        assert_eq!((told(&progress).lag, told(&progress).newest_timestamp_ms), (Some(2), Some(1)));
        assert!(told(&progress).freshness_ms.is_some_and(|age| age > 1_000_000_000));
        progress.at_end(10);
        assert_eq!((told(&progress).lag, told(&progress).freshness_ms), (Some(0), Some(0)));
        // What comes now is no older than the moment at which nothing waited, whatever its timestamp says.
        progress.batch(BatchProgress { rows: 1, newest_timestamp_ms: Some(2), ..BatchProgress::default() });
        progress.latest(15);
        assert_eq!(told(&progress).lag, Some(5));
        assert!(told(&progress).freshness_ms.is_some_and(|age| age < 60_000));
    }

    #[test]
    fn what_comes_while_nothing_is_fetched_is_lag() {
        for stop in [
            (|progress| progress.stage(PartitionStage::Paused)) as fn(&PartitionProgress),
            |progress| progress.failed("offsets are gone"),
            PartitionProgress::held_back,
        ] {
            let progress = PartitionProgress::default();
            // One control record is past the last row.
            progress.at_end(11);
            stop(&progress);
            progress.latest(11);
            assert_eq!((told(&progress).lag, told(&progress).freshness_ms), (Some(0), Some(0)));
            progress.latest(26);
            assert_eq!((told(&progress).lag, told(&progress).latest), (Some(15), Some(26)));
            assert!(told(&progress).freshness_ms.is_some());
            progress.started();
            assert_eq!(told(&progress).lag, Some(16), "it may begin before what was read");
        }
    }

    #[test]
    fn lag_is_unknown_where_kafka_does_not_say_it() {
        let progress = PartitionProgress::default();
        progress.at_end(10);
        progress.end_is_known(false);
        progress.latest(10);
        assert_eq!(told(&progress).lag, None);
        assert!(told(&progress).freshness_ms.is_some());
        progress.end_is_known(true);
        assert_eq!(told(&progress).lag, Some(0));
        // The topic is shorter than what was read of it.
        progress.latest(3);
        progress.failed("offsets 10 up to 3 are gone");
        assert_eq!((told(&progress).lag, told(&progress).latest), (None, Some(3)));
        progress.forget_latest();
        assert_eq!((told(&progress).lag, told(&progress).latest), (None, None));
    }
}
