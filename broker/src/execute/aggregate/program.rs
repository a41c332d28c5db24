//! Integer arithmetic over the columns of a segment, on whole blocks.
//!
//! Invariant: the result is that of SQL: an operation whose result does not fit its type (32 or 64 bits) is an error if a
//! selected row without NULL meets it, and only then.

use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column as ColumnExpr, Literal};
use datafusion::scalar::ScalarValue;
use headwater_segment::column::{CodeValues, CodedColumn, Column, SegmentColumns, gather};

use super::values::{Values, is_integral, read_integers};
use crate::execute::project::dictionary_values;

/// The selected rows of one block.
#[derive(Clone, Copy)]
pub(super) struct BlockRows<'a> {
    pub(super) segment: &'a SegmentColumns,
    pub(super) block: usize,
    /// Numbers of the selected rows within the block; `None` if all are.
    pub(super) rows: Option<&'a [u16]>,
    /// How many rows are selected.
    pub(super) count: usize,
}

/// An integer expression, compiled for one segment.
#[derive(Debug)]
pub(super) struct Program {
    root: Node,
    /// Whether the bounds of the columns leave it possible that an operation overflows.
    checked: bool,
}

#[derive(Debug)]
enum Node {
    Column(Source),
    Literal(i64),
    Operation { operation: Operation, narrow: bool, left: Box<Node>, right: Box<Node> },
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Add,
    Subtract,
    Multiply,
}

/// How a column's integers are read.
#[derive(Debug)]
enum Source {
    /// `base + step * code`; code 0 is NULL if `has_null`.
    Linear {
        position: usize,
        base: i64,
        step: i64,
        codes: u64,
        has_null: bool,
    },
    Table(Table<i64>),
    /// From arrays.
    Plain {
        position: usize,
    },
}

/// Doubles or integers by code.
#[derive(Debug)]
pub(super) struct Table<V> {
    position: usize,
    values: Vec<V>,
    valid: Option<Vec<u8>>,
}

/// Memory that programs reuse.
#[derive(Default)]
pub(super) struct ProgramScratch {
    spare: Vec<Values<i64>>,
    overflows: Vec<u8>,
}

impl Program {
    /// Compiles an expression over the columns of `segment`; `None` if it is not such arithmetic.
    pub(super) fn new(
        expr: &dyn PhysicalExpr,
        schema: &Schema,
        segment: &SegmentColumns,
    ) -> Result<Option<Self>> {
        let Some(root) = compile(expr, schema, segment)? else { return Ok(None) };
        let checked = root.bounds().is_none();
        Ok(Some(Self { root, checked }))
    }

    /// If the program is a column without NULL whose value is `base + step * code`: its position, base and step.
    pub(super) fn as_linear(&self) -> Option<(usize, i64, i64)> {
        match &self.root {
            Node::Column(Source::Linear { position, base, step, has_null: false, .. }) => {
                Some((*position, *base, *step))
            }
            _ => None,
        }
    }

    /// The values of the selected rows.
    pub(super) fn evaluate(
        &self,
        input: BlockRows<'_>,
        scratch: &mut ProgramScratch,
        out: &mut Values<i64>,
    ) -> Result<()> {
        if self.checked {
            scratch.overflows.clear();
            scratch.overflows.resize(input.count, 0);
        }
        self.root.evaluate(self.checked, input, scratch, out)?;
        if !self.checked {
            return Ok(());
        }
        let overflows = match out.valid() {
            None => scratch.overflows.iter().any(|flag| *flag != 0),
            Some(valid) => scratch.overflows.iter().zip(valid).any(|(flag, valid)| flag & valid != 0),
        };
        if overflows {
            Err(overflow("integer overflow in an expression; cast it to BIGINT or DECIMAL(38,0)"))
        } else {
            Ok(())
        }
    }
}

/// The error of an integer that does not fit its type.
pub(super) fn overflow(message: &str) -> DataFusionError {
    DataFusionError::ArrowError(Box::new(ArrowError::ArithmeticOverflow(message.into())), None)
}

fn compile(expr: &dyn PhysicalExpr, schema: &Schema, segment: &SegmentColumns) -> Result<Option<Node>> {
    if let Some(column) = expr.downcast_ref::<ColumnExpr>() {
        let Some(column_type) = schema.fields().get(column.index()).map(|field| field.data_type()) else {
            return Ok(None);
        };
        if !is_integral(column_type) {
            return Ok(None);
        }
        return Ok(Source::new(column.index(), segment)?.map(Node::Column));
    }
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return Ok(match literal.value() {
            ScalarValue::Int32(Some(value)) => Some(Node::Literal((*value).into())),
            ScalarValue::Int64(Some(value)) => Some(Node::Literal(*value)),
            _ => None,
        });
    }
    let data_type = expr.data_type(schema)?;
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        let widens = matches!(
            (cast.expr().data_type(schema)?, &data_type),
            (DataType::Int32, DataType::Int32 | DataType::Int64) | (DataType::Int64, DataType::Int64)
        );
        return if widens { compile(cast.expr().as_ref(), schema, segment) } else { Ok(None) };
    }
    let Some(binary) = expr.downcast_ref::<BinaryExpr>() else { return Ok(None) };
    let operation = match binary.op() {
        Operator::Plus => Operation::Add,
        Operator::Minus => Operation::Subtract,
        Operator::Multiply => Operation::Multiply,
        _ => return Ok(None),
    };
    let same = |side: &dyn PhysicalExpr| Ok::<_, DataFusionError>(side.data_type(schema)? == data_type);
    let (left, right) = (binary.left().as_ref(), binary.right().as_ref());
    if !matches!(data_type, DataType::Int32 | DataType::Int64) || !same(left)? || !same(right)? {
        return Ok(None);
    }
    let (Some(left), Some(right)) = (compile(left, schema, segment)?, compile(right, schema, segment)?)
    else {
        return Ok(None);
    };
    let narrow = data_type == DataType::Int32;
    Ok(Some(Node::Operation { operation, narrow, left: Box::new(left), right: Box::new(right) }))
}

impl Node {
    /// Between which values every result is, NULL's stand-ins included; `None` if an operation may overflow.
    fn bounds(&self) -> Option<(i128, i128)> {
        match self {
            Self::Column(source) => Some(source.bounds()),
            Self::Literal(value) => Some(((*value).into(), (*value).into())),
            Self::Operation { operation, narrow, left, right } => {
                let ((low, high), (other_low, other_high)) = (left.bounds()?, right.bounds()?);
                let (low, high) = match operation {
                    Operation::Add => (low + other_low, high + other_high),
                    Operation::Subtract => (low - other_high, high - other_low),
                    Operation::Multiply => {
                        let corners =
                            [low * other_low, low * other_high, high * other_low, high * other_high];
                        (corners.into_iter().min()?, corners.into_iter().max()?)
                    }
                };
                let (least, most): (i128, i128) = if *narrow {
                    (i32::MIN.into(), i32::MAX.into())
                } else {
                    (i64::MIN.into(), i64::MAX.into())
                };
                (least <= low && high <= most).then_some((low, high))
            }
        }
    }

    fn evaluate(
        &self,
        checked: bool,
        input: BlockRows<'_>,
        scratch: &mut ProgramScratch,
        out: &mut Values<i64>,
    ) -> Result<()> {
        match self {
            Self::Column(source) => source.read(input, out),
            Self::Literal(value) => {
                out.values.clear();
                out.values.resize(input.count, *value);
                out.has_null = false;
                Ok(())
            }
            Self::Operation { operation, narrow, left, right } => {
                left.evaluate(checked, input, scratch, out)?;
                let mut other = scratch.spare.pop().unwrap_or_default();
                let evaluated = right.evaluate(checked, input, scratch, &mut other);
                if evaluated.is_ok() {
                    out.join_nulls(&other);
                    let overflows = checked.then_some((&mut scratch.overflows[..], *narrow));
                    operate(*operation, &mut out.values, &other.values, overflows);
                }
                scratch.spare.push(other);
                evaluated
            }
        }
    }
}

/// `left = left operation right`; with flags, those of the rows whose result does not fit are set.
fn operate(operation: Operation, left: &mut [i64], right: &[i64], overflows: Option<(&mut [u8], bool)>) {
    let Some((flags, narrow)) = overflows else {
        let rows = left.iter_mut().zip(right);
        return match operation {
            Operation::Add => rows.for_each(|(left, right)| *left = left.wrapping_add(*right)),
            Operation::Subtract => rows.for_each(|(left, right)| *left = left.wrapping_sub(*right)),
            Operation::Multiply => rows.for_each(|(left, right)| *left = left.wrapping_mul(*right)),
        };
    };
    for ((left, right), flag) in left.iter_mut().zip(right).zip(flags) {
        let (result, overflows) = match operation {
            Operation::Add => left.overflowing_add(*right),
            Operation::Subtract => left.overflowing_sub(*right),
            Operation::Multiply => left.overflowing_mul(*right),
        };
        *left = result;
        *flag |= u8::from(overflows | (narrow & (i64::from(result as i32) != result)));
    }
}

impl Source {
    fn new(position: usize, segment: &SegmentColumns) -> Result<Option<Self>> {
        Ok(match segment.columns().get(position).map(AsRef::as_ref) {
            None => None,
            Some(Column::Plain(_)) => Some(Self::Plain { position }),
            Some(Column::Coded(column)) => Some(Self::coded(position, column)?),
        })
    }

    fn coded(position: usize, column: &CodedColumn) -> Result<Self> {
        if let CodeValues::Linear { base, step, count } = &column.values {
            // With NULL, code 1 stands for the base; the stand-in of code 0 must not wrap.
            let shifted = if column.has_null { base.checked_sub(*step) } else { Some(*base) };
            if let Some(base) = shifted {
                let (step, codes, has_null) = (*step, *count, column.has_null);
                return Ok(Self::Linear { position, base, step, codes, has_null });
            }
        }
        let mut read = Values::default();
        read_integers(&dictionary_values(column)?, None, &mut read)?;
        Ok(Self::Table(Table::new(position, read)))
    }

    fn bounds(&self) -> (i128, i128) {
        match self {
            Self::Linear { base, step, codes, .. } => {
                let (base, step) = (i128::from(*base), i128::from(*step));
                (base, base + step * i128::from(codes.saturating_sub(1)))
            }
            Self::Table(table) => {
                let bound = |value: Option<&i64>| value.map_or(0, |value| i128::from(*value));
                (bound(table.values.iter().min()), bound(table.values.iter().max()))
            }
            Self::Plain { .. } => (i64::MIN.into(), i64::MAX.into()),
        }
    }

    fn read(&self, input: BlockRows<'_>, out: &mut Values<i64>) -> Result<()> {
        let column = |position: &usize| &input.segment.columns()[*position];
        match self {
            Self::Linear { position, base, step, has_null, .. } => {
                let Some(coded) = column(position).coded() else { return Err(unlike()) };
                let codes = coded.codes(input.block);
                gather::linear(codes, input.rows, *base, *step, &mut out.values);
                out.has_null = *has_null && gather::not_zero(codes, input.rows, &mut out.valid);
            }
            Self::Table(table) => table.read(input, out)?,
            Self::Plain { position } => {
                let Column::Plain(plain) = column(position).as_ref() else { return Err(unlike()) };
                read_integers(&plain.array(input.block), input.rows, out)?;
            }
        }
        Ok(())
    }
}

impl<V> Table<V> {
    pub(super) fn new(position: usize, values: Values<V>) -> Self {
        Self { position, valid: values.has_null.then_some(values.valid), values: values.values }
    }
}

impl<V: Copy> Table<V> {
    pub(super) fn read(&self, input: BlockRows<'_>, out: &mut Values<V>) -> Result<()> {
        let Some(coded) = input.segment.columns()[self.position].coded() else { return Err(unlike()) };
        let codes = coded.codes(input.block);
        gather::lookup(codes, input.rows, &self.values, &mut out.values);
        out.has_null = self.valid.as_ref().is_some_and(|valid| {
            gather::lookup(codes, input.rows, valid, &mut out.valid);
            !gather::all_set(&out.valid)
        });
        Ok(())
    }
}

/// The error of a segment that a plan was not compiled for.
pub(super) fn unlike() -> DataFusionError {
    DataFusionError::Internal("a segment was prepared for another form of its columns".into())
}
