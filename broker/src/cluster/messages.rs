//! What a broker and a data node say to each other about what is visible, as protobuf.

use std::collections::BTreeMap;

use prost::Message;

/// "How far can you answer for these tables?"
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OffersRequest {
    /// The tables.
    #[prost(message, repeated, tag = "1")]
    pub(crate) tables: Vec<WantedTable>,
}

/// A table, as the broker knows it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WantedTable {
    /// Name.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Epoch of its stream.
    #[prost(uint32, tag = "2")]
    pub(crate) epoch: u32,
    /// Where the rows begin that the broker's version of the log does not cover, per partition.
    #[prost(btree_map = "int32, int64", tag = "3")]
    pub(crate) from: BTreeMap<i32, i64>,
}

/// The answer to an [`OffersRequest`], table by table.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OffersAnswer {
    /// One for each table of the request, in its order.
    #[prost(message, repeated, tag = "1")]
    pub(crate) tables: Vec<OfferedTable>,
}

/// What a node has of a table.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OfferedTable {
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
}
