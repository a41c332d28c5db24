//! What a leaf reads: a table as it was planned for, and the parts that one query's cut gives it.
//!
//! A [`Source`] knows no cut, so a plan may be kept and run again. The cut is the query's: every leaf of the query finds
//! it in the task's session, and takes its parts from it when it starts.

use std::fmt;
use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result};
use headwater_segment::column::{CodedColumn, Column, PlainColumn, PlainStore, SegmentColumns};
use headwater_segment::live::{LiveTable, OpenSlice};
use headwater_segment::resident::ResidentStore;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{SegmentMeta, SegmentReaderFactory};

use super::aggregate::{KeptKeyValues, ResultCache};
use super::options::ExecuteOptions;

/// A table as a plan reads it.
pub(crate) struct Source {
    /// The table.
    pub(crate) table: Arc<LiveTable>,
    /// The columns that the plan was made for.
    pub(crate) schema: Arc<TableSchema>,
    /// The visible columns' places in `schema`.
    pub(crate) visible: Vec<usize>,
    /// The visible columns.
    pub(crate) visible_schema: SchemaRef,
    /// Readers of the table's sealed segments.
    pub(crate) readers: SegmentReaderFactory,
    /// The columns of sealed segments, of all tables.
    pub(crate) residents: Arc<ResidentStore>,
    /// Values of group keys, of all tables.
    pub(crate) key_values: Arc<KeptKeyValues>,
    /// Partial aggregates of sealed segments, of all tables.
    pub(crate) results: Arc<ResultCache>,
    /// How to execute.
    pub(crate) options: ExecuteOptions,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("table", &self.table.name()).finish_non_exhaustive()
    }
}

/// One segment's part in a read.
#[derive(Clone)]
pub(crate) enum SegmentPart {
    /// All rows of a sealed segment.
    Sealed(Arc<SegmentMeta>),
    /// Rows of an open or sealing segment.
    Open(OpenSlice),
}

impl SegmentPart {
    /// Rows to read.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Sealed(meta) => usize::try_from(meta.rows).unwrap_or(usize::MAX),
            Self::Open(slice) => slice.rows.len(),
        }
    }
}

impl Source {
    /// Whether a plan made for one of the two reads the other as well: the same table with the same columns.
    pub(crate) fn is_planned_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
            && self.visible == other.visible
            && (Arc::ptr_eq(&self.schema, &other.schema) || self.schema.columns() == other.schema.columns())
    }

    /// The visible columns `columns`, as a schema.
    pub(crate) fn schema_of(&self, columns: &[usize]) -> SchemaRef {
        let field = |column: &usize| Arc::clone(&self.visible_schema.fields()[*column]);
        Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// The visible columns `columns` of a part if that takes no waiting: they are open, or resident in memory.
    pub(crate) fn ready(&self, part: &SegmentPart, columns: &[usize]) -> Result<Option<Arc<SegmentColumns>>> {
        if columns.is_empty() {
            return Ok(Some(Arc::new(SegmentColumns::even(part.rows(), Vec::new()))));
        }
        let full = self.full(columns);
        match part {
            SegmentPart::Sealed(meta) => {
                let ready = self.residents.ready(&self.schema, meta, &full);
                Ok(ready.map(|columns| self.told(columns)))
            }
            SegmentPart::Open(slice) => {
                self.residents.note_used(self.table.name(), &self.schema, &full);
                Ok(Some(Arc::new(open_columns(slice, &self.schema, &full).map_err(segment_error)?)))
            }
        }
    }

    /// The visible columns `columns` of a sealed segment, loaded as far as they are not in memory. On a runtime with I/O.
    pub(crate) async fn load(
        &self,
        meta: &Arc<SegmentMeta>,
        columns: &[usize],
    ) -> Result<Arc<SegmentColumns>> {
        let full = self.full(columns);
        let columns = self.residents.columns(self.table.name(), &self.readers, &self.schema, meta, &full);
        Ok(self.told(columns.await.map_err(segment_error)?))
    }

    /// Columns with what execution may know of them.
    fn told(&self, columns: SegmentColumns) -> Arc<SegmentColumns> {
        Arc::new(if self.options.zones { columns } else { without_zones(&columns) })
    }

    /// The places in the table's schema of visible columns.
    pub(super) fn full(&self, columns: &[usize]) -> Vec<usize> {
        columns.iter().map(|column| self.visible[*column]).collect()
    }
}

/// The same columns as if nobody had noted the bounds of their blocks: whoever reads them must look at the rows.
fn without_zones(columns: &SegmentColumns) -> SegmentColumns {
    let bare = |column: &Arc<Column>| match column.coded() {
        Some(coded) => Arc::new(Column::Coded(CodedColumn {
            data_type: coded.data_type.clone(),
            values: coded.values.clone(),
            has_null: coded.has_null,
            codes: coded.codes.clone(),
            zones: None,
            postings: coded.postings.clone(),
        })),
        None => Arc::clone(column),
    };
    let bare = columns.columns().iter().map(bare).collect();
    // Only open columns have other blocks, and these have no zone maps.
    SegmentColumns::even(columns.rows(), bare)
}

/// Columns `wanted` of `schema`; those that the segment is too old to have are NULL.
fn open_columns(
    slice: &OpenSlice,
    schema: &TableSchema,
    wanted: &[usize],
) -> headwater_segment::Result<SegmentColumns> {
    let own = slice.segment.schema();
    let rows = slice.rows.clone();
    if own.columns() == schema.columns() {
        return slice.segment.columns(rows, wanted);
    }
    let places: Vec<Option<usize>> =
        wanted.iter().map(|column| own.index_of(&schema.columns()[*column].name)).collect();
    // Some column for the blocks, if there is none of the wanted ones.
    let mut present: Vec<usize> = places.iter().flatten().copied().collect();
    present.push(own.offset_column());
    let found = slice.segment.columns(rows, &present)?;
    let ends: Vec<usize> = (0..found.blocks()).map(|block| found.block(block).end).collect();
    let mut next = found.columns().iter();
    let columns = wanted.iter().zip(&places).filter_map(|(column, place)| match place {
        Some(_) => next.next().map(Arc::clone),
        None => {
            let data_type = schema.arrow().field(*column).data_type().clone();
            let block = |block| new_null_array(&data_type, found.block(block).len());
            let values = PlainStore::Chunked((0..found.blocks()).map(block).collect());
            Some(Arc::new(Column::Plain(PlainColumn { data_type, values })))
        }
    });
    let columns = columns.collect();
    Ok(SegmentColumns::listed(ends.into(), columns))
}

pub(super) fn segment_error(error: headwater_segment::SegmentError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
