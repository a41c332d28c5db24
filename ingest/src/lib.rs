//! The path of a row: Kafka fetch -> decode -> mutable segment -> visible -> seal -> upload -> commit.

pub mod decode;
pub mod infer;
