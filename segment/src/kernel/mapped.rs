//! A file as memory: read-only, shared by every Arrow buffer that is cut from it.
//!
//! Sound only if nobody changes the file while it is mapped. The files mapped here are written under another name,
//! complete, before they get theirs, never opened for writing again, and removed by unlinking, which leaves the memory
//! of a mapping as it is. Their directory belongs to this program; what somebody else does to files in it (truncating
//! one that is mapped, say) is beyond what a program can be proven against.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow::buffer::Buffer;
use memmap2::Mmap;

/// The bytes of a file that nobody changes, aligned to a page.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn map(file: &File) -> io::Result<Buffer> {
    // SAFETY: the file is never changed, as the module's opening says, so the bytes behind the reference are constant.
    let mapped = Arc::new(unsafe { Mmap::map(file)? });
    let length = mapped.len();
    let start = NonNull::new(mapped.as_ptr().cast_mut()).unwrap_or(NonNull::dangling());
    // SAFETY: `start` is valid for `length` bytes (dangling only for none) as long as `mapped` lives, and the buffer owns a
    // share of it. Arrow never writes to custom allocations.
    Ok(unsafe { Buffer::from_custom_allocation(start, length, mapped) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_reading_the_file_and_outlives_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for length in [0, 1, 4096, 100_001] {
            let bytes: Vec<u8> = (0..length).map(|index| (index * 7) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let mapped = map(&File::open(&path).unwrap()).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(mapped.as_slice(), &bytes[..]);
            assert_eq!(mapped.slice(length.min(64)).as_slice(), &bytes[length.min(64)..]);
        }
    }
}
