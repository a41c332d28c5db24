//! One column on its way into the object: from rows in the order of arrival to a chunk and its index entries.
//!
//! Columns are written one after the other, so that only one of them is held in sorted order at a time, and as codes where it has
//! any.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array};
use arrow::compute::interleave;
use arrow::datatypes::{Date32Type, FieldRef, Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_writer::ArrowColumnChunk;
use parquet::bloom_filter::Sbbf;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;

use super::PAGE_ROWS;
use super::dictionary_chunk::{self, DictionaryColumn, EncodedChunk};
use super::index::{CodeCounts, ENTRY_BYTES_MAX, InvertedIndex, SortedIndex, ValueOrder, listed_values};
use super::index_block::IndexKind;
use super::intern::Coded;
use super::plain_chunk;
use crate::cardinality::Limit;
use crate::schema::{ColumnType, TableSchema};
use crate::spec::IndexSet;
use crate::{Result, SegmentError};

/// Most distinct values of a dictionary: text, and numbers.
const TEXT_DISTINCT_MAX: usize = 1 << 21;
const NUMBER_DISTINCT_MAX: usize = 65_536;
/// Rows per distinct value from which on a dictionary may pay: text, and numbers.
const TEXT_REPEATS_MIN: usize = 3;
const NUMBER_REPEATS_MIN: usize = 8;
/// Most distinct values of an inverted index: by rule, and where the spec asks for one.
const RULE_DISTINCT_MAX: usize = 1_000;
const SPEC_DISTINCT_MAX: usize = 1 << 20;
/// What an inverted index by rule may take: a tenth of the column, and this at any rate.
const RULE_BYTES_MIN: usize = 64 << 10;
/// Rows per distinct value from which on the sorted index is written.
const SORTED_REPEATS_MIN: usize = 16;
/// Longest text, on average, that gets a bloom filter by rule: what is longer is no key.
const BLOOM_TEXT_BYTES_MAX: u64 = 64;
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
/// Rows after which the search for a row's batch begins anew.
const HINT_ROWS: usize = 1024;
/// Slices of the column that the encoding is chosen by, and their rows.
const SAMPLE_SLICES: usize = 2;
const SAMPLE_ROWS_MIN: usize = 1024;
const SAMPLE_ROWS_MAX: usize = 8192;

/// Where the rows of a segment stand among its batches, and in which order they go into the file.
pub(super) struct RowOrder {
    /// The first row of each batch; no batch is empty.
    starts: Vec<u32>,
    /// By every [`HINT_ROWS`] rows, the batch that holds the first of them.
    hints: Vec<u32>,
    rows: usize,
    /// The n-th row of the file; `None`: as they stand.
    numbers: Option<Vec<u32>>,
}

impl RowOrder {
    pub(super) fn new(batch_rows: impl Iterator<Item = usize>, numbers: Option<Vec<u32>>) -> Self {
        let mut rows = 0;
        let starts: Vec<u32> = batch_rows
            .map(|count| {
                rows += count;
                (rows - count) as u32
            })
            .collect();
        let batch_of = |row: usize| starts.partition_point(|start| *start as usize <= row).saturating_sub(1);
        let hints = (0..rows).step_by(HINT_ROWS).map(|row| batch_of(row) as u32).collect();
        Self { starts, hints, rows, numbers }
    }

    /// The batch of a row, and the row's number in it.
    #[inline]
    fn place(&self, number: u32) -> (usize, usize) {
        let mut batch = self.hints[number as usize / HINT_ROWS] as usize;
        while self.starts.get(batch + 1).is_some_and(|next| *next <= number) {
            batch += 1;
        }
        (batch, (number - self.starts[batch]) as usize)
    }

    /// Rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Values by row, from the order of arrival into that of the file.
    fn sorted<T: Copy>(&self, values: Vec<T>) -> Vec<T> {
        match &self.numbers {
            None => values,
            Some(numbers) => numbers.iter().map(|number| values[*number as usize]).collect(),
        }
    }

    /// `count` rows of the file from `start` on.
    fn slice(&self, arrays: &[&ArrayRef], start: usize, count: usize) -> Result<ArrayRef> {
        let end = (start + count).min(self.rows);
        let places: Vec<(usize, usize)> = match &self.numbers {
            None => (start as u32..end as u32).map(|number| self.place(number)).collect(),
            Some(numbers) => numbers[start..end].iter().map(|number| self.place(*number)).collect(),
        };
        let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
        Ok(interleave(&arrays, &places)?)
    }

    /// All rows of the file in slices.
    fn slices<'a>(&'a self, arrays: &'a [&'a ArrayRef]) -> Box<dyn Iterator<Item = Result<ArrayRef>> + 'a> {
        match &self.numbers {
            None => Box::new(arrays.iter().map(|array| Ok(ArrayRef::clone(array)))),
            Some(_) => {
                Box::new((0..self.rows).step_by(PAGE_ROWS).map(|start| self.slice(arrays, start, PAGE_ROWS)))
            }
        }
    }
}

/// What becomes a column of the file.
pub(super) struct ColumnInput<'a> {
    pub(super) schema: &'a TableSchema,
    /// Its number.
    pub(super) number: usize,
    pub(super) descriptor: ColumnDescPtr,
    /// The values, in the order of arrival.
    pub(super) arrays: &'a [&'a ArrayRef],
    pub(super) coded: Option<Coded>,
    /// Whether a float column holds a NaN.
    pub(super) has_nan: bool,
    pub(super) order: &'a RowOrder,
}

/// An index entry's bytes.
pub(super) type Entry = (IndexKind, Vec<u8>);

enum Chunk {
    Dictionary(EncodedChunk),
    Plain(ArrowColumnChunk),
}

/// When the codes of a column are not worth being made.
pub(super) fn code_limit(schema: &TableSchema, column: usize, rows: usize) -> Limit {
    if schema.indexes(column).is_some_and(|indexes| indexes.inverted) {
        return Limit { distinct_max: SPEC_DISTINCT_MAX, judged_rows: None };
    }
    let distinct_max = dictionary_limit(&schema.columns()[column].data_type, rows);
    Limit { distinct_max, judged_rows: Some(rows) }
}

fn dictionary_limit(data_type: &ColumnType, rows: usize) -> usize {
    match data_type.is_bytes_like() {
        true => (rows / TEXT_REPEATS_MIN).min(TEXT_DISTINCT_MAX),
        false => (rows / NUMBER_REPEATS_MIN).min(NUMBER_DISTINCT_MAX),
    }
}

impl ColumnInput<'_> {
    fn data_type(&self) -> &ColumnType {
        &self.schema.columns()[self.number].data_type
    }

    fn field(&self) -> FieldRef {
        self.schema.arrow().fields()[self.number].clone()
    }

    /// The indexes that the spec names; `None`: by rule.
    fn indexes(&self) -> Option<IndexSet> {
        self.schema.indexes(self.number)
    }

    /// Writes the column's chunk. Returns its index entry, if it has one, and, if they are to be kept, its values in their sealed order.
    pub(super) fn write<W: Write + Send>(
        mut self,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
        is_kept: bool,
    ) -> Result<(Option<Entry>, Option<Vec<ArrayRef>>)> {
        let mut coded = self.coded.take();
        let codes = coded.as_mut().map(|coded| self.order.sorted(std::mem::take(&mut coded.codes)));
        let coded = coded.as_ref().zip(codes.as_deref());
        let mut chunk = self.chunk(coded)?;
        let close = match &mut chunk {
            Chunk::Dictionary(chunk) => &mut chunk.close,
            Chunk::Plain(chunk) => chunk.close_mut(),
        };
        close.bloom_filter = self.bloom_filter(coded.map(|(coded, _)| coded))?;
        let chunk_bytes = close.bytes_written as usize;
        match chunk {
            Chunk::Dictionary(chunk) => row_group.append_column(&chunk.bytes, chunk.close)?,
            Chunk::Plain(chunk) => chunk.append_to_row_group(row_group)?,
        }
        let kept = is_kept.then(|| self.sorted_arrays(coded)).transpose()?;
        let entry = match coded {
            Some((coded, codes)) => self.posting_entry(coded, codes, chunk_bytes)?,
            None => None,
        };
        Ok((entry.filter(|(_, bytes)| bytes.len() as u64 <= ENTRY_BYTES_MAX), kept))
    }

    /// The values in their sealed order: text and bytes as the dictionary that they have already.
    fn sorted_arrays(&self, coded: Option<(&Coded, &[u32])>) -> Result<Vec<ArrayRef>> {
        match coded {
            Some((coded, codes)) if self.data_type().is_bytes_like() => {
                let first = u32::from(coded.has_null);
                // No NULL and no more values than rows of a segment, so keys are not negative.
                let keys = codes.iter().map(|code| code.checked_sub(first).map(|key| key as i32));
                let keys: Int32Array = keys.collect();
                Ok(vec![Arc::new(DictionaryArray::try_new(keys, Arc::clone(&coded.values))?)])
            }
            _ => self.order.slices(self.arrays).collect(),
        }
    }

    fn chunk(&self, coded: Option<(&Coded, &[u32])>) -> Result<Chunk> {
        let limit = dictionary_limit(self.data_type(), self.order.rows());
        let dictionary = match coded.filter(|(coded, _)| coded.values.len() <= limit) {
            Some((coded, codes)) => dictionary_chunk::encode(&DictionaryColumn {
                descriptor: self.descriptor.clone(),
                data_type: self.data_type(),
                coded,
                codes,
                has_nan: self.has_nan,
            })?,
            None => None,
        };
        // Text always has a dictionary if it repeats. Numbers may be smaller as they are.
        let dictionary = match dictionary {
            Some(chunk) if self.data_type().is_bytes_like() => return Ok(Chunk::Dictionary(chunk)),
            other => other,
        };
        let form = self.plain_form()?;
        let plain_bytes = form.row_bytes * self.order.rows() as f64;
        if let Some(chunk) = dictionary
            && chunk.close.bytes_written as f64 <= plain_bytes
        {
            return Ok(Chunk::Dictionary(chunk));
        }
        let arrays = self.order.slices(self.arrays);
        plain_chunk::encode(&self.field(), self.data_type(), form, !self.has_nan, arrays).map(Chunk::Plain)
    }

    fn plain_form(&self) -> Result<plain_chunk::PlainForm> {
        let rows = self.order.rows();
        let slice_rows = (rows / 64).clamp(SAMPLE_ROWS_MIN, SAMPLE_ROWS_MAX);
        let sample = (0..SAMPLE_SLICES)
            .map(|nth| nth * rows / SAMPLE_SLICES)
            .map(|start| self.order.slice(self.arrays, start, slice_rows.min(rows.div_ceil(SAMPLE_SLICES))))
            .collect::<Result<Vec<_>>>()?;
        plain_chunk::choose(&self.field(), self.data_type(), &sample)
    }

    fn bloom_filter(&self, coded: Option<&Coded>) -> Result<Option<Sbbf>> {
        let wanted = match self.indexes() {
            Some(indexes) => indexes.bloom,
            None => coded.is_none() && self.is_key_text(),
        };
        if !wanted {
            return Ok(None);
        }
        let arrays = match coded {
            Some(coded) => &[&coded.values][..],
            None => self.arrays,
        };
        let values: usize = arrays.iter().map(|array| array.len() - array.null_count()).sum();
        if values == 0 {
            return Ok(None);
        }
        let mut filter = Sbbf::new_with_ndv_fpp(values as u64, BLOOM_FALSE_POSITIVES)?;
        for array in arrays {
            insert_all(&mut filter, self.data_type(), array);
        }
        filter.fold_to_target_fpp(BLOOM_FALSE_POSITIVES);
        Ok(Some(filter))
    }

    /// Whether the values are text short enough for a key.
    fn is_key_text(&self) -> bool {
        if !matches!(self.data_type(), ColumnType::String | ColumnType::Uuid) {
            return false;
        }
        let (mut bytes, mut values) = (0, 0);
        for array in self.arrays {
            let array = array.as_string_view();
            // The lowest 32 bits of a view are its length; a NULL's may be anything, but is seldom long.
            bytes += array.views().iter().map(|view| u64::from(*view as u32)).sum::<u64>();
            values += (array.len() - array.null_count()) as u64;
        }
        values > 0 && bytes / values <= BLOOM_TEXT_BYTES_MAX
    }

    /// The sorted index if the column has one, else the inverted index.
    fn posting_entry(&self, coded: &Coded, codes: &[u32], chunk_bytes: usize) -> Result<Option<Entry>> {
        let distinct = coded.count();
        let indexes = self.indexes();
        let fits = !matches!(self.data_type(), ColumnType::Float | ColumnType::Double);
        let is_sorted = self.schema.sort_key().first() == Some(&self.number)
            && indexes != Some(IndexSet::default())
            && distinct * SORTED_REPEATS_MIN <= codes.len();
        let (inverted, bytes_max) = match indexes {
            Some(indexes) => (indexes.inverted, ENTRY_BYTES_MAX as usize),
            None => ((2..=RULE_DISTINCT_MAX).contains(&distinct), RULE_BYTES_MIN.max(chunk_bytes / 10)),
        };
        if !fits || !(is_sorted || inverted) {
            return Ok(None);
        }
        let order = ValueOrder {
            count: distinct as u32,
            has_null: coded.has_null,
            values: listed_values(self.data_type(), &coded.values),
        };
        let counts = CodeCounts::of(codes, distinct);
        if is_sorted {
            return Ok(Some((IndexKind::Sorted, SortedIndex::build(&order, &counts))));
        }
        if least_bitmap_bytes(codes, distinct) > bytes_max {
            return Ok(None);
        }
        let built =
            InvertedIndex::build(&order, codes, &counts, bytes_max).map_err(|what| self.failed(&what))?;
        Ok(built.map(|bytes| (IndexKind::Inverted, bytes)))
    }

    fn failed(&self, what: &str) -> SegmentError {
        SegmentError::Refused(format!("column {}: index: {what}", self.schema.columns()[self.number].name))
    }
}

/// About a quarter of what bitmaps of these codes come to: enough to give up columns that are far from fitting.
fn least_bitmap_bytes(codes: &[u32], distinct: usize) -> usize {
    let runs = 1 + codes.windows(2).filter(|pair| pair[0] != pair[1]).count();
    (runs * 4).min(codes.len() * 2).min(codes.len() / 8 * distinct) / 4
}

fn insert_all(filter: &mut Sbbf, data_type: &ColumnType, array: &ArrayRef) {
    match data_type {
        ColumnType::Int => array.as_primitive::<Int32Type>().iter().flatten().for_each(|v| filter.insert(&v)),
        ColumnType::Date => {
            array.as_primitive::<Date32Type>().iter().flatten().for_each(|v| filter.insert(&v))
        }
        ColumnType::Long => {
            array.as_primitive::<Int64Type>().iter().flatten().for_each(|v| filter.insert(&v))
        }
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
            let array = array.as_primitive::<TimestampMicrosecondType>();
            array.iter().flatten().for_each(|value| filter.insert(&value));
        }
        ColumnType::String | ColumnType::Json | ColumnType::Uuid => {
            array.as_string_view().iter().flatten().for_each(|text| filter.insert(text));
        }
        ColumnType::Bytes => array.as_binary_view().iter().flatten().for_each(|bytes| filter.insert(bytes)),
        // The spec allows no other types.
        _ => {}
    }
}
