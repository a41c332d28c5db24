//! The values of one key in the order of their numbers: a list that grows by arrays, and hands out the values of numbers.
//!
//! Arrays are put together when values are asked for, small ones first, so that a list that grows a little for each query
//! is not copied for each. Text is copied out of the dictionaries then: it would keep all of their buffers otherwise.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_empty_array};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::DataType;
use datafusion::error::Result;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct ValueList {
    pieces: Vec<ArrayRef>,
    /// Pieces behind these have not been put together.
    whole: usize,
}

impl ValueList {
    /// Adds values behind all others.
    pub(super) fn push(&mut self, values: ArrayRef) {
        self.pieces.push(values);
    }

    /// Values so far.
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// Bytes of memory, without text that dictionaries own.
    pub(super) fn size(&self) -> usize {
        self.pieces[..self.whole].iter().map(|piece| piece.get_array_memory_size()).sum()
    }

    /// Puts small pieces together: afterwards each is longer than all behind it.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.whole == self.pieces.len() {
            return Ok(());
        }
        let mut start = self.whole;
        let mut tail: usize = self.pieces[start..].iter().map(|piece| piece.len()).sum();
        while start > 0 && self.pieces[start - 1].len() <= tail {
            start -= 1;
            tail += self.pieces[start].len();
        }
        let pieces: Vec<&dyn Array> = self.pieces[start..].iter().map(AsRef::as_ref).collect();
        let together = compact(concat(&pieces)?);
        self.pieces.truncate(start);
        self.pieces.push(together);
        self.whole = self.pieces.len();
        Ok(())
    }

    /// The values of some numbers, from a list that is settled.
    pub(super) fn values(&self, numbers: Vec<u32>, data_type: &DataType) -> Result<ArrayRef> {
        match self.pieces.as_slice() {
            [] => Ok(new_empty_array(data_type)),
            [all] => Ok(take(all, &UInt32Array::from(numbers), None)?),
            pieces => {
                let mut end = 0;
                let ends: Vec<usize> = pieces
                    .iter()
                    .map(|piece| {
                        end += piece.len();
                        end
                    })
                    .collect();
                let place = |number: &u32| {
                    let number = *number as usize;
                    let piece = ends.partition_point(|end| *end <= number);
                    (piece, number + pieces[piece].len() - ends[piece])
                };
                let places: Vec<(usize, usize)> = numbers.iter().map(place).collect();
                let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
                Ok(interleave(&pieces, &places)?)
            }
        }
    }
}

/// Text without what others share of its buffers.
fn compact(values: ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Utf8View => Arc::new(values.as_string_view().gc()),
        DataType::BinaryView => Arc::new(values.as_binary_view().gc()),
        _ => values,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_are_those_that_were_added(
            steps in prop::collection::vec((prop::collection::vec("[a-z]{0,20}", 1..9), any::<bool>()), 1..30),
        ) {
            let (mut list, mut all) = (ValueList::default(), Vec::new());
            for (values, is_asked) in steps {
                all.extend(values.iter().cloned().map(Some));
                list.push(Arc::new(StringViewArray::from_iter_values(&values)));
                if !is_asked {
                    continue;
                }
                list.settle().unwrap();
                let lengths: Vec<usize> = list.pieces.iter().map(|piece| piece.len()).collect();
                prop_assert!(lengths.windows(2).all(|pair| pair[0] > pair[1]), "{lengths:?}");
                let numbers: Vec<u32> = (0..all.len() as u32).rev().collect();
                let found = list.values(numbers, &DataType::Utf8View).unwrap();
                let expected: StringViewArray = all.iter().rev().cloned().collect();
                prop_assert_eq!(found.as_string_view(), &expected);
            }
        }
    }
}
