//! Record batches, message format 2: the header, and nothing else.
//!
//! The broker keeps batches as the producer sent them, compressed or not. It writes two fields, the base
//! offset and the partition leader epoch; both lie before the range that the CRC covers, so a patched batch
//! stays valid. Grammar: <https://kafka.apache.org/documentation/#recordbatch>.

/// Bytes of a batch header, up to the first record.
pub(super) const HEADER_BYTES: usize = 61;
/// Bytes before the part that `batch_length` counts.
const LENGTH_END: usize = 12;
const CRC_START: usize = 17;
const CRC_COVERS: usize = 21;
/// The leader epoch of every partition here: there is one node, and it leads for ever.
pub(super) const LEADER_EPOCH: i32 = 0;

const COMPRESSION: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The fields of a batch header that the broker acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub(super) bytes: usize,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) record_count: i32,
}

/// Why bytes are not a batch that this broker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BatchFault {
    #[error("fewer bytes than the batch says it has")]
    Truncated,
    #[error("message format {0}; only format 2 is kept")]
    Format(i8),
    #[error("the CRC does not fit the bytes")]
    Crc,
    #[error("{0}")]
    Malformed(&'static str),
}

impl BatchHeader {
    /// Reads the header of the batch at the start of `bytes` and checks length, format, CRC and counts.
    pub(super) fn check(bytes: &[u8]) -> Result<Self, BatchFault> {
        if bytes.len() < HEADER_BYTES {
            return Err(BatchFault::Truncated);
        }
        let magic = bytes[16] as i8;
        if magic != 2 {
            return Err(BatchFault::Format(magic));
        }
        let length = i32::from_be_bytes(field(bytes, 8));
        let total =
            usize::try_from(length).map_err(|_| BatchFault::Malformed("negative length"))? + LENGTH_END;
        if total < HEADER_BYTES {
            return Err(BatchFault::Malformed("shorter than its own header"));
        }
        let batch = bytes.get(..total).ok_or(BatchFault::Truncated)?;
        if crc32c::crc32c(&batch[CRC_COVERS..]) != u32::from_be_bytes(field(batch, CRC_START)) {
            return Err(BatchFault::Crc);
        }
        let header = Self {
            base_offset: i64::from_be_bytes(field(batch, 0)),
            bytes: total,
            attributes: i16::from_be_bytes(field(batch, 21)),
            last_offset_delta: i32::from_be_bytes(field(batch, 23)),
            base_timestamp: i64::from_be_bytes(field(batch, 27)),
            max_timestamp: i64::from_be_bytes(field(batch, 35)),
            producer_id: i64::from_be_bytes(field(batch, 43)),
            producer_epoch: i16::from_be_bytes(field(batch, 51)),
            base_sequence: i32::from_be_bytes(field(batch, 53)),
            record_count: i32::from_be_bytes(field(batch, 57)),
        };
        // A producer numbers its records 0, 1, 2, …; only a compacting broker leaves holes.
        if header.record_count < 1 || header.last_offset_delta != header.record_count - 1 {
            return Err(BatchFault::Malformed("the record count does not fit the offsets"));
        }
        if header.attributes & (TRANSACTIONAL | CONTROL) != 0 {
            return Err(BatchFault::Malformed("transactions are not supported"));
        }
        Ok(header)
    }

    /// Offset of the last record.
    pub(super) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }
}

/// Gives the batch its place in the log.
pub(super) fn patch(batch: &mut [u8], base_offset: i64) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[LENGTH_END..16].copy_from_slice(&LEADER_EPOCH.to_be_bytes());
}

/// The first record of the batch whose timestamp is at least `from_ms`: its offset and timestamp.
///
/// A compressed batch is not opened: the answer is then its first offset, which is never too late.
/// None if no record is that new.
pub(super) fn first_at_or_after(batch: &[u8], header: &BatchHeader, from_ms: i64) -> Option<(i64, i64)> {
    if header.max_timestamp < from_ms {
        return None;
    }
    if header.attributes & (COMPRESSION | LOG_APPEND_TIME) != 0 {
        return Some((header.base_offset, header.max_timestamp));
    }
    let mut rest = batch.get(HEADER_BYTES..header.bytes)?;
    for _ in 0..header.record_count {
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let (mut record, after) = rest.split_at_checked(length)?;
        rest = after;
        record = record.get(1..)?; // attributes
        let timestamp = header.base_timestamp.checked_add(varint(&mut record)?)?;
        let offset = header.base_offset.checked_add(varint(&mut record)?)?;
        if timestamp >= from_ms {
            return Some((offset, timestamp));
        }
    }
    None
}

/// A zigzag varint of up to 64 bits, taken from the front of `bytes`.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// `N` bytes at `at`. The caller has checked that the header is whole.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Batches for the tests of this module's neighbours.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    fn put_varint(out: &mut Vec<u8>, value: i64) {
        let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
        while zigzag >= 0x80 {
            out.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        out.push(zigzag as u8);
    }

    /// A batch of one record per timestamp, from `producer` = (id, epoch, first sequence).
    pub(in super::super) fn batch(timestamps: &[i64], producer: (i64, i16, i32)) -> Vec<u8> {
        let mut records = Vec::new();
        for (delta, timestamp) in timestamps.iter().enumerate() {
            let mut record = vec![0];
            put_varint(&mut record, timestamp - timestamps[0]);
            put_varint(&mut record, delta as i64);
            put_varint(&mut record, -1);
            put_varint(&mut record, 5);
            record.extend_from_slice(b"value");
            put_varint(&mut record, 0);
            put_varint(&mut records, record.len() as i64);
            records.extend_from_slice(&record);
        }
        let mut out = Vec::new();
        out.extend_from_slice(&0_i64.to_be_bytes());
        out.extend_from_slice(&((HEADER_BYTES - LENGTH_END + records.len()) as i32).to_be_bytes());
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        out.push(2);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&0_i16.to_be_bytes());
        out.extend_from_slice(&(timestamps.len() as i32 - 1).to_be_bytes());
        out.extend_from_slice(&timestamps[0].to_be_bytes());
        out.extend_from_slice(&timestamps.iter().max().unwrap().to_be_bytes());
        out.extend_from_slice(&producer.0.to_be_bytes());
        out.extend_from_slice(&producer.1.to_be_bytes());
        out.extend_from_slice(&producer.2.to_be_bytes());
        out.extend_from_slice(&(timestamps.len() as i32).to_be_bytes());
        out.extend_from_slice(&records);
        let crc = crc32c::crc32c(&out[CRC_COVERS..]);
        out[CRC_START..CRC_COVERS].copy_from_slice(&crc.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::batch;
    use super::*;

    const NOBODY: (i64, i16, i32) = (-1, -1, -1);

    #[test]
    fn a_patched_batch_stays_valid() {
        let mut bytes = batch(&[10, 30, 20], NOBODY);
        patch(&mut bytes, 4_000_000_000);
        let header = BatchHeader::check(&bytes).unwrap();
        assert_eq!((header.base_offset, header.last_offset()), (4_000_000_000, 4_000_000_002));
        assert_eq!((header.record_count, header.max_timestamp, header.bytes), (3, 30, bytes.len()));
    }

    #[test]
    fn a_timestamp_is_found_inside_a_batch() {
        let mut bytes = batch(&[10, 30, 20], NOBODY);
        patch(&mut bytes, 100);
        let header = BatchHeader::check(&bytes).unwrap();
        assert_eq!(first_at_or_after(&bytes, &header, 0), Some((100, 10)));
        assert_eq!(first_at_or_after(&bytes, &header, 11), Some((101, 30)));
        assert_eq!(first_at_or_after(&bytes, &header, 30), Some((101, 30)));
        assert_eq!(first_at_or_after(&bytes, &header, 31), None);
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let bytes = batch(&[10, 20], NOBODY);
        for cut in 0..bytes.len() {
            assert!(BatchHeader::check(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in CRC_START..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(BatchHeader::check(&bad), Err(BatchFault::Crc), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), crc in any::<bool>()) {
            let mut bytes = bytes;
            if crc && bytes.len() > HEADER_BYTES {
                let length = (bytes.len() - LENGTH_END) as i32;
                bytes[8..12].copy_from_slice(&length.to_be_bytes());
                bytes[16] = 2;
                let crc = crc32c::crc32c(&bytes[CRC_COVERS..]);
                bytes[CRC_START..CRC_COVERS].copy_from_slice(&crc.to_be_bytes());
            }
            if let Ok(header) = BatchHeader::check(&bytes) {
                let _ = first_at_or_after(&bytes, &header, 0);
            }
        }
    }
}
