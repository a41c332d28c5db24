//! The one error type of this crate.

use headwater_segment::SegmentError;

/// `Result` with this crate's error.
pub type Result<T, E = IngestError> = std::result::Result<T, E>;

/// What can go wrong on the path of a row.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The stream's properties are not usable.
    #[error("topic {topic}: {reason}")]
    Config {
        /// Topic.
        topic: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// Kafka could not be reached, or refused. Worth retrying.
    #[error("kafka: {context}: {reason}")]
    Kafka {
        /// What was being done, naming the topic and partition.
        context: String,
        /// librdkafka's error.
        reason: String,
    },
    /// The topic does not exist (yet).
    #[error(
        "topic {0} does not exist on these brokers; create it, or correct stream.topic in the table spec"
    )]
    NoSuchTopic(String),
    /// Kafka answers, and does not take the topic.
    #[error("Kafka does not take the topic name {topic:?}: {reason}")]
    TopicRefused {
        /// Topic.
        topic: String,
        /// Kafka's own word for it.
        reason: String,
    },
    /// A segment, or the table log.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The code that seals gave up on these rows. They stay in memory, queryable, and in Kafka.
    #[error(
        "table {table}, partition {partition}, offsets {from} to {to}: encoding the segment panicked: {panic}; nothing is \
         lost, but the partition seals no further until a version that can encode these rows runs"
    )]
    SealPanicked {
        /// Table.
        table: String,
        /// Partition.
        partition: i32,
        /// First offset of the range.
        from: i64,
        /// End of the range, exclusive.
        to: i64,
        /// What the panic said.
        panic: String,
    },
    /// The table's consumer has stopped.
    #[error("table {0} is not being consumed by this process")]
    Stopped(String),
    /// The table has no such partition.
    #[error("table {table} has no partition {partition}")]
    NoSuchPartition {
        /// Table.
        table: String,
        /// Partition.
        partition: i32,
    },
}

impl IngestError {
    /// A Kafka error with what was being done.
    pub fn kafka(context: impl Into<String>, reason: impl ToString) -> Self {
        Self::Kafka { context: context.into(), reason: reason.to_string() }
    }
}
