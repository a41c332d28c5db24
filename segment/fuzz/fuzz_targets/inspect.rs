//! Any bytes as a segment's object: the report of `headwater segment inspect`, or an error, never a panic.
//!
//! Few bytes are a segment by chance, and checksums keep damage away from what parses. So the input is taken twice: as the
//! object, and as a list of edits (see `reader`) of what parses in a good one, its index entries, index block and footer, whose
//! checksums are all made right again.
#![no_main]

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use headwater_segment::sealed::inspect;
use libfuzzer_sys::fuzz_target;

use headwater_segment_fuzz::{GOOD, edits};

/// The head of the index block before its directory, and an entry of that.
const HEAD_FIXED_BYTES: usize = 12;
const ENTRY_BYTES: usize = 28;
const BLOCK_BYTES: usize = 64 << 10;
const KEY_HEAD_CRC: &[u8] = b"headwater.index_crc32c";
const MARK: &[u8] = b"HWTL";

fn number(object: &[u8], at: usize) -> usize {
    object[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn put(object: &mut [u8], at: usize, crc32c: u32) {
    object[at..at + 4].copy_from_slice(&crc32c.to_le_bytes());
}

fn put_digits(object: &mut [u8], at: usize, crc32c: u32) {
    object[at..at + 8].copy_from_slice(format!("{crc32c:08x}").as_bytes());
}

/// The last place of `wanted`, if the edits left one.
fn last(object: &[u8], wanted: &[u8]) -> Option<usize> {
    object.windows(wanted.len()).rposition(|window| window == wanted)
}

/// Where the directory's entries stand in a good object, the checksums of blocks first.
fn directory(object: &[u8], index: usize) -> impl Iterator<Item = usize> + use<> {
    let count =
        u32::from_le_bytes([object[index + 8], object[index + 9], object[index + 10], object[index + 11]]);
    (0..count as usize).map(move |entry| index + HEAD_FIXED_BYTES + entry * ENTRY_BYTES)
}

/// Makes the checksums of an object right that was edited in place, from the parts to the whole.
fn make_right(object: &mut [u8], index: usize, tail: usize) {
    let good = &GOOD.sealed.bytes;
    let entries: Vec<usize> = directory(good, index).collect();
    let head = index..index + HEAD_FIXED_BYTES + entries.len() * ENTRY_BYTES;
    for entry in &entries[1..] {
        let range =
            number(object, entry + 8)..number(object, entry + 8).saturating_add(number(object, entry + 16));
        if let Some(bytes) = object.get(range) {
            let crc32c = crc32c::crc32c(bytes);
            put(object, entry + 24, crc32c);
        }
    }
    let blocks: Vec<u32> = object[..index].chunks(BLOCK_BYTES).map(crc32c::crc32c).collect();
    blocks.iter().enumerate().for_each(|(block, crc32c)| put(object, head.end + block * 4, *crc32c));
    let crc32c = crc32c::crc32c(&object[head.end..tail]);
    put(object, entries[0] + 24, crc32c);
    if let Some(key) = last(&object[tail..], KEY_HEAD_CRC) {
        // Thrift: a byte that begins the field, one of length, the digits.
        let digits = tail + key + KEY_HEAD_CRC.len() + 2;
        let crc32c = crc32c::crc32c(&object[head]);
        if digits + 8 <= object.len() {
            put_digits(object, digits, crc32c);
        }
    }
    if let Some(mark) = last(object, MARK).filter(|mark| *mark >= tail && mark + 20 <= object.len()) {
        let tail_bytes = (object.len() - tail) as u32;
        put_digits(object, mark + 4, tail_bytes);
        put_digits(object, mark + 12, 0);
        let crc32c = crc32c::crc32c(&object[tail..]);
        put_digits(object, mark + 12, crc32c);
    }
}

fn edited(data: &[u8]) -> Vec<u8> {
    let meta = &GOOD.sealed.meta;
    let (index, tail) = (meta.index_offset as usize, (meta.index_offset + meta.index_length) as usize);
    let mut object = GOOD.sealed.bytes.to_vec();
    let first = directory(&object, index).nth(1).map_or(index, |entry| number(&object, entry + 8));
    let places: Range<usize> = first..object.len();
    for (position, what, byte) in edits(data) {
        let position = places.start + position % places.len();
        match what % 2 {
            0 => object[position] ^= byte,
            _ => object[position] = byte,
        }
    }
    make_right(&mut object, index, tail);
    object
}

/// Leaves panics to who catches them; the fuzzer's own hook ends the process at each. One that nobody catches is a finding still.
static HOOK: LazyLock<()> = LazyLock::new(|| std::panic::set_hook(Box::new(|_| ())));

fuzz_target!(|data: &[u8]| {
    LazyLock::force(&HOOK);
    let _ = inspect(&Bytes::copy_from_slice(data));
    let report = inspect(&Bytes::from(edited(data)));
    if data.len() < 8 {
        assert!(report.is_ok_and(|report| report.is_sound()), "nothing was edited");
    }
});
