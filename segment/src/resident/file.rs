//! A resident column as a disposable local file, mapped into memory.
//!
//! ```text
//! file   := magic[8] version:u32 crc32c:u32 length:u64 head_length:u64 head pad section*
//! head   := JSON of Head: what the column is, and where its sections lie
//! section:= codes | least code per block | greatest code per block | arrays | index; each begins at a multiple of 64
//! arrays := Arrow IPC stream of one column "v": the dictionary's entries, or the plain column's pieces
//! index  := the entry of the sealed object's sorted or inverted index, as it lies there
//! ```
//!
//! Numbers are little-endian. The CRC32C covers everything behind it. A file is complete or absent: it is written under
//! a temporary name and renamed. It says nothing that the sealed object does not, so whatever is wrong with one, it is
//! removed and the column built again.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::indexed::Indexed;
use crate::column::{
    BLOCK_ROWS, CodeStore, CodeValues, CodedColumn, Codes, Column, PlainColumn, PlainStore, Zones,
};
use crate::kernel::mapped;
use crate::schema::ColumnType;
use crate::sealed::{IndexKind, PostingsEntry};
use crate::{Result, SegmentError};

const MAGIC: [u8; 8] = *b"HWCOLUMN";
/// To be raised whenever a column is built or laid out differently: files of other versions are removed.
const VERSION: u32 = 2;
const PREFIX_BYTES: usize = 32;
/// Where the CRC's cover begins.
const COVERED_FROM: usize = 16;
/// Arrow asks for it, and no code is cut by a cache line.
const ALIGNMENT: usize = 64;

/// Whose column a file holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The ULID.
    pub(super) segment: String,
    pub(super) column: String,
    pub(super) data_type: ColumnType,
    pub(super) rows: usize,
}

#[derive(Serialize, Deserialize)]
struct Head {
    identity: Identity,
    form: Form,
    /// Where the arrays lie.
    arrays: Section,
    /// The number of the index's kind, and where its entry lies.
    index: Option<(u32, Section)>,
}

#[derive(Serialize, Deserialize)]
enum Form {
    Coded {
        has_null: bool,
        code_bytes: u8,
        codes: Section,
        least: Section,
        greatest: Section,
        values: Values,
    },
    PlainWhole,
    PlainChunked,
}

#[derive(Serialize, Deserialize)]
enum Values {
    /// The fingerprint in hexadecimal.
    Dictionary {
        fingerprint: String,
    },
    Linear {
        base: i64,
        step: i64,
        count: u64,
    },
}

/// Counted from the end of the head, padded.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Section {
    start: usize,
    length: usize,
}

/// Writes a column and its directory. The file is complete once this returns; its length in bytes.
///
/// # Errors
/// Those of the file system, `Arrow` if the values cannot be written.
pub(super) fn write(
    path: &Path,
    identity: &Identity,
    column: &Column,
    index: Option<&PostingsEntry>,
) -> Result<u64> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(|error| failed("creating", dir, &error))?;
    // Nobody else writes this name: a column may be written twice at a time, once for its seal, once for a query.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let temporary = path.with_extension(format!("{}.tmp", WRITES.fetch_add(1, Ordering::Relaxed)));
    let written = write_whole(&temporary, identity, column, index)
        .and_then(|length| fs::rename(&temporary, path).map(|()| length));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed("writing", path, &error)
    })
}

fn failed(what: &str, path: &Path, error: &dyn std::fmt::Display) -> SegmentError {
    SegmentError::Refused(format!("{what} the resident column {}: {error}", path.display()))
}

fn write_whole(
    path: &Path,
    identity: &Identity,
    column: &Column,
    index: Option<&PostingsEntry>,
) -> io::Result<u64> {
    let Plan { form, sections, arrays, index } = plan(column, index)?;
    let head = serde_json::to_vec(&Head { identity: identity.clone(), form, arrays, index })?;
    let mut out = Summed { file: BufWriter::new(File::create(path)?), crc32c: 0, length: 0 };
    out.file.write_all(&[0; COVERED_FROM])?;
    let head_end = PREFIX_BYTES + head.len();
    let sections_start = head_end.next_multiple_of(ALIGNMENT);
    let sections_length = sections.last().map_or(0, |(section, _)| section.start + section.length);
    let length = (sections_start + sections_length) as u64;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&(head.len() as u64).to_le_bytes())?;
    out.write_all(&head)?;
    for (section, bytes) in &sections {
        let start = sections_start + section.start;
        let gap = start - (COVERED_FROM + out.length);
        out.write_all(&[0; ALIGNMENT][..gap])?;
        out.write_all(bytes)?;
    }
    let crc32c = out.crc32c;
    let mut file = out.file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&MAGIC)?;
    file.write_all(&VERSION.to_le_bytes())?;
    file.write_all(&crc32c.to_le_bytes())?;
    Ok(length)
}

/// Counts and sums what is written.
struct Summed {
    file: BufWriter<File>,
    crc32c: u32,
    length: usize,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.length += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What a file will hold.
struct Plan {
    form: Form,
    /// In order.
    sections: Vec<(Section, Buffer)>,
    /// Which of them holds the arrays.
    arrays: Section,
    /// Which of them holds the index, and its kind.
    index: Option<(u32, Section)>,
}

fn plan(column: &Column, index: Option<&PostingsEntry>) -> io::Result<Plan> {
    let mut sections: Vec<(Section, Buffer)> = Vec::new();
    let mut add = |bytes: Buffer| {
        let end = sections.last().map_or(0, |(section, _)| section.start + section.length);
        let section = Section { start: end.next_multiple_of(ALIGNMENT), length: bytes.len() };
        sections.push((section, bytes));
        section
    };
    let (form, arrays) = match column {
        Column::Plain(plain) => match &plain.values {
            PlainStore::Whole(array) => (Form::PlainWhole, stream(&plain.data_type, &[array])?),
            PlainStore::Chunked(pieces) => {
                (Form::PlainChunked, stream(&plain.data_type, &pieces.iter().collect::<Vec<_>>())?)
            }
        },
        Column::Coded(coded) => {
            let (CodeStore::Whole(codes), Some(zones)) = (&coded.codes, &coded.zones) else {
                return Err(io::Error::other("the codes are not those of a resident column"));
            };
            let (code_bytes, codes) = match codes {
                Codes::U8(codes) => (1, codes.inner()),
                Codes::U16(codes) => (2, codes.inner()),
                Codes::U32(codes) => (4, codes.inner()),
                Codes::U64(codes) => (8, codes.inner()),
            };
            let codes = add(codes.clone());
            let least = add(Buffer::from_slice_ref(&zones.min[..]));
            let greatest = add(Buffer::from_slice_ref(&zones.max[..]));
            let (values, arrays) = match &coded.values {
                CodeValues::Dictionary { values, fingerprint: Some(fingerprint), .. } => {
                    let fingerprint = format!("{fingerprint:032x}");
                    (Values::Dictionary { fingerprint }, stream(&coded.data_type, &[values])?)
                }
                CodeValues::Dictionary { .. } => {
                    return Err(io::Error::other("the dictionary is not that of a resident column"));
                }
                CodeValues::Linear { base, step, count } => {
                    (Values::Linear { base: *base, step: *step, count: *count }, Buffer::default())
                }
            };
            let has_null = coded.has_null;
            (Form::Coded { has_null, code_bytes, codes, least, greatest, values }, arrays)
        }
    };
    let arrays = add(arrays);
    let index = index.map(|entry| (entry.kind.number(), add(Buffer::from(entry.bytes.clone()))));
    Ok(Plan { form, sections, arrays, index })
}

fn stream(data_type: &DataType, arrays: &[&ArrayRef]) -> io::Result<Buffer> {
    let write = || {
        let schema = Arc::new(Schema::new(vec![Field::new("v", data_type.clone(), true)]));
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
        for array in arrays {
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(array)])?)?;
        }
        writer.into_inner()
    };
    write().map(Buffer::from_vec).map_err(io::Error::other)
}

/// Whether a file looks like one of ours, complete and of this version, without reading more than its beginning.
pub(super) fn is_current(path: &Path, length: u64) -> bool {
    let mut prefix = [0; PREFIX_BYTES];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut prefix));
    read.is_ok() && check_prefix(&prefix, length).is_some()
}

/// The CRC of a prefix that is of this version and of this length.
fn check_prefix(prefix: &[u8; PREFIX_BYTES], length: u64) -> Option<u32> {
    let (magic, rest) = prefix.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (crc32c, rest) = rest.split_first_chunk::<4>()?;
    let (said, _) = rest.split_first_chunk::<8>()?;
    let is_ours = *magic == MAGIC && u32::from_le_bytes(*version) == VERSION;
    (is_ours && u64::from_le_bytes(*said) == length).then_some(u32::from_le_bytes(*crc32c))
}

/// Maps a column, and its length in bytes. Everything is verified here, once.
///
/// # Errors
/// `Corrupt` if the file is not there, not that column's, or not as it was written.
pub(super) fn open(path: &Path, identity: &Identity) -> Result<(Indexed, u64)> {
    let bytes = File::open(path).and_then(|file| mapped::map(&file));
    let bytes = bytes.map_err(|error| SegmentError::Corrupt(format!("{}: {error}", path.display())))?;
    let length = bytes.len() as u64;
    let column = parse(bytes, identity);
    Ok((column.map_err(|what| SegmentError::Corrupt(format!("{}: {what}", path.display())))?, length))
}

/// The column that the bytes of a file hold, with its index.
fn parse(bytes: Buffer, identity: &Identity) -> Result<Indexed, String> {
    let (prefix, _) = bytes.split_first_chunk::<PREFIX_BYTES>().ok_or("it is too short")?;
    let crc32c = check_prefix(prefix, bytes.len() as u64).ok_or("it is not of this version and length")?;
    if crc32c::crc32c(&bytes[COVERED_FROM..]) != crc32c {
        return Err("its CRC32C is wrong".into());
    }
    let head_length = prefix[24..].first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    let head_end = usize::try_from(head_length).ok().and_then(|length| length.checked_add(PREFIX_BYTES));
    let head_end = head_end.filter(|end| *end <= bytes.len()).ok_or("its head is longer than it")?;
    let head: Head =
        serde_json::from_slice(&bytes[PREFIX_BYTES..head_end]).map_err(|error| error.to_string())?;
    if head.identity != *identity {
        return Err(format!("it holds {:?}, wanted {identity:?}", head.identity));
    }
    let sections = Sections { bytes, start: head_end.next_multiple_of(ALIGNMENT) };
    let index = head.index.map(|(kind, section)| sections.index(kind, section)).transpose()?;
    let column = column_of(head.form, head.arrays, &sections, identity)?;
    Indexed::new(column, index, identity.rows)
}

fn column_of(
    form: Form,
    arrays: Section,
    sections: &Sections,
    identity: &Identity,
) -> Result<Column, String> {
    let data_type = identity.data_type.arrow();
    let arrays = sections.arrays(arrays, &data_type)?;
    match form {
        Form::Coded { has_null, code_bytes, codes, least, greatest, values } => {
            let rows = identity.rows;
            let codes = sections.codes(code_bytes, codes, rows)?;
            let blocks = rows.div_ceil(BLOCK_ROWS);
            let zones = Zones {
                min: sections.numbers::<u64>(least, blocks)?.iter().copied().collect(),
                max: sections.numbers::<u64>(greatest, blocks)?.iter().copied().collect(),
            };
            let values = values_of(values, arrays)?;
            if greatest_code(&codes).is_some_and(|greatest| greatest >= values.count()) {
                return Err("a code has no value".into());
            }
            let (codes, zones) = (CodeStore::Whole(codes), Some(zones));
            Ok(Column::Coded(CodedColumn { data_type, values, has_null, codes, zones, postings: None }))
        }
        Form::PlainWhole => {
            let array = arrays.into_iter().next().filter(|array| array.len() == identity.rows);
            let values = PlainStore::Whole(array.ok_or("its rows are not all there")?);
            Ok(Column::Plain(PlainColumn { data_type, values }))
        }
        Form::PlainChunked => {
            let expected =
                (0..identity.rows).step_by(BLOCK_ROWS).map(|row| BLOCK_ROWS.min(identity.rows - row));
            if !expected.eq(arrays.iter().map(|array| array.len())) {
                return Err("its rows are not all there".into());
            }
            Ok(Column::Plain(PlainColumn { data_type, values: PlainStore::Chunked(arrays.into()) }))
        }
    }
}

fn values_of(values: Values, arrays: Vec<ArrayRef>) -> Result<CodeValues, String> {
    Ok(match values {
        Values::Linear { base, step, count } => CodeValues::Linear { base, step, count },
        Values::Dictionary { fingerprint } => CodeValues::Dictionary {
            values: arrays.into_iter().next().ok_or("its dictionary is not there")?,
            sorted: true,
            fingerprint: Some(u128::from_str_radix(&fingerprint, 16).map_err(|error| error.to_string())?),
        },
    })
}

fn greatest_code(codes: &Codes) -> Option<u64> {
    fn greatest<T: Copy + Ord + Into<u64>>(codes: &[T]) -> Option<u64> {
        let (first, _) = codes.split_first()?;
        Some(codes.iter().copied().fold(*first, Ord::max).into())
    }
    match codes {
        Codes::U8(codes) => greatest(codes),
        Codes::U16(codes) => greatest(codes),
        Codes::U32(codes) => greatest(codes),
        Codes::U64(codes) => greatest(codes),
    }
}

/// The sections of a mapped file.
struct Sections {
    bytes: Buffer,
    start: usize,
}

impl Sections {
    fn section(&self, section: Section) -> Result<Buffer, String> {
        let start = self.start.checked_add(section.start);
        let end = start.and_then(|start| start.checked_add(section.length));
        match (start, end) {
            (Some(start), Some(end)) if end <= self.bytes.len() => {
                Ok(self.bytes.slice_with_length(start, section.length))
            }
            _ => Err("a section lies beyond its end".into()),
        }
    }

    fn numbers<T: ArrowNativeType>(&self, section: Section, count: usize) -> Result<ScalarBuffer<T>, String> {
        let bytes = self.section(section)?;
        let is_aligned = bytes.as_ptr().align_offset(align_of::<T>()) == 0;
        if !is_aligned || count.checked_mul(size_of::<T>()) != Some(bytes.len()) {
            return Err("a section does not have its numbers".into());
        }
        Ok(ScalarBuffer::new(bytes, 0, count))
    }

    fn codes(&self, code_bytes: u8, section: Section, rows: usize) -> Result<Codes, String> {
        Ok(match code_bytes {
            1 => Codes::U8(self.numbers(section, rows)?),
            2 => Codes::U16(self.numbers(section, rows)?),
            4 => Codes::U32(self.numbers(section, rows)?),
            8 => Codes::U64(self.numbers(section, rows)?),
            _ => return Err(format!("codes of {code_bytes} bytes")),
        })
    }

    fn index(&self, kind: u32, section: Section) -> Result<PostingsEntry, String> {
        let kind = IndexKind::of(kind).ok_or("its index is of an unknown kind")?;
        let bytes = self.section(section)?;
        let length = bytes.len();
        Ok(PostingsEntry { kind, bytes: Bytes::from_owner(ScalarBuffer::<u8>::new(bytes, 0, length)) })
    }

    fn arrays(&self, section: Section, data_type: &DataType) -> Result<Vec<ArrayRef>, String> {
        let bytes = self.section(section)?;
        // Arrow's decoder checks the values, but panics if a message contradicts itself. Under the CRC that takes a forger,
        // and even then the column is built again.
        let decoded = catch_unwind(AssertUnwindSafe(|| decoded(bytes)));
        let arrays =
            decoded.map_err(|_| "its values contradict themselves")?.map_err(|error| error.to_string())?;
        if arrays.iter().any(|array| array.data_type() != data_type) {
            return Err("its values are of another type".into());
        }
        Ok(arrays)
    }
}

fn decoded(mut stream: Buffer) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut decoder = StreamDecoder::new();
    let mut arrays = Vec::new();
    while let Some(batch) = decoder.decode(&mut stream)? {
        arrays.extend(batch.columns().first().cloned());
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringViewArray};

    use super::*;
    use crate::column::build_column;

    /// An entry of two codes in 300 rows.
    fn sorted_index() -> PostingsEntry {
        let words: [u32; 4] = [2, 1, 100, 300];
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        PostingsEntry { kind: IndexKind::Sorted, bytes }
    }

    /// Whatever the bytes say, even under a CRC that is right, reading them ends in a column or in an error.
    #[test]
    fn no_bytes_make_it_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment").join("column.col");
        let texts = (0..300).map(|row| (row % 7 > 0).then(|| format!("value number {}", row % 50)));
        let columns: [(&str, ArrayRef); 4] = [
            ("STRING", Arc::new(texts.collect::<StringViewArray>())),
            ("LONG", Arc::new((0..300).map(Some).collect::<Int64Array>())),
            ("DOUBLE", Arc::new((0..70_000).map(|row| Some(f64::from(row))).collect::<Float64Array>())),
            (
                "ARRAY<INT>",
                arrow::array::new_null_array(&"ARRAY<INT>".parse::<ColumnType>().unwrap().arrow(), 9000),
            ),
        ];
        for (data_type, array) in columns {
            let identity = Identity {
                segment: "segment".into(),
                column: "column".into(),
                data_type: data_type.parse().unwrap(),
                rows: array.len(),
            };
            let column = build_column(&identity.data_type, &[array]).unwrap();
            let index = column.coded().map(|_| sorted_index());
            let length = write(&path, &identity, &column, index.as_ref()).unwrap();
            assert!(is_current(&path, length) && !is_current(&path, length + 1));
            let original = fs::read(&path).unwrap();
            assert!(parse(Buffer::from(&original[..]), &identity).is_ok());
            let mut dice = 1_u64;
            for _ in 0..500 {
                let mut bytes = original.clone();
                for _ in 0..3 {
                    dice =
                        dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    // Not the first bytes alone: the head, the zones and the arrays' own headers are small too.
                    let place =
                        (dice >> 33) as usize % (bytes.len() - COVERED_FROM).min(6000) + COVERED_FROM + 8;
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte = (dice >> 20) as u8;
                    }
                }
                let crc32c = crc32c::crc32c(&bytes[COVERED_FROM..]);
                bytes[12..16].copy_from_slice(&crc32c.to_le_bytes());
                let _ = parse(Buffer::from(&bytes[..]), &identity);
            }
        }
    }
}
