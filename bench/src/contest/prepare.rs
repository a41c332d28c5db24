//! Every engine with the data set loaded: once, and again only if asked, if another version of the engine comes (or, for
//! Headwater, another executable), or if the data set changes (which removes the directory that the engines' forms lie in).

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::Dataset;
use crate::engines::{Engine, EngineName, python};
use crate::report::{grouped, note};

/// What loading cost, kept beside what was loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Loaded {
    /// The engine's version.
    pub version: String,
    /// The [`build`] of the engine.
    #[serde(default)]
    pub build: String,
    /// Seconds from the first file to the last row at rest, optimisation included.
    pub seconds: f64,
    /// Size of what queries read.
    pub bytes_on_disk: u64,
    /// Peak memory of the process that loaded.
    pub peak_memory_bytes: u64,
}

/// An engine that is ready for queries.
pub struct Prepared {
    /// The process.
    pub engine: Engine,
    /// What loading cost.
    pub loaded: Loaded,
}

/// Which engines, and how.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The engines.
    pub names: &'a [EngineName],
    /// Those that load the data again although they have it.
    pub reload: &'a [EngineName],
    /// Whether Headwater keeps plans.
    pub keeps_plans: bool,
}

impl<'a> Wanted<'a> {
    /// Engines with the data that they have, planning every query.
    pub fn plain(names: &'a [EngineName]) -> Self {
        Self { names, reload: &[], keeps_plans: false }
    }
}

/// The engines, one after the other, with their forms of the data set loaded and open. `root` is where the peers' environment
/// lies; those of `reload` load although they have.
///
/// # Errors
/// If an engine cannot be had or cannot load.
pub fn prepare_engines(dataset: &Dataset, root: &Path, wanted: Wanted<'_>) -> Result<Vec<Prepared>> {
    let python = match wanted.names.iter().any(|name| name.is_peer_process()) {
        true => Some(python::environment(root)?),
        false => None,
    };
    let mut engines = Vec::new();
    for name in wanted.names {
        engines.push(engine(*name, dataset, python.as_deref(), wanted)?);
    }
    Ok(engines)
}

fn engine(
    name: EngineName,
    dataset: &Dataset,
    python: Option<&Path>,
    wanted: Wanted<'_>,
) -> Result<Prepared> {
    let reload = wanted.reload.contains(&name);
    let directory = dataset.directory.join(name.to_string());
    let record = directory.join("loaded.json");
    let mut engine = Engine::start(name, python, dataset, wanted.keeps_plans)?;
    let known: Option<Loaded> = fs::read(&record).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let build = build(name, &std::env::current_exe()?)?;
    let known = known.filter(|known| !reload && known.version == engine.version() && known.build == build);
    let loaded = match known {
        Some(known) => known,
        None => {
            note(format_args!("{name}: loading {} rows", grouped(dataset.rows as f64)));
            if directory.exists() {
                fs::remove_dir_all(&directory)?;
            }
            fs::create_dir_all(&directory)?;
            let loaded = load(&mut engine, dataset, build)?;
            fs::write(&record, serde_json::to_vec_pretty(&loaded)?)?;
            // A process that has loaded holds memory that one which only answers would not.
            engine.restart()?;
            loaded
        }
    };
    engine.open()?;
    Ok(Prepared { engine, loaded })
}

/// What tells one build of an engine from another of the same version: for Headwater, which changes from commit to commit, a
/// hash of `executable`, whose segments it would load; nothing for the others, which are published under their versions.
fn build(name: EngineName, executable: &Path) -> Result<String> {
    if name != EngineName::Headwater {
        return Ok(String::new());
    }
    let (mut file, mut hasher, mut buffer) =
        (File::open(executable)?, DefaultHasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:016x}", hasher.finish())),
            count => hasher.write(&buffer[..count]),
        }
    }
}

fn load(engine: &mut Engine, dataset: &Dataset, build: String) -> Result<Loaded> {
    let done = engine.load()?;
    let name = engine.name();
    if done.rows != dataset.rows {
        return Err(format!("{name} holds {} rows, not {}", done.rows, dataset.rows).into());
    }
    let megabytes = grouped(done.bytes_on_disk as f64 / 1e6);
    note(format_args!("{name}: loaded in {:.0} s, {megabytes} MB", done.seconds));
    Ok(Loaded {
        version: engine.version().into(),
        build,
        seconds: done.seconds,
        bytes_on_disk: done.bytes_on_disk,
        peak_memory_bytes: engine.peak_memory_bytes()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_executable_is_another_build_of_headwater_and_of_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let builds = [&b"one"[..], b"two", b"one"].map(|bytes| {
            let executable = directory.path().join("executable");
            fs::write(&executable, bytes).unwrap();
            [EngineName::Headwater, EngineName::Duckdb].map(|name| build(name, &executable).unwrap())
        });
        assert_ne!(builds[0][0], builds[1][0]);
        assert_eq!(builds[0], builds[2]);
        assert_eq!(builds[0][1], builds[1][1]);
    }

    #[test]
    fn what_was_loaded_before_builds_were_recorded_is_of_no_build() {
        let text = r#"{"version": "1", "seconds": 1.0, "bytes_on_disk": 1, "peak_memory_bytes": 1}"#;
        assert_eq!(serde_json::from_str::<Loaded>(text).unwrap().build, "");
    }
}
