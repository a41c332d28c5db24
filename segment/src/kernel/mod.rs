//! Kernels: the only modules of this crate in which `unsafe` is allowed.
//!
//! Each offers an interface that is sound whatever its caller does, proves every `unsafe` block where it
//! stands, and is compared with a safe twin by its tests.
//!
//! - [`append_buffer`]: fixed memory that one writer fills while readers hold its committed prefix as Arrow buffers;
//! - [`grow_buffer`] (safe): the same without a fixed capacity;
//! - [`mapped`]: a file as memory;
//! - [`view_store`]: byte strings as Arrow views, appended to while read;
//! - [`select`]: codes to masks of selected rows, masks to row numbers;
//! - [`bits`] (safe): flags kept as bytes, packed into bits when read.

pub(crate) mod append_buffer;
pub(crate) mod bits;
pub(crate) mod grow_buffer;
pub(crate) mod mapped;
pub mod select;
pub(crate) mod view_store;
