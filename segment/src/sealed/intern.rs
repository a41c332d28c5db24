//! A column as codes: each distinct value once, ascending, and a number per row.
//!
//! Works on rows in the order in which they arrived. A column with too many distinct values is given up early, by what a part of
//! its rows shows (see [`cardinality`](crate::cardinality)), so that unique text costs next to nothing here.
//!
//! Invariant: codes compare as the values do; NULL, if there is one, is code 0 and below every value. Text and bytes ascend by
//! their bytes, floats in IEEE 754 total order.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::types::ByteViewType;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, GenericByteViewArray, PrimitiveArray,
};
use arrow::datatypes::{
    BinaryViewType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    StringViewType, TimestampMicrosecondType,
};
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::cardinality::{Limit, spread};
use crate::order;
use crate::schema::ColumnType;

/// No code yet.
const NO_CODE: u32 = u32::MAX;

/// A column as codes.
pub(super) struct Coded {
    /// A code per row, in the order of arrival.
    pub(super) codes: Vec<u32>,
    /// The distinct values, ascending, without NULL.
    pub(super) values: ArrayRef,
    /// Whether code 0 is NULL.
    pub(super) has_null: bool,
}

impl Coded {
    /// How many codes there are.
    pub(super) fn count(&self) -> usize {
        self.values.len() + usize::from(self.has_null)
    }
}

/// The column that `arrays` hold together as codes; `None` if it reaches the limit, or is all NULL, or is of a type that has no
/// codes.
pub(super) fn intern(data_type: &ColumnType, arrays: &[&ArrayRef], limit: Limit) -> Option<Coded> {
    let long = |bits: u64| (bits ^ 1 << 63) as i64;
    match data_type {
        ColumnType::Boolean => booleans(arrays),
        ColumnType::Int => numbers::<Int32Type>(arrays, limit, |bits| long(bits) as i32),
        ColumnType::Date => numbers::<Date32Type>(arrays, limit, |bits| long(bits) as i32),
        ColumnType::Long => numbers::<Int64Type>(arrays, limit, long),
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
            numbers::<TimestampMicrosecondType>(arrays, limit, long)
        }
        ColumnType::Float => numbers::<Float32Type>(arrays, limit, |bits| order::f32_at(long(bits) as i32)),
        ColumnType::Double => numbers::<Float64Type>(arrays, limit, |bits| order::f64_at(long(bits))),
        ColumnType::Decimal(digits, _) if *digits <= 18 => {
            numbers::<Decimal128Type>(arrays, limit, |bits| long(bits).into())
        }
        ColumnType::String | ColumnType::Json | ColumnType::Uuid => views::<StringViewType>(arrays, limit),
        ColumnType::Bytes => views::<BinaryViewType>(arrays, limit),
        ColumnType::Decimal(..) | ColumnType::Array(_) => None,
    }
}

/// A number as unsigned bits that compare as the numbers do.
pub(super) trait Ordered: Copy {
    /// The bits.
    fn ordered(self) -> u64;
}

impl Ordered for i32 {
    fn ordered(self) -> u64 {
        i64::from(self).ordered()
    }
}

impl Ordered for i64 {
    fn ordered(self) -> u64 {
        self as u64 ^ 1 << 63
    }
}

impl Ordered for i128 {
    /// Only for decimals of at most 18 digits.
    fn ordered(self) -> u64 {
        (self as i64).ordered()
    }
}

impl Ordered for f32 {
    fn ordered(self) -> u64 {
        order::of_f32(self).ordered()
    }
}

impl Ordered for f64 {
    fn ordered(self) -> u64 {
        order::of_f64(self).ordered()
    }
}

fn row_count(arrays: &[&ArrayRef]) -> usize {
    arrays.iter().map(|array| array.len()).sum()
}

fn booleans(arrays: &[&ArrayRef]) -> Option<Coded> {
    let mut codes = Vec::with_capacity(row_count(arrays));
    let mut seen = [false; 3];
    for array in arrays {
        codes.extend(array.as_boolean().iter().map(|value| {
            let code = value.map_or(0, |value| 1 + u32::from(value));
            seen[code as usize] = true;
            code
        }));
    }
    let values: BooleanArray =
        [false, true].into_iter().filter(|value| seen[1 + usize::from(*value)]).map(Some).collect();
    let mut ranks = [0; 3];
    let mut next = 0;
    for (rank, seen) in ranks.iter_mut().zip(seen) {
        *rank = next;
        next += u32::from(seen);
    }
    codes.iter_mut().for_each(|code| *code = ranks[*code as usize]);
    (!values.is_empty()).then(|| Coded { codes, values: Arc::new(values), has_null: seen[0] })
}

fn numbers<T>(arrays: &[&ArrayRef], limit: Limit, native: impl Fn(u64) -> T::Native) -> Option<Coded>
where
    T: ArrowPrimitiveType,
    T::Native: Ordered,
{
    let mut table = NumberTable::new();
    let mut codes = vec![NO_CODE; row_count(arrays)];
    let (mut has_null, mut values) = (false, 0_usize);
    for (pieces, (number, rows)) in (1..).zip(spread(arrays.iter().map(|array| array.len()))) {
        let array = arrays[number].as_primitive::<T>();
        let rows = codes[rows].iter_mut().zip(array.values());
        match array.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => rows.for_each(|(code, value)| *code = table.intern(value.ordered())),
            Some(nulls) => {
                has_null = true;
                let valid = rows.zip(nulls).filter(|(_, valid)| *valid);
                valid.for_each(|((code, value), _)| *code = table.intern(value.ordered()));
            }
        }
        values += array.len() - array.null_count();
        if limit.is_reached(table.keys.len(), values, pieces) {
            return None;
        }
    }
    let mut order: Vec<(u64, u32)> = table.keys.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let distinct: PrimitiveArray<T> =
        PrimitiveArray::from_iter_values(order.iter().map(|(key, _)| native(*key)));
    let distinct = match arrays.first() {
        Some(array) => distinct.with_data_type(array.data_type().clone()),
        None => distinct,
    };
    finish(codes, order.iter().map(|(_, code)| *code), Arc::new(distinct), has_null)
}

/// Renumbers codes from the order of arrival to that of the values; `by_value` lists the old ones in the new order.
fn finish(
    mut codes: Vec<u32>,
    by_value: impl ExactSizeIterator<Item = u32>,
    values: ArrayRef,
    has_null: bool,
) -> Option<Coded> {
    if values.is_empty() {
        return None;
    }
    let mut ranks = vec![0; by_value.len()];
    for (code, rank) in by_value.zip(u32::from(has_null)..) {
        ranks[code as usize] = rank;
    }
    // NULL has no old code.
    codes.iter_mut().for_each(|code| *code = ranks.get(*code as usize).copied().unwrap_or(0));
    Some(Coded { codes, values, has_null })
}

/// Codes of numbers, by open addressing.
struct NumberTable {
    slots: Vec<(u64, u32)>,
    /// By code.
    keys: Vec<u64>,
    hasher: RandomState,
}

impl NumberTable {
    fn new() -> Self {
        Self { slots: vec![(0, NO_CODE); 256], keys: Vec::new(), hasher: RandomState::default() }
    }

    #[inline]
    fn intern(&mut self, key: u64) -> u32 {
        let mask = self.slots.len() - 1;
        let mut at = self.home(key);
        loop {
            match self.slots[at & mask] {
                (found, code) if code != NO_CODE && found == key => return code,
                (_, NO_CODE) => return self.insert(at & mask, key),
                _ => at += 1,
            }
        }
    }

    fn home(&self, key: u64) -> usize {
        self.hasher.hash_one(key) as usize
    }

    #[cold]
    fn insert(&mut self, at: usize, key: u64) -> u32 {
        let code = self.keys.len() as u32;
        self.slots[at] = (key, code);
        self.keys.push(key);
        if self.keys.len() * 2 > self.slots.len() {
            self.grow();
        }
        code
    }

    fn grow(&mut self) {
        self.slots = vec![(0, NO_CODE); self.slots.len() * 2];
        let mask = self.slots.len() - 1;
        for (key, code) in self.keys.iter().zip(0..) {
            let mut at = self.home(*key);
            while self.slots[at & mask].1 != NO_CODE {
                at += 1;
            }
            self.slots[at & mask] = (*key, code);
        }
    }
}

fn views<T>(arrays: &[&ArrayRef], limit: Limit) -> Option<Coded>
where
    T: ByteViewType,
{
    let mut table = ViewTable::<T>::new();
    let mut codes = vec![NO_CODE; row_count(arrays)];
    let (mut has_null, mut values) = (false, 0_usize);
    for (pieces, (number, rows)) in (1..).zip(spread(arrays.iter().map(|array| array.len()))) {
        let array = arrays[number].as_byte_view::<T>();
        table.enter(array);
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        has_null |= nulls.is_some();
        values += array.len() - array.null_count();
        for (row, code) in codes[rows].iter_mut().enumerate() {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                *code = table.intern(array, row);
            }
        }
        if limit.is_reached(table.values.len(), values, pieces) {
            return None;
        }
    }
    let mut order: Vec<(u64, u32)> =
        table.values.iter().map(|value| order::prefix(value.as_ref())).zip(0..).collect();
    let bytes = |code: u32| -> &[u8] { table.values[code as usize].as_ref() };
    order
        .sort_unstable_by(|left, right| left.0.cmp(&right.0).then_with(|| bytes(left.1).cmp(bytes(right.1))));
    let distinct = GenericByteViewArray::<T>::from_iter_values(
        order.iter().map(|(_, code)| table.values[*code as usize]),
    );
    finish(codes, order.iter().map(|(_, code)| *code), Arc::new(distinct), has_null)
}

/// Codes of text or bytes. An open segment's dictionary gives equal values the same view, so most rows are found by their view
/// without a look at their bytes.
struct ViewTable<'a, T: ByteViewType> {
    /// By code.
    values: Vec<&'a T::Native>,
    by_value: HashTable<u32>,
    /// Views of the array at hand, all of which lie in `buffers`.
    by_view: HashTable<(u128, u32)>,
    buffers: Vec<*const u8>,
    hasher: RandomState,
}

impl<'a, T: ByteViewType> ViewTable<'a, T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            by_value: HashTable::new(),
            by_view: HashTable::new(),
            buffers: Vec::new(),
            hasher: RandomState::default(),
        }
    }

    /// Views mean bytes in the array's own buffers: those of other buffers are forgotten.
    fn enter(&mut self, array: &GenericByteViewArray<T>) {
        let same = array.data_buffers().len() == self.buffers.len()
            && array.data_buffers().iter().map(|buffer| buffer.as_ptr()).eq(self.buffers.iter().copied());
        if !same {
            self.by_view.clear();
            self.buffers.clear();
            self.buffers.extend(array.data_buffers().iter().map(|buffer| buffer.as_ptr()));
        }
    }

    #[inline]
    fn intern(&mut self, array: &'a GenericByteViewArray<T>, row: usize) -> u32 {
        let view = array.views()[row];
        let hash = self.hasher.hash_one(view);
        match self.by_view.find(hash, |(known, _)| *known == view) {
            Some((_, code)) => *code,
            None => self.intern_value(array.value(row), view, hash),
        }
    }

    #[cold]
    fn intern_value(&mut self, value: &'a T::Native, view: u128, view_hash: u64) -> u32 {
        let bytes: &[u8] = value.as_ref();
        let Self { values, by_value, by_view, hasher, .. } = self;
        let bytes_of = |code: u32| -> &[u8] { values[code as usize].as_ref() };
        let hash = hasher.hash_one(bytes);
        let code = match by_value.find(hash, |code| bytes_of(*code) == bytes) {
            Some(code) => *code,
            None => {
                let code = values.len() as u32;
                by_value.insert_unique(hash, code, |code| hasher.hash_one(bytes_of(*code)));
                values.push(value);
                code
            }
        };
        by_view.insert_unique(view_hash, (view, code), |(view, _)| hasher.hash_one(view));
        code
    }
}
