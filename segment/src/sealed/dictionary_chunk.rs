//! A dictionary-encoded column chunk from codes: the dictionary page, sorted, then data pages of bit-packed codes.
//!
//! The codes are known before the file is written, so nothing is looked up here: a page is packed, its bounds are those of its
//! codes, and what reads the file finds the same codes again.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use bytes::{BufMut, Bytes};
use parquet::basic::{BoundaryOrder, Encoding, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::PAGE_ROWS;
use super::codec::{Codec, Pages, Sample};
use super::intern::Coded;
use super::rle;
use super::stats::{TEXT_BOUND_BYTES_MAX, cut, cut_and_round_up};
use crate::schema::ColumnType;
use crate::{Result, SegmentError};

/// Pages that are encoded to choose the codec.
const SAMPLE_PAGES: usize = 3;
/// Bytes of the dictionary that are looked at to choose the codec.
const SAMPLE_DICTIONARY_BYTES: usize = 256 << 10;
/// Longest dictionary page that is written; Parquet's limit is 2 GiB.
pub(super) const DICTIONARY_BYTES_MAX: usize = 256 << 20;

/// What becomes a chunk.
pub(super) struct DictionaryColumn<'a> {
    pub(super) descriptor: ColumnDescPtr,
    pub(super) data_type: &'a ColumnType,
    /// The dictionary; its codes are in the order of arrival and not looked at.
    pub(super) coded: &'a Coded,
    /// A code per row, in the order of the file.
    pub(super) codes: &'a [u32],
    /// Whether a float column holds a NaN: then it has no bounds.
    pub(super) has_nan: bool,
}

/// A chunk that is not in a file yet; its offsets count from its own beginning.
pub(super) struct EncodedChunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

/// The distinct values in Parquet's PLAIN encoding.
struct Dictionary {
    plain: Vec<u8>,
    /// Bytes of a value; `None`: each is behind its length, at `starts`.
    width: Option<usize>,
    starts: Vec<usize>,
}

impl Dictionary {
    fn new(data_type: &ColumnType, values: &ArrayRef) -> Option<Self> {
        let mut plain = Vec::new();
        let mut starts = Vec::new();
        let mut put_bytes = |bytes: &[u8]| {
            plain.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            starts.push(plain.len());
            plain.extend_from_slice(bytes);
        };
        let width = match data_type {
            ColumnType::String | ColumnType::Json | ColumnType::Uuid => {
                values.as_string_view().iter().flatten().for_each(|text| put_bytes(text.as_bytes()));
                None
            }
            ColumnType::Bytes => {
                values.as_binary_view().iter().flatten().for_each(put_bytes);
                None
            }
            ColumnType::Int => {
                Some(fixed(&mut plain, values.as_primitive::<Int32Type>().values(), |v| v.to_le_bytes()))
            }
            ColumnType::Date => {
                Some(fixed(&mut plain, values.as_primitive::<Date32Type>().values(), |v| v.to_le_bytes()))
            }
            ColumnType::Long => {
                Some(fixed(&mut plain, values.as_primitive::<Int64Type>().values(), |v| v.to_le_bytes()))
            }
            ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
                let values = values.as_primitive::<TimestampMicrosecondType>().values();
                Some(fixed(&mut plain, values, |v| v.to_le_bytes()))
            }
            ColumnType::Float => {
                Some(fixed(&mut plain, values.as_primitive::<Float32Type>().values(), |v| v.to_le_bytes()))
            }
            ColumnType::Double => {
                Some(fixed(&mut plain, values.as_primitive::<Float64Type>().values(), |v| v.to_le_bytes()))
            }
            // As the Arrow writer maps them: one digit goes to eight bytes like ten do.
            ColumnType::Decimal(2..=9, _) => {
                let values = values.as_primitive::<Decimal128Type>().values();
                Some(fixed(&mut plain, values, |v| (v as i32).to_le_bytes()))
            }
            ColumnType::Decimal(digits, _) if *digits <= 18 => {
                let values = values.as_primitive::<Decimal128Type>().values();
                Some(fixed(&mut plain, values, |v| (v as i64).to_le_bytes()))
            }
            ColumnType::Boolean | ColumnType::Decimal(..) | ColumnType::Array(_) => return None,
        };
        (plain.len() <= DICTIONARY_BYTES_MAX).then_some(Self { plain, width, starts })
    }

    fn value(&self, index: usize) -> &[u8] {
        match self.width {
            Some(width) => &self.plain[index * width..(index + 1) * width],
            None => {
                let end = self.starts.get(index + 1).map_or(self.plain.len(), |next| next - 4);
                &self.plain[self.starts[index]..end]
            }
        }
    }
}

fn fixed<T: Copy, const W: usize>(plain: &mut Vec<u8>, values: &[T], bytes: impl Fn(T) -> [u8; W]) -> usize {
    plain.reserve(values.len() * W);
    values.iter().for_each(|value| plain.extend_from_slice(&bytes(*value)));
    W
}

/// One page's codes, taken apart.
#[derive(Default)]
struct PageCodes {
    bytes: Vec<u8>,
    levels: Vec<u32>,
    indexes: Vec<u32>,
    nulls: usize,
    min: u32,
    max: u32,
}

impl PageCodes {
    /// `codes` with NULL as code 0 if `has_null`; `bits` hold every index.
    fn encode(&mut self, codes: &[u32], has_null: bool, nullable: bool, bits: u32) {
        self.bytes.clear();
        self.indexes.clear();
        self.nulls = 0;
        if has_null {
            self.levels.clear();
            self.levels.extend(codes.iter().map(|code| u32::from(*code != 0)));
            self.indexes.extend(codes.iter().filter(|code| **code != 0).map(|code| code - 1));
            self.nulls = codes.len() - self.indexes.len();
        } else {
            self.indexes.extend_from_slice(codes);
            self.levels.clear();
            self.levels.resize(codes.len(), 1);
        }
        self.min = self.indexes.iter().copied().min().unwrap_or(0);
        self.max = self.indexes.iter().copied().max().unwrap_or(0);
        if nullable {
            self.bytes.put_u32_le(0);
            rle::encode(&self.levels, 1, &mut self.bytes);
            let length = (self.bytes.len() - 4) as u32;
            self.bytes[..4].copy_from_slice(&length.to_le_bytes());
        }
        self.bytes.push(bits as u8);
        rle::encode(&self.indexes, bits, &mut self.bytes);
    }
}

/// Encodes a chunk; `None` if the column's type or the size of its dictionary does not allow one.
pub(super) fn encode(column: &DictionaryColumn<'_>) -> Result<Option<EncodedChunk>> {
    let Some(dictionary) = Dictionary::new(column.data_type, &column.coded.values) else {
        return Ok(None);
    };
    let nullable = column.descriptor.max_def_level() > 0;
    let bits = rle::bits_for(column.coded.values.len() as u32 - 1);
    let mut page = PageCodes::default();
    let codec = choose_codec(column, &dictionary, &mut page, nullable, bits)?;
    let mut pages = Pages::new(codec)?;
    let mut sink = TrackedWrite::new(Vec::new());
    let mut writer = SerializedPageWriter::new(&mut sink);

    let plain_bytes = dictionary.plain.len();
    let dictionary_page = Page::DictionaryPage {
        buf: pages.compress(&dictionary.plain)?.into(),
        num_values: column.coded.values.len() as u32,
        encoding: Encoding::PLAIN,
        is_sorted: true,
    };
    let first = writer.write_page(CompressedPage::new(dictionary_page, plain_bytes))?;
    let mut totals = Totals::default();
    totals.add(&first);
    let mut offsets = OffsetIndexBuilder::new();
    let mut bounds = Bounds::new(column, &dictionary);
    for codes in column.codes.chunks(PAGE_ROWS) {
        page.encode(codes, column.coded.has_null, nullable, bits);
        let uncompressed = page.bytes.len();
        let data_page = Page::DataPage {
            buf: pages.compress(&page.bytes)?.into(),
            num_values: codes.len() as u32,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let spec = writer.write_page(CompressedPage::new(data_page, uncompressed))?;
        totals.add(&spec);
        offsets.append_row_count(codes.len() as i64);
        offsets.append_offset_and_size(spec.offset as i64, spec.compressed_size as i32);
        bounds.add_page(&page, codes.len());
    }
    let bytes = sink.into_inner()?;
    let (column_index, statistics) = bounds.finish()?;
    let mut metadata = ColumnChunkMetaData::builder(column.descriptor.clone())
        .set_compression(codec.parquet()?)
        .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
        .set_page_encoding_stats(vec![
            page_count(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1),
            page_count(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY, totals.pages - 1),
        ])
        .set_num_values(column.codes.len() as i64)
        .set_total_compressed_size(totals.compressed as i64)
        .set_total_uncompressed_size(totals.uncompressed as i64)
        .set_dictionary_page_offset(Some(0))
        .set_data_page_offset(first.bytes_written as i64);
    if let Some(statistics) = statistics {
        metadata = metadata.set_statistics(statistics);
    }
    let close = ColumnCloseResult {
        bytes_written: bytes.len() as u64,
        rows_written: column.codes.len() as u64,
        metadata: metadata.build()?,
        bloom_filter: None,
        column_index,
        offset_index: Some(offsets.build()),
    };
    Ok(Some(EncodedChunk { bytes: bytes.into(), close }))
}

#[derive(Default)]
struct Totals {
    pages: usize,
    compressed: usize,
    uncompressed: usize,
}

impl Totals {
    fn add(&mut self, spec: &PageWriteSpec) {
        self.pages += 1;
        self.compressed += spec.compressed_size;
        self.uncompressed += spec.uncompressed_size;
    }
}

fn page_count(page_type: PageType, encoding: Encoding, count: usize) -> PageEncodingStats {
    PageEncodingStats { page_type, encoding, count: count as i32 }
}

fn choose_codec(
    column: &DictionaryColumn<'_>,
    dictionary: &Dictionary,
    page: &mut PageCodes,
    nullable: bool,
    bits: u32,
) -> Result<Codec> {
    let pages = column.codes.len().div_ceil(PAGE_ROWS);
    let mut bytes = Vec::new();
    let mut rows = 0;
    for nth in 0..SAMPLE_PAGES.min(pages) {
        // Evenly spread; all of them if there are no more.
        let start = nth * pages / SAMPLE_PAGES.min(pages) * PAGE_ROWS;
        let codes = &column.codes[start..(start + PAGE_ROWS).min(column.codes.len())];
        page.encode(codes, column.coded.has_null, nullable, bits);
        bytes.extend_from_slice(&page.bytes);
        rows += codes.len();
    }
    let some = &dictionary.plain[..dictionary.plain.len().min(SAMPLE_DICTIONARY_BYTES)];
    Codec::choose(&[
        Sample { bytes: some, stands_for: dictionary.plain.len() as f64 },
        Sample { bytes: &bytes, stands_for: bytes.len() as f64 * column.codes.len() as f64 / rows as f64 },
    ])
}

/// The bounds of pages and of the chunk, from codes.
struct Bounds<'a> {
    column: &'a DictionaryColumn<'a>,
    dictionary: &'a Dictionary,
    /// `None` once bounds are known to be impossible.
    index: Option<ColumnIndexBuilder>,
    nulls: usize,
    /// Of the last page that is not all NULL.
    last: Option<(u32, u32)>,
    ascending: bool,
}

impl<'a> Bounds<'a> {
    fn new(column: &'a DictionaryColumn<'a>, dictionary: &'a Dictionary) -> Self {
        // Bytes have bounds in no other reader that we know of, and text of nothing but the greatest character has no upper one.
        let possible = !column.has_nan && !matches!(column.data_type, ColumnType::Bytes);
        let index = possible.then(|| ColumnIndexBuilder::new(column.descriptor.physical_type()));
        Self { column, dictionary, index, nulls: 0, last: None, ascending: true }
    }

    fn add_page(&mut self, page: &PageCodes, rows: usize) {
        self.nulls += page.nulls;
        let Some(index) = &mut self.index else { return };
        if page.nulls == rows {
            index.append(true, Vec::new(), Vec::new(), page.nulls as i64);
            return;
        }
        self.ascending &= self.last.is_none_or(|(min, max)| min <= page.min && max <= page.max);
        self.last = Some((page.min, page.max));
        let bounds = bounds_of(self.column.data_type, self.dictionary, page.min, page.max);
        match bounds {
            Some(bounds) => index.append(false, bounds.min, bounds.max, page.nulls as i64),
            None => self.index = None,
        }
    }

    fn finish(self) -> Result<(Option<ColumnIndexMetaData>, Option<Statistics>)> {
        let Some(mut index) = self.index else { return Ok((None, None)) };
        index.set_boundary_order(if self.ascending {
            BoundaryOrder::ASCENDING
        } else {
            BoundaryOrder::UNORDERED
        });
        let last = self.column.coded.values.len() as u32 - 1;
        let statistics = bounds_of(self.column.data_type, self.dictionary, 0, last)
            .map(|bounds| {
                let counts = (u64::from(last) + 1, self.nulls as u64);
                statistics(self.column.descriptor.physical_type(), bounds, counts)
            })
            .transpose()?;
        Ok((Some(index.build()?), statistics))
    }
}

/// A least and a greatest value as Parquet's bytes.
struct BoundBytes {
    min: Vec<u8>,
    max: Vec<u8>,
    min_exact: bool,
    max_exact: bool,
}

/// `None` if there is no upper bound of at most 64 bytes.
fn bounds_of(data_type: &ColumnType, dictionary: &Dictionary, min: u32, max: u32) -> Option<BoundBytes> {
    let (min, max) = (dictionary.value(min as usize), dictionary.value(max as usize));
    if !data_type.is_bytes_like() {
        let mut bounds =
            BoundBytes { min: min.to_vec(), max: max.to_vec(), min_exact: true, max_exact: true };
        if matches!(data_type, ColumnType::Float | ColumnType::Double) {
            widen_zero(&mut bounds);
        }
        return Some(bounds);
    }
    let upper = match max.len() <= TEXT_BOUND_BYTES_MAX {
        true => max.to_vec(),
        false => cut_and_round_up(std::str::from_utf8(max).ok()?)?.as_bytes().to_vec(),
    };
    let lower = cut(std::str::from_utf8(min).ok()?).as_bytes();
    Some(BoundBytes {
        min_exact: lower.len() == min.len(),
        max_exact: max.len() <= TEXT_BOUND_BYTES_MAX,
        min: lower.to_vec(),
        max: upper,
    })
}

/// Parquet's rule for floats: a zero as a lower bound is -0.0, as an upper bound 0.0, because readers may not tell them apart.
fn widen_zero(bounds: &mut BoundBytes) {
    let is_zero = |bytes: &[u8]| {
        bytes.split_last().is_some_and(|(sign, rest)| *sign & 0x7f == 0 && rest.iter().all(|byte| *byte == 0))
    };
    for (bytes, sign) in [(&mut bounds.min, 0x80), (&mut bounds.max, 0)] {
        if is_zero(bytes)
            && let Some(last) = bytes.last_mut()
        {
            *last = sign;
        }
    }
}

fn statistics(physical: Type, bounds: BoundBytes, (distinct, nulls): (u64, u64)) -> Result<Statistics> {
    fn number<const W: usize>(bytes: &[u8]) -> Result<[u8; W]> {
        let wrong = || format!("a bound of {} bytes where {W} are stored", bytes.len());
        bytes.try_into().map_err(|_| SegmentError::Refused(wrong()))
    }
    macro_rules! of {
        ($variant:ident, $number:ty) => {{
            let min = <$number>::from_le_bytes(number(&bounds.min)?);
            let max = <$number>::from_le_bytes(number(&bounds.max)?);
            Statistics::$variant(ValueStatistics::new(
                Some(min),
                Some(max),
                Some(distinct),
                Some(nulls),
                false,
            ))
        }};
    }
    Ok(match physical {
        Type::INT32 => of!(Int32, i32),
        Type::INT64 => of!(Int64, i64),
        Type::FLOAT => of!(Float, f32),
        Type::DOUBLE => of!(Double, f64),
        _ => {
            let (min, max) = (ByteArray::from(bounds.min), ByteArray::from(bounds.max));
            let statistics = ValueStatistics::new(Some(min), Some(max), Some(distinct), Some(nulls), false)
                .with_min_is_exact(bounds.min_exact)
                .with_max_is_exact(bounds.max_exact);
            Statistics::ByteArray(statistics)
        }
    })
}
