//! `percentile_cont(share) WITHIN GROUP (ORDER BY x)` as exactly as doubles say it.
//!
//! DataFusion's own function weighs the two values around the share by a weight of six digits, so that a percentile of large numbers
//! is off by a millionth of their distance. Everything else of it stays: its name, its types, how it collects values. Only the
//! answer is taken from the values here, as PostgreSQL's `percentile_cont_final_common` does: `low + (high - low) * weight`. The
//! median is exact as it is, being a mean.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float64Type, Schema};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Documentation, EmitTo, GroupsAccumulator,
    Signature,
};

/// Puts the function in the place of DataFusion's.
pub(super) fn register(registry: &mut impl FunctionRegistry) -> Result<()> {
    let exact = ExactPercentile { inner: percentile_cont_udaf() };
    registry.register_udaf(Arc::new(AggregateUDF::from(exact)))?;
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactPercentile {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for ExactPercentile {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.expr_fields.first().is_none_or(|values| values.data_type().is_null()) {
            return self.inner.accumulator(args);
        }
        Ok(Box::new(Collected {
            place: Place::of(&args)?,
            data_type: args.return_field.data_type().clone(),
            is_distinct: args.is_distinct,
            inner: self.inner.accumulator(args)?,
        }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(CollectedGroups {
            place: Place::of(&args)?,
            data_type: args.return_field.data_type().clone(),
            inner: self.inner.create_groups_accumulator(args)?,
        }))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.inner.simplify()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// Where among the values the answer is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// From 0 to 1.
    share: f64,
    is_descending: bool,
}

impl Place {
    fn of(args: &AccumulatorArgs<'_>) -> Result<Self> {
        let is_descending = args.order_bys.first().is_some_and(|order| order.options.descending);
        let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let share = args.exprs.get(1).and_then(|share| share.evaluate(&nothing).ok());
        // What else is wrong with it the inner function says.
        match share {
            Some(ColumnarValue::Scalar(ScalarValue::Float64(Some(share)))) => {
                Ok(Self { share, is_descending })
            }
            Some(ColumnarValue::Scalar(ScalarValue::Float32(Some(share)))) => {
                Ok(Self { share: share.into(), is_descending })
            }
            _ => plan_err!("percentile_cont wants a share from 0 to 1 that is a constant"),
        }
    }

    /// The value there, between the two around it; `None` of no values.
    fn value(self, values: &mut [f64]) -> Option<f64> {
        let order = |left: &f64, right: &f64| -> Ordering {
            let order = left.total_cmp(right);
            if self.is_descending { order.reverse() } else { order }
        };
        let position = self.share * values.len().checked_sub(1)? as f64;
        let (_, low, above) = values.select_nth_unstable_by(position as usize, order);
        let (low, weight) = (*low, position.fract());
        match above.iter().copied().min_by(order) {
            Some(high) if weight > 0.0 => Some(low + (high - low) * weight),
            _ => Some(low),
        }
    }
}

/// The values of a state, which is a list of them for each row.
fn doubles(lists: &ArrayRef) -> Result<(Float64Array, Vec<(usize, usize)>)> {
    let Some(lists) = lists.as_list_opt::<i32>() else { return exec_err!("the state is no list of values") };
    let values = cast(lists.values(), &DataType::Float64)?;
    let bounds = lists.value_offsets().windows(2).map(|bounds| (bounds[0] as usize, bounds[1] as usize));
    Ok((values.as_primitive::<Float64Type>().clone(), bounds.collect()))
}

#[derive(Debug)]
struct Collected {
    inner: Box<dyn Accumulator>,
    place: Place,
    data_type: DataType,
    is_distinct: bool,
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        // The inner one reads the first row alone.
        for row in 0..states.first().map_or(0, |lists| lists.len()) {
            let state: Vec<ArrayRef> = states.iter().map(|lists| lists.slice(row, 1)).collect();
            self.inner.merge_batch(&state)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let states: Vec<ArrayRef> =
            self.inner.state()?.iter().map(ScalarValue::to_array).collect::<Result<_>>()?;
        let [lists] = states.as_slice() else { return exec_err!("percentile_cont has one state") };
        let (values, bounds) = doubles(lists)?;
        let mut values = match bounds.as_slice() {
            [(first, last)] => values.values()[*first..*last].to_vec(),
            _ => return exec_err!("percentile_cont has one list of values"),
        };
        // A window asks again after the next row. The state takes the values away, but for distinct ones, which it copies.
        if !self.is_distinct {
            self.inner.merge_batch(&states)?;
        }
        ScalarValue::Float64(self.place.value(&mut values)).cast_to(&self.data_type)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

struct CollectedGroups {
    inner: Box<dyn GroupsAccumulator>,
    place: Place,
    data_type: DataType,
}

impl GroupsAccumulator for CollectedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        groups_total: usize,
    ) -> Result<()> {
        self.inner.update_batch(values, groups, filter, groups_total)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], groups_total: usize) -> Result<()> {
        self.inner.merge_batch(states, groups, groups_total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let states = self.inner.state(emit_to)?;
        let [lists] = states.as_slice() else { return exec_err!("percentile_cont has one state") };
        let (values, bounds) = doubles(lists)?;
        let answers =
            bounds.iter().map(|(first, last)| self.place.value(&mut values.values()[*first..*last].to_vec()));
        let answers: Float64Array = answers.collect();
        Ok(cast(&answers, &self.data_type)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[test]
    fn a_share_between_two_values() {
        let value = |share: f64, is_descending: bool, values: &[f64]| {
            Place { share, is_descending }.value(&mut values.to_vec())
        };
        assert_eq!(value(0.5, false, &[]), None);
        assert_eq!(value(0.3, true, &[7.0]), Some(7.0));
        assert_eq!(value(0.123_456_7, false, &[1e12, 0.0]), Some(123_456_700_000.0));
        assert_eq!(value(0.123_456_7, true, &[0.0, 1e12]), Some(1e12 - 123_456_700_000.0));
        for (share, expected) in [(0.0, 1.0), (0.25, 2.0), (0.5, 3.0), (0.9, 4.6), (1.0, 5.0)] {
            assert_eq!(value(share, false, &[5.0, 3.0, 1.0, 2.0, 4.0]), Some(expected), "{share}");
        }
        assert_eq!(value(0.5, false, &[f64::INFINITY, 1.0, f64::INFINITY]), Some(f64::INFINITY));
    }

    #[tokio::test]
    async fn a_window_a_group_and_a_distinct_value_answer_alike() {
        let mut session = SessionContext::new();
        register(&mut session).unwrap();
        let rows = "(VALUES (1, 1.0::double, 'a'), (2, 1.0, 'a'), (3, 2.0, 'b'), (4, 8.0, 'b'), (5, NULL, 'b')) v(i, x, g)";
        let asked = async |sql: &str| {
            let batches = session.sql(&sql.replace("ROWS", rows)).await.unwrap().collect().await.unwrap();
            let texts = batches.iter().flat_map(|batch| {
                let values = batch.column(0).as_primitive::<Float64Type>().clone();
                (0..values.len()).map(move |row| values.is_valid(row).then(|| values.value(row)))
            });
            texts.collect::<Vec<_>>()
        };
        let share = "percentile_cont(0.1234567) WITHIN GROUP (ORDER BY x)";
        let between = |low: f64, high: f64, weight: f64| Some(low + (high - low) * weight);
        let whole = asked(&format!("SELECT {share} FROM ROWS")).await;
        assert_eq!(whole, [Some(1.0)]);
        let groups = asked(&format!("SELECT {share} FROM ROWS GROUP BY g ORDER BY g")).await;
        assert_eq!(groups, [Some(1.0), between(2.0, 8.0, 0.123_456_7)]);
        let distinct = "SELECT percentile_cont(DISTINCT x, 0.1234567) FROM ROWS";
        assert_eq!(asked(distinct).await, [between(1.0, 2.0, 2.0 * 0.123_456_7)]);
        let window = "SELECT percentile_cont(x, 0.1234567) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM ROWS ORDER BY i";
        let window = asked(&window.replace("i ROWS", "i rows")).await;
        let expected =
            [Some(1.0), Some(1.0), between(1.0, 2.0, 0.123_456_7), between(2.0, 8.0, 0.123_456_7), Some(8.0)];
        assert_eq!(window, expected);
        let none = asked(&format!("SELECT {share} FROM ROWS WHERE i = 5")).await;
        assert_eq!(none, [None]);
    }
}
