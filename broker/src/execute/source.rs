//! What a leaf reads: a table as it was planned for, and the parts that one query's cut gives it.
//!
//! A [`Source`] knows no cut, so a plan may be kept and run again. The cut is the query's: every leaf of the query finds
//! it in the task's session, and takes its parts from it when it starts.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result};
use headwater_segment::column::SegmentColumns;
use headwater_segment::live::{LiveTable, OpenSlice};
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{SegmentMeta, SegmentReaderFactory};

use super::options::ExecuteOptions;
use super::stand_in;

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
        match part {
            SegmentPart::Sealed(_) => Ok(None),
            SegmentPart::Open(slice) => {
                let columns = stand_in::open_columns(slice, &self.full(columns)).map_err(segment_error)?;
                Ok(Some(Arc::new(columns)))
            }
        }
    }

    /// The visible columns `columns` of a part, loaded if need be.
    pub(crate) async fn load(&self, part: &SegmentPart, columns: &[usize]) -> Result<Arc<SegmentColumns>> {
        if let Some(ready) = self.ready(part, columns)? {
            return Ok(ready);
        }
        match part {
            SegmentPart::Sealed(meta) => {
                let full = self.full(columns);
                let loaded = stand_in::sealed_columns(&self.readers, &self.schema, meta, &full).await?;
                Ok(Arc::new(loaded))
            }
            SegmentPart::Open(_) => Err(DataFusionError::Internal("open columns are always ready".into())),
        }
    }

    /// The places in the table's schema of visible columns.
    fn full(&self, columns: &[usize]) -> Vec<usize> {
        columns.iter().map(|column| self.visible[*column]).collect()
    }
}

fn segment_error(error: headwater_segment::SegmentError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
