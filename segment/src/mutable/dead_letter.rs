//! A message that is not a row, as kept with the segment that its offset belongs to.

use bytes::Bytes;

/// How much of a message, and of its key, a dead letter keeps.
pub const DEAD_LETTER_BYTES_MAX: usize = 64 << 10;

/// A message that could not become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Kafka partition.
    pub partition: i32,
    /// Kafka offset.
    pub offset: i64,
    /// Kafka timestamp in milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// What was wrong, naming the field.
    pub reason: String,
    /// The message, at most its first [`DEAD_LETTER_BYTES_MAX`] bytes.
    pub payload: Bytes,
    /// Whether the message or its key was longer than what is kept.
    pub truncated: bool,
    /// The message key, at most its first [`DEAD_LETTER_BYTES_MAX`] bytes.
    pub key: Option<Bytes>,
}

impl DeadLetter {
    /// Copies what is kept of a message.
    pub fn new(
        partition: i32,
        offset: i64,
        timestamp_ms: Option<i64>,
        reason: String,
        payload: &[u8],
        key: Option<&[u8]>,
    ) -> Self {
        let kept = |bytes: &[u8]| Bytes::copy_from_slice(&bytes[..bytes.len().min(DEAD_LETTER_BYTES_MAX)]);
        let truncated = payload.len().max(key.map_or(0, <[u8]>::len)) > DEAD_LETTER_BYTES_MAX;
        Self {
            partition,
            offset,
            timestamp_ms,
            reason,
            payload: kept(payload),
            truncated,
            key: key.map(kept),
        }
    }

    /// Memory that it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.reason.len() + self.payload.len() + self.key.as_ref().map_or(0, Bytes::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_and_say_so() {
        let long = vec![7; DEAD_LETTER_BYTES_MAX + 1];
        let letter =
            |payload: &[u8], key: &[u8]| DeadLetter::new(0, 1, None, "why".into(), payload, Some(key));
        let whole = letter(&long[1..], b"key");
        assert_eq!((whole.payload.len(), whole.truncated), (DEAD_LETTER_BYTES_MAX, false));
        let cut = letter(&long, b"key");
        assert_eq!((cut.payload.len(), cut.truncated), (DEAD_LETTER_BYTES_MAX, true));
        let cut_key = letter(b"", &long);
        assert_eq!(
            (cut_key.key.map(|key| key.len()), cut_key.truncated),
            (Some(DEAD_LETTER_BYTES_MAX), true)
        );
    }
}
