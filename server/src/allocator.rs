//! The allocator of the process.
//!
//! Planning a statement allocates some ten thousand small objects, which takes a fifth less time than with the system's allocator.
//! Queries with many groups allocate and free hundreds of megabytes, each of which costs a quarter of a millisecond when the
//! system hands it out; so freed memory is kept for the next query, longer than dashboards wait between two of them.

use std::ffi::c_long;

use libmimalloc_sys as sys;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long freed memory is kept, in milliseconds.
const KEPT_MS: c_long = 30_000;
/// `mi_option_purge_delay` of mimalloc 3, which the bindings have no name for.
const PURGE_DELAY: sys::mi_option_t = 15;

/// Keeps freed memory for a while, unless the environment says how long (`MIMALLOC_PURGE_DELAY`).
#[allow(unsafe_code)]
pub fn keep_freed_memory() {
    // SAFETY: the option exists in the version that is linked, and any thread may set it at any time.
    unsafe { sys::mi_option_set_default(PURGE_DELAY, KEPT_MS) };
}
