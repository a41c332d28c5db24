//! The decisions on the path of a row, as pure functions: where a partition starts, when it seals, whose turn that is among
//! several nodes, and when one of them gives it up.
//!
//! Nothing here reads a clock, the log or Kafka; everything comes in as arguments, so every case is a line in a test.

use std::time::Duration;

use headwater_segment::log::GapReason;
use headwater_segment::spec::{OnGap, SealSpec};

use crate::kafka::topic::Watermarks;

mod turns;

pub use turns::{
    KEEP_WITHOUT_RANK_MAX, MOVES_MAX, STANDBY_WAIT, TurnFacts, decide_release, decide_take, decide_turn,
};

/// What the table log and Kafka say about one partition that is about to be consumed.
#[derive(Clone, Copy, Debug)]
pub struct PartitionFacts {
    /// Committed offset; `None` if the table has never consumed the partition.
    pub committed: Option<i64>,
    /// The offset that the spec's start policy names, for a first start.
    pub first_start: i64,
    /// What Kafka has.
    pub marks: Watermarks,
    /// What the spec says about gaps.
    pub on_gap: OnGap,
}

/// Where to begin, and what to write into the table log before that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartDecision {
    /// Record that the partition starts here, then consume from here.
    FirstStart(i64),
    /// Consume from the committed offset.
    Resume(i64),
    /// Record that `[from, to)` will never be read, then consume from `to`.
    RecordGap {
        /// First missing offset.
        from: i64,
        /// First offset that exists again.
        to: i64,
        /// Why it is missing.
        reason: GapReason,
    },
    /// The partition's log became shorter than what was committed: its offsets count anew from `to`.
    CountAnew {
        /// The next offset of the partition.
        to: i64,
    },
    /// Stop: the spec wants a person to decide.
    Fail {
        /// First missing offset.
        from: i64,
        /// The offset at which reading could go on.
        to: i64,
        /// Why it is missing.
        reason: GapReason,
    },
}

/// Decides where a partition begins.
///
/// | table log | Kafka | decision |
/// |---|---|---|
/// | nothing | any | first start by the spec's policy |
/// | committed c < low | retention passed us | gap `Retention` [c, low) |
/// | committed c > high | truncated | a new count of offsets from high |
/// | committed c in [low, high] | fine | resume at c |
///
/// The two in the middle only if the spec says `on_gap: skip`; otherwise the partition stops. A topic that was deleted
/// and created again is not this function's business: its offsets have nothing to do with the committed ones.
pub fn decide_start(facts: PartitionFacts) -> StartDecision {
    let Some(committed) = facts.committed else {
        return StartDecision::FirstStart(facts.first_start);
    };
    let (to, reason) = if committed < facts.marks.low {
        (facts.marks.low, GapReason::Retention)
    } else if committed > facts.marks.high {
        (facts.marks.high, GapReason::Truncated)
    } else {
        return StartDecision::Resume(committed);
    };
    match (facts.on_gap, reason) {
        (OnGap::Fail, reason) => StartDecision::Fail { from: committed, to, reason },
        (OnGap::Skip, GapReason::Truncated) => StartDecision::CountAnew { to },
        (OnGap::Skip, reason) => StartDecision::RecordGap { from: committed, to, reason },
    }
}

/// What decides whether an open segment is sealed.
#[derive(Clone, Copy, Debug)]
pub struct OpenState {
    /// Rows in the open segment.
    pub rows: u64,
    /// Bytes that it takes in memory.
    pub bytes: u64,
    /// Since when it holds anything at all (rows, or only an advanced offset); `None` if nothing came yet.
    pub age: Option<Duration>,
}

/// Why a segment is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealReason {
    /// Row threshold.
    Rows,
    /// Byte threshold.
    Bytes,
    /// Age threshold.
    Age,
    /// The node's memory budget is above its high mark.
    Memory,
    /// On command, or because the process is draining.
    Command,
}

impl SealReason {
    /// Name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Memory => "memory",
            Self::Command => "command",
        }
    }

    /// Whether somebody waits for the seal.
    pub fn is_urgent(self) -> bool {
        matches!(self, Self::Memory | Self::Command)
    }
}

/// Whether the thresholds call for a seal.
pub fn decide_seal(open: OpenState, spec: &SealSpec) -> Option<SealReason> {
    let age = open.age?;
    if open.rows >= spec.rows_max {
        Some(SealReason::Rows)
    } else if open.bytes >= spec.bytes_max {
        Some(SealReason::Bytes)
    } else if age >= spec.age_max {
        Some(SealReason::Age)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(committed: Option<i64>, low: i64, high: i64) -> PartitionFacts {
        PartitionFacts { committed, first_start: 7, marks: Watermarks { low, high }, on_gap: OnGap::Skip }
    }

    #[test]
    fn starts() {
        let gap = |from, to, reason| StartDecision::RecordGap { from, to, reason };
        let cases = [
            (facts(None, 0, 100), StartDecision::FirstStart(7)),
            (facts(Some(50), 0, 100), StartDecision::Resume(50)),
            (facts(Some(0), 0, 0), StartDecision::Resume(0)),
            (facts(Some(100), 0, 100), StartDecision::Resume(100)),
            (facts(Some(50), 60, 100), gap(50, 60, GapReason::Retention)),
            (facts(Some(150), 0, 100), StartDecision::CountAnew { to: 100 }),
            (
                PartitionFacts { on_gap: OnGap::Fail, ..facts(Some(150), 0, 100) },
                StartDecision::Fail { from: 150, to: 100, reason: GapReason::Truncated },
            ),
            (
                PartitionFacts { on_gap: OnGap::Fail, ..facts(Some(50), 60, 100) },
                StartDecision::Fail { from: 50, to: 60, reason: GapReason::Retention },
            ),
        ];
        for (facts, expected) in cases {
            assert_eq!(decide_start(facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn seals() {
        let spec = SealSpec { rows_max: 10, bytes_max: 1000, age_max: Duration::from_secs(60) };
        let open = |rows, bytes, age| OpenState { rows, bytes, age: Some(Duration::from_secs(age)) };
        assert_eq!(decide_seal(OpenState { rows: 0, bytes: 5000, age: None }, &spec), None);
        assert_eq!(decide_seal(open(9, 999, 59), &spec), None);
        assert_eq!(decide_seal(open(10, 0, 0), &spec), Some(SealReason::Rows));
        assert_eq!(decide_seal(open(0, 1000, 0), &spec), Some(SealReason::Bytes));
        assert_eq!(decide_seal(open(0, 0, 60), &spec), Some(SealReason::Age));
    }
}
