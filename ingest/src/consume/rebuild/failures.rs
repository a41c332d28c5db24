//! Segments that could not be rebuilt: when each is tried again, and which object its last try has left in the store.
//!
//! Outlives a rebuilder; a process that starts anew tries everything once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::SegmentMeta;
use ulid::Ulid;

const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// A segment, and the index settings under which it was to be written anew. Under other ones it is another matter.
pub(super) type Wanted = (Ulid, u32);

/// An uploaded object that is to take a segment's place.
#[derive(Clone)]
pub(super) struct Replacement {
    pub(super) meta: Arc<SegmentMeta>,
    /// What it was written under.
    pub(super) schema: Arc<TableSchema>,
}

/// What has failed.
#[derive(Default)]
pub(crate) struct Failures {
    by_segment: HashMap<Wanted, Failure>,
}

#[derive(Default)]
struct Failure {
    tries: u32,
    retry_at: Option<Instant>,
    left: Option<Replacement>,
}

impl Failures {
    /// Whether a segment has not failed, or long enough ago.
    pub(super) fn is_due(&self, wanted: Wanted, now: Instant) -> bool {
        self.by_segment.get(&wanted).and_then(|failure| failure.retry_at).is_none_or(|at| at <= now)
    }

    /// Another try has failed. Returns how many have, and how long to wait before the next: twice as long every time, up to an hour.
    pub(super) fn failed(&mut self, wanted: Wanted, now: Instant) -> (u32, Duration) {
        let failure = self.by_segment.entry(wanted).or_default();
        let wait = 2_u32.checked_pow(failure.tries).and_then(|factor| RETRY_FIRST.checked_mul(factor));
        let wait = wait.unwrap_or(RETRY_MAX).min(RETRY_MAX);
        failure.tries = failure.tries.saturating_add(1);
        failure.retry_at = now.checked_add(wait);
        (failure.tries, wait)
    }

    /// Remembers what is uploaded and not known to be in the log, so that no second object is written beside it.
    pub(super) fn leave(&mut self, wanted: Wanted, replacement: Replacement) {
        self.by_segment.entry(wanted).or_default().left = Some(replacement);
    }

    /// What the last try has left.
    pub(super) fn left(&self, wanted: Wanted) -> Option<Replacement> {
        self.by_segment.get(&wanted)?.left.clone()
    }

    /// What was left is no longer of use.
    pub(super) fn forget_left(&mut self, wanted: Wanted) {
        if let Some(failure) = self.by_segment.get_mut(&wanted) {
            failure.left = None;
        }
    }

    /// Forgets all others.
    pub(super) fn keep_only(&mut self, wanted: &HashSet<Wanted>) {
        self.by_segment.retain(|segment, _| wanted.contains(segment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_become_ever_rarer() {
        let mut failures = Failures::default();
        let (segment, other, start) =
            ((Ulid::from_parts(1, 1), 7), (Ulid::from_parts(1, 1), 8), Instant::now());
        assert!(failures.is_due(segment, start));
        let waits: Vec<u64> = (0..40).map(|_| failures.failed(segment, start).1.as_secs()).collect();
        assert_eq!(waits[..8], [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert!(waits[8..].iter().all(|wait| *wait == 3600));
        assert!(!failures.is_due(segment, start + RETRY_MAX - Duration::from_millis(1)));
        assert!(failures.is_due(segment, start + RETRY_MAX));
        assert!(failures.is_due(other, start), "other settings are another matter");
        assert_eq!(failures.failed(segment, start).0, 41);
        failures.keep_only(&HashSet::from([other]));
        assert!(failures.is_due(segment, start) && failures.by_segment.is_empty());
    }
}
