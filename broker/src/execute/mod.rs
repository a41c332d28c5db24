//! Execution on codes: the scan of a table's segments, and the aggregate that is fused with it.

pub(crate) mod selection;
