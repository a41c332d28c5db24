//! Data sets: generated once with a fixed seed, written as Parquet, read by every engine.
//!
//! A data set is a directory of Parquet files and a manifest that says what they were made of; it is used again as long
//! as the manifest is what the generator would write. The manifest is written last: a directory without one is incomplete.

mod columns;
mod files;
mod kept;
mod random;
mod table;

use std::path::PathBuf;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use columns::{coded, dates, integers, longs, text_array, timestamps};
pub use files::Dataset;
pub use kept::Kept;
pub use random::{Random, Zipf, mix};
pub use table::{ColumnDefinition, ColumnRow, Kind, TableDefinition};

use crate::Result;

/// Rows of a file, and of a sealed segment of Headwater.
pub const FILE_ROWS: u64 = 5_000_000;

/// Something that makes the rows of a table, file by file.
pub trait Generator: Sync {
    /// The name of the data set's directory.
    fn name(&self) -> String;
    /// What the rows depend on beside the code: scale, seed.
    fn parameters(&self) -> Value;
    /// The table.
    fn table(&self) -> TableDefinition;
    /// All rows.
    fn rows(&self) -> u64;
    /// Passes the rows `file * FILE_ROWS ..` up to the end of the file, in order, in batches.
    ///
    /// # Errors
    /// What `sink` fails with.
    fn generate(&self, file: usize, sink: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()>;

    /// How many files the rows take.
    fn files(&self) -> usize {
        self.rows().div_ceil(FILE_ROWS) as usize
    }
}

/// What a data set's directory was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Manifest {
    /// Raised when the rows of any generator change.
    version: u32,
    name: String,
    parameters: Value,
    rows: u64,
    files: Vec<PathBuf>,
}
