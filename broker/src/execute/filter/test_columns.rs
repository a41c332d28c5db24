//! Columns in every form that execution meets, made from Arrow arrays, for tests.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, make_comparator, new_null_array};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use headwater_segment::column::{
    CodeStore, CodeValues, CodedColumn, Codes, Column, PlainColumn, PlainStore, Postings, SegmentColumns,
    Zones,
};
use roaring::RoaringBitmap;

/// How a column is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A sorted dictionary, with zones and an inverted index.
    Sorted,
    /// A dictionary in order of appearance, with entries of no row, and 0 for NULL.
    Growing,
    /// Base and step, with zones; sorted where the type has no integers.
    Linear,
    /// Arrays.
    Plain,
}

/// Every row of a code; of the codes that are multiples of seven nothing is known.
#[derive(Debug)]
struct EveryRow(Vec<RoaringBitmap>);

impl Postings for EveryRow {
    fn rows(&self, code: u64) -> Option<RoaringBitmap> {
        if code % 7 == 6 { None } else { self.0.get(code as usize).cloned() }
    }

    fn count(&self, code: u64) -> Option<u64> {
        if code % 7 == 6 { None } else { self.0.get(code as usize).map(RoaringBitmap::len) }
    }
}

/// The columns of a segment whose blocks end at `ends`; `whole` only if those are the even ones.
pub(crate) fn segment(arrays: &[ArrayRef], forms: &[Form], ends: &[usize], whole: bool) -> SegmentColumns {
    let blocks: Vec<Range<usize>> = ends
        .iter()
        .scan(0, |start, end| {
            let block = *start..*end;
            *start = *end;
            Some(block)
        })
        .collect();
    let columns = arrays
        .iter()
        .zip(forms)
        .map(|(array, form)| Arc::new(column(array, *form, &blocks, whole)))
        .collect();
    if whole {
        SegmentColumns::even(ends.last().copied().unwrap_or(0), columns)
    } else {
        SegmentColumns::listed(ends.into(), columns)
    }
}

fn column(array: &ArrayRef, form: Form, blocks: &[Range<usize>], whole: bool) -> Column {
    let data_type = array.data_type().clone();
    match form {
        Form::Plain if whole => {
            Column::Plain(PlainColumn { data_type, values: PlainStore::Whole(Arc::clone(array)) })
        }
        Form::Plain => {
            let pieces = blocks.iter().map(|block| array.slice(block.start, block.len())).collect();
            Column::Plain(PlainColumn { data_type, values: PlainStore::Chunked(pieces) })
        }
        Form::Sorted => sorted(array, blocks, whole),
        Form::Growing => growing(array, blocks, whole),
        Form::Linear => linear(array, blocks, whole).unwrap_or_else(|| sorted(array, blocks, whole)),
    }
}

fn coded(
    array: &ArrayRef,
    values: CodeValues,
    codes: &[u64],
    blocks: &[Range<usize>],
    whole: bool,
) -> CodedColumn {
    let store = if whole {
        CodeStore::Whole(narrow(codes, values.count()))
    } else {
        CodeStore::Chunked(blocks.iter().map(|block| narrow(&codes[block.clone()], values.count())).collect())
    };
    let bound = |block: &Range<usize>, pick: fn(std::slice::Iter<'_, u64>) -> Option<&u64>| {
        pick(codes[block.clone()].iter()).copied().unwrap_or(0)
    };
    let zones = values.is_sorted().then(|| Zones {
        min: blocks.iter().map(|block| bound(block, |codes| codes.min())).collect(),
        max: blocks.iter().map(|block| bound(block, |codes| codes.max())).collect(),
    });
    CodedColumn {
        data_type: array.data_type().clone(),
        values,
        has_null: array.null_count() > 0,
        codes: store,
        zones,
        postings: None,
    }
}

fn narrow(codes: &[u64], count: u64) -> Codes {
    match count {
        0..=256 => Codes::U8(codes.iter().map(|code| *code as u8).collect()),
        257..=65_536 => Codes::U16(codes.iter().map(|code| *code as u16).collect()),
        65_537..=0x1_0000_0000 => Codes::U32(codes.iter().map(|code| *code as u32).collect()),
        _ => Codes::U64(codes.iter().copied().collect()),
    }
}

fn sorted(array: &ArrayRef, blocks: &[Range<usize>], whole: bool) -> Column {
    let compare = make_comparator(array, array, SortOptions::default()).unwrap();
    let mut order: Vec<usize> = (0..array.len()).collect();
    order.sort_by(|left, right| compare(*left, *right));
    let mut codes = vec![0; array.len()];
    let mut first_rows: Vec<u32> = Vec::new();
    for row in order {
        if first_rows.last().is_none_or(|last| compare(*last as usize, row) != Ordering::Equal) {
            first_rows.push(row as u32);
        }
        codes[row] = first_rows.len() as u64 - 1;
    }
    let values = take(array, &UInt32Array::from(first_rows), None).unwrap();
    let mut rows = vec![RoaringBitmap::new(); values.len()];
    codes.iter().enumerate().for_each(|(row, code)| {
        rows[*code as usize].insert(row as u32);
    });
    let values = CodeValues::Dictionary { values, sorted: true, fingerprint: None };
    let mut column = coded(array, values, &codes, blocks, whole);
    column.postings = Some(Arc::new(EveryRow(rows)));
    Column::Coded(column)
}

fn growing(array: &ArrayRef, blocks: &[Range<usize>], whole: bool) -> Column {
    let compare = make_comparator(array, array, SortOptions::default()).unwrap();
    let mut order: Vec<usize> = (0..array.len()).collect();
    order.sort_by(|left, right| compare(*left, *right));
    // Entry 0 is NULL or meaningless, the values follow from the greatest to the least, then one of no row.
    order.reverse();
    let mut codes = vec![0; array.len()];
    let mut first_rows: Vec<u32> = Vec::new();
    for row in order.into_iter().filter(|row| array.is_valid(*row)) {
        if first_rows.last().is_none_or(|last| compare(*last as usize, row) != Ordering::Equal) {
            first_rows.push(row as u32);
        }
        codes[row] = first_rows.len() as u64;
    }
    let entry =
        if first_rows.is_empty() { new_null_array(array.data_type(), 1) } else { one(array, first_rows[0]) };
    let values = take(array, &UInt32Array::from(first_rows), None).unwrap();
    let values = concat(&[entry.as_ref(), values.as_ref(), entry.as_ref()]).unwrap();
    let values = CodeValues::Dictionary { values, sorted: false, fingerprint: None };
    Column::Coded(coded(array, values, &codes, blocks, whole))
}

fn one(array: &ArrayRef, row: u32) -> ArrayRef {
    take(array, &UInt32Array::from(vec![row]), None).unwrap()
}

fn linear(array: &ArrayRef, blocks: &[Range<usize>], whole: bool) -> Option<Column> {
    let integers = integers(array)?;
    let base = integers.iter().flatten().copied().min()?;
    let above = |value: i64| value.checked_sub(base).map(|above| above as u64);
    let step = integers.iter().flatten().try_fold(0, |step, value| Some(gcd(step, above(*value)?)))?.max(1);
    let nulls = u64::from(array.null_count() > 0);
    let code = |value: &Option<i64>| value.map_or(0, |value| (value - base) as u64 / step + nulls);
    let codes: Vec<u64> = integers.iter().map(code).collect();
    let count = codes.iter().max().copied()? + 1;
    let values = CodeValues::Linear { base, step: step as i64, count };
    Some(Column::Coded(coded(array, values, &codes, blocks, whole)))
}

fn gcd(left: u64, right: u64) -> u64 {
    if right == 0 { left } else { gcd(right, left % right) }
}

fn integers(array: &ArrayRef) -> Option<Vec<Option<i64>>> {
    Some(match array.data_type() {
        DataType::Int32 => array.as_primitive::<Int32Type>().iter().map(|v| v.map(i64::from)).collect(),
        DataType::Date32 => array.as_primitive::<Date32Type>().iter().map(|v| v.map(i64::from)).collect(),
        DataType::Int64 => array.as_primitive::<Int64Type>().iter().collect(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive::<TimestampMicrosecondType>().iter().collect()
        }
        DataType::Decimal128(..) => {
            array.as_primitive::<Decimal128Type>().iter().map(|v| v.map(|v| v as i64)).collect()
        }
        DataType::Boolean => array.as_boolean().iter().map(|v| v.map(i64::from)).collect(),
        _ => return None,
    })
}
