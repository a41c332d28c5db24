//! The path of a row: message bytes are decoded straight into the columns of a mutable segment.

pub mod decode;
