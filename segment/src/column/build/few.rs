//! Dictionaries of few numbers: at most [`FEW_VALUES_MAX`] entries, codes of one or two bytes.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float32Array, Float64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::rows::Rows;
use super::{Code, FEW_VALUES_MAX, coded, fingerprint, narrowest, plain, remapped};
use crate::column::{CodeValues, Column};
use crate::{Result, order};

/// Few distinct values, and which of them each row has.
pub(super) struct Few<K> {
    /// Ascending.
    values: Vec<K>,
    /// By order of arrival: the place in `values`.
    places: Vec<u32>,
    /// Per row: the order of arrival.
    arrivals: Vec<u16>,
    nulls: Option<BooleanBuffer>,
}

/// The distinct values, if they and NULL are few.
pub(super) fn intern<K: Copy + Ord + Hash>(rows: &Rows<K>) -> Option<Few<K>> {
    let entries_max = FEW_VALUES_MAX - usize::from(rows.nulls.is_some());
    let hasher = FixedState::default();
    let mut table: HashTable<u16> = HashTable::new();
    let mut distinct: Vec<K> = Vec::new();
    let mut arrivals = Vec::with_capacity(rows.values.len());
    let mut last: Option<(K, u16)> = None;
    for value in &rows.values {
        let arrival = match last {
            // Sorted rows come in runs.
            Some((previous, arrival)) if previous == *value => arrival,
            _ => {
                let hash = hasher.hash_one(value);
                match table.find(hash, |arrival| distinct[usize::from(*arrival)] == *value) {
                    Some(arrival) => *arrival,
                    None if distinct.len() == entries_max => return None,
                    None => {
                        let arrival = distinct.len() as u16;
                        distinct.push(*value);
                        table.insert_unique(hash, arrival, |arrival| {
                            hasher.hash_one(distinct[usize::from(*arrival)])
                        });
                        arrival
                    }
                }
            }
        };
        last = Some((*value, arrival));
        arrivals.push(arrival);
    }
    let mut order: Vec<u32> = (0..distinct.len() as u32).collect();
    order.sort_unstable_by_key(|arrival| distinct[*arrival as usize]);
    let mut places = vec![0; order.len()];
    (0..).zip(&order).for_each(|(place, arrival)| places[*arrival as usize] = place);
    let values = order.iter().map(|arrival| distinct[*arrival as usize]).collect();
    Some(Few { values, places, arrivals, nulls: rows.nulls.clone() })
}

impl<K: Copy> Few<K> {
    /// The dictionary's entries: NULL first if there is one, then the values ascending.
    pub(super) fn entries(&self, has_null: bool) -> impl Iterator<Item = Option<K>> {
        has_null.then_some(None).into_iter().chain(self.values.iter().copied().map(Some))
    }

    /// The column whose dictionary is `entries`, an array of [`entries`](Self::entries).
    pub(super) fn column<const N: usize>(
        &self,
        data_type: DataType,
        entries: ArrayRef,
        has_null: bool,
        bytes_of: impl Fn(K) -> [u8; N],
    ) -> Column {
        let count = entries.len() as u64;
        let places: Vec<u32> = self.places.iter().map(|place| place + u32::from(has_null)).collect();
        let codes = narrowest!(count, codes_of(&self.arrivals, &places, self.nulls.as_ref()));
        let bytes = self.values.iter().map(|value| bytes_of(*value));
        let fingerprint = Some(fingerprint(&data_type, has_null, bytes));
        coded(
            data_type,
            CodeValues::Dictionary { values: entries, sorted: true, fingerprint },
            has_null,
            codes,
        )
    }
}

fn codes_of<C: Code>(arrivals: &[u16], places: &[u32], nulls: Option<&BooleanBuffer>) -> Vec<C> {
    let mut codes: Vec<C> = remapped(arrivals, places);
    if let Some(nulls) = nulls {
        nulls.set_indices().for_each(|row| codes[row] = C::cut(0));
    }
    codes
}

/// The column of decimals beyond 64 bits.
pub(super) fn build_decimals(data_type: DataType, rows: &Rows<i128>, arrays: &[ArrayRef]) -> Result<Column> {
    let Some(few) = intern(rows) else {
        return plain::whole(data_type, arrays);
    };
    let has_null = rows.nulls.is_some();
    let entries = few.entries(has_null).collect::<Decimal128Array>().with_data_type(data_type.clone());
    Ok(few.column(data_type, Arc::new(entries), has_null, i128::to_le_bytes))
}

/// The column of floats whose places in the total order are `keys`.
pub(super) fn build_floats(data_type: DataType, keys: &Rows<i64>, arrays: &[ArrayRef]) -> Result<Column> {
    let Some(few) = intern(keys) else {
        return plain::whole(data_type, arrays);
    };
    let has_null = keys.nulls.is_some();
    let keys = few.entries(has_null);
    let entries: ArrayRef = match data_type {
        DataType::Float32 => {
            Arc::new(keys.map(|key| key.map(|key| order::f32_at(key as i32))).collect::<Float32Array>())
        }
        _ => Arc::new(keys.map(|key| key.map(order::f64_at)).collect::<Float64Array>()),
    };
    Ok(few.column(data_type, entries, has_null, i64::to_le_bytes))
}
