//! Everything that can be said about a sealed segment from its object alone: what is in it, how it is held, what it takes.
//!
//! Without the table log the chain of checksums begins in the object itself, with the mark in its footer: it shows damage, though
//! not that this is the object which the log means. Nothing is parsed before it was verified.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::ArrayRef;
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use serde::Serialize;

use super::dead_letters::is_dead_letters;
use super::footer::{KEY_FORMAT_VERSION, KEY_INDEX_CRC32C, KEY_INDEX_LENGTH, KEY_INDEX_OFFSET};
use super::index::{ColumnPostings, InvertedIndex, SortedIndex};
use super::index_block::{IndexBlock, IndexEntry, IndexKind};
use super::indexes::bloom_range;
use super::{FORMAT_VERSION, SEGMENT_ROWS_MAX, tail_mark};
use crate::{Result, SegmentError};

/// Longest bound that is shown, in characters.
const BOUND_CHARS_MAX: usize = 32;

/// What is known about one part of the object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Which part.
    pub part: String,
    /// Its bytes.
    pub bytes: u64,
    /// Whether it is what was written.
    pub verified: bool,
    /// Against what, or what is wrong.
    pub detail: String,
}

/// One column of the object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnReport {
    /// Name.
    pub name: String,
    /// The table's type, if the file says it; else Parquet's.
    pub data_type: String,
    /// Rows that are NULL; `None` if unknown.
    pub nulls: Option<u64>,
    /// Distinct values, NULL not counted; `None` if unknown.
    pub distinct: Option<u64>,
    /// Encoding of the values.
    pub encoding: String,
    /// Codec of the pages.
    pub codec: String,
    /// Data pages.
    pub pages: usize,
    /// Bytes in the file.
    pub compressed_bytes: u64,
    /// Bytes before compression.
    pub uncompressed_bytes: u64,
    /// Bytes of the dictionary page in the file; 0 without one.
    pub dictionary_bytes: u64,
    /// The least value, cut if it is long; `None` if unknown.
    pub min: Option<String>,
    /// The greatest value.
    pub max: Option<String>,
}

/// One index of the object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IndexReport {
    /// Column.
    pub column: String,
    /// inverted, sorted or bloom.
    pub kind: &'static str,
    /// Bytes in the file.
    pub bytes: u64,
    /// Values or blocks that it knows; `None` if it is damaged.
    pub entries: Option<u64>,
    /// What is wrong with it; empty if nothing is.
    pub fault: String,
}

/// A sealed segment, taken apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SegmentReport {
    /// Length of the object.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Row groups; a segment has one.
    pub row_groups: usize,
    /// The parts of the object, from its end to its beginning, as they are verified.
    pub parts: Vec<Verdict>,
    /// Columns in order.
    pub columns: Vec<ColumnReport>,
    /// Indexes in the order of the columns.
    pub indexes: Vec<IndexReport>,
    /// Headwater's key-value metadata of the footer.
    pub keys: Vec<(String, String)>,
}

impl SegmentReport {
    /// Whether nothing that was looked at is damaged.
    pub fn is_sound(&self) -> bool {
        self.parts.iter().all(|part| part.verified) && self.indexes.iter().all(|index| index.fault.is_empty())
    }
}

/// Takes an object apart. What is damaged behind the footer is said in the report.
///
/// # Errors
/// `Corrupt`, saying what the bytes are instead, if they are no Parquet file, or one that is no sealed segment; `Refused` if they
/// are dead letters.
pub fn inspect(object: &Bytes) -> Result<SegmentReport> {
    match taken_apart(object) {
        Err(SegmentError::Corrupt(_)) if is_dead_letters(object) => Err(SegmentError::Refused(
            "it is a file of dead letters, and no segment; SELECT * FROM system.dead_letters shows them"
                .into(),
        )),
        outcome => outcome,
    }
}

fn taken_apart(object: &Bytes) -> Result<SegmentReport> {
    let tail_offset = verified_tail(object)?;
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    let metadata = unless_it_panics(|| reader.parse_and_finish(object))?
        .map_err(|error| corrupt(format!("its footer cannot be read ({error})")))?;
    let keys = Keys::of(&metadata);
    let (index_offset, index_length) = keys.index_place(tail_offset)?;
    let mut report = SegmentReport {
        bytes: object.len() as u64,
        rows: u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0),
        row_groups: metadata.num_row_groups(),
        parts: vec![Verdict {
            part: "page index and footer".into(),
            bytes: object.len() as u64 - tail_offset,
            verified: true,
            detail: format!(
                "against itself; in the table log its tag headwater.tail_crc32c is {:08x}",
                crc32c::crc32c(&object[tail_offset as usize..])
            ),
        }],
        columns: unless_it_panics(|| columns(&metadata))??,
        indexes: Vec::new(),
        keys: keys.0.iter().filter(|(key, _)| key.starts_with("headwater.")).cloned().collect(),
    };
    if report.row_groups != 1 || report.rows > SEGMENT_ROWS_MAX {
        return Err(corrupt(format!("{} row groups with {} rows", report.row_groups, report.rows)));
    }
    let block = &object[index_offset as usize..tail_offset as usize];
    let head_crc32c = keys.get(KEY_INDEX_CRC32C)?;
    let parsed = u32::from_str_radix(head_crc32c, 16)
        .map_err(|error| error.to_string())
        .and_then(|head_crc32c| IndexBlock::parse(block, head_crc32c, index_offset));
    let verdict = |verified: bool, detail: String| Verdict {
        part: "index block".into(),
        bytes: index_length,
        verified,
        detail,
    };
    match parsed {
        Ok(index) => {
            report.parts.push(verdict(true, "against the footer".into()));
            report.parts.push(data_verdict(&index, object));
            report.indexes = indexes(&metadata, &index, object, report.rows as u32);
        }
        Err(what) => report.parts.push(verdict(false, what)),
    }
    Ok(report)
}

fn corrupt(what: impl std::fmt::Display) -> SegmentError {
    SegmentError::Corrupt(format!("not a sealed segment: {what}"))
}

/// What a library makes of a footer. Some panic over one that another writer has made, as Arrow over types that it does not know;
/// checksums are no help, for whoever writes a footer writes them too.
fn unless_it_panics<T>(read: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read))
        .map_err(|_| corrupt("its footer describes what no version of this build has written"))
}

/// Where the tail begins, if all of it is what was written.
fn verified_tail(object: &Bytes) -> Result<u64> {
    const MAGIC: &[u8] = b"PAR1";
    if !object.starts_with(MAGIC) {
        return Err(corrupt("it does not begin with PAR1, so it is no Parquet file"));
    }
    if !object.ends_with(MAGIC) || object.len() < 12 {
        return Err(corrupt("it does not end with PAR1; was it cut off?"));
    }
    tail_mark::verify(object).map(|tail_start| tail_start as u64).map_err(corrupt)
}

struct Keys(Vec<(String, String)>);

impl Keys {
    fn of(metadata: &ParquetMetaData) -> Self {
        let entries = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        Self(entries.map(|entry| (entry.key.clone(), entry.value.clone().unwrap_or_default())).collect())
    }

    fn get(&self, key: &str) -> Result<&str> {
        let found = self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        found.ok_or_else(|| {
            corrupt(format!("a Parquet file whose footer has no {key}; another writer made it"))
        })
    }

    fn number(&self, key: &str) -> Result<u64> {
        let text = self.get(key)?;
        text.parse().map_err(|_| corrupt(format!("its footer says {key} = {text:?}, which is no number")))
    }

    /// Offset and length of the index block, which ends where the tail begins.
    fn index_place(&self, tail_offset: u64) -> Result<(u64, u64)> {
        let version = self.number(KEY_FORMAT_VERSION)?;
        if version != u64::from(FORMAT_VERSION) {
            return Err(corrupt(format!("format version {version}, this build reads {FORMAT_VERSION}")));
        }
        let (offset, length) = (self.number(KEY_INDEX_OFFSET)?, self.number(KEY_INDEX_LENGTH)?);
        match offset.checked_add(length).is_some_and(|end| end == tail_offset) {
            true => Ok((offset, length)),
            false => Err(corrupt(format!(
                "its index block of {length} bytes at {offset} does not end at its tail"
            ))),
        }
    }
}

fn data_verdict(index: &IndexBlock, object: &Bytes) -> Verdict {
    let damaged = index.damaged_block(object);
    Verdict {
        part: "data".into(),
        bytes: index.data_bytes(),
        verified: damaged.is_none(),
        detail: match damaged {
            None => "every 64 KiB against the index block".into(),
            Some(block) => {
                format!("the 64 KiB at {} have a wrong CRC32C", block * super::index_block::BLOCK_BYTES)
            }
        },
    }
}

fn columns(metadata: &ParquetMetaData) -> Result<Vec<ColumnReport>> {
    let file = metadata.file_metadata();
    let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())
        .map_err(|error| corrupt(format!("its columns cannot be read ({error})")))?;
    let chunks = metadata.row_groups().first().map(|group| group.columns()).unwrap_or_default();
    if chunks.len() != schema.fields().len() {
        return Err(corrupt(format!("{} columns in {} chunks", schema.fields().len(), chunks.len())));
    }
    let report = |(number, field): (usize, &arrow::datatypes::FieldRef)| {
        let chunk = &chunks[number];
        let converter = StatisticsConverter::try_new(field.name(), &schema, file.schema_descr());
        let bound = |of: &dyn Fn(&StatisticsConverter<'_>) -> parquet::errors::Result<ArrayRef>| {
            let array = of(converter.as_ref().ok()?).ok()?;
            let known = !array.is_empty() && array.is_valid(0);
            known.then(|| array_value_to_string(&array, 0).ok()).flatten().map(cut)
        };
        let declared = field.metadata().get("headwater.type").cloned();
        let dictionary = chunk.dictionary_page_offset();
        ColumnReport {
            name: field.name().clone(),
            data_type: declared.unwrap_or_else(|| chunk.column_type().to_string()),
            nulls: chunk.statistics().and_then(|statistics| statistics.null_count_opt()),
            distinct: chunk.statistics().and_then(|statistics| statistics.distinct_count_opt()),
            encoding: encoding(chunk),
            codec: codec(chunk),
            pages: pages(metadata, number),
            compressed_bytes: u64::try_from(chunk.compressed_size()).unwrap_or(0),
            uncompressed_bytes: u64::try_from(chunk.uncompressed_size()).unwrap_or(0),
            dictionary_bytes: dictionary
                .and_then(|start| u64::try_from(chunk.data_page_offset().checked_sub(start)?).ok())
                .unwrap_or(0),
            min: bound(&|converter| converter.row_group_mins(metadata.row_groups())),
            max: bound(&|converter| converter.row_group_maxes(metadata.row_groups())),
        }
    };
    Ok(schema.fields().iter().enumerate().map(report).collect())
}

fn cut(text: String) -> String {
    match text.char_indices().nth(BOUND_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The encoding of the data pages; that of levels is left out.
fn encoding(chunk: &ColumnChunkMetaData) -> String {
    if chunk.dictionary_page_offset().is_some() {
        return "DICTIONARY".into();
    }
    let names: Vec<String> = chunk.encodings().map(|encoding| encoding.to_string()).collect();
    let of_values: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != "RLE").collect();
    if of_values.is_empty() { "RLE".into() } else { of_values.join(", ") }
}

fn codec(chunk: &ColumnChunkMetaData) -> String {
    match chunk.compression() {
        Compression::UNCOMPRESSED => "none".into(),
        Compression::ZSTD(_) => "zstd".into(),
        other => other.to_string().to_lowercase(),
    }
}

fn pages(metadata: &ParquetMetaData, column: usize) -> usize {
    let offsets = metadata.offset_index().and_then(|groups| groups.first()?.get(column));
    offsets.map_or(0, |offsets| offsets.page_locations().len())
}

fn indexes(metadata: &ParquetMetaData, index: &IndexBlock, object: &Bytes, rows: u32) -> Vec<IndexReport> {
    let chunks = metadata.row_groups().first().map(|group| group.columns()).unwrap_or_default();
    let name = |number: usize| match chunks.get(number).and_then(|chunk| chunk.column_path().parts().first())
    {
        Some(name) => name.clone(),
        None => format!("no column {number}"),
    };
    let mut reports = Vec::new();
    for entry in index.entries() {
        let read = read_entry(entry, object, rows);
        reports.push((
            entry.column as usize,
            IndexReport {
                column: name(entry.column as usize),
                kind: entry.kind.name(),
                bytes: entry.range.end - entry.range.start,
                entries: read.as_ref().ok().copied(),
                fault: read.err().unwrap_or_default(),
            },
        ));
    }
    for (number, chunk) in chunks.iter().enumerate() {
        let Some(range) = bloom_range(chunk) else { continue };
        let bytes = object.get(range.start as usize..range.end as usize).unwrap_or_default();
        let filter = parquet::bloom_filter::Sbbf::from_bytes(bytes).map_err(|error| error.to_string());
        reports.push((
            number,
            IndexReport {
                column: name(number),
                kind: "bloom",
                bytes: range.end - range.start,
                entries: filter.as_ref().ok().map(|filter| filter.num_blocks() as u64),
                fault: filter.err().unwrap_or_default(),
            },
        ));
    }
    reports.sort_by_key(|(column, _)| *column);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// Reads an entry in full; how many values it knows.
fn read_entry(entry: &IndexEntry, object: &Bytes, rows: u32) -> Result<u64, String> {
    // The directory was checked against the data's length, and that against the object's.
    let bytes = object.slice(entry.range.start as usize..entry.range.end as usize);
    if crc32c::crc32c(&bytes) != entry.crc32c {
        return Err("wrong CRC32C".into());
    }
    let postings = |read: ColumnPostings| {
        let codes = u64::from(read.order().count);
        let by_code = read.by_code();
        match (0..codes).find(|code| by_code.rows(*code).is_none()) {
            None => Ok(codes),
            Some(code) => Err(format!("the rows of code {code} cannot be read")),
        }
    };
    match entry.kind {
        IndexKind::Inverted => InvertedIndex::parse(&bytes, rows).and_then(postings),
        IndexKind::Sorted => SortedIndex::parse(&bytes, rows).and_then(postings),
    }
}
