//! Checkpoints: the state of a log at one version as one Parquet object, so that nobody replays it from the start.
//!
//! They are written by the Delta library, in the background, and only save time: whatever goes wrong is logged
//! and the next one is tried 64 commits later. They are read by us, into the same actions that entries hold.

use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake_core::kernel::Action;
use deltalake_core::{DeltaTableBuilder, DeltaTableError};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use url::Url;

use super::actions;
use super::files::LogFiles;
use super::state::LogState;
use crate::{Result, SegmentError};

/// Commits between checkpoints.
pub(super) const CHECKPOINT_EVERY: u64 = 64;

/// The columns of a checkpoint that hold what the state is made of.
const COLUMNS: [&str; 6] = ["add", "domainMetadata", "metaData", "protocol", "remove", "txn"];

/// The root of our store, as the Delta library is told. All that matters of a table's URL is its path, the table's prefix in
/// the store that we hand over; but the library takes listings for sorted unless the host names an S3 directory bucket
/// (`--x-s3`), and those of a local disk are not.
const UNSORTED_STORE: &str = "memory://headwater--x-s3/";

/// Reads a checkpoint's bytes into the state at its version.
pub(super) async fn read(bytes: Bytes, version: u64, origin: String) -> Result<LogState> {
    let context = origin.clone();
    let decoded = tokio::task::spawn_blocking(move || {
        let actions = decode(bytes, &origin)?;
        LogState::apply(None, version, &actions, &origin)
    });
    decoded.await.unwrap_or_else(|error| match error.is_panic() {
        // The Parquet library met bytes that it did not expect.
        true => Err(SegmentError::Corrupt(format!("{context}: it is not a readable Parquet file"))),
        false => Err(SegmentError::Log { context, message: error.to_string() }),
    })
}

fn decode(bytes: Bytes, origin: &str) -> Result<Vec<Action>> {
    let corrupt = |error: &dyn std::fmt::Display| SegmentError::Corrupt(format!("{origin}: {error}"));
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| corrupt(&error))?;
    let fields = builder.schema().fields().iter().enumerate();
    let wanted: Vec<usize> = fields
        .filter(|(_, field)| COLUMNS.contains(&field.name().as_str()))
        .map(|(index, _)| index)
        .collect();
    let projection = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let mut decoded = Vec::new();
    for batch in builder.with_projection(projection).build().map_err(|error| corrupt(&error))? {
        let batch = batch.map_err(|error| corrupt(&error))?;
        let mut lines = arrow::json::LineDelimitedWriter::new(Vec::new());
        lines.write(&batch).and_then(|()| lines.finish()).map_err(|error| corrupt(&error))?;
        decoded.extend(actions::decode(origin, &lines.into_inner())?);
    }
    Ok(decoded)
}

/// Writes the checkpoint of a version and removes entries that no reader needs any more. Returns how many were removed.
pub(super) async fn write(files: &LogFiles, version: u64) -> std::result::Result<usize, DeltaTableError> {
    let mut url = Url::parse(UNSORTED_STORE).map_err(|error| DeltaTableError::generic(error.to_string()))?;
    url.set_path(&format!("/{}/", files.root));
    let store = Arc::clone(&files.store);
    let builder =
        DeltaTableBuilder::from_url(url.clone())?.with_storage_backend(store, url).with_version(version);
    let table = builder.load().await?;
    create_checkpoint(&table, None).await?;
    cleanup_metadata(&table, None).await
}
