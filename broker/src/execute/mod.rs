//! Execution on codes: the scan of a table's segments, and the aggregate that is fused with it.

pub(crate) mod aggregate;
pub(crate) mod filter;
pub(crate) mod layout;
pub(crate) mod options;
mod pieces;
pub(crate) mod probe;
pub(crate) mod project;
pub(crate) mod rule;
pub(crate) mod scan;
mod scan_stream;
pub(crate) mod selection;
pub(crate) mod source;
pub(crate) mod work;
