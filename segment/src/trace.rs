//! What all spans that are exported have in common.

/// Their target: logs leave it out, and without an exporter nobody wants it, so that a span costs a look at a flag.
pub const TARGET: &str = "headwater_trace";
