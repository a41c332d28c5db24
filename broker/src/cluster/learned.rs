//! How many partial groups earlier queries have had, by what they group: what statistics do not say.
//!
//! The log knows how many rows there are and between which bounds a column is, but not how many values it has. So a query that
//! groups by keys which nobody has grouped by before sends its partial groups to the broker, which counts them; what it counted
//! decides for the next one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use parking_lot::Mutex;

use crate::execute::scan::SegmentScanExec;

/// Keys of which the number of groups is known.
const KEYS_MAX: usize = 4096;

/// What is grouped by what: a hash of the tables and of the names of the keys, which are as long as a client likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey(u64);

impl GroupKey {
    /// What the query groups by at `aggregate`.
    pub(super) fn of(aggregate: &AggregateExec) -> Self {
        let keys = aggregate.group_expr().expr().iter().map(|(_, name)| name.as_str());
        let mut hasher = DefaultHasher::new();
        keys.for_each(|key| key.hash(&mut hasher));
        // The walk itself cannot fail.
        let _ = aggregate.input().apply(|node| {
            if let Some(scan) = node.downcast_ref::<SegmentScanExec>() {
                scan.source().table.name().hash(&mut hasher);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        Self(hasher.finish())
    }
}

/// See the module. Shared by all queries of an engine.
#[derive(Default)]
pub(crate) struct LearnedGroups {
    known: Mutex<HashMap<GroupKey, u64>>,
}

impl LearnedGroups {
    /// So many partial groups there were the last time.
    pub(super) fn groups(&self, key: &GroupKey) -> Option<u64> {
        self.known.lock().get(key).copied()
    }

    /// So many there are now; or at least so many, if the query did not run to its end.
    pub(super) fn learn(&self, key: GroupKey, groups: u64, has_ended: bool) {
        let mut known = self.known.lock();
        if known.len() >= KEYS_MAX && !known.contains_key(&key) {
            // Any: what is asked often is soon known again.
            let any = known.keys().next().copied();
            any.and_then(|any| known.remove(&any));
        }
        let least = if has_ended { 0 } else { known.get(&key).copied().unwrap_or(0) };
        known.insert(key, groups.max(least));
    }
}

/// The rows of `plan` by its statistics; `None` if nobody knows.
pub(super) fn rows_of(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    statistics.num_rows.get_value().map(|rows| *rows as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_bounded_and_the_last_count_holds() {
        let learned = LearnedGroups::default();
        for key in 0..KEYS_MAX as u64 + 10 {
            learned.learn(GroupKey(key), key, true);
        }
        assert_eq!(learned.known.lock().len(), KEYS_MAX);
        let last = GroupKey(KEYS_MAX as u64 + 9);
        assert_eq!(learned.groups(&last), Some(KEYS_MAX as u64 + 9));
        learned.learn(last, 7, false);
        assert_eq!(learned.groups(&last), Some(KEYS_MAX as u64 + 9), "it was cut short");
        learned.learn(last, 7, true);
        assert_eq!(learned.groups(&last), Some(7));
        assert_eq!(learned.groups(&GroupKey(u64::MAX)), None);
    }
}
