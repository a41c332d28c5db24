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
    at_end: bool,
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
        record.at_end = false;
    }

    /// The consumer stands at the end of the partition, whose next offset is `latest`.
    pub fn at_end(&self, latest: i64) {
        let mut record = self.0.lock();
        record.latest = record.latest.max(Some(latest));
        record.at_end = true;
        if record.stage == PartitionStage::CatchingUp {
            record.stage = PartitionStage::Live;
        }
    }

    /// The broker said that the partition's next offset is `latest`.
    pub fn latest(&self, latest: i64) {
        let mut record = self.0.lock();
        record.latest = Some(latest);
    }

    /// Changes what the consumer is doing; leaving `Failed` clears the error.
    pub fn stage(&self, stage: PartitionStage) {
        let mut record = self.0.lock();
        record.stage = stage;
        if stage != PartitionStage::Failed {
            record.last_error = None;
        }
    }

    /// The consumer stopped with an error.
    pub fn failed(&self, error: impl Into<String>) {
        let mut record = self.0.lock();
        record.stage = PartitionStage::Failed;
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
    /// Messages that are in Kafka but not queryable yet; 0 at the end of the partition.
    pub lag: Option<i64>,
    /// Rows appended per second, smoothed.
    pub rows_per_second: f64,
    /// Age of the newest row by its Kafka timestamp, in milliseconds.
    pub freshness_ms: Option<i64>,
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
    pub(super) fn new(
        partition: i32,
        stream: Option<&PartitionState>,
        visible: Option<i64>,
        progress: Option<&PartitionProgress>,
    ) -> Self {
        let record = progress.map(|progress| progress.0.lock().clone()).unwrap_or_default();
        let latest = record.latest.max(visible);
        let lag = if record.at_end {
            // Control records of transactions take offsets that no reader ever sees.
            Some(0)
        } else {
            record.latest.zip(visible).map(|(latest, visible)| (latest - visible).max(0))
        };
        Self {
            partition,
            stage: record.stage,
            first: stream.map(|stream| stream.first),
            committed: stream.map(|stream| stream.committed),
            visible,
            latest,
            lag,
            rows_per_second: record.rows_per_second,
            freshness_ms: record.newest_timestamp_ms.map(|newest| (now_ms() - newest).max(0)),
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
        let snapshot = || ProgressSnapshot::new(0, None, Some(10), Some(&progress));
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
}
