//! The resident form of sealed segments: their columns as execution reads them, kept between queries.
//!
//! ```text
//! columns() ── in memory? ── yes ──────────────────────────────────────────────┐
//!               │ no: one load per column, however many ask                   ├─> SegmentColumns
//!               ├─ local file? ── map it, compare its CRC ───────────────────┤
//!               └─ sealed object: byte ranges of the columns and of their indexes -> decode -> build -> write the file, map it
//! ```
//!
//! What a query has not asked for yet, but will, can be loaded ahead of it (`warm`).
//!
//! Before that, the bloom filters of a segment may say that a query has no row in it (`filters`).
//!
//! A column is kept by the segment's ULID and its own name: its place may change when a table gains columns.
//!
//! **Architecture Invariant:** nothing here is not in the sealed object. A file that is damaged, of another version or gone
//! is built again; a directory that cannot be written costs speed, never an answer. What a query holds stays alive
//! whatever the budgets throw out.

mod dir;
mod file;
mod filters;
mod flight;
mod indexed;
mod load;
mod lru;
mod object;
mod store;
#[cfg(test)]
mod tests;
mod warm;

pub use filters::Wish;
pub use store::{ResidentConfig, ResidentStore};
