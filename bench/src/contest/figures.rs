//! What a contest found, as it goes into the document.

use serde::Serialize;

use super::Prepared;
use crate::Result;
use crate::report::Machine;

/// The whole result.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    pub(super) benchmark: String,
    pub(super) machine: Machine,
    pub(super) rows: u64,
    pub(super) runs: u32,
    pub(super) engines: Vec<EngineFigures>,
    pub(super) queries: Vec<QueryFigures>,
    /// What a reader must know beside the figures.
    pub(super) notes: Vec<String>,
}

/// One engine.
#[derive(Debug, Serialize)]
pub(super) struct EngineFigures {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) bytes_on_disk: u64,
    /// Until the rows are at rest: not what an engine makes of them when a query first reads them.
    pub(super) load_seconds: f64,
    pub(super) load_peak_memory_bytes: u64,
    /// While answering, loading not included.
    pub(super) peak_memory_bytes: u64,
}

impl EngineFigures {
    pub(super) fn new(prepared: &Prepared) -> Result<Self> {
        Ok(Self {
            name: prepared.engine.name().to_string(),
            version: prepared.engine.version().into(),
            bytes_on_disk: prepared.loaded.bytes_on_disk,
            load_seconds: prepared.loaded.seconds,
            load_peak_memory_bytes: prepared.loaded.peak_memory_bytes,
            peak_memory_bytes: prepared.engine.peak_memory_bytes()?,
        })
    }
}

/// One query; by engine, in the order of the engines.
#[derive(Debug, Serialize)]
pub(super) struct QueryFigures {
    pub(super) name: String,
    pub(super) medians_ms: Vec<f64>,
    pub(super) all_ms: Vec<Vec<f64>>,
    /// Empty if not asked for.
    pub(super) cold_ms: Vec<f64>,
}

/// The geometric mean; `NaN` of nothing.
pub(crate) fn geometric_mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value.ln(), count + 1.0));
    f64::exp(sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geometric_mean_weighs_ratios() {
        assert!((geometric_mean([1.0, 100.0].into_iter()) - 10.0).abs() < 1e-9);
        assert!(geometric_mean(std::iter::empty()).is_nan());
    }
}
