//! Where queries spill: a directory of this process alone, held by a lock, which goes with the process or when the next one starts.
//!
//! ```text
//! spill_dir/headwater-spill-01J….lock      locked for as long as the process lives, however it ends
//! spill_dir/headwater-spill-01J…/          what its queries have spilled
//! ```
//!
//! A process that is killed leaves files behind that nobody reads any more, so each start removes the directories whose lock nobody
//! holds. Several processes may share one `spill_dir`.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use ulid::Ulid;

use super::config::EngineConfig;

const PREFIX: &str = "headwater-spill-";
const LOCK: &str = "lock";

/// The directory of this process. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct SpillDirectory {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl SpillDirectory {
    /// Makes one in `base`, and removes those there that are nobody's.
    fn new(base: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(base)?;
        sweep(base);
        loop {
            let path = base.join(format!("{PREFIX}{}", Ulid::new()));
            let lock_path = path.with_extension(LOCK);
            let lock = File::create_new(&lock_path)?;
            match lock.try_lock() {
                // Another process that starts took it for one that nobody holds, and removes it.
                Err(TryLockError::WouldBlock) => continue,
                locked => locked?,
            }
            // It may have done so in between.
            if lock.metadata()?.nlink() == 0 {
                continue;
            }
            fs::create_dir(&path)?;
            return Ok(Self { path, lock_path, _lock: lock });
        }
    }
}

impl Drop for SpillDirectory {
    fn drop(&mut self) {
        remove(&self.path, &self.lock_path);
    }
}

/// A disk for spilling within the limits of `config`, and what holds its directory.
///
/// # Errors
/// If the directory cannot be written.
pub(super) fn spill_disk(config: &EngineConfig) -> Result<(DiskManager, SpillDirectory)> {
    let base = config.spill_dir.clone().unwrap_or_else(std::env::temp_dir);
    let directory = SpillDirectory::new(&base).map_err(|error| {
        exec_datafusion_err!(
            "queries cannot spill to {}: {error}; set query.spill_dir to a directory that this process may write",
            base.display()
        )
    })?;
    let mode = DiskManagerMode::Directories(vec![directory.path.clone()]);
    let disk = DiskManagerBuilder::default().with_mode(mode);
    Ok((disk.with_max_temp_directory_size(config.spill_bytes_max).build()?, directory))
}

/// Removes what processes have left that are no more.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for lock_path in entries.flatten().map(|entry| entry.path()) {
        let is_lock = lock_path.extension().is_some_and(|extension| extension == LOCK)
            && lock_path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        // One of another user, or of a process that lives, is not ours to remove. The lock is held until that is done.
        let lock = is_lock.then(|| File::open(&lock_path).ok()).flatten();
        if let Some(lock) = lock.filter(|lock| lock.try_lock().is_ok()) {
            tracing::info!(path = %lock_path.display(), "removing what queries of an earlier process have spilled");
            remove(&lock_path.with_extension(""), &lock_path);
            drop(lock);
        }
    }
}

fn remove(path: &Path, lock_path: &Path) {
    let removed = match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    // The lock goes last: without it nobody would find the rest.
    if let Err(error) = removed.and_then(|()| fs::remove_file(lock_path)) {
        tracing::warn!(path = %path.display(), %error, "spilled files could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_a_live_one_uses_is_not() {
        let base = tempfile::tempdir().unwrap();
        let live = SpillDirectory::new(base.path()).unwrap();
        fs::write(live.path.join("used"), "x").unwrap();
        let dead = base.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("left"), "x").unwrap();
        fs::write(dead.with_extension(LOCK), "").unwrap();
        let other = base.path().join("other.lock");
        fs::write(&other, "").unwrap();

        let next = SpillDirectory::new(base.path()).unwrap();
        assert!(!dead.exists() && !dead.with_extension(LOCK).exists());
        assert!(live.path.join("used").exists() && other.exists());
        drop((live, next));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1, "only what is not ours is left");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        let config = EngineConfig { spill_dir: Some(file.clone()), ..EngineConfig::default() };
        let error = spill_disk(&config).unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()) && error.contains("query.spill_dir"), "{error}");
    }
}
