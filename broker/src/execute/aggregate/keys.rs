//! Group keys, compiled for one segment: how each key's values are told apart.
//!
//! | form | for | a row's key is |
//! |---|---|---|
//! | codes | an expression over one column with codes | the number of the value of its code, from a table |
//! | integers | a column of integers with many values | the integer |
//! | rows | anything else | the number of its value, found row by row |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as ColumnExpr;
use headwater_segment::column::{CodeValues, CodedColumn, Column, PlainStore, SegmentColumns};

use super::argument::by_code;
use super::program::Program;
use super::values::is_integral;
use crate::execute::project::dictionary_values;

/// Integers with more values than this are keys by value.
const NUMBERED_CODES_MAX: u64 = 65_536;

/// One group key of a query.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) expr: Arc<dyn PhysicalExpr>,
    pub(super) field: FieldRef,
}

/// One group key, for one segment.
#[derive(Debug)]
pub(super) enum SegmentKey {
    Codes {
        position: usize,
        /// The key's value for each code.
        values: ArrayRef,
        identity: Option<Identity>,
    },
    Integers {
        program: Program,
        may_be_null: bool,
    },
    /// An expression over the materialised rows.
    Rows(Arc<dyn PhysicalExpr>),
}

/// Equal identities, equal values by code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    Dictionary(u128, bool),
    Linear { base: i64, step: i64, count: u64, has_null: bool },
}

/// How a key's values are told apart; groups of different shapes don't go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// By a number of 32 bits.
    Number,
    /// By the value, of so many bits, and a bit for NULL.
    Integer { bits: u32, may_be_null: bool },
}

impl SegmentKey {
    pub(super) fn new(key: &Key, schema: &Schema, segment: &SegmentColumns) -> Result<Self> {
        let column = key.expr.downcast_ref::<ColumnExpr>().map(ColumnExpr::index);
        if let Some(position) = column
            && let Some(column) = segment.columns().get(position)
        {
            if let Some(coded) = column.coded()
                && is_numbered(coded)
            {
                return Self::codes(position, dictionary_values(coded)?, coded, key);
            }
            if is_integral(key.field.data_type())
                && let Some(program) = Program::new(key.expr.as_ref(), schema, segment)?
            {
                return Ok(Self::Integers { program, may_be_null: may_be_null(column) });
            }
        } else if let Some((position, values)) = by_code(&key.expr, schema, segment)?
            && let Some(coded) = segment.columns()[position].coded()
        {
            return Self::codes(position, values, coded, key);
        }
        Ok(Self::Rows(Arc::clone(&key.expr)))
    }

    fn codes(position: usize, values: ArrayRef, column: &CodedColumn, key: &Key) -> Result<Self> {
        let wanted = key.field.data_type();
        let values = if values.data_type() == wanted { values } else { cast(&values, wanted)? };
        Ok(Self::Codes { position, values, identity: identity(column) })
    }

    pub(super) fn shape(&self, data_type: &DataType) -> Shape {
        match self {
            Self::Codes { .. } | Self::Rows(_) => Shape::Number,
            Self::Integers { may_be_null, .. } => {
                let bits = if matches!(data_type, DataType::Int32 | DataType::Date32) { 32 } else { 64 };
                Shape::Integer { bits, may_be_null: *may_be_null }
            }
        }
    }
}

/// Whether the values of a column's codes are numbered: those of every dictionary, and few enough integers.
fn is_numbered(column: &CodedColumn) -> bool {
    match &column.values {
        CodeValues::Dictionary { values, .. } => {
            !is_integral(values.data_type()) || values.len() as u64 <= NUMBERED_CODES_MAX
        }
        CodeValues::Linear { count, .. } => *count <= NUMBERED_CODES_MAX,
    }
}

fn may_be_null(column: &Column) -> bool {
    match column {
        Column::Coded(column) => column.has_null,
        Column::Plain(column) => match &column.values {
            PlainStore::Whole(array) => array.null_count() > 0,
            PlainStore::Chunked(pieces) => pieces.iter().any(|piece| piece.null_count() > 0),
        },
    }
}

fn identity(column: &CodedColumn) -> Option<Identity> {
    match &column.values {
        CodeValues::Dictionary { fingerprint, .. } => {
            fingerprint.map(|fingerprint| Identity::Dictionary(fingerprint, column.has_null))
        }
        CodeValues::Linear { base, step, count } => {
            let (base, step, count, has_null) = (*base, *step, *count, column.has_null);
            Some(Identity::Linear { base, step, count, has_null })
        }
    }
}
