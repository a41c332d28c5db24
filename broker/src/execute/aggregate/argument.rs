//! What an aggregate function is given, compiled for one segment.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column as ColumnExpr};
use headwater_segment::column::{Column, SegmentColumns, gather};

use super::program::{BlockRows, Program, ProgramScratch, Table, unlike};
use super::values::{Values, is_floating, is_integral, read_floats, read_integers, read_valid};
use crate::execute::filter::columns::column_indexes;
use crate::execute::project::{dictionary_pays, evaluate_on_dictionary};

/// Where integers come from.
#[derive(Debug)]
pub(super) enum Integers {
    Program(Program),
    Table(Table<i64>),
    /// An expression over the materialised rows.
    Rows(Arc<dyn PhysicalExpr>),
}

/// Where doubles come from.
#[derive(Debug)]
pub(super) enum Floats {
    /// Integers, converted.
    Program(Program),
    Table(Table<f64>),
    /// The arrays of a plain column.
    Plain(usize),
    /// An expression over the materialised rows.
    Rows(Arc<dyn PhysicalExpr>),
}

/// What tells which rows are not NULL.
#[derive(Debug)]
pub(super) enum Presence {
    All,
    /// Code 0 is NULL.
    Codes(usize),
    /// By code.
    Table(usize, Vec<u8>),
    Plain(usize),
    /// An expression over the materialised rows.
    Rows(Arc<dyn PhysicalExpr>),
}

/// An immutable expression's value for each code, if it reads exactly one column, which has codes, and few enough.
pub(super) async fn by_code(
    expr: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
    segment: &SegmentColumns,
) -> Result<Option<(usize, ArrayRef)>> {
    let indexes = column_indexes(expr);
    let [position] = indexes.as_slice() else { return Ok(None) };
    let Some(column) = segment.columns().get(*position).and_then(|column| column.coded()) else {
        return Ok(None);
    };
    if !dictionary_pays(column, segment.rows()) {
        return Ok(None);
    }
    let values = evaluate_on_dictionary(expr, column, schema.field(*position)).await?;
    Ok(values.map(|values| (*position, values)))
}

impl Integers {
    pub(super) async fn new(
        expr: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
        segment: &SegmentColumns,
    ) -> Result<Self> {
        if let Some(program) = Program::new(expr.as_ref(), schema, segment)? {
            return Ok(Self::Program(program));
        }
        if let Some((position, array)) = by_code(expr, schema, segment).await?
            && is_integral(array.data_type())
        {
            let mut values = Values::default();
            read_integers(&array, None, &mut values)?;
            return Ok(Self::Table(Table::new(position, values)));
        }
        Ok(Self::Rows(Arc::clone(expr)))
    }

    pub(super) fn read(
        &self,
        input: BlockRows<'_>,
        batch: Option<&RecordBatch>,
        scratch: &mut ProgramScratch,
        out: &mut Values<i64>,
    ) -> Result<()> {
        match self {
            Self::Program(program) => program.evaluate(input, scratch, out),
            Self::Table(table) => table.read(input, out),
            Self::Rows(expr) => read_integers(&evaluate(expr, batch)?, None, out),
        }
    }
}

impl Floats {
    pub(super) async fn new(
        expr: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
        segment: &SegmentColumns,
    ) -> Result<Self> {
        if let Some(integer) = cast_integer(expr, schema)?
            && let Some(program) = Program::new(integer.as_ref(), schema, segment)?
        {
            return Ok(Self::Program(program));
        }
        if let Some((position, array)) = by_code(expr, schema, segment).await?
            && is_floating(array.data_type())
        {
            let mut values = Values::default();
            read_floats(&array, None, &mut values)?;
            return Ok(Self::Table(Table::new(position, values)));
        }
        if let Some(column) = expr.downcast_ref::<ColumnExpr>()
            && let Some(Column::Plain(_)) = segment.columns().get(column.index()).map(AsRef::as_ref)
        {
            return Ok(Self::Plain(column.index()));
        }
        Ok(Self::Rows(Arc::clone(expr)))
    }

    pub(super) fn read(
        &self,
        input: BlockRows<'_>,
        batch: Option<&RecordBatch>,
        scratch: &mut ProgramScratch,
        integers: &mut Values<i64>,
        out: &mut Values<f64>,
    ) -> Result<()> {
        match self {
            Self::Program(program) => {
                program.evaluate(input, scratch, integers)?;
                out.values.clear();
                out.values.extend(integers.values.iter().map(|value| *value as f64));
                out.has_null = integers.has_null;
                if out.has_null {
                    out.valid.clone_from(&integers.valid);
                }
                Ok(())
            }
            Self::Table(table) => table.read(input, out),
            Self::Plain(position) => {
                let Column::Plain(plain) = input.segment.columns()[*position].as_ref() else {
                    return Err(unlike());
                };
                read_floats(&plain.array(input.block), input.rows, out)
            }
            Self::Rows(expr) => read_floats(&evaluate(expr, batch)?, None, out),
        }
    }
}

/// The integer that an expression casts to DOUBLE, if it does.
pub(super) fn cast_integer<'a>(
    expr: &'a Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Option<&'a Arc<dyn PhysicalExpr>>> {
    // Not to REAL: an integer would be rounded to a double first, and then once more.
    let Some(cast) = expr.downcast_ref::<CastExpr>().filter(|cast| *cast.cast_type() == DataType::Float64)
    else {
        return Ok(None);
    };
    let is_integer = matches!(cast.expr().data_type(schema)?, DataType::Int32 | DataType::Int64);
    Ok(is_integer.then(|| cast.expr()))
}

impl Presence {
    pub(super) async fn new(
        expr: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
        segment: &SegmentColumns,
    ) -> Result<Self> {
        if !expr.nullable(schema)? && column_indexes(expr).is_empty() {
            return Ok(Self::All);
        }
        if let Some(column) = expr.downcast_ref::<ColumnExpr>() {
            return Ok(match segment.columns().get(column.index()).map(AsRef::as_ref) {
                Some(Column::Coded(coded)) if coded.has_null => Self::Codes(column.index()),
                Some(Column::Coded(_)) => Self::All,
                Some(Column::Plain(_)) => Self::Plain(column.index()),
                None => Self::Rows(Arc::clone(expr)),
            });
        }
        if let Some((position, array)) = by_code(expr, schema, segment).await? {
            let mut valid = Vec::new();
            let has_null = read_valid(array.as_ref(), None, &mut valid);
            return Ok(if has_null { Self::Table(position, valid) } else { Self::All });
        }
        Ok(Self::Rows(Arc::clone(expr)))
    }

    /// Sets the flags of the rows that are not NULL if some row is; whether one is.
    pub(super) fn read(
        &self,
        input: BlockRows<'_>,
        batch: Option<&RecordBatch>,
        valid: &mut Vec<u8>,
    ) -> Result<bool> {
        let coded = |position: &usize| input.segment.columns()[*position].coded().ok_or_else(unlike);
        Ok(match self {
            Self::All => false,
            Self::Codes(position) => gather::not_zero(coded(position)?.codes(input.block), input.rows, valid),
            Self::Table(position, table) => {
                gather::lookup(coded(position)?.codes(input.block), input.rows, table, valid);
                !gather::all_set(valid)
            }
            Self::Plain(position) => {
                let Column::Plain(plain) = input.segment.columns()[*position].as_ref() else {
                    return Err(unlike());
                };
                read_valid(plain.array(input.block).as_ref(), input.rows, valid)
            }
            Self::Rows(expr) => read_valid(evaluate(expr, batch)?.as_ref(), None, valid),
        })
    }
}

/// The value of an expression over materialised rows.
pub(super) fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: Option<&RecordBatch>) -> Result<ArrayRef> {
    let Some(batch) = batch else { return Err(unlike()) };
    expr.evaluate(batch)?.into_array(batch.num_rows())
}
