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

/// Rows that are worth an exchange between data nodes. It costs a hop and the start of a stage on every node, which is a few
/// milliseconds, whatever the rows; that is to be little beside the merging of the rows in one place.
const EXCHANGE_ROWS_MIN: u64 = 100_000;

/// Rows of a side of a join that every node may have a copy of: what DataFusion collects on one node by default.
const BROADCAST_ROWS_MAX: usize = 128 << 10;

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
    /// Rows, or partial groups, from which on the data nodes of a cluster exchange them among themselves instead of sending them to
    /// the broker; 0: wherever it is possible.
    pub exchange_rows_min: u64,
    /// Rows below which a side of a join is collected, and sent to the nodes that have the other side; 0: never.
    pub broadcast_rows_max: usize,
}

impl Default for ExecuteOptions {
    fn default() -> Self {
        Self {
            indexes: Toggle::Auto,
            zones: true,
            aggregate: true,
            plans: true,
            exchange_rows_min: EXCHANGE_ROWS_MIN,
            broadcast_rows_max: BROADCAST_ROWS_MAX,
        }
    }
}
