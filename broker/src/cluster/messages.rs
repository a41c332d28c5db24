//! What a broker and a data node say to each other about what is visible, as protobuf.

use std::collections::BTreeMap;

use prost::Message;

/// "How far can you answer for this table?"
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OffersRequest {
    /// Name of the table.
    #[prost(string, tag = "1")]
    pub(crate) table: String,
    /// Epoch of its stream.
    #[prost(uint32, tag = "2")]
    pub(crate) epoch: u32,
    /// Where the rows begin that the broker's version of the log does not cover, per partition.
    #[prost(btree_map = "int32, int64", tag = "3")]
    pub(crate) from: BTreeMap<i32, i64>,
}

/// What a node has of a table.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OffersAnswer {
    /// Version of the log that the node knows; 0 if it has no such table.
    #[prost(uint64, tag = "1")]
    pub(crate) log_version: u64,
    /// Epoch of the stream there.
    #[prost(uint32, tag = "2")]
    pub(crate) epoch: u32,
    /// Partitions of which it has everything from where it was asked on.
    #[prost(message, repeated, tag = "3")]
    pub(crate) partitions: Vec<OfferedPartition>,
}

/// What a node has of a partition.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct OfferedPartition {
    /// Kafka partition.
    #[prost(int32, tag = "1")]
    pub(crate) partition: i32,
    /// Exclusive end.
    #[prost(int64, tag = "2")]
    pub(crate) to: i64,
    /// Rows.
    #[prost(uint64, tag = "3")]
    pub(crate) rows: u64,
    /// The newest `$timestamp` among the open ones, in milliseconds since the epoch.
    #[prost(int64, optional, tag = "4")]
    pub(crate) newest_timestamp_ms: Option<i64>,
    /// Whether the node consumes it: it will have what follows.
    #[prost(bool, tag = "5")]
    pub(crate) is_consumed: bool,
}
