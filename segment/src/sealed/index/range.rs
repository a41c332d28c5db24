//! The range index: the rows of a few ranges of values, for numbers that are all over the segment.
//!
//! Bucket bounds are quantiles of a sample, so that a bucket has about as many rows as another, unless a value alone has more.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float32Type, Float64Type};
use bytes::{BufMut, Bytes};
use roaring::RoaringBitmap;

use super::codes::physical_integers;
use super::{Input, read_bitmap, write_bitmap};
use crate::order;
use crate::schema::ColumnType;

const BUCKETS_MAX: usize = 64;
/// Values that are sorted to find the buckets' bounds.
const SAMPLE_VALUES: usize = 16_384;

/// The rows of ranges of a column's values.
#[derive(Debug)]
pub struct RangeIndex {
    buckets: Vec<Bucket>,
    bytes: Bytes,
    row_count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    min: i64,
    max: i64,
    count: u32,
    end: u32,
}

impl RangeIndex {
    /// A float as the index counts it: ascending with the value, -0.0 as 0.0, every NaN the same and last.
    pub fn float_key(value: f64) -> i64 {
        // Adding 0.0 makes 0.0 of -0.0 and changes nothing else.
        let value = if value.is_nan() { f64::NAN.abs() } else { value + 0.0 };
        order::of_f64(value)
    }

    /// Rows whose value is between `min` and `max`, both inclusive and as the index counts them: those that certainly are, and
    /// those that may be. `None` if a bitmap cannot be read.
    pub fn rows(&self, min: i64, max: i64) -> Option<(RoaringBitmap, RoaringBitmap)> {
        let (mut certain, mut possible) = (RoaringBitmap::new(), RoaringBitmap::new());
        for (nth, bucket) in self.buckets.iter().enumerate() {
            if bucket.max < min || bucket.min > max {
                continue;
            }
            let rows = self.read(nth)?;
            match min <= bucket.min && bucket.max <= max {
                true => certain |= rows,
                false => possible |= rows,
            }
        }
        Some((certain, possible))
    }

    /// How many ranges of values there are.
    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// How many rows [`rows`](Self::rows) would return as certain and as possible.
    pub fn counts(&self, min: i64, max: i64) -> (u64, u64) {
        let touched = self.buckets.iter().filter(|bucket| bucket.max >= min && bucket.min <= max);
        touched.fold((0, 0), |(certain, possible), bucket| match min <= bucket.min && bucket.max <= max {
            true => (certain + u64::from(bucket.count), possible),
            false => (certain, possible + u64::from(bucket.count)),
        })
    }

    /// The entry for a column of these values, in the order of the file; `None` if all are NULL.
    pub(in crate::sealed) fn build(keys: &[Option<i64>]) -> Result<Option<Vec<u8>>, String> {
        let bounds = upper_bounds(keys);
        if bounds.is_empty() {
            return Ok(None);
        }
        let mut buckets = vec![Bucket { min: i64::MAX, max: i64::MIN, count: 0, end: 0 }; bounds.len()];
        let mut rows = vec![Vec::new(); bounds.len()];
        let mut nulls = 0_u32;
        for (key, row) in keys.iter().zip(0_u32..) {
            let Some(key) = *key else {
                nulls += 1;
                continue;
            };
            let nth = bounds.partition_point(|bound| *bound < key).min(bounds.len() - 1);
            let bucket = &mut buckets[nth];
            (bucket.min, bucket.max) = (bucket.min.min(key), bucket.max.max(key));
            bucket.count += 1;
            rows[nth].push(row);
        }
        let mut bitmaps = Vec::new();
        let mut directory = Vec::new();
        let mut count = 0;
        for (bucket, rows) in buckets.iter().zip(rows).filter(|(bucket, _)| bucket.count > 0) {
            let mut bitmap = RoaringBitmap::from_sorted_iter(rows).map_err(|error| error.to_string())?;
            write_bitmap(&mut bitmap, &mut bitmaps)?;
            directory.put_i64_le(bucket.min);
            directory.put_i64_le(bucket.max);
            directory.put_u32_le(bucket.count);
            directory.put_u32_le(bitmaps.len() as u32);
            count += 1;
        }
        let mut out = Vec::new();
        out.put_u32_le(nulls);
        out.put_u32_le(count);
        out.extend_from_slice(&directory);
        out.extend_from_slice(&bitmaps);
        Ok(Some(out))
    }

    /// Reads an entry back.
    pub(in crate::sealed) fn parse(bytes: &Bytes, row_count: u32) -> Result<Self, String> {
        let mut input = Input(bytes);
        let (nulls, count) = (input.u32()?, input.u32()? as usize);
        if !(1..=BUCKETS_MAX).contains(&count) {
            return Err(format!("{count} buckets"));
        }
        let long =
            |bytes: &[u8]| bytes.iter().rev().fold(0, |value: i64, byte| value << 8 | i64::from(*byte));
        let buckets: Vec<Bucket> = input
            .words::<24>(count)?
            .iter()
            .map(|word| Bucket {
                min: long(&word[..8]),
                max: long(&word[8..16]),
                count: long(&word[16..20]) as u32,
                end: long(&word[20..]) as u32,
            })
            .collect();
        let bytes = bytes.slice_ref(input.0);
        let rows = buckets.iter().map(|bucket| u64::from(bucket.count)).sum::<u64>() + u64::from(nulls);
        let ascend = buckets.iter().all(|bucket| bucket.min <= bucket.max)
            && buckets.is_sorted_by(|left, right| left.max < right.min && left.end <= right.end);
        let ends_fit = buckets.last().is_some_and(|bucket| bucket.end as usize == bytes.len());
        if rows != u64::from(row_count) || !ascend || !ends_fit {
            return Err("its buckets do not fit".into());
        }
        Ok(Self { buckets, bytes, row_count })
    }

    fn read(&self, nth: usize) -> Option<RoaringBitmap> {
        let bucket = self.buckets.get(nth)?;
        let start = nth.checked_sub(1).map_or(0, |before| self.buckets[before].end);
        read_bitmap(&self.bytes[start as usize..bucket.end as usize], bucket.count, self.row_count).ok()
    }
}

/// The greatest value of each bucket but the last, which takes what is above as well.
fn upper_bounds(keys: &[Option<i64>]) -> Vec<i64> {
    let step = keys.len().div_ceil(SAMPLE_VALUES).max(1);
    let mut sample: Vec<i64> = keys.iter().step_by(step).flatten().copied().collect();
    if sample.is_empty() {
        sample.extend(keys.iter().flatten().take(1));
    }
    sample.sort_unstable();
    let buckets = BUCKETS_MAX.min(sample.len());
    let mut bounds: Vec<i64> = (1..=buckets).map(|nth| sample[nth * sample.len() / buckets - 1]).collect();
    bounds.dedup();
    bounds
}

/// The values of a column as the index counts them; `None` for a type without a range index.
pub(in crate::sealed) fn range_keys(
    data_type: &ColumnType,
    arrays: &[&ArrayRef],
) -> Option<Vec<Option<i64>>> {
    let mut keys = Vec::with_capacity(arrays.iter().map(|array| array.len()).sum());
    for array in arrays {
        match data_type {
            ColumnType::Float => {
                let array = array.as_primitive::<Float32Type>();
                keys.extend(array.iter().map(|value| value.map(|value| RangeIndex::float_key(value.into()))));
            }
            ColumnType::Double => {
                keys.extend(
                    array.as_primitive::<Float64Type>().iter().map(|value| value.map(RangeIndex::float_key)),
                );
            }
            ColumnType::Boolean => return None,
            other => keys.extend(physical_integers(other, array)?),
        }
    }
    Some(keys)
}
