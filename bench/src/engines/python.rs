//! The peers' Python: a virtual environment with pinned versions, made when it is missing, and the drivers in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::EngineName;
use crate::Result;
use crate::report::note;

/// What is installed. Another list makes another environment.
const REQUIREMENTS: &str = include_str!("../../peers/requirements.txt");
/// Compiled in, so that the binary can be run from anywhere; written beside the environment, because they share a module.
const SCRIPTS: [(&str, &str); 4] = [
    ("install.sh", include_str!("../../peers/install.sh")),
    ("protocol.py", include_str!("../../peers/protocol.py")),
    ("duckdb_driver.py", include_str!("../../peers/duckdb_driver.py")),
    ("chdb_driver.py", include_str!("../../peers/chdb_driver.py")),
];
/// Writes back and drops the cached pages of every file under a directory. It says so to the kernel by file, so it
/// needs no privilege and leaves everybody else's pages alone.
const DROP_PAGES: &str = "import os, sys
for place, _, names in os.walk(sys.argv[1]):
    for name in names:
        file = os.open(os.path.join(place, name), os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
";

/// The environment's Python under `root`, installed if it is not there.
///
/// # Errors
/// If it cannot be installed; the installer's own words are on standard error.
pub fn environment(root: &Path) -> Result<PathBuf> {
    let directory = root.join("venv-bench");
    let scripts = directory.join("drivers");
    fs::create_dir_all(&scripts)?;
    for (name, text) in SCRIPTS {
        fs::write(scripts.join(name), text)?;
    }
    let installed = directory.join("installed.txt");
    if fs::read_to_string(&installed).ok().as_deref() != Some(REQUIREMENTS) {
        note("installing the peers");
        fs::write(scripts.join("requirements.txt"), REQUIREMENTS)?;
        let status = Command::new("sh")
            .arg(scripts.join("install.sh"))
            .arg(&directory)
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            return Err(format!("the peers could not be installed ({status})").into());
        }
        fs::write(&installed, REQUIREMENTS)?;
    }
    Ok(directory.join("bin/python"))
}

/// The command of a peer's driver.
pub(super) fn driver(python: &Path, name: EngineName) -> Command {
    let scripts = python.parent().and_then(Path::parent).map(|directory| directory.join("drivers"));
    let script = if name == EngineName::Duckdb { "duckdb_driver.py" } else { "chdb_driver.py" };
    let mut command = Command::new(python);
    command.arg(scripts.unwrap_or_default().join(script));
    command
}

/// Drops what the page cache holds of a directory.
///
/// # Errors
/// If Python cannot be run, or a file cannot be read.
pub(super) fn drop_page_cache(python: Option<&Path>, directory: &Path) -> Result<()> {
    let python = python.unwrap_or(Path::new("python3"));
    let status = Command::new(python).args(["-c", DROP_PAGES]).arg(directory).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("the page cache could not be dropped ({status})").into()),
    }
}
