//! What was acknowledged when: which rows are younger than a table's retention, and so must be there.

use super::model::Cut;

/// Between marks; a look-up is late by at most this much.
const MARK_EVERY_MS: i64 = 200;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    acknowledged: Cut,
    /// Times, and what was acknowledged then; everything else bears that time or a later one.
    marks: Vec<(i64, Cut)>,
}

impl Timeline {
    /// A message was acknowledged.
    pub(crate) fn acknowledge(&mut self, partition: i32, offset: i64) {
        let end = self.acknowledged.entry(partition).or_default();
        *end = (offset + 1).max(*end);
    }

    /// No message is on its way, and all that are sent from now on bear this time or a later one.
    pub(crate) fn mark(&mut self, now_ms: i64) {
        if self.marks.last().is_none_or(|(last_ms, _)| now_ms - last_ms >= MARK_EVERY_MS) {
            self.marks.push((now_ms, self.acknowledged.clone()));
        }
    }

    /// Per partition, an offset from which on no message is older than `time_ms`; `None` if all of them may be.
    pub(crate) fn since(&self, time_ms: i64) -> Option<&Cut> {
        let mark = self.marks.partition_point(|(marked_ms, _)| *marked_ms < time_ms);
        self.marks.get(mark).map(|(_, cut)| cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_young_is_everything_from_the_next_mark_on() {
        let mut timeline = Timeline::default();
        timeline.mark(1_000);
        timeline.acknowledge(0, 0);
        timeline.acknowledge(1, 4);
        timeline.mark(1_100);
        timeline.acknowledge(0, 1);
        timeline.mark(1_200);
        timeline.acknowledge(0, 7);
        assert_eq!(timeline.since(900), Some(&Cut::new()));
        assert_eq!(timeline.since(1_000), Some(&Cut::new()));
        assert_eq!(timeline.since(1_001), Some(&Cut::from([(0, 2), (1, 5)])), "too soon for a mark at 1100");
        assert_eq!(timeline.since(1_201), None, "nobody knows when the rest was sent");
    }
}
