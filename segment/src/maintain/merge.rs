//! Several neighbouring segments written as one: all their rows, in the order of the sort key of today.
//!
//! A pure function of the objects; the new one takes their place by [`TableLog::compact`](crate::log::TableLog::compact).

use std::sync::Arc;

use bytes::Bytes;
use ulid::Ulid;

use crate::SegmentError;
use crate::schema::TableSchema;
use crate::sealed::{EncodedSegment, SealRequest, SegmentMeta, decode, encode};

/// What is to be merged.
pub struct MergeRequest<'a> {
    /// The table's schema, with the indexes that are wanted now.
    pub schema: &'a TableSchema,
    /// The table's name.
    pub table: &'a str,
    /// The segments as the table log describes them, in the order of their offsets, each with its whole object.
    pub sources: Vec<(Arc<SegmentMeta>, Bytes)>,
    /// Identity of the new one.
    pub id: Ulid,
}

/// Why segments were not merged.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct MergeError {
    /// What happened.
    pub error: Box<SegmentError>,
    /// The segment whose object is to blame, if it is one.
    pub segment: Option<Ulid>,
}

impl From<SegmentError> for MergeError {
    fn from(error: SegmentError) -> Self {
        Self { error: Box::new(error), segment: None }
    }
}

/// Merges segments. Holds all their rows decoded; call it on a blocking thread.
///
/// # Errors
/// `Corrupt` if a byte of an object is not what was written, `Refused` if there is none or a column has another type by now;
/// else as [`encode`].
pub fn merge(request: MergeRequest<'_>) -> Result<EncodedSegment, MergeError> {
    let MergeRequest { schema, table, sources, id } = request;
    let (Some((first, _)), Some((last, _))) = (sources.first(), sources.last()) else {
        return Err(SegmentError::Refused(format!("table {table}: there is no segment to merge")).into());
    };
    let (partition, from, to) = (first.partition, first.from, last.to);
    let dead_letters = sources.iter().map(|(meta, _)| meta.dead_letters).sum();
    // Retention may go by this time: the rows leave when the youngest of them may.
    let sealed_at_ms = sources.iter().map(|(meta, _)| meta.sealed_at_ms).max().unwrap_or_default();
    let mut rows = Vec::new();
    for (meta, object) in sources {
        let of_this = |error| MergeError { error: Box::new(error), segment: Some(meta.id) };
        let decoded = decode(schema, &meta, object).map_err(of_this)?;
        let count: u64 = decoded.iter().map(|batch| batch.num_rows() as u64).sum();
        if count != meta.rows {
            return Err(of_this(SegmentError::Corrupt(format!(
                "segment {}: it has {count} rows, the table log says {}",
                meta.path, meta.rows
            ))));
        }
        rows.extend(decoded);
    }
    let keep = Vec::new();
    let mut encoded =
        encode(SealRequest { schema, table, partition, from, to, id, dead_letters, rows, keep })?;
    encoded.meta.sealed_at_ms = sealed_at_ms;
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Int32Type, Int64Type};

    use super::*;
    use crate::Result;
    use crate::budget::MemoryBudget;
    use crate::mutable::MutableSegment;
    use crate::spec::parse_spec;
    use crate::value::{RowSink, Value};

    fn schema() -> Arc<TableSchema> {
        let spec =
            "name: t\ncolumns: [{name: a, type: INT}]\nsort_key: [a]\nstream: {brokers: 'k:1', topic: t}\n";
        Arc::new(TableSchema::new(&parse_spec(spec).unwrap()))
    }

    fn sealed(schema: &Arc<TableSchema>, from: i64, to: i64, dead_letters: u64) -> (Arc<SegmentMeta>, Bytes) {
        let budget = MemoryBudget::new(1 << 30);
        let (mut writer, segment) = MutableSegment::create(schema.clone(), 3, from, budget);
        for offset in from..to {
            writer.set(0, Value::I32((offset * 7 % 11) as i32));
            writer.finish_row(offset, Some(offset), None, None);
        }
        writer.publish(to);
        let all: Vec<usize> = (0..schema.columns().len()).collect();
        let rows = segment.batches(0..(to - from) as usize, &all).collect::<Result<Vec<_>>>().unwrap();
        let id = Ulid::from_parts(1000 + from as u64, 0);
        let keep = Vec::new();
        let request =
            SealRequest { schema, table: "t", partition: 3, from, to, id, dead_letters, rows, keep };
        let encoded = encode(request).unwrap();
        (Arc::new(encoded.meta), encoded.bytes)
    }

    #[test]
    fn the_merged_segment_has_all_rows_in_one_order() {
        let schema = schema();
        // Between the second and the third lie offsets without rows.
        let sources =
            vec![sealed(&schema, 0, 100, 2), sealed(&schema, 100, 130, 0), sealed(&schema, 140, 200, 5)];
        let id = Ulid::from_parts(9999, 1);
        let merged =
            merge(MergeRequest { schema: &schema, table: "t", sources: sources.clone(), id }).unwrap();
        let meta = &merged.meta;
        assert_eq!((meta.partition, meta.from, meta.to, meta.rows), (3, 0, 200, 190));
        assert_eq!((meta.id, meta.dead_letters, meta.sealed_at_ms), (id, 7, 1140));
        let mut read = Vec::new();
        for batch in decode(&schema, meta, merged.bytes.clone()).unwrap() {
            let keys = batch.column(0).as_primitive::<Int32Type>().values().to_vec();
            let offsets = batch.column(schema.offset_column()).as_primitive::<Int64Type>().values().to_vec();
            read.extend(keys.into_iter().zip(offsets));
        }
        let mut expected: Vec<(i32, i64)> =
            (0..130).chain(140..200).map(|offset| ((offset * 7 % 11) as i32, offset)).collect();
        expected.sort_unstable();
        assert_eq!(read, expected);
        // Not in the order of offsets, the first one's range ends before the last one's begins: refused.
        let backwards = sources.iter().rev().cloned().collect();
        assert!(merge(MergeRequest { schema: &schema, table: "t", sources: backwards, id }).is_err());
    }

    #[test]
    fn a_damaged_source_is_named_and_nothing_is_merged() {
        let schema = schema();
        let mut sources = vec![sealed(&schema, 0, 100, 0), sealed(&schema, 100, 130, 0)];
        let mut bytes = sources[1].1.to_vec();
        bytes[40] ^= 1;
        sources[1].1 = bytes.into();
        let damaged = sources[1].0.clone();
        let failed = merge(MergeRequest { schema: &schema, table: "t", sources, id: Ulid::nil() });
        let Err(failed) = failed else { panic!("it was merged") };
        assert_eq!(failed.segment, Some(damaged.id));
        assert!(matches!(&*failed.error, SegmentError::Corrupt(message) if message.contains(&damaged.path)));
        let none = merge(MergeRequest { schema: &schema, table: "t", sources: vec![], id: Ulid::nil() });
        assert!(
            none.is_err_and(|none| matches!(*none.error, SegmentError::Refused(_)) && none.segment.is_none())
        );
    }
}
