//! The tail's own checksum, so that an object can be verified where there is no table log.
//!
//! The last key-value of the footer is `HWTL`, the tail's length and its CRC32C, each as eight hexadecimal digits; the checksum is
//! computed with `00000000` in the place of its own digits. A reader that has the table log does not need it.

use std::ops::Range;

const MARK: &[u8] = b"HWTL";
const DIGITS: usize = 8;

/// The value while the tail is being written.
pub(super) fn placeholder() -> String {
    format!("HWTL{:016}", 0)
}

/// Fills in the mark of an object whose tail begins at `tail_start`; false if it has none.
pub(super) fn fill(object: &mut [u8], tail_start: usize) -> bool {
    let Some((length, crc)) = find(object) else { return false };
    let Some(tail_bytes) = object.len().checked_sub(tail_start).and_then(|bytes| u32::try_from(bytes).ok())
    else {
        return false;
    };
    object[length].copy_from_slice(format!("{tail_bytes:08x}").as_bytes());
    let checksum = format!("{:08x}", checksum(&object[tail_start..], crc.start - tail_start));
    object[crc].copy_from_slice(checksum.as_bytes());
    true
}

/// Where the tail of an object begins, if its mark is there and right.
pub(super) fn verify(object: &[u8]) -> Result<usize, &'static str> {
    let (length, crc) = find(object).ok_or("its footer has no mark of Headwater; another writer made it")?;
    let number = |digits: Range<usize>| {
        std::str::from_utf8(&object[digits]).ok().and_then(|text| u32::from_str_radix(text, 16).ok())
    };
    let tail_start = number(length)
        .and_then(|tail_bytes| object.len().checked_sub(tail_bytes as usize))
        .filter(|tail_start| *tail_start <= crc.start);
    let damaged = "its footer is damaged (wrong CRC32C)";
    let tail_start = tail_start.ok_or(damaged)?;
    match number(crc.clone()) == Some(checksum(&object[tail_start..], crc.start - tail_start)) {
        true => Ok(tail_start),
        false => Err(damaged),
    }
}

/// The places of the length's and the checksum's digits: behind the last mark.
fn find(object: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let mark = object.windows(MARK.len()).rposition(|window| window == MARK)?;
    let length = mark + MARK.len()..mark + MARK.len() + DIGITS;
    let crc = length.end..length.end + DIGITS;
    (crc.end <= object.len()).then_some((length, crc))
}

fn checksum(tail: &[u8], digits: usize) -> u32 {
    let (before, rest) = tail.split_at(digits);
    let after = &rest[DIGITS..];
    [before, &[b'0'; DIGITS], after].into_iter().fold(0, crc32c::crc32c_append)
}
