//! `value_in(array, a, b, …)`: the elements of the array that are among the other arguments, in their order and number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{filter, or_kleene, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::from(ValueIn { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ValueIn {
    signature: Signature,
}

impl ScalarUDFImpl for ValueIn {
    fn name(&self) -> &str {
        "value_in"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::List(element), _, ..] => {
                let values = types.iter().skip(1).map(|_| element.data_type().clone());
                Ok(types.iter().take(1).cloned().chain(values).collect())
            }
            _ => plan_err!("value_in wants an array, and the values that are looked for in it"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(DataType::List(element)) => {
                let element = Field::new_list_field(element.data_type().clone(), true);
                Ok(DataType::List(Arc::new(element)))
            }
            _ => plan_err!("value_in wants an array"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut wanted = Vec::new();
        for value in args.args.iter().skip(1) {
            let ColumnarValue::Scalar(value) = value else {
                return exec_err!("the values that value_in looks for must be the same for all rows");
            };
            wanted.push(value.clone());
        }
        Ok(match args.args.first() {
            Some(ColumnarValue::Array(array)) => ColumnarValue::Array(Arc::new(values_in(array, &wanted)?)),
            Some(ColumnarValue::Scalar(scalar)) => {
                let kept = values_in(&scalar.to_array()?, &wanted)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&kept, 0)?)
            }
            None => return exec_err!("value_in wants an array"),
        })
    }
}

/// A list of each list's elements that equal one of `wanted`. NULL equals nothing.
fn values_in(lists: &ArrayRef, wanted: &[ScalarValue]) -> Result<ListArray> {
    let Some(lists) = lists.as_list_opt::<i32>() else { return exec_err!("value_in wants an array") };
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
    let values = lists.values().slice(first, last - first);
    let mut kept = BooleanArray::from(vec![false; values.len()]);
    for value in wanted {
        kept = or_kleene(&kept, &eq(&values, &value.to_scalar()?)?)?;
    }
    let kept = if kept.null_count() > 0 { prep_null_mask_filter(&kept) } else { kept };
    let lengths = offsets.windows(2).map(|pair| {
        let (from, to) = (pair[0] as usize - first, pair[1] as usize - first);
        kept.values().slice(from, to - from).count_set_bits()
    });
    let element = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let kept_offsets = OffsetBuffer::from_lengths(lengths);
    Ok(ListArray::try_new(element, kept_offsets, filter(&values, &kept)?, lists.nulls().cloned())?)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn elements_are_kept_in_their_order_and_number() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(9)]),
            Some(vec![Some(2), Some(1), None, Some(2), Some(3)]),
            None,
            Some(vec![]),
            Some(vec![Some(3)]),
            Some(vec![Some(1)]),
        ]);
        let wanted = [1, 2, 7].map(|value| ScalarValue::Int64(Some(value)));
        let expected = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(2), Some(1), Some(2)]),
            None,
            Some(vec![]),
            Some(vec![]),
        ]);
        let sliced: ArrayRef = Arc::new(lists.slice(1, 4));
        assert_eq!(values_in(&sliced, &wanted).unwrap(), expected);
        let none = values_in(&sliced, &[ScalarValue::Int64(None)]).unwrap();
        assert_eq!(none.values().len(), 0);
    }
}
