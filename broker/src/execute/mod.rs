//! Execution on codes: the scan of a table's segments, and the aggregate that is fused with it.

pub(crate) mod filter;
pub(crate) mod options;
pub(crate) mod project;
pub(crate) mod selection;
