//! What the table log says about the table's stream: which offsets of which partition are accounted for.
//!
//! Every offset in `[first, committed)` of a partition lies in exactly one sealed segment or in exactly one
//! [`Gap`], whose reason says why it holds no rows. This state is written whole, as JSON, into the Delta
//! log's `domainMetadata` action whenever anything but `committed` changes; `committed` itself moves with the
//! partition's `txn` action, which is the authority when the two differ.
//!
//! **Architecture Invariant:** pure data and pure transitions; nothing here reads a clock or a store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The stream side of a table at one log version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// Counts the topics that fed this table: one more each time the topic is recreated, or the table is created anew over
    /// a dropped one. Offsets of different epochs have nothing to do with each other, so every commit names the epoch that
    /// its offsets belong to and is refused in any other.
    pub epoch: u32,
    /// Kafka's identity of the topic, if the broker tells it.
    pub topic_id: Option<String>,
    /// Whether consumption of the whole table is paused on command. It stays so over restarts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Objects made before this moment (by the time of their ULID, in milliseconds) that no entry names may be deleted by
    /// now, so none of them is let into the table.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub collected_before_ms: u64,
    /// Partitions of the current epoch that consumption has begun on.
    pub partitions: BTreeMap<i32, PartitionState>,
    /// Earlier topics of the same name whose rows are still in the table, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<ClosedEpoch>,
}

/// How far one partition is accounted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// The oldest offset that the table still accounts for; moves forward when retention removes the oldest segments.
    pub first: i64,
    /// Every offset below is accounted for; consumption resumes here.
    pub committed: i64,
    /// Offset ranges without rows, ascending; neighbours of one reason are one gap.
    pub gaps: Vec<Gap>,
}

/// A range of offsets that no sealed segment holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// First offset.
    pub from: i64,
    /// End, exclusive.
    pub to: i64,
    /// Why there are no rows.
    pub reason: GapReason,
    /// When it was (last) recorded, milliseconds since the epoch.
    pub at_ms: i64,
}

/// Why a range of offsets has no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Read in full, and nothing in it was a row of the table: dead letters, filtered rows, transaction markers. Nothing is lost.
    Empty,
    /// Kafka's retention removed the offsets before they were read.
    Retention,
    /// The topic was truncated.
    Truncated,
    /// The topic was recreated; what its predecessor held from `from` on was never read. How much is not known, so `to == from`.
    TopicRecreated,
    /// This table's own retention removed the sealed rows.
    Expired,
}

impl GapReason {
    /// Name in system tables, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Retention => "retention",
            Self::Truncated => "truncated",
            Self::TopicRecreated => "topic_recreated",
            Self::Expired => "expired",
        }
    }
}

/// The offsets of a topic that has been recreated since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedEpoch {
    /// Its number.
    pub epoch: u32,
    /// Its topic id, if it was known.
    pub topic_id: Option<String>,
    /// Its partitions as they stood.
    pub partitions: BTreeMap<i32, PartitionState>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl StreamState {
    /// The state of one partition in one epoch, current or closed.
    pub fn partition(&self, epoch: u32, partition: i32) -> Option<&PartitionState> {
        self.partitions_of(epoch)?.get(&partition)
    }

    fn partitions_of(&self, epoch: u32) -> Option<&BTreeMap<i32, PartitionState>> {
        if epoch == self.epoch {
            return Some(&self.partitions);
        }
        self.closed.iter().find(|closed| closed.epoch == epoch).map(|closed| &closed.partitions)
    }

    /// Begins partitions at their start offsets.
    pub(super) fn begin(&mut self, starts: &BTreeMap<i32, i64>) {
        let begun = starts.iter().map(|(&partition, &start)| {
            (partition, PartitionState { first: start, committed: start, gaps: Vec::new() })
        });
        self.partitions.extend(begun);
    }

    /// Closes the current epoch, keeps it if it has rows, and begins the next one.
    pub(super) fn recreate(&mut self, topic_id: Option<String>, starts: &BTreeMap<i32, i64>, at_ms: i64) {
        let mut partitions = std::mem::take(&mut self.partitions);
        for partition in partitions.values_mut() {
            let end = partition.committed;
            partition.record(Gap { from: end, to: end, reason: GapReason::TopicRecreated, at_ms });
        }
        let topic_id = std::mem::replace(&mut self.topic_id, topic_id);
        self.closed.push(ClosedEpoch { epoch: self.epoch, topic_id, partitions });
        self.closed.retain(ClosedEpoch::has_rows);
        self.epoch += 1;
        self.begin(starts);
    }

    /// A segment that is written over all of `[from, to)` takes the place of the empty gaps inside. Returns whether there were any.
    pub(super) fn cover(&mut self, epoch: u32, partition: i32, from: i64, to: i64) -> bool {
        let partitions = match self.closed.iter_mut().find(|closed| closed.epoch == epoch) {
            Some(closed) => &mut closed.partitions,
            None => &mut self.partitions,
        };
        let Some(partition) = partitions.get_mut(&partition) else { return false };
        let before = partition.gaps.len();
        partition.gaps.retain(|gap| gap.reason != GapReason::Empty || gap.from < from || gap.to > to);
        partition.gaps.len() < before
    }

    /// Records that retention removed the sealed rows of `[from, to)`. Closed epochs with no rows left are forgotten.
    pub(super) fn expire(&mut self, epoch: u32, partition: i32, from: i64, to: i64, at_ms: i64) {
        let partitions = match self.closed.iter_mut().find(|closed| closed.epoch == epoch) {
            Some(closed) => &mut closed.partitions,
            None => &mut self.partitions,
        };
        if let Some(partition) = partitions.get_mut(&partition) {
            partition.expire(from, to, at_ms);
        }
        self.closed.retain(ClosedEpoch::has_rows);
    }
}

impl ClosedEpoch {
    fn has_rows(&self) -> bool {
        self.partitions.values().any(|partition| partition.first < partition.committed)
    }
}

impl PartitionState {
    /// Whether all of `[from, to)` was read and held no row. So it is if there is nothing in between.
    pub fn is_empty_between(&self, from: i64, to: i64) -> bool {
        let inside = self.gaps.iter().filter(|gap| gap.from < to && gap.to > from);
        let mut reached = from;
        for gap in inside {
            if gap.from != reached || gap.to > to || gap.reason != GapReason::Empty {
                return false;
            }
            reached = gap.to;
        }
        reached == to
    }

    /// Adds a gap, in order, merged with its neighbours of the same reason.
    pub(super) fn record(&mut self, gap: Gap) {
        let at = self.gaps.partition_point(|other| (other.from, other.to) <= (gap.from, gap.to));
        self.gaps.insert(at, gap);
        self.gaps.dedup_by(|next, previous| {
            let merges = previous.to == next.from && previous.reason == next.reason;
            if merges {
                previous.to = next.to;
                previous.at_ms = previous.at_ms.max(next.at_ms);
            }
            merges
        });
    }

    /// Turns a sealed range into an expired one. If that leaves no rows from `first` up to its end, `first` moves past it,
    /// and all that lies below becomes one expired gap, so that years of retention stay one line.
    fn expire(&mut self, from: i64, to: i64, at_ms: i64) {
        self.record(Gap { from, to, reason: GapReason::Expired, at_ms });
        let reach = self
            .gaps
            .iter()
            .fold(self.first, |reach, gap| if gap.from <= reach { reach.max(gap.to) } else { reach });
        if reach < to {
            return;
        }
        self.first = reach;
        let kept =
            self.gaps.partition_point(|gap| gap.to <= reach && gap.reason != GapReason::TopicRecreated);
        let origin = self.gaps.first().map_or(from, |oldest| oldest.from);
        self.gaps.drain(..kept);
        self.record(Gap { from: origin, to: reach, reason: GapReason::Expired, at_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from: i64, to: i64, reason: GapReason) -> Gap {
        Gap { from, to, reason, at_ms: 7 }
    }

    fn partition(first: i64, committed: i64, gaps: &[Gap]) -> PartitionState {
        PartitionState { first, committed, gaps: gaps.to_vec() }
    }

    #[test]
    fn neighbouring_gaps_of_one_reason_are_one() {
        let mut state = partition(0, 40, &[]);
        state.record(gap(20, 30, GapReason::Empty));
        state.record(gap(0, 10, GapReason::Empty));
        state.record(gap(30, 40, GapReason::Retention));
        state.record(gap(10, 20, GapReason::Empty));
        assert_eq!(state.gaps, [gap(0, 30, GapReason::Empty), gap(30, 40, GapReason::Retention)]);
    }

    #[test]
    fn expiry_from_the_front_moves_first_and_stays_one_gap() {
        let mut state = partition(0, 50, &[gap(10, 20, GapReason::Retention)]);
        state.expire(20, 30, 7); // not at the front yet: [0, 10) still has rows
        assert_eq!(state.first, 0);
        state.expire(0, 10, 7);
        assert_eq!(state, partition(30, 50, &[gap(0, 30, GapReason::Expired)]));
        state.expire(30, 40, 7);
        assert_eq!(state, partition(40, 50, &[gap(0, 40, GapReason::Expired)]));
    }

    #[test]
    fn a_closed_epoch_is_forgotten_when_its_last_rows_expire() {
        let mut stream = StreamState::default();
        stream.begin(&BTreeMap::from([(0, 5)]));
        stream.partitions.get_mut(&0).unwrap().committed = 9;
        stream.recreate(Some("new".into()), &BTreeMap::from([(0, 0)]), 7);
        assert_eq!(stream.epoch, 1);
        assert_eq!(stream.partition(0, 0).unwrap().committed, 9);
        assert_eq!(stream.partition(1, 0).unwrap().committed, 0);
        stream.expire(0, 0, 5, 9, 8);
        assert!(stream.closed.is_empty());
        assert_eq!(stream.partition(1, 0).unwrap(), &partition(0, 0, &[]));
    }

    #[test]
    fn only_empty_gaps_are_nothing_between_two_segments() {
        let state = partition(
            0,
            90,
            &[
                gap(10, 20, GapReason::Empty),
                gap(30, 40, GapReason::Empty),
                gap(40, 50, GapReason::Retention),
            ],
        );
        for (range, is_empty) in [
            ((5, 5), true),
            ((10, 20), true),
            ((10, 10), true),
            ((9, 20), false),
            ((10, 21), false),
            ((12, 18), false),
            ((30, 40), true),
            ((30, 50), false),
            ((40, 50), false),
            ((60, 70), false),
        ] {
            assert_eq!(state.is_empty_between(range.0, range.1), is_empty, "{range:?}");
        }
    }

    #[test]
    fn a_segment_covers_the_empty_gaps_inside_it_and_no_others() {
        let mut stream = StreamState::default();
        let gaps =
            [gap(10, 20, GapReason::Empty), gap(30, 40, GapReason::Empty), gap(50, 60, GapReason::Retention)];
        stream.partitions.insert(0, partition(0, 60, &gaps));
        assert!(!stream.cover(0, 0, 12, 35));
        assert!(!stream.cover(0, 1, 0, 60));
        assert!(stream.cover(0, 0, 0, 25));
        assert_eq!(stream.partitions[&0].gaps, gaps[1..]);
    }

    #[test]
    fn the_state_survives_its_json() {
        let mut stream = StreamState::default();
        stream.begin(&BTreeMap::from([(0, 5), (12, 0)]));
        stream.recreate(Some("new".into()), &BTreeMap::from([(0, 0)]), 7);
        let text = serde_json::to_string(&stream).unwrap();
        assert_eq!(serde_json::from_str::<StreamState>(&text).unwrap(), stream);
    }
}
