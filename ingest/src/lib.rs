//! placeholder
pub mod infer;
