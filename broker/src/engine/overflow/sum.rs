//! `sum` that fails where DataFusion's wraps around: over integers, decimals and durations.
//!
//! Invariants: name, types and states are those of the stock function, so that either can merge what the other has begun;
//! so is the signature, but for BOOLEANs, which it counts; within one stage the order of the rows does not matter.

use std::collections::HashMap;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::*;
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, Expr, GroupsAccumulator, Operator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};

use super::digits::check_digits;
use super::total::{Total, Totals};
use crate::execute::selection::true_bits;
use crate::functions::{Truth, with_truths};

/// The aggregate function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CheckedSum {
    stock: Sum,
    signature: Signature,
}

impl Default for CheckedSum {
    fn default() -> Self {
        let stock = Sum::new();
        let signature = with_truths(stock.signature(), Truth::Whole);
        Self { stock, signature }
    }
}

/// `$checked` with `$native` as the type of the sum, or `$stock` for types that do not wrap around.
macro_rules! by_type {
    ($args:expr, $native:ident => $checked:expr, $stock:expr) => {
        by_type!(@ $args, $native, $checked, $stock,
            DataType::Int64 => Int64Type,
            DataType::UInt64 => UInt64Type,
            DataType::Decimal32(..) => Decimal32Type,
            DataType::Decimal64(..) => Decimal64Type,
            DataType::Decimal128(..) => Decimal128Type,
            DataType::Decimal256(..) => Decimal256Type,
            DataType::Duration(TimeUnit::Second) => DurationSecondType,
            DataType::Duration(TimeUnit::Millisecond) => DurationMillisecondType,
            DataType::Duration(TimeUnit::Microsecond) => DurationMicrosecondType,
            DataType::Duration(TimeUnit::Nanosecond) => DurationNanosecondType)
    };
    (@ $args:expr, $native:ident, $checked:expr, $stock:expr, $($type:pat => $arrow:ty),*) => {
        match $args.return_field.data_type() {
            $($type => {
                type $native = $arrow;
                Ok(Box::new($checked))
            })*
            _ => $stock,
        }
    };
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.stock.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.stock.return_type(arguments)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type().clone();
        match args.is_distinct {
            true => by_type!(args, T => DistinctSum::<T>::new(self.stock.accumulator(args)?, data_type), {
                self.stock.accumulator(args)
            }),
            false => by_type!(args, T => PlainSum::<T>::new(data_type), self.stock.accumulator(args)),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.stock.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.stock.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let data_type = args.return_field.data_type().clone();
        by_type!(args, T => GroupSums::<T>::new(data_type), self.stock.create_groups_accumulator(args))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type().clone();
        if !args.is_distinct {
            let stock = |args| self.stock.create_sliding_accumulator(args);
            return by_type!(args, T => PlainSum::<T>::new(data_type), stock(args));
        }
        match data_type {
            DataType::Int64 => Ok(Box::new(SlidingDistinctSum::default())),
            _ => self.stock.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.stock.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.stock.order_sensitivity()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.stock.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.stock.set_monotonicity(data_type)
    }

    fn simplify_expr_op_literal(
        &self,
        function: &AggregateFunction,
        argument: &Expr,
        operator: Operator,
        literal: &Expr,
        argument_is_left: bool,
    ) -> Result<Option<Expr>> {
        self.stock.simplify_expr_op_literal(function, argument, operator, literal, argument_is_left)
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        self.stock.value_from_stats(args)
    }
}

fn overflow(data_type: &DataType) -> DataFusionError {
    let text = match data_type {
        DataType::Int64 => "sum overflows BIGINT; cast the argument to DECIMAL(38,0)".to_owned(),
        DataType::UInt64 => "sum overflows BIGINT UNSIGNED; cast the argument to DECIMAL(38,0)".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            format!("sum overflows DECIMAL({precision},{scale}); cast the argument to DOUBLE")
        }
        other => format!("sum overflows {other}"),
    };
    DataFusionError::ArrowError(Box::new(ArrowError::ArithmeticOverflow(text)), None)
}

/// A sum as a value of its type. A decimal must have no more digits than its type says.
fn fitting<T: ArrowPrimitiveType>(sum: Option<T::Native>, data_type: &DataType) -> Result<ScalarValue> {
    let array: ArrayRef = Arc::new(PrimitiveArray::<T>::from_iter([sum]).with_data_type(data_type.clone()));
    check_digits(&array).map_err(|_| overflow(data_type))?;
    ScalarValue::try_from_array(&array, 0)
}

/// The sum of one group, or of a window frame, whose rows also leave.
#[derive(Debug)]
struct PlainSum<T: ArrowPrimitiveType> {
    total: Total<T::Native>,
    values: u64,
    data_type: DataType,
}

impl<T: ArrowPrimitiveType> PlainSum<T> {
    fn new(data_type: DataType) -> Self {
        Self { total: Total::ZERO, values: 0, data_type }
    }
}

/// Calls `each` with every value that is not NULL.
fn for_each<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, mut each: impl FnMut(T::Native)) {
    match values.nulls() {
        None => values.values().iter().for_each(|value| each(*value)),
        Some(_) => values.iter().flatten().for_each(each),
    }
}

impl<T: ArrowPrimitiveType + Debug> Accumulator for PlainSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.values += (values.len() - values.null_count()) as u64;
        for_each(values, |value| self.total.add(value));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.values -= (values.len() - values.null_count()) as u64;
        for_each(values, |value| self.total.subtract(value));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.total.get().ok_or_else(|| overflow(&self.data_type))?;
        fitting::<T>((self.values > 0).then_some(sum), &self.data_type)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.evaluate().map(|sum| vec![sum])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// `sum(DISTINCT …)`: the stock function collects, this adds up.
#[derive(Debug)]
struct DistinctSum<T> {
    distinct: Box<dyn Accumulator>,
    data_type: DataType,
    _type: PhantomData<fn() -> T>,
}

impl<T> DistinctSum<T> {
    fn new(distinct: Box<dyn Accumulator>, data_type: DataType) -> Self {
        Self { distinct, data_type, _type: PhantomData }
    }
}

impl<T: ArrowPrimitiveType + Debug> Accumulator for DistinctSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.distinct.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sum = PlainSum::<T>::new(self.data_type.clone());
        for state in self.distinct.state()? {
            let list = state.to_array()?;
            let values = Arc::clone(list.as_list::<i32>().values());
            Accumulator::update_batch(&mut sum, &[cast(&values, &self.data_type)?])?;
        }
        sum.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.distinct.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.distinct.merge_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.distinct.size()
    }
}

/// `sum(DISTINCT …)` of a moving window frame.
#[derive(Debug)]
struct SlidingDistinctSum {
    /// How often each value is in the frame.
    counts: HashMap<i64, u64>,
    total: Total<i64>,
}

impl Default for SlidingDistinctSum {
    fn default() -> Self {
        Self { counts: HashMap::new(), total: Total::ZERO }
    }
}

impl Accumulator for SlidingDistinctSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(values[0].as_primitive::<Int64Type>(), |value| {
            let count = self.counts.entry(value).or_default();
            *count += 1;
            if *count == 1 {
                self.total.add(value);
            }
        });
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(values[0].as_primitive::<Int64Type>(), |value| {
            let Some(count) = self.counts.get_mut(&value) else { return };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&value);
                self.total.subtract(value);
            }
        });
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.total.get().ok_or_else(|| overflow(&DataType::Int64))?;
        Ok(ScalarValue::Int64((!self.counts.is_empty()).then_some(sum)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<_> = self.counts.keys().map(|value| ScalarValue::Int64(Some(*value))).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Int64))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_list::<i32>().iter().flatten().try_for_each(|values| self.update_batch(&[values]))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<(i64, u64)>()
    }
}

/// The sums of many groups.
#[derive(Debug)]
struct GroupSums<T: ArrowPrimitiveType> {
    totals: Totals<T::Native>,
    /// Which groups have had a value.
    seen: Vec<bool>,
    data_type: DataType,
}

impl<T: ArrowPrimitiveType> GroupSums<T> {
    fn new(data_type: DataType) -> Self {
        Self { totals: Totals::default(), seen: Vec::new(), data_type }
    }

    fn take(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let count = match emit_to {
            EmitTo::All => self.totals.len(),
            EmitTo::First(count) => count,
        };
        let seen = NullBuffer::new(BooleanBuffer::from_iter(self.seen.drain(..count)));
        let sums = self.totals.take(count).ok_or_else(|| overflow(&self.data_type))?;
        let nulls = (seen.null_count() > 0).then_some(seen);
        Ok(Arc::new(PrimitiveArray::<T>::new(sums.into(), nulls).with_data_type(self.data_type.clone())))
    }
}

/// The rows that are not NULL and that the filter keeps. `None`: all.
fn kept(values: &dyn Array, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let filter = filter.map(|filter| NullBuffer::new(true_bits(filter)));
    NullBuffer::union(values.nulls(), filter.as_ref())
}

impl<T: ArrowPrimitiveType> GroupsAccumulator for GroupSums<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        groups_total: usize,
    ) -> Result<()> {
        self.totals.grow(groups_total);
        self.seen.resize(groups_total, false);
        let values = values[0].as_primitive::<T>();
        let mut add = |group: usize, value| {
            self.seen[group] = true;
            self.totals.add(group, value);
        };
        let rows = groups.iter().zip(values.values());
        match kept(values, filter) {
            None => rows.for_each(|(group, value)| add(*group, *value)),
            Some(kept) => {
                let rows = rows.zip(kept.iter()).filter(|(_, kept)| *kept);
                rows.for_each(|((group, value), _)| add(*group, *value));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.take(emit_to)?;
        check_digits(&sums).map_err(|_| overflow(&self.data_type))?;
        Ok(sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.take(emit_to).map(|sums| vec![sums])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], groups_total: usize) -> Result<()> {
        self.update_batch(states, groups, None, groups_total)
    }

    /// One value is its own sum.
    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let sums = PrimitiveArray::<T>::new(values.values().clone(), kept(values, filter));
        Ok(vec![Arc::new(sums.with_data_type(self.data_type.clone()))])
    }

    fn size(&self) -> usize {
        self.totals.size() + self.seen.capacity()
    }
}
