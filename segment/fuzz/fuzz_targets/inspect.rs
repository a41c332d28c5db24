//! Any bytes as a segment's object: the report of `headwater segment inspect`, or an error, never a panic.
#![no_main]

use bytes::Bytes;
use headwater_segment::sealed::inspect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = inspect(&Bytes::copy_from_slice(data));
});
