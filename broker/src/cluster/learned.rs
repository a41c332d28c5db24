//! How many partial groups earlier queries have had, by what they group: what statistics do not say.
//!
//! The log knows how many rows there are and between which bounds a column is, but not how many values it has. So a query that
//! groups by keys which nobody has grouped by before sends its partial groups to the broker, which counts them; what it counted
//! decides for the next one.

use std::collections::HashMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use parking_lot::Mutex;
use std::sync::Arc;

use crate::execute::scan::SegmentScanExec;

/// Keys of which the number of groups is known: some 100 bytes each.
const KEYS_MAX: usize = 4096;

/// What is grouped by what: the tables, and the names of the keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey(String);

impl GroupKey {
    /// What the query groups by at `aggregate`.
    pub(super) fn of(aggregate: &AggregateExec) -> Self {
        let keys = aggregate.group_expr().expr().iter().map(|(_, name)| name.as_str());
        let mut text = keys.collect::<Vec<_>>().join(",");
        // The walk itself cannot fail.
        let _ = aggregate.input().apply(|node| {
            if let Some(scan) = node.downcast_ref::<SegmentScanExec>() {
                text.push('|');
                text.push_str(scan.source().table.name());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        Self(text)
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

    /// So many there are now.
    pub(super) fn learn(&self, key: GroupKey, groups: u64) {
        let mut known = self.known.lock();
        if known.len() >= KEYS_MAX && !known.contains_key(&key) {
            // Any: what is asked often is soon known again.
            let any = known.keys().next().cloned();
            any.and_then(|any| known.remove(&any));
        }
        known.insert(key, groups);
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
        for key in 0..KEYS_MAX + 10 {
            learned.learn(GroupKey(key.to_string()), key as u64);
        }
        assert_eq!(learned.known.lock().len(), KEYS_MAX);
        let last = GroupKey((KEYS_MAX + 9).to_string());
        assert_eq!(learned.groups(&last), Some(KEYS_MAX as u64 + 9));
        learned.learn(last.clone(), 7);
        assert_eq!(learned.groups(&last), Some(7));
        assert_eq!(learned.groups(&GroupKey("another".into())), None);
    }
}
