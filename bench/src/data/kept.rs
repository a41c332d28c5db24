//! Where what benchmarks keep lies: data sets, and the peers' virtual environment.

use std::path::PathBuf;

use clap::Args;

use super::Generator;
use super::files::{self, Dataset};
use crate::Result;

/// Where data sets lie, in the kept directory.
const DATA_DIRECTORY: &str = "bench";

/// The option that names the directory.
#[derive(Clone, Debug, Args)]
pub struct Kept {
    /// Where data sets and the peers' virtual environment lie [default: ~/.cache/headwater].
    #[arg(long, value_name = "PATH")]
    directory: Option<PathBuf>,
}

impl Kept {
    /// The directory: as asked for, or in the home directory's cache.
    ///
    /// # Errors
    /// If neither the argument nor `HOME` says where.
    pub fn root(&self) -> Result<PathBuf> {
        match (&self.directory, std::env::var_os("HOME")) {
            (Some(directory), _) => Ok(directory.clone()),
            (None, Some(home)) => Ok(PathBuf::from(home).join(".cache/headwater")),
            (None, None) => Err("HOME is not set; name a directory with --directory".into()),
        }
    }

    /// The data set of a generator.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn prepare(&self, generator: &dyn Generator) -> Result<Dataset> {
        files::prepare(&self.root()?.join(DATA_DIRECTORY), generator)
    }
}
