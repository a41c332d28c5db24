//! What the nodes have of a table by now, for those who wait until it is something else.
//!
//! Nobody tells a broker of new rows: it asks the nodes, as a query does for its cut, and once for all who wait for rows of a table.
//! Nothing is given out by that, so no later cut has to reach what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_segment::live::LiveTable;
use tokio::time::Instant;

use super::nodes::Nodes;
use crate::request::TableCut;

/// A cut that could be had.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// When the nodes were asked.
    asked_at: Instant,
    log_version: u64,
    /// Per partition: exclusive end.
    offsets: BTreeMap<i32, i64>,
    /// Nothing is missing that was given out before.
    is_whole: bool,
}

impl Seen {
    /// Whether a query would have this cut again.
    pub(crate) fn is_at(&self, cut: &TableCut) -> bool {
        self.is_whole && self.log_version == cut.log_version && self.offsets == cut.offsets
    }
}

impl Nodes {
    /// What the nodes had of `table` at some moment not before `since`.
    pub(crate) async fn seen(&self, table: &Arc<LiveTable>, since: Instant) -> Seen {
        let known = self.known(table);
        // Who comes while others ask waits for what they hear.
        let mut seen = known.seen.lock().await;
        if let Some(seen) = seen.as_ref().filter(|seen| seen.asked_at >= since) {
            return seen.clone();
        }
        let asked_at = Instant::now();
        let (cut, _) = self.negotiate(table, &known, self.view(&BTreeSet::new()), None).await;
        let now = Seen {
            asked_at,
            log_version: cut.log.version,
            offsets: cut.offsets,
            is_whole: cut.missing.is_empty(),
        };
        seen.insert(now).clone()
    }
}
