//! The directory of the local files: locked by one process, and what an earlier one left in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ulid::Ulid;

use super::file;
use super::store::Key;
use crate::{Result, SegmentError};

/// Of the file of a column.
pub(super) const FILE_EXTENSION: &str = "col";
const TEMPORARY_EXTENSION: &str = "tmp";
/// Held locked by the process that uses a directory.
const LOCK_FILE: &str = "headwater-resident.lock";

/// A directory that is ours.
pub(super) struct Dir {
    pub(super) path: PathBuf,
    _lock: File,
}

/// Makes the directory this process's own.
pub(super) fn lock(path: PathBuf) -> Result<Dir> {
    let refused = |error: &dyn std::fmt::Display| {
        SegmentError::Refused(format!(
            "the directory of resident columns {} cannot be used: {error}; give each process one of its own that it may write to",
            path.display()
        ))
    };
    let lock = fs::create_dir_all(&path).and_then(|()| File::create(path.join(LOCK_FILE)));
    let lock = lock.map_err(|error| refused(&error))?;
    lock.try_lock().map_err(|error| refused(&error))?;
    Ok(Dir { path, _lock: lock })
}

/// The files of a directory that are of use, with length and age. Removes ours that are not, and leaves what is not ours.
pub(super) fn files_in(dir: &Path) -> Vec<(Key, u64, SystemTime)> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for segment_dir in entries(dir) {
        let Some(segment) = segment_dir.file_name().to_str().and_then(|name| Ulid::from_string(name).ok())
        else {
            continue;
        };
        for entry in entries(&segment_dir.path()) {
            let path = entry.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if !matches!(extension, Some(FILE_EXTENSION | TEMPORARY_EXTENSION)) {
                continue;
            }
            let is_column = extension == Some(FILE_EXTENSION);
            let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_column);
            let column = stem.and_then(|stem| u64::from_str_radix(stem, 16).ok());
            let metadata = entry.metadata().ok();
            match column.zip(metadata).filter(|(_, metadata)| file::is_current(&path, metadata.len())) {
                Some((column, metadata)) => {
                    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    found.push((Key { segment, column }, metadata.len(), modified));
                }
                None => remove(&path),
            }
        }
        // Only if it is empty.
        let _ = fs::remove_dir(segment_dir.path());
    }
    found
}

/// Removes a file, and its directory once that is empty.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a resident column could not be removed");
    }
    if let Some(dir) = path.parent() {
        let _ = fs::remove_dir(dir);
    }
}
