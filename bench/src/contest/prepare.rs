//! Every engine with the data set loaded: once, and again only if asked, if another version of the engine comes, or if the data
//! set changes (which removes the directory that the engines' forms lie in).

use std::fs;
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

/// The engines, one after the other, with their forms of the data set loaded and open. `root` is where the peers' environment
/// lies; those of `reload` load although they have.
///
/// # Errors
/// If an engine cannot be had or cannot load.
pub fn prepare_engines(
    dataset: &Dataset,
    root: &Path,
    names: &[EngineName],
    reload: &[EngineName],
) -> Result<Vec<Prepared>> {
    let python = match names.iter().any(|name| name.is_peer_process()) {
        true => Some(python::environment(root)?),
        false => None,
    };
    let mut engines = Vec::new();
    for name in names {
        engines.push(engine(*name, dataset, python.as_deref(), reload.contains(name))?);
    }
    Ok(engines)
}

fn engine(name: EngineName, dataset: &Dataset, python: Option<&Path>, reload: bool) -> Result<Prepared> {
    let directory = dataset.directory.join(name.to_string());
    let record = directory.join("loaded.json");
    let mut engine = Engine::start(name, python, dataset)?;
    let known: Option<Loaded> = fs::read(&record).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let known = known.filter(|known| !reload && known.version == engine.version());
    let loaded = match known {
        Some(known) => known,
        None => {
            note(format_args!("{name}: loading {} rows", grouped(dataset.rows as f64)));
            if directory.exists() {
                fs::remove_dir_all(&directory)?;
            }
            fs::create_dir_all(&directory)?;
            let loaded = load(&mut engine, dataset)?;
            fs::write(&record, serde_json::to_vec_pretty(&loaded)?)?;
            // A process that has loaded holds memory that one which only answers would not.
            engine.restart()?;
            loaded
        }
    };
    engine.open()?;
    Ok(Prepared { engine, loaded })
}

fn load(engine: &mut Engine, dataset: &Dataset) -> Result<Loaded> {
    let done = engine.load()?;
    let name = engine.name();
    if done.rows != dataset.rows {
        return Err(format!("{name} holds {} rows, not {}", done.rows, dataset.rows).into());
    }
    let megabytes = grouped(done.bytes_on_disk as f64 / 1e6);
    note(format_args!("{name}: loaded in {:.0} s, {megabytes} MB", done.seconds));
    Ok(Loaded {
        version: engine.version().into(),
        seconds: done.seconds,
        bytes_on_disk: done.bytes_on_disk,
        peak_memory_bytes: engine.peak_memory_bytes()?,
    })
}
