//! The prober: asks without a pause, and notes when each answer arrived and what its cut contains.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::events::{PARTITIONS, TABLE};
use crate::node::Client;

/// One answer. Times are nanoseconds since the run's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) asked_ns: u64,
    pub(super) arrived_ns: u64,
    /// What `count(*)` said.
    pub(super) rows: i64,
    /// By partition, the exclusive upper offset of the cut.
    pub(super) cut: Vec<i64>,
}

/// A thread that probes until told to stop.
pub(super) struct Prober {
    thread: JoinHandle<Result<()>>,
    probes: Arc<Mutex<Vec<Probe>>>,
}

impl Prober {
    pub(super) fn start(client: Client, origin: Instant, stop: Arc<AtomicBool>) -> Result<Self> {
        let probes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&probes);
        let statement = format!("SELECT count(*) FROM {TABLE}");
        let thread = std::thread::Builder::new().name("prober".into()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let asked_ns = origin.elapsed().as_nanos() as u64;
                let answer = client.sql(&statement)?;
                let arrived_ns = origin.elapsed().as_nanos() as u64;
                let rows = answer["rows"][0][0].as_i64().ok_or_else(|| format!("no count in {answer}"))?;
                let probe = Probe { asked_ns, arrived_ns, rows, cut: cut_of(&answer) };
                shared.lock().map_err(|_| "the reader of probes panicked")?.push(probe);
            }
            Ok(())
        })?;
        Ok(Self { thread, probes })
    }

    /// Waits until an answer contains every offset below `ends`. False if `wait` passes first, or probing fails.
    pub(super) fn wait_for(&self, ends: &[i64], wait: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < wait && !self.thread.is_finished() {
            let last = self.probes.lock().ok().and_then(|probes| probes.last().cloned());
            if last.is_some_and(|probe| probe.cut.iter().zip(ends).all(|(cut, end)| cut >= end)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// The probes, once the thread was told to stop.
    pub(super) fn finish(self) -> Result<Vec<Probe>> {
        self.thread.join().map_err(|_| "the prober panicked")??;
        let probes = std::mem::take(&mut *self.probes.lock().map_err(|_| "the prober panicked")?);
        Ok(probes)
    }
}

/// A partition that the cut does not name has nothing visible yet.
fn cut_of(answer: &Value) -> Vec<i64> {
    let offsets = &answer["cut"][TABLE]["offsets"];
    (0..PARTITIONS).map(|partition| offsets[partition.to_string()].as_i64().unwrap_or(0)).collect()
}
