//! Work behind the scenes on sealed segments: many small ones become one, and objects that nobody needs are deleted.
//!
//! Any node may do any of it at any time, also two at once: what is safe is decided by the table log. Here are the decisions
//! and the transformation; who runs them, and when, is the caller's affair.
//!
//! **Architecture Invariant:** no thread, no timer and no clock; the time is passed in.

pub mod garbage;
mod merge;
mod select;

pub use merge::{MergeError, MergeRequest, merge};
pub use select::{CompactionJob, CompactionLimits, next_compaction};
