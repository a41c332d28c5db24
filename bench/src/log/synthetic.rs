//! Segments that only the log knows: there is no object behind them.

use headwater_segment::schema::{ColumnType, TableSchema};
use headwater_segment::sealed::{ColumnStats, SegmentMeta, StatValue};
use ulid::Ulid;

/// The time that a segment spans, in microseconds, and the first of all.
pub(crate) const SPAN_MICROS: i64 = 60_000_000;
pub(crate) const FIRST_MICROS: i64 = 1_760_000_000_000_000;
/// The numbers that a segment spans.
pub(crate) const SPAN_NUMBERS: i64 = 1000;

/// A segment of `[from, from + rows)` with bounds in every column, as a seal would write them: its place is that of its first
/// offset, times are those of the place, and numbers are of this partition and place alone.
pub(crate) fn segment(schema: &TableSchema, partition: i32, from: i64, rows: i64) -> SegmentMeta {
    let (id, to, place) = (Ulid::new(), from + rows, from / rows);
    let number = number_of(partition, place);
    let time = FIRST_MICROS + place * SPAN_MICROS;
    let bounds = schema.columns().iter().map(|column| match &column.data_type {
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
            Some((StatValue::Int(time), StatValue::Int(time + SPAN_MICROS - 1000)))
        }
        ColumnType::Int => Some((StatValue::Int(partition.into()), StatValue::Int(partition.into()))),
        ColumnType::Long => Some((StatValue::Int(number), StatValue::Int(number + SPAN_NUMBERS - 1))),
        ColumnType::Float | ColumnType::Double => Some((StatValue::Float(0.4), StatValue::Float(30.4))),
        ColumnType::Decimal(..) => Some((StatValue::Decimal(302), StatValue::Decimal(4202))),
        ColumnType::String => Some((
            StatValue::Str("City 000".into()),
            StatValue::Str(format!("City {:03}", place % 1000).into()),
        )),
        ColumnType::Uuid => {
            let text = |id: u128| StatValue::Str(uuid_text(id).into());
            Some((text(id.0 & 0xffff_ffff), text(u128::MAX - (id.0 & 0xffff_ffff))))
        }
        _ => None,
    });
    let columns = bounds.map(|bounds| match bounds {
        Some((min, max)) => ColumnStats { null_count: Some(0), min: Some(min), max: Some(max), exact: true },
        None => ColumnStats::UNKNOWN,
    });
    SegmentMeta {
        path: SegmentMeta::path_of(partition, from, to, id),
        id,
        partition,
        from,
        to,
        rows: rows as u64,
        size_bytes: 10_000_000,
        format_version: 1,
        sealed_at_ms: id.timestamp_ms() as i64,
        index_offset: 9_000_000,
        index_length: 900_000,
        tail_crc32c: 7,
        dead_letters: 0,
        index_settings: 0,
        columns: columns.collect(),
    }
}

/// The least number of a segment.
pub(crate) fn number_of(partition: i32, place: i64) -> i64 {
    (i64::from(partition) * 1_000_000 + place) * SPAN_NUMBERS
}

fn uuid_text(id: u128) -> String {
    let hex = format!("{id:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
