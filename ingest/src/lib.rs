//! The path of a row: Kafka fetch -> decode -> mutable segment -> visible -> seal -> upload -> commit.
//!
//! A [`TableIngest`](table::TableIngest) consumes every partition of a table's topic at offsets that the table log
//! dictates, and never through a consumer group.

mod consume;
pub mod decide;
pub mod decode;
pub mod error;
pub mod infer;
pub mod kafka;
mod maintain;
pub mod ownership;
pub mod preview;
pub mod table;

pub use error::{IngestError, Result};
