//! `system.dead_letters`: the messages that are no rows. Those that are stored are read from the store, so a query reads only
//! the objects which may hold what it looks for, by table, partition and offset.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray, UInt64Array};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use headwater_segment::live::{DEAD_LETTERS_MAX, LettersWanted, LiveTable};
use headwater_segment::mutable::DeadLetter;
use headwater_segment::sealed::LetterObject;

use super::CatalogSources;
use super::system::Kind::{Bool, Bytes, Int, Long, Text, Time};
use super::system::{Holders, Listing, Row, Spread, SystemTable, Wanted, text, time_of_ms};
use super::system_rows::this_node;

pub(super) const DEAD_LETTERS: SystemTable = SystemTable {
    name: "dead_letters",
    columns: &[
        ("table_name", Text),
        ("partition", Int),
        ("offset", Long),
        ("timestamp", Time),
        ("reason", Text),
        ("payload", Bytes),
        ("truncated", Bool),
        ("key", Bytes),
        ("node", Text),
    ],
    rows: dead_letters,
    // Table, partition, offset and timestamp: a topic that was recreated has the same offsets once more.
    spread: Some(Spread { holders: Holders::Data, named_by: 4 }),
};

fn dead_letters(sources: Arc<CatalogSources>, listing: Listing) -> BoxFuture<'static, Result<Vec<Row>>> {
    async move {
        let (here, shared) = (this_node(&listing), text(None::<String>));
        let rows_max = listing.wanted.rows_max.unwrap_or(usize::MAX);
        // Of what is open some may be stored by now, so only what is stored counts as found.
        let (mut rows, mut found) = (Vec::new(), 0);
        for table in sources.tables.list() {
            // In this order: letters are stored before they leave memory.
            let open = if listing.part.has_own() { table.open_dead_letters() } else { Vec::new() };
            if listing.part.has_shared() && found < rows_max {
                let stored = stored(&table, &listing.wanted).await?;
                found += stored.len();
                rows.extend(stored.into_iter().map(|letter| dead_letter(table.name(), letter, &shared)));
            }
            rows.extend(open.into_iter().map(|letter| dead_letter(table.name(), letter, &here)));
        }
        Ok(rows)
    }
    .boxed()
}

async fn stored(table: &LiveTable, wanted: &Wanted) -> Result<Vec<DeadLetter>> {
    let may_hold = |objects: Option<&[LetterObject]>| {
        let statistics = Names { table: table.name(), objects };
        let verdicts = wanted.predicate.as_ref().and_then(|predicate| predicate.prune(&statistics).ok());
        verdicts.unwrap_or_else(|| vec![true; statistics.num_containers()])
    };
    if may_hold(None) == [false] {
        return Ok(Vec::new());
    }
    let letters_max = wanted.rows_max.unwrap_or(DEAD_LETTERS_MAX);
    let wanted = LettersWanted { may_hold: &|objects| may_hold(Some(objects)), letters_max };
    let stored = table.stored_dead_letters(wanted).await;
    stored.map_err(|error| DataFusionError::External(Box::new(error)))
}

fn dead_letter(table: &str, letter: DeadLetter, node: &ScalarValue) -> Row {
    vec![
        text(Some(table)),
        ScalarValue::Int32(Some(letter.partition)),
        ScalarValue::Int64(Some(letter.offset)),
        time_of_ms(letter.timestamp_ms),
        text(Some(letter.reason)),
        ScalarValue::Binary(Some(letter.payload.to_vec())),
        ScalarValue::Boolean(Some(letter.truncated)),
        ScalarValue::Binary(letter.key.map(|key| key.to_vec())),
        node.clone(),
    ]
}

/// What the names of objects say of the rows in them; of a table as a whole, if no objects are named.
struct Names<'a> {
    table: &'a str,
    objects: Option<&'a [LetterObject]>,
}

impl Names<'_> {
    fn bound(&self, column: &Column, offset: fn(&LetterObject) -> i64) -> Option<ArrayRef> {
        match (column.name.as_str(), self.objects) {
            ("table_name", _) => Some(Arc::new(StringArray::from(vec![self.table; self.num_containers()]))),
            ("partition", Some(objects)) => {
                let partitions = objects.iter().map(|object| object.partition);
                Some(Arc::new(Int32Array::from_iter_values(partitions)))
            }
            ("offset", Some(objects)) => {
                Some(Arc::new(Int64Array::from_iter_values(objects.iter().map(offset))))
            }
            _ => None,
        }
    }
}

impl PruningStatistics for Names<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, |object| object.from)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, |object| object.to.saturating_sub(1))
    }

    fn num_containers(&self) -> usize {
        self.objects.map_or(1, <[LetterObject]>::len)
    }

    /// Only what is named is never NULL.
    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let is_named = matches!(column.name.as_str(), "table_name" | "partition" | "offset");
        is_named.then(|| Arc::new(UInt64Array::from(vec![0; self.num_containers()])) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
