//! placeholder
pub mod demo;
pub mod page;
