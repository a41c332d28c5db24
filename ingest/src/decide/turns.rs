//! Decisions of a node of a cluster: when it gives a partition up, and whether it is its turn to seal.

use std::time::Duration;

use crate::ownership::Rank;

/// How long a partition that is not this node's any more is kept for owners that do not serve it yet, and take over no other.
pub const KEEP_WITHOUT_RANK_MAX: Duration = Duration::from_secs(60);
/// How long a standby leaves a segment to each of those before it in line.
pub const STANDBY_WAIT: Duration = Duration::from_secs(30);

/// Whether a partition that this node consumes is given up: it has not been this node's for `without_rank`.
pub fn decide_release(rank: Rank, without_rank: Duration, is_served_by_owners: bool) -> bool {
    rank == Rank::None && (is_served_by_owners || without_rank >= KEEP_WITHOUT_RANK_MAX)
}

/// Partitions of a table that a node takes over at a time from nodes that still serve them. Each of them is read again from its
/// committed offset, beside what the node does already.
pub const MOVES_MAX: usize = 16;

/// Whether a partition that does not run here starts now, while so many others move here. Until it serves, whoever serves it
/// goes on; what nobody serves does not wait.
pub fn decide_take(rank: Rank, is_served_elsewhere: bool, moving: usize) -> bool {
    rank != Rank::None && (!is_served_elsewhere || moving < MOVES_MAX)
}

/// What decides whether a segment that takes no more rows is sealed now.
#[derive(Clone, Copy, Debug)]
pub struct TurnFacts {
    /// This node's place in the line of those who consume the partition.
    pub rank: Rank,
    /// Whether somebody waits for the seal: an operator, a process that stops, or rows for which there is no memory.
    pub is_urgent: bool,
    /// Whether another node has committed a first part of the segment.
    pub is_begun: bool,
    /// Since when the segment takes no more rows.
    pub waited: Duration,
    /// The age at which the table's segments are sealed.
    pub age_max: Duration,
    /// [`STANDBY_WAIT`], but in tests.
    pub standby_wait: Duration,
}

/// How long the node still waits before it seals; zero: it seals now.
///
/// | rank | waits for |
/// |---|---|
/// | primary, or the seal is urgent | nothing |
/// | standby n | n times [`STANDBY_WAIT`] |
/// | none | [`KEEP_WITHOUT_RANK_MAX`]: then the partition is given up anyhow |
///
/// If the primary has committed a part, it lives, and its open segment has the rest: it seals that within another
/// `age_max`. To seal it here before would put a sliver into the table at each seal, for the nodes' segments do not end at
/// the same offset.
pub fn decide_turn(facts: TurnFacts) -> Duration {
    if facts.is_urgent {
        return Duration::ZERO;
    }
    let wait = match facts.rank {
        Rank::Primary => return Duration::ZERO,
        Rank::Standby(place) => facts.standby_wait.saturating_mul(u32::from(place)),
        Rank::None => KEEP_WITHOUT_RANK_MAX,
    };
    let wait = if facts.is_begun { wait.saturating_add(facts.age_max) } else { wait };
    wait.saturating_sub(facts.waited)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn releases() {
        let cases = [
            (Rank::Primary, 100, true, false),
            (Rank::Standby(1), 100, true, false),
            (Rank::None, 0, true, true),
            (Rank::None, 59, false, false),
            (Rank::None, 60, false, true),
        ];
        for (rank, without_rank, is_served, expected) in cases {
            assert_eq!(decide_release(rank, s(without_rank), is_served), expected, "{rank:?} {without_rank}");
        }
    }

    #[test]
    fn moves() {
        for (rank, is_served_elsewhere, moving, expected) in [
            (Rank::None, false, 0, false),
            (Rank::None, true, 0, false),
            (Rank::Primary, true, MOVES_MAX - 1, true),
            (Rank::Primary, true, MOVES_MAX, false),
            (Rank::Standby(1), true, MOVES_MAX, false),
            (Rank::Standby(1), false, MOVES_MAX, true),
        ] {
            assert_eq!(decide_take(rank, is_served_elsewhere, moving), expected, "{rank:?} {moving}");
        }
    }

    #[test]
    fn turns() {
        let facts = |rank, waited| TurnFacts {
            rank,
            is_urgent: false,
            is_begun: false,
            waited: s(waited),
            age_max: s(900),
            standby_wait: STANDBY_WAIT,
        };
        let begun = |rank, waited| TurnFacts { is_begun: true, ..facts(rank, waited) };
        let urgent = |facts| TurnFacts { is_urgent: true, ..facts };
        let cases = [
            (facts(Rank::Primary, 0), 0),
            (begun(Rank::Primary, 0), 0),
            (facts(Rank::Standby(0), 0), 0),
            (facts(Rank::Standby(1), 0), 30),
            (facts(Rank::Standby(1), 29), 1),
            (facts(Rank::Standby(1), 31), 0),
            (facts(Rank::Standby(2), 31), 29),
            (facts(Rank::None, 0), 60),
            (facts(Rank::None, 60), 0),
            (begun(Rank::Standby(1), 31), 899),
            (begun(Rank::Standby(1), 930), 0),
            (urgent(begun(Rank::Standby(2), 0)), 0),
            (urgent(facts(Rank::None, 0)), 0),
        ];
        for (facts, expected) in cases {
            assert_eq!(decide_turn(facts), s(expected), "{facts:?}");
        }
        let endless = TurnFacts { age_max: Duration::MAX, ..begun(Rank::Standby(255), 1) };
        assert_eq!(decide_turn(endless), Duration::MAX - s(1));
    }
}
