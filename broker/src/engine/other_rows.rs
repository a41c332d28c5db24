//! Waiting until a statement may answer differently.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::select_all;
use headwater_segment::live::LiveTable;
use tokio::time::Instant;

use super::QueryEngine;
use crate::cluster::nodes::Nodes;
use crate::request::TableCut;

/// Nobody tells of a table that is dropped, or made anew under its name.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often data nodes are asked what they have, per table and not per question.
const ASK_EVERY: Duration = Duration::from_millis(100);

impl QueryEngine {
    /// Waits until one of the tables has other rows than in these cuts: more, or fewer, because of retention. Never returns if there
    /// are no tables. Cancel by dropping.
    pub async fn other_rows(&self, cuts: &BTreeMap<String, TableCut>) {
        if cuts.is_empty() {
            return std::future::pending().await;
        }
        if let Some(nodes) = self.inner.sessions.nodes() {
            return self.other_rows_on(nodes, cuts).await;
        }
        let tables = self.tables();
        loop {
            let mut changes = Vec::with_capacity(cuts.len());
            for (name, cut) in cuts {
                let Some(table) = tables.get(name) else { return };
                // Before the look, so that nothing falls in between.
                let mut visible = table.watch_visible();
                if is_other(&table, cut) {
                    return;
                }
                changes.push(Box::pin(async move {
                    // The sender is gone with the table, which the next look sees.
                    let _ = visible.changed().await;
                }));
            }
            let _ = tokio::time::timeout(LOOK_EVERY, select_all(changes)).await;
        }
    }

    /// The same where other nodes have the rows.
    async fn other_rows_on(&self, nodes: &Nodes, cuts: &BTreeMap<String, TableCut>) {
        // What was seen before the cuts were taken says nothing.
        let mut since = Instant::now();
        loop {
            let tables = self.tables();
            for (name, cut) in cuts {
                let Some(table) = tables.get(name) else { return };
                if !nodes.seen(&table, since).await.is_at(cut) {
                    return;
                }
            }
            since = Instant::now();
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

/// A version of the log may have brought nothing but a segment sealed; that it took rows away cannot be seen from the offsets.
fn is_other(table: &LiveTable, cut: &TableCut) -> bool {
    let now = table.read().cut;
    now.log_version != cut.log_version || now.offsets != cut.offsets
}
