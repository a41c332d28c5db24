//! Offsets that a request wants to be visible before it is answered: waiting for them, and saying which did not come.

use std::collections::BTreeMap;
use std::fmt::Write;

use headwater_segment::live::Tables;

use super::Engine;
use super::stream::deadline_passed;
use crate::{QueryError, QueryErrorKind};

/// By table and partition: the exclusive end that is to be visible.
pub(super) type MinOffsets = BTreeMap<String, BTreeMap<i32, i64>>;

/// Partitions that a message names.
const NAMED_MAX: usize = 5;

/// Waits until all of them are visible.
pub(super) async fn wait(engine: &Engine, wanted: &MinOffsets) -> Result<(), QueryError> {
    for (name, offsets) in wanted {
        let table = engine.tables.get(name).ok_or_else(|| {
            QueryError::new(QueryErrorKind::UnknownTable, format!("min_offsets: there is no table {name}"))
        })?;
        // On other nodes it is the cut that waits.
        if engine.sessions.nodes().is_none() {
            table.wait_visible(offsets).await;
        }
    }
    Ok(())
}

/// Why a query has come to its deadline before its first row: the offsets that it waits for, if it waits for any.
pub(super) fn late(engine: &Engine, wanted: &MinOffsets) -> QueryError {
    if engine.sessions.nodes().is_some() {
        return deadline_passed();
    }
    match missing(&engine.tables, wanted) {
        None => deadline_passed(),
        Some(missing) => QueryError::new(
            QueryErrorKind::Deadline,
            format!("the deadline passed before min_offsets were visible: {missing}"),
        ),
    }
}

/// What is not visible; `None` if all is.
fn missing(tables: &Tables, wanted: &MinOffsets) -> Option<String> {
    let mut named = Vec::new();
    for (name, offsets) in wanted {
        let Some(table) = tables.get(name) else { continue };
        let present = table.read().cut.offsets;
        for (partition, offset) in offsets {
            let place = format!("table {name}, partition {partition}");
            match present.get(partition) {
                Some(visible) if visible >= offset => {}
                Some(visible) => named
                    .push(format!("{place}: offsets below {offset} are wanted, below {visible} are visible")),
                // The topic may be about to get it.
                None => named.push(format!(
                    "{place}: offsets below {offset} are wanted, and the table has no such partition"
                )),
            }
        }
    }
    let more = named.len().saturating_sub(NAMED_MAX);
    named.truncate(NAMED_MAX);
    let mut text = named.join("; ");
    if more > 0 {
        write!(text, "; and {more} more").ok()?;
    }
    (!text.is_empty()).then_some(text)
}
