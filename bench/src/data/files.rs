//! The files of a data set: written by as many threads as there are cores, with a line of progress.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{FILE_ROWS, Generator, Manifest, TableDefinition};
use crate::Result;
use crate::report::{grouped, note};

/// Rows of a row group: what readers share out among threads.
const ROW_GROUP_ROWS: usize = 500_000;
const ZSTD_LEVEL: i32 = 3;
const GENERATORS_VERSION: u32 = 1;

/// A data set on disk.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its directory; engines keep their forms of it in directories beside the files.
    pub directory: PathBuf,
    /// The Parquet files in the order of their rows.
    pub files: Vec<PathBuf>,
    /// The table.
    pub table: TableDefinition,
    /// Rows.
    pub rows: u64,
}

/// The data set under `root`, generated if it is not there as the generator would make it.
///
/// # Errors
/// If the files cannot be written.
pub(super) fn prepare(root: &Path, generator: &dyn Generator) -> Result<Dataset> {
    let directory = root.join(generator.name());
    let paths =
        (0..generator.files()).map(|file| directory.join("parquet").join(format!("{file:03}.parquet")));
    let manifest = Manifest {
        version: GENERATORS_VERSION,
        name: generator.name(),
        parameters: generator.parameters(),
        rows: generator.rows(),
        files: paths.collect(),
    };
    let manifest_path = directory.join("manifest.json");
    let present = fs::read(&manifest_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if present.as_ref() != Some(&manifest) {
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(directory.join("parquet"))?;
        write_all(generator, &manifest.files)?;
        fs::write(&manifest_path, serde_json::to_vec_pretty(&manifest)?)?;
    }
    Ok(Dataset { directory, files: manifest.files, table: generator.table(), rows: manifest.rows })
}

fn write_all(generator: &dyn Generator, files: &[PathBuf]) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    let (next, done, began) = (AtomicUsize::new(0), AtomicUsize::new(0), Instant::now());
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let file = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = files.get(file) else { break };
                    if let Err(error) = write_file(generator, file, path) {
                        *failure.lock() = Some(error);
                        break;
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    let rows = (done as u64 * FILE_ROWS).min(generator.rows());
                    note(format_args!(
                        "{}: {} of {} rows, {:.0} s",
                        generator.name(),
                        grouped(rows as f64),
                        grouped(generator.rows() as f64),
                        began.elapsed().as_secs_f64()
                    ));
                }
            });
        }
    });
    failure.into_inner().map_or(Ok(()), Err)
}

fn write_file(generator: &dyn Generator, file: usize, path: &Path) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let mut out = Some(File::create(path)?);
    let mut writer: Option<ArrowWriter<File>> = None;
    let mut write = |batch: RecordBatch| -> Result<()> {
        // Without Arrow's schema in the file, dictionaries are read as the text that they are to everybody else.
        if let Some(out) = out.take() {
            let options =
                ArrowWriterOptions::new().with_properties(properties.clone()).with_skip_arrow_metadata(true);
            writer = Some(ArrowWriter::try_new_with_options(out, batch.schema(), options)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
        }
        Ok(())
    };
    generator.generate(file, &mut write)?;
    if let Some(writer) = writer {
        writer.into_inner()?.sync_all()?;
    }
    Ok(())
}
