//! What a spec would make of messages, without a table: rows and dead letters.
//!
//! Pure: sampled messages in, rows out, by the decoder and the row writer that a table uses. What is *not* here: reading the
//! messages (`kafka::topic`).

use std::sync::Arc;

use headwater_segment::budget::MemoryBudget;
use headwater_segment::mutable::{Batches, DeadLetter, MutableSegment};
use headwater_segment::schema::TableSchema;
use headwater_segment::spec::TableSpec;

use crate::decode::{HeaderSource, JsonDecoder};
use crate::kafka::stream::RawMessage;

/// What the rows of a preview are counted against; nothing waits for it.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// A message as it was read, with nothing borrowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampledMessage {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Kafka timestamp in milliseconds.
    pub timestamp_ms: Option<i64>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Payload; none for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Names and values in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl SampledMessage {
    pub(crate) fn copied(message: &RawMessage<'_>) -> Self {
        let mut headers = Vec::new();
        message.headers(|name, value| headers.push((name.to_string(), value.map(<[u8]>::to_vec))));
        Self {
            partition: message.partition,
            offset: message.offset,
            timestamp_ms: message.timestamp_ms,
            key: message.key.map(<[u8]>::to_vec),
            payload: message.payload.map(<[u8]>::to_vec),
            headers,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        length(&self.key) + length(&self.payload) + headers
    }
}

impl HeaderSource for SampledMessage {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(own, _)| own == name).and_then(|(_, value)| value.as_deref())
    }
}

/// What became of the messages.
pub struct Preview {
    /// The rows of each partition, with the spec's columns.
    pub rows: Vec<Batches>,
    /// Messages that do not fit.
    pub dead_letters: Vec<DeadLetter>,
    /// Messages without a payload, which are no rows.
    pub tombstones: usize,
}

/// Decodes `messages`, which are in the order of partitions and offsets.
pub fn preview(spec: &TableSpec, messages: &[SampledMessage]) -> Preview {
    let schema = Arc::new(TableSchema::new(spec));
    let columns: Vec<usize> = (0..spec.columns.len()).collect();
    let budget = MemoryBudget::new(MEMORY_BYTES_MAX);
    let mut made = Preview { rows: Vec::new(), dead_letters: Vec::new(), tombstones: 0 };
    for part in messages.chunk_by(|a, b| a.partition == b.partition) {
        let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
        let (mut writer, segment) =
            MutableSegment::create(schema.clone(), first.partition, first.offset, budget.clone());
        let mut decoder = JsonDecoder::new(&schema, spec);
        for message in part {
            let Some(payload) = &message.payload else {
                made.tombstones += 1;
                continue;
            };
            let (offset, timestamp_ms, key) = (message.offset, message.timestamp_ms, message.key.as_deref());
            match decoder.decode(payload, key, message, &mut writer) {
                Ok(()) => writer.finish_row(offset, timestamp_ms, key, None),
                Err(error) => {
                    writer.abandon_row();
                    let (partition, reason) = (message.partition, error.to_string());
                    writer.dead_letter(DeadLetter::new(
                        partition,
                        offset,
                        timestamp_ms,
                        reason,
                        payload,
                        key,
                    ));
                }
            }
        }
        writer.publish(last.offset.saturating_add(1));
        made.dead_letters.extend(segment.dead_letters());
        made.rows.push(segment.batches(0..segment.visible_rows(), &columns));
    }
    made
}

#[cfg(test)]
mod tests {
    use headwater_segment::spec::parse_spec;

    use super::*;

    fn message(partition: i32, offset: i64, payload: Option<&str>) -> SampledMessage {
        let payload = payload.map(|text| text.as_bytes().to_vec());
        let headers =
            vec![("from".to_string(), Some(b"x".to_vec())), ("from".to_string(), Some(b"y".to_vec()))];
        SampledMessage { partition, offset, payload, headers, ..SampledMessage::default() }
    }

    #[test]
    fn rows_dead_letters_and_tombstones_of_all_partitions() {
        let spec = parse_spec(
            "name: t\ncolumns:\n  - {name: n, type: LONG}\n  - {name: source, type: STRING, path: $headers.from}\n\
             stream: {brokers: ['localhost:9092'], topic: t}\n",
        )
        .unwrap();
        let messages = [
            message(0, 7, Some(r#"{"n": 1}"#)),
            message(0, 8, None),
            message(0, 9, Some(r#"{"n": "one"}"#)),
            message(3, 2, Some(r#"{"n": 2}"#)),
            message(3, 4, Some("{")),
        ];
        let made = preview(&spec, &messages);
        let batches: Vec<_> = made.rows.into_iter().flatten().map(Result::unwrap).collect();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).collect::<Vec<_>>(), [1, 1]);
        assert!(batches.iter().all(|batch| batch.num_columns() == 2));
        let letters: Vec<_> =
            made.dead_letters.iter().map(|letter| (letter.partition, letter.offset)).collect();
        assert_eq!(letters, [(0, 9), (3, 4)]);
        assert!(made.dead_letters[0].reason.starts_with("n: "), "{}", made.dead_letters[0].reason);
        assert_eq!(made.tombstones, 1);
        assert_eq!(messages[0].get("from"), Some(b"y".as_slice()));
    }
}
