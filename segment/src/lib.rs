//! Columns in memory and at rest.
//!
//! This crate knows what a table *is*: its [spec](spec::TableSpec) and [schema](schema::TableSchema), the
//! [mutable segment](mutable::MutableSegment) that a partition consumer appends to, the
//! [sealed segment](sealed) at rest in object storage, its [resident form](resident) for execution, the [table log](log::TableLog) that says which sealed
//! segments exist and up to which offset each partition is committed, and the [live table](live::LiveTable)
//! in which the write path and the read path meet.
//!
//! **Architecture Invariant:** nothing here knows a network protocol or SQL text. The write path (`ingest`)
//! and the read path (`broker`) both depend on this crate and never on each other.

pub mod budget;
mod cardinality;
pub mod clock;
pub mod column;
pub mod error;
mod kernel;
pub mod live;
pub mod log;
pub mod machine;
pub mod maintain;
pub mod mutable;
mod order;
pub mod resident;
pub mod schema;
pub mod sealed;
pub mod spec;
pub mod tasks;
pub mod trace;
pub mod value;

pub use error::{Result, SegmentError};
