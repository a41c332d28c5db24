//! Group keys, compiled for one segment: how each key's values are told apart.
//!
//! | form | for | a row's key is |
//! |---|---|---|
//! | codes | an expression over one column with codes | the number of the value of its code, from a table |
//! | integers | a column of integers with many values; any, once one segment has it so | the integer |
//! | rows | anything else | the number of its value, found row by row |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as ColumnExpr;
use headwater_segment::column::{CodeValues, CodedColumn, Column, PlainStore, SegmentColumns};

use super::argument::by_code;
use super::key_values::KeyValues;
use super::program::Program;
use super::values::is_integral;
use crate::execute::project::dictionary_values;
use crate::execute::source::Source;

/// Integers with more values than this are keys by value.
const NUMBERED_CODES_MAX: u64 = 65_536;

/// One group key of a query.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) expr: Arc<dyn PhysicalExpr>,
    pub(super) field: FieldRef,
}

impl Key {
    /// An argument of a function, as a key.
    pub(super) fn of_argument(argument: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Self> {
        let column = argument.downcast_ref::<ColumnExpr>();
        let column = column.and_then(|column| schema.fields().get(column.index()));
        let field = match column {
            Some(column) => Arc::clone(column),
            None => Arc::new(Field::new("argument", argument.data_type(schema)?, true)),
        };
        Ok(Self { expr: Arc::clone(argument), field })
    }

    /// The key's values: those of a text column are shared with other queries.
    pub(super) fn shared_values(&self, schema: &Schema, source: &Source) -> Result<Arc<KeyValues>> {
        match self.text_column(schema) {
            Some(column) => source.key_values.get(source.table.name(), column),
            None => KeyValues::new(&self.field).map(Arc::new),
        }
    }

    /// The column of `schema` that the key is, if it is one of text.
    fn text_column<'a>(&self, schema: &'a Schema) -> Option<&'a FieldRef> {
        let column = self.expr.downcast_ref::<ColumnExpr>()?.index();
        let is_text = *self.field.data_type() == DataType::Utf8View;
        schema.fields().get(column).filter(|field| is_text && field.data_type() == self.field.data_type())
    }
}

/// One group key, for one segment.
#[derive(Debug)]
pub(super) enum SegmentKey {
    Codes {
        position: usize,
        /// The key's value for each code.
        values: ArrayRef,
        identity: Option<Identity>,
        /// The same by value, if the values are integers.
        by_value: Option<ByValue>,
    },
    Integers(ByValue),
    /// An expression over the materialised rows.
    Rows(Arc<dyn PhysicalExpr>),
}

/// Integers as they are.
#[derive(Debug)]
pub(super) struct ByValue {
    program: Program,
    shape: Shape,
}

/// Equal identities, equal values by code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    pub(super) async fn new(key: &Key, schema: &Schema, segment: &SegmentColumns) -> Result<Self> {
        let column = key.expr.downcast_ref::<ColumnExpr>().map(ColumnExpr::index);
        if let Some(position) = column
            && let Some(column) = segment.columns().get(position)
        {
            let by_value = ByValue::new(key, column, schema, segment)?;
            if let Some(coded) = column.coded()
                && is_numbered(coded)
            {
                return Self::codes(position, dictionary_values(coded)?, coded, key, by_value);
            }
            if let Some(by_value) = by_value {
                return Ok(Self::Integers(by_value));
            }
        } else if let Some((position, values)) = by_code(&key.expr, schema, segment).await?
            && let Some(coded) = segment.columns()[position].coded()
        {
            return Self::codes(position, values, coded, key, None);
        }
        Ok(Self::Rows(Arc::clone(&key.expr)))
    }

    fn codes(
        position: usize,
        values: ArrayRef,
        column: &CodedColumn,
        key: &Key,
        by_value: Option<ByValue>,
    ) -> Result<Self> {
        let wanted = key.field.data_type();
        let values = if values.data_type() == wanted { values } else { cast(&values, wanted)? };
        Ok(Self::Codes { position, values, identity: identity(column), by_value })
    }

    fn by_value(&self) -> Option<&ByValue> {
        match self {
            Self::Codes { by_value, .. } => by_value.as_ref(),
            Self::Integers(by_value) => Some(by_value),
            Self::Rows(_) => None,
        }
    }

    /// What computes the key as an integer.
    pub(super) fn program(&self) -> Option<&Program> {
        self.by_value().map(|by_value| &by_value.program)
    }

    /// How the key's values are told apart; by value where they can if `by_value`.
    pub(super) fn shape(&self, by_value: bool) -> Shape {
        match self {
            Self::Integers(integers) | Self::Codes { by_value: Some(integers), .. }
                if by_value || matches!(self, Self::Integers(_)) =>
            {
                integers.shape
            }
            _ => Shape::Number,
        }
    }

    /// Whether the key's values can be told apart in the way of `shape`.
    pub(super) fn suits(&self, shape: Shape) -> bool {
        match shape {
            Shape::Number => !matches!(self, Self::Integers(_)),
            Shape::Integer { may_be_null, .. } => self.by_value().is_some_and(|by_value| {
                matches!(by_value.shape, Shape::Integer { may_be_null: null, .. } if may_be_null || !null)
            }),
        }
    }
}

impl ByValue {
    fn new(key: &Key, column: &Column, schema: &Schema, segment: &SegmentColumns) -> Result<Option<Self>> {
        let data_type = key.field.data_type();
        if !is_integral(data_type) {
            return Ok(None);
        }
        let Some(program) = Program::new(key.expr.as_ref(), schema, segment)? else { return Ok(None) };
        let bits = if matches!(data_type, DataType::Int32 | DataType::Date32) { 32 } else { 64 };
        Ok(Some(Self { program, shape: Shape::Integer { bits, may_be_null: may_be_null(column) } }))
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
