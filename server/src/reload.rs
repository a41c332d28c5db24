//! Files that are read again when they change: certificates, users and tokens.
//!
//! They are read every [`EVERY`] and compared, rather than watched: a Kubernetes secret changes by a link that is moved, and what
//! watches a path may miss that. What cannot be used is said once in the log, and what was read before stays.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;

/// How long a change takes to count, at most.
const EVERY: Duration = Duration::from_secs(2);
/// Longest file.
const BYTES_MAX: u64 = 4 << 20;

/// The bytes of a file that somebody named in the configuration.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let named = |reason: String| format!("{}: {reason}", path.display());
    let file = std::fs::File::open(path).map_err(|error| named(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| named(error.to_string()))?;
    match bytes.len() as u64 > BYTES_MAX {
        true => Err(named(format!("is longer than {BYTES_MAX} bytes"))),
        false => Ok(bytes),
    }
}

/// Calls `reload` with the bytes of all `files` whenever one of them is not as in `known`, and then not as it was.
pub(crate) fn follow(
    files: Vec<PathBuf>,
    known: Vec<Vec<u8>>,
    reload: impl FnMut(&[Vec<u8>]) -> Result<(), String> + Send + 'static,
) -> JoinHandle<()> {
    follow_every(EVERY, files, known, reload)
}

fn follow_every(
    every: Duration,
    files: Vec<PathBuf>,
    known: Vec<Vec<u8>>,
    mut reload: impl FnMut(&[Vec<u8>]) -> Result<(), String> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut known = Ok(known);
        loop {
            tokio::time::sleep(every).await;
            let paths = files.clone();
            let reading = tokio::task::spawn_blocking(move || paths.iter().map(|path| read(path)).collect());
            // It does not panic; if the process ends, so does this.
            let Ok(seen) = reading.await else { return };
            let seen: Result<Vec<Vec<u8>>, String> = seen;
            if seen == known {
                continue;
            }
            let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            match seen.as_ref().map_err(Clone::clone).and_then(|bytes| reload(bytes)) {
                Ok(()) => tracing::info!(files = ?names, "read again"),
                Err(reason) => tracing::error!(reason, "what was read before stays; put the file right"),
            }
            known = seen;
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn a_change_counts_and_a_fault_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "one").unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::clone(&seen);
        let known = vec![read(&file).unwrap()];
        let every = Duration::from_millis(5);
        let following = follow_every(every, vec![file.clone()], known, move |bytes| {
            calls.lock().push(String::from_utf8(bytes[0].clone()).unwrap());
            if bytes[0] == b"bad" { Err("bad".into()) } else { Ok(()) }
        });
        let wait_for = |count: usize| {
            let seen = Arc::clone(&seen);
            async move {
                while seen.lock().len() < count {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        };
        for (at, text) in ["two", "bad", "three"].into_iter().enumerate() {
            std::fs::write(dir.path().join("new"), text).unwrap();
            std::fs::rename(dir.path().join("new"), &file).unwrap();
            tokio::time::timeout(Duration::from_secs(10), wait_for(at + 1)).await.unwrap();
        }
        std::fs::remove_file(&file).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(*seen.lock(), ["two", "bad", "three"]);
        following.abort();
        assert!(read(&file).unwrap_err().contains("/f: No such file"));
    }
}
