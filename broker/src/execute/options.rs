//! Which operators and indexes execution may choose from. Answers never depend on it; tests force each way.

use serde::Serialize;

/// Whether a choice is made by cost, or forced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Toggle {
    /// By estimated cost.
    #[default]
    Auto,
    /// Wherever it is possible.
    On,
    /// Never.
    Off,
}

/// The choices of one engine.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ExecuteOptions {
    /// Inverted indexes instead of scans of codes, and bloom filters before loads.
    pub indexes: Toggle,
    /// Whether zone maps leave out segments and blocks, and stand for rows of a block. To look at one costs so little that
    /// there is nothing to choose: they are used wherever it is possible, or never.
    pub zones: bool,
    /// Whether aggregates are fused with scans where that is possible, or left to DataFusion.
    pub aggregate: bool,
    /// Whether physical plans are kept for the next query of the same text.
    pub plans: bool,
}

impl Default for ExecuteOptions {
    fn default() -> Self {
        Self { indexes: Toggle::Auto, zones: true, aggregate: true, plans: true }
    }
}
