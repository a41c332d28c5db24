//! Text and bytes: a dictionary of the whole segment, its values ascending; plain if most rows are distinct, which a part
//! of them tells (see [`cardinality`](crate::cardinality)).
//!
//! Values get codes in order of arrival first, of arrays that are dictionaries already only each entry that is used; then
//! the distinct values are sorted, and codes become places.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, DictionaryArray,
};
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::{coded, fingerprint, narrowest, plain, remapped, unexpected};
use crate::Result;
use crate::cardinality::{Limit, spread};
use crate::column::{BLOCK_ROWS, CodeValues, Column};
use crate::order::prefix;

/// Below this many rows a dictionary costs nothing worth saving.
const JUDGED_ROWS_MIN: usize = 64 << 10;
/// Data blocks of the views that are built here, in bytes, if there are so many.
const VIEW_BLOCK_BYTES_MAX: usize = 4 << 20;
/// An entry of an input dictionary that no row has used yet.
const UNUSED: u32 = u32::MAX;

/// The column of text or bytes.
pub(super) fn build(data_type: DataType, arrays: &[ArrayRef]) -> Result<Column> {
    let rows: usize = arrays.iter().map(|array| array.len()).sum();
    // A code takes four bytes and an entry sixteen: with seven of ten rows distinct the dictionary saves nothing.
    let distinct_max = if rows < JUDGED_ROWS_MIN { rows } else { rows / 10 * 7 };
    let limit = Limit { distinct_max, judged_rows: Some(rows) };
    let pieces: Vec<ArrayRef> = arrays.iter().flat_map(pieces_of).collect();
    let mut interner = Interner::new();
    let mut arrivals = vec![0; rows];
    let mut seen = 0;
    for (count, (number, rows)) in (1..).zip(spread(pieces.iter().map(|piece| piece.len()))) {
        let piece = &pieces[number];
        interner.intern_all(piece, &mut arrivals[rows])?;
        seen += piece.len() - piece.null_count();
        if limit.is_reached(interner.values.len(), seen, count) {
            return plain::text(data_type, arrays);
        }
    }
    let has_null = arrivals.contains(&0);
    let order = ascending(&interner.values);
    let mut places = vec![0; order.len() + 1];
    (u32::from(has_null)..).zip(&order).for_each(|(place, index)| places[*index as usize + 1] = place);

    let bytes = interner.values.iter().map(|value| value.len()).sum();
    let mut entries = view_builder(order.len() + usize::from(has_null), bytes);
    if has_null {
        entries.append_null();
    }
    let sorted = || order.iter().map(|index| interner.values[*index as usize]);
    sorted().try_for_each(|value| entries.try_append_value(value))?;
    let values = view_array(&data_type, entries.finish())?;
    let fingerprint = Some(fingerprint(&data_type, has_null, sorted()));
    let codes = narrowest!(values.len() as u64, remapped(&arrivals, &places));
    Ok(coded(data_type, CodeValues::Dictionary { values, sorted: true, fingerprint }, has_null, codes))
}

/// An array in pieces, small enough for the first few of a column's to come from all over it.
fn pieces_of(array: &ArrayRef) -> impl Iterator<Item = ArrayRef> {
    let starts = (0..array.len()).step_by(BLOCK_ROWS);
    starts.map(move |start| array.slice(start, BLOCK_ROWS.min(array.len() - start)))
}

/// A builder for `count` values of `bytes` bytes altogether.
pub(super) fn view_builder(count: usize, bytes: usize) -> BinaryViewBuilder {
    let block_bytes = bytes.clamp(1, VIEW_BLOCK_BYTES_MAX) as u32;
    BinaryViewBuilder::with_capacity(count).with_fixed_block_size(block_bytes)
}

/// Views of the column's type.
pub(super) fn view_array(data_type: &DataType, views: BinaryViewArray) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Utf8View => Arc::new(views.to_string_view()?),
        _ => Arc::new(views),
    })
}

/// Distinct values in order of arrival.
struct Interner<'a> {
    values: Vec<&'a [u8]>,
    table: HashTable<Slot>,
    hasher: FixedState,
    /// Arrays of one Parquet row group share their dictionary.
    last: Option<InputDictionary<'a>>,
}

/// The entries of an input dictionary, and the code of each that was used.
struct InputDictionary<'a> {
    data: ArrayData,
    entries: Vec<Option<&'a [u8]>>,
    codes: Vec<u32>,
}

/// The hash is kept so that neither growth nor most comparisons read values.
struct Slot {
    hash: u32,
    index: u32,
}

impl Slot {
    /// hashbrown takes the bucket from the low bits and a tag from the topmost seven, so both halves carry the hash.
    fn table_hash(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

impl<'a> Interner<'a> {
    fn new() -> Self {
        Self { values: Vec::new(), table: HashTable::new(), hasher: FixedState::default(), last: None }
    }

    /// Sets a code per row, where there was 0: that for NULL, else one more than the value's number.
    fn intern_all(&mut self, array: &'a ArrayRef, codes: &mut [u32]) -> Result<()> {
        if let Some(dictionary) = array.as_any().downcast_ref::<DictionaryArray<Int32Type>>() {
            return self.intern_dictionary(dictionary, codes);
        }
        let mut last: (&[u8], u32) = (&[], UNUSED);
        let mut codes = codes.iter_mut();
        for_each_value(array, &mut |value| {
            if let Some((code, value)) = codes.next().and_then(|code| Some((code, value?))) {
                // Sorted rows come in runs.
                if last.1 == UNUSED || last.0 != value {
                    last = (value, self.intern(value));
                }
                *code = last.1;
            }
            Ok(())
        })
    }

    fn intern_dictionary(&mut self, array: &'a DictionaryArray<Int32Type>, codes: &mut [u32]) -> Result<()> {
        let data = array.values().to_data();
        let mut input = match self.last.take() {
            Some(last) if last.data.ptr_eq(&data) => last,
            _ => {
                let mut entries: Vec<Option<&'a [u8]>> = Vec::with_capacity(data.len());
                for_each_value(array.values(), &mut |value| {
                    entries.push(value);
                    Ok(())
                })?;
                InputDictionary { data, codes: vec![UNUSED; entries.len()], entries }
            }
        };
        let keys = array.keys();
        for (row, (key, code)) in keys.values().iter().zip(codes).enumerate() {
            if keys.is_null(row) {
                continue;
            }
            // Arrow's constructors have seen to it that keys of rows that are not NULL are within the entries.
            let key = *key as usize;
            if input.codes[key] == UNUSED {
                input.codes[key] = input.entries[key].map_or(0, |value| self.intern(value));
            }
            *code = input.codes[key];
        }
        self.last = Some(input);
        Ok(())
    }

    #[inline]
    fn intern(&mut self, value: &'a [u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(value);
        let hash = (hasher.finish() >> 32) as u32;
        let is_value = |slot: &Slot| slot.hash == hash && self.values[slot.index as usize] == value;
        if let Some(slot) = self.table.find(Slot::table_hash(hash), is_value) {
            return slot.index + 1;
        }
        let index = self.values.len() as u32;
        self.values.push(value);
        self.table
            .insert_unique(Slot::table_hash(hash), Slot { hash, index }, |slot| Slot::table_hash(slot.hash));
        index + 1
    }
}

/// Numbers of distinct values in ascending order of their bytes.
fn ascending(values: &[&[u8]]) -> Vec<u32> {
    // URLs and keys of one kind begin alike: compare what follows, eight bytes at a time, and read on only if those tie.
    let common = values.iter().fold(values.first().map_or(0, |first| first.len()), |common, value| {
        let alike = values[0].iter().zip(value.iter()).take(common).take_while(|(a, b)| a == b);
        alike.count()
    });
    let mut order: Vec<(u64, u32)> =
        (0..).zip(values).map(|(index, value)| (prefix(&value[common..]), index)).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| values[a.1 as usize].cmp(values[b.1 as usize])));
    order.into_iter().map(|(_, index)| index).collect()
}

/// Calls `each` with the value of every row.
pub(super) fn for_each_value<'a>(
    array: &'a ArrayRef,
    each: &mut dyn FnMut(Option<&'a [u8]>) -> Result<(), ArrowError>,
) -> Result<()> {
    match array.data_type() {
        DataType::Utf8View => {
            array.as_string_view().iter().try_for_each(|value| each(value.map(str::as_bytes)))?
        }
        DataType::BinaryView => array.as_binary_view().iter().try_for_each(each)?,
        DataType::Utf8 => {
            array.as_string::<i32>().iter().try_for_each(|value| each(value.map(str::as_bytes)))?
        }
        DataType::Binary => array.as_binary::<i32>().iter().try_for_each(each)?,
        DataType::Dictionary(key, _) if **key == DataType::Int32 => {
            let dictionary = array.as_dictionary::<Int32Type>();
            let mut entries = Vec::with_capacity(dictionary.values().len());
            for_each_value(dictionary.values(), &mut |value| {
                entries.push(value);
                Ok(())
            })?;
            let keys = dictionary.keys();
            keys.iter().try_for_each(|key| each(key.and_then(|key| entries[key as usize])))?;
        }
        _ => return Err(unexpected(array, "text or bytes")),
    }
    Ok(())
}
