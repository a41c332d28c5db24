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
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ExecuteOptions {
    /// Inverted indexes instead of scans of codes.
    pub indexes: Toggle,
    /// The aggregate that is fused with the scan, instead of DataFusion's.
    pub aggregate: Toggle,
    /// The cache of physical plans.
    pub plans: Toggle,
}
