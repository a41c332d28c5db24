//! The dead letters of a range as a small Parquet file that carries its own checksum.
//!
//! No log entry vouches for this file, so the checksum is in its footer: eight hexadecimal digits behind `HWDL`, computed
//! with `00000000` in their place. It is compared before anything is parsed.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{
    DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType,
};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use ulid::Ulid;

use crate::mutable::DeadLetter;
use crate::{Result, SegmentError};

const CHECKSUM_KEY: &str = "headwater.crc32c";
const CHECKSUM_MARK: &[u8] = b"HWDL";
const NO_CHECKSUM: &[u8; 8] = b"00000000";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("key", DataType::Binary, true),
        Field::new("payload", DataType::Binary, false),
        Field::new("truncated", DataType::Boolean, false),
    ]))
});

/// Path of the dead letters of a range, relative to the table's root. `id` is the segment's, or its own if the range has no rows.
pub fn dead_letters_path(partition: i32, from: i64, to: i64, id: Ulid) -> String {
    format!("_dead_letters/{partition}/{from:020}-{to:020}-{id}.parquet")
}

/// What the name of an object of dead letters says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterObject {
    /// Kafka partition.
    pub partition: i32,
    /// Its letters' offsets are not below this one,
    pub from: i64,
    /// and below this one.
    pub to: i64,
    /// Which object.
    pub id: Ulid,
}

impl LetterObject {
    /// Reads a file name that [`dead_letters_path`] has made; `None`: it is no such name.
    pub fn named(partition: i32, name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".parquet")?.split('-');
        let (from, to, id) = (parts.next()?, parts.next()?, parts.next()?);
        let known = Self {
            partition,
            from: from.parse().ok()?,
            to: to.parse().ok()?,
            id: Ulid::from_string(id).ok()?,
        };
        parts.next().is_none().then_some(known)
    }

    /// Stands for all that a partition may have.
    pub fn all_of(partition: i32) -> Self {
        Self { partition, from: 0, to: i64::MAX, id: Ulid::nil() }
    }
}

/// Encodes dead letters as a Parquet file.
///
/// # Errors
/// `Arrow` or `Parquet` if they are too large to be written.
pub fn encode_dead_letters(letters: &[DeadLetter]) -> Result<Bytes> {
    let timestamps = letters.iter().map(|letter| letter.timestamp_ms).collect::<TimestampMillisecondArray>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(letters.iter().map(|letter| letter.partition))),
        Arc::new(Int64Array::from_iter_values(letters.iter().map(|letter| letter.offset))),
        Arc::new(timestamps.with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values(letters.iter().map(|letter| &letter.reason))),
        Arc::new(BinaryArray::from_iter(letters.iter().map(|letter| letter.key.as_deref()))),
        Arc::new(BinaryArray::from_iter_values(letters.iter().map(|letter| &letter.payload))),
        Arc::new(letters.iter().map(|letter| Some(letter.truncated)).collect::<BooleanArray>()),
    ];
    let properties = WriterProperties::builder()
        .set_created_by("headwater".into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), SCHEMA.clone(), Some(properties))?;
    writer.write(&RecordBatch::try_new(SCHEMA.clone(), columns)?)?;
    let unset = [CHECKSUM_MARK, NO_CHECKSUM].concat();
    let unset = String::from_utf8_lossy(&unset).into_owned();
    writer.append_key_value_metadata(KeyValue::new(CHECKSUM_KEY.to_string(), unset));
    let mut bytes = writer.into_inner()?;
    let checksum = format!("{:08x}", crc32c::crc32c(&bytes));
    let digits = checksum_digits(&bytes).ok_or_else(|| corrupt("the checksum was not written"))?;
    bytes[digits..digits + checksum.len()].copy_from_slice(checksum.as_bytes());
    Ok(bytes.into())
}

/// Decodes what [`encode_dead_letters`] wrote.
///
/// # Errors
/// `Corrupt` if a byte is not what was written, or the file is not one of dead letters.
pub fn decode_dead_letters(bytes: Bytes) -> Result<Vec<DeadLetter>> {
    verify(&bytes)?;
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
    let mut letters = Vec::new();
    for batch in batches {
        let batch = batch?;
        if batch.schema().fields() != SCHEMA.fields() {
            return Err(corrupt("the columns are not those of dead letters"));
        }
        append(&mut letters, &batch);
    }
    Ok(letters)
}

/// Whether an object is what [`encode_dead_letters`] wrote. Nothing else has its checksum behind that mark.
pub(super) fn is_dead_letters(object: &[u8]) -> bool {
    verify(object).is_ok()
}

/// Adds the rows of a batch whose columns are those of [`SCHEMA`].
fn append(letters: &mut Vec<DeadLetter>, batch: &RecordBatch) {
    let partitions = batch.column(0).as_primitive::<Int32Type>();
    let offsets = batch.column(1).as_primitive::<Int64Type>();
    let timestamps = batch.column(2).as_primitive::<TimestampMillisecondType>();
    let reasons = batch.column(3).as_string::<i32>();
    let keys = batch.column(4).as_binary::<i32>();
    let payloads = batch.column(5).as_binary::<i32>();
    let truncated = batch.column(6).as_boolean();
    letters.extend((0..batch.num_rows()).map(|row| DeadLetter {
        partition: partitions.value(row),
        offset: offsets.value(row),
        timestamp_ms: timestamps.is_valid(row).then(|| timestamps.value(row)),
        reason: reasons.value(row).to_string(),
        key: keys.is_valid(row).then(|| Bytes::copy_from_slice(keys.value(row))),
        payload: Bytes::copy_from_slice(payloads.value(row)),
        truncated: truncated.value(row),
    }));
}

/// Where the checksum's digits are: behind the last mark, since the footer stands at the end of the file.
fn checksum_digits(bytes: &[u8]) -> Option<usize> {
    let mark = bytes.windows(CHECKSUM_MARK.len()).rposition(|window| window == CHECKSUM_MARK)?;
    let digits = mark + CHECKSUM_MARK.len();
    (digits + NO_CHECKSUM.len() <= bytes.len()).then_some(digits)
}

fn verify(bytes: &[u8]) -> Result<()> {
    let digits = checksum_digits(bytes).ok_or_else(|| corrupt("the checksum is missing"))?;
    let (before, rest) = bytes.split_at(digits);
    let (written, after) = rest.split_at(NO_CHECKSUM.len());
    let checksum = [before, NO_CHECKSUM, after].into_iter().fold(0, crc32c::crc32c_append);
    if written != format!("{checksum:08x}").as_bytes() {
        return Err(corrupt("wrong CRC32C"));
    }
    Ok(())
}

fn corrupt(what: &str) -> SegmentError {
    SegmentError::Corrupt(format!("dead letters: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters() -> Vec<DeadLetter> {
        let letter = |offset: i64| DeadLetter {
            partition: 3,
            offset,
            timestamp_ms: (offset % 2 == 0).then_some(1_700_000_000_000 + offset),
            reason: format!("amount: \"HWDL{offset}\" is no number"),
            key: (offset % 3 == 0).then(|| Bytes::from_static(b"\xff\x00")),
            payload: Bytes::from(vec![offset as u8; offset as usize * 7]),
            truncated: offset == 4,
        };
        (0..9).map(letter).collect()
    }

    #[test]
    fn a_name_says_what_is_inside() {
        let id = Ulid::from_parts(7, 9);
        let path = dead_letters_path(3, 10, 20, id);
        let name = path.strip_prefix("_dead_letters/3/").unwrap();
        assert_eq!(LetterObject::named(3, name), Some(LetterObject { partition: 3, from: 10, to: 20, id }));
        for other in
            ["", "x.parquet", "1-2.parquet", "1-2-3.parquet", &name[1..name.len() - 1], &format!("1-{name}")]
        {
            assert_eq!(LetterObject::named(3, other), None, "{other}");
        }
    }

    #[test]
    fn letters_round_trip() {
        for letters in [letters(), Vec::new()] {
            let object = encode_dead_letters(&letters).unwrap();
            let refused = crate::sealed::inspect(&object).unwrap_err().to_string();
            assert!(refused.contains("system.dead_letters"), "{refused}");
            assert_eq!(decode_dead_letters(object).unwrap(), letters);
        }
    }

    #[test]
    fn every_damaged_byte_and_every_truncation_is_an_error() {
        let bytes = encode_dead_letters(&letters()).unwrap();
        for position in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[position] ^= 0x20;
            assert!(decode_dead_letters(damaged.into()).is_err(), "byte {position}");
            assert!(decode_dead_letters(bytes.slice(..position)).is_err(), "cut at {position}");
        }
    }
}
