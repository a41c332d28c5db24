//! `mode(x)`: the most frequent value; of several the smallest, with `mode_max` the largest, with `mode_avg`, of numbers, their
//! mean.
//!
//! The states are the values and their counts, a list of each, so memory grows with the distinct values of a group.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{ScalarValue, exec_err, not_impl_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// Which one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum OfSeveral {
    Smallest,
    Largest,
    Mean,
}

/// The functions.
pub(super) fn functions() -> [AggregateUDF; 3] {
    let function = |name, of_several| {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::from(Mode { name, of_several, signature })
    };
    [
        function("mode", OfSeveral::Smallest),
        function("mode_max", OfSeveral::Largest),
        function("mode_avg", OfSeveral::Mean),
    ]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mode {
    name: &'static str,
    of_several: OfSeveral,
    signature: Signature,
}

impl AggregateUDFImpl for Mode {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Null] => Ok(vec![DataType::Float64]),
            [value] => match self.of_several {
                OfSeveral::Mean if value.is_numeric() => Ok(vec![DataType::Float64]),
                OfSeveral::Smallest | OfSeveral::Largest if !value.is_nested() => Ok(vec![value.clone()]),
                OfSeveral::Mean => plan_err!("{} wants one argument, a number", self.name),
                OfSeveral::Smallest | OfSeveral::Largest => {
                    plan_err!("{} wants one argument, which is no array", self.name)
                }
            },
            _ => plan_err!("{} wants one argument", self.name),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value] => Ok(value.clone()),
            _ => plan_err!("{} wants one argument", self.name),
        }
    }

    /// With what the field of the values says of them, such as that they are UUIDs.
    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        match fields {
            [value] => Ok(Arc::new(value.as_ref().clone().with_name(self.name).with_nullable(true))),
            _ => plan_err!("{} wants one argument", self.name),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return not_impl_err!("{} of distinct values: each is as frequent as the others", self.name);
        }
        Ok(Box::new(Counts {
            counts: HashMap::new(),
            heap_bytes: 0,
            of_several: self.of_several,
            data_type: args.return_field.data_type().clone(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = |name: &str, element: DataType| {
            Arc::new(Field::new_list(
                format_state_name(args.name, name),
                Field::new_list_field(element, true),
                true,
            ))
        };
        Ok(vec![list("values", args.return_field.data_type().clone()), list("counts", DataType::Int64)])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// How often each value was seen.
#[derive(Debug)]
struct Counts {
    counts: HashMap<ScalarValue, i64>,
    /// Of texts and other values that are not in the map itself.
    heap_bytes: usize,
    of_several: OfSeveral,
    data_type: DataType,
}

impl Counts {
    fn count(&mut self, value: ScalarValue, times: i64) {
        match self.counts.entry(value) {
            Entry::Occupied(mut counted) => *counted.get_mut() += times,
            Entry::Vacant(new) => {
                self.heap_bytes += new.key().size().saturating_sub(size_of::<ScalarValue>());
                new.insert(times);
            }
        }
    }

    /// The most frequent values; NULL is none.
    fn modes(&self) -> impl Iterator<Item = &ScalarValue> {
        let most = self.counts.values().copied().max().unwrap_or_default();
        self.counts.iter().filter(move |(_, count)| **count == most).map(|(value, _)| value)
    }

    fn mean(&self) -> Result<ScalarValue> {
        let (mut sum, mut count) = (0.0, 0.0);
        for mode in self.modes() {
            let ScalarValue::Float64(Some(mode)) = mode else { return exec_err!("{mode} is no double") };
            sum += mode;
            count += 1.0;
        }
        Ok(ScalarValue::Float64((count > 0.0).then_some(sum / count)))
    }

    fn utmost(&self, is_further: fn(&ScalarValue, &ScalarValue) -> bool) -> Result<ScalarValue> {
        let found = self.modes().reduce(|found, mode| if is_further(mode, found) { mode } else { found });
        found.map_or_else(|| ScalarValue::try_from(&self.data_type), |mode| Ok(mode.clone()))
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return exec_err!("mode wants one argument") };
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            self.count(ScalarValue::try_from_array(values, row)?, 1);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.of_several {
            OfSeveral::Smallest => self.utmost(|mode, found| mode < found),
            OfSeveral::Largest => self.utmost(|mode, found| mode > found),
            OfSeveral::Mean => self.mean(),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<(ScalarValue, i64)>() + self.heap_bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (values, counts): (Vec<_>, Vec<_>) = self
            .counts
            .iter()
            .map(|(value, count)| (value.clone(), ScalarValue::Int64(Some(*count))))
            .unzip();
        let list =
            |scalars: &[ScalarValue], kind| ScalarValue::List(ScalarValue::new_list_nullable(scalars, kind));
        Ok(vec![list(&values, &self.data_type), list(&counts, &DataType::Int64)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, counts] = states else { return exec_err!("mode has two states") };
        let (values, counts) = (values.as_list::<i32>(), counts.as_list::<i32>());
        for (values, counts) in values.iter().zip(counts.iter()) {
            let (Some(values), Some(counts)) = (values, counts) else { continue };
            let counts = counts.as_primitive::<Int64Type>();
            for (row, count) in counts.values().iter().enumerate() {
                self.count(ScalarValue::try_from_array(&values, row)?, *count);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    fn counts(of_several: OfSeveral, values: &[Option<f64>]) -> Counts {
        let data_type = DataType::Float64;
        let mut counts = Counts { counts: HashMap::new(), heap_bytes: 0, of_several, data_type };
        let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        counts.update_batch(&[values]).unwrap();
        counts
    }

    #[test]
    fn halves_answer_like_the_whole() {
        let values =
            [Some(4.0), None, Some(1.0), Some(4.0), Some(f64::NAN), Some(1.0), None, None, Some(-0.5)];
        let cases = [(OfSeveral::Smallest, 1.0), (OfSeveral::Largest, 4.0), (OfSeveral::Mean, 2.5)];
        for (of_several, expected) in cases {
            let expected = ScalarValue::Float64(Some(expected));
            assert_eq!(counts(of_several, &values).evaluate().unwrap(), expected);
            let mut merged = counts(of_several, &[]);
            for half in [&values[..4], &values[4..], &[]] {
                let state = counts(of_several, half).state().unwrap();
                let arrays: Vec<_> = state.iter().map(|state| state.to_array().unwrap()).collect();
                merged.merge_batch(&arrays).unwrap();
            }
            assert_eq!(merged.evaluate().unwrap(), expected);
            assert_eq!(counts(of_several, &[None]).evaluate().unwrap(), ScalarValue::Float64(None));
        }
    }
}
