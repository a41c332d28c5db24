//! Fetching: a set of partitions of one topic, read from explicit offsets.

use std::sync::Arc;
use std::time::Duration;

use headwater_segment::spec::StreamSpec;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use super::native::{NativeStream, error_text};
pub use super::native::{RawEvent, RawMessage};
use crate::error::{IngestError, Result};

/// Messages handed out per call at most: large enough to spread the cost of a call, small enough to publish often.
pub const BATCH_MESSAGES_MAX: usize = 1024;

/// Passes librdkafka's logs on to `tracing`, and keeps the last connection error for status displays.
#[derive(Clone, Default)]
pub struct StreamContext {
    trouble: Arc<Mutex<Option<String>>>,
}

impl ClientContext for StreamContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "headwater_ingest::librdkafka", facility, "{message}");
            }
            _ => tracing::debug!(target: "headwater_ingest::librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "headwater_ingest::librdkafka", %error, "{reason}");
        *self.trouble.lock() = Some(reason.to_string());
    }
}

impl ConsumerContext for StreamContext {}

/// The fetching side of a table: some partitions of its topic.
pub struct PartitionStream {
    native: NativeStream<StreamContext>,
    context: StreamContext,
    topic: String,
}

impl PartitionStream {
    /// Connects (in the background) with nothing started.
    pub fn connect(stream: &StreamSpec) -> Result<Self> {
        let context = StreamContext::default();
        let consumer: BaseConsumer<StreamContext> = super::config::consumer_config(stream)?
            .set_log_level(RDKafkaLogLevel::Warning)
            .create_with_context(context.clone())
            .map_err(|error| IngestError::Config {
                topic: stream.topic.clone(),
                reason: error.to_string(),
            })?;
        let native = NativeStream::new(consumer, &stream.topic, BATCH_MESSAGES_MAX).ok_or_else(|| {
            IngestError::Config { topic: stream.topic.clone(), reason: "not a usable topic name".into() }
        })?;
        Ok(Self { native, context, topic: stream.topic.clone() })
    }

    /// Starts, or starts anew, reading `partition` at `offset`.
    pub fn start(&mut self, partition: i32, offset: i64) -> Result<()> {
        self.native.start(partition, offset).map_err(|code: RDKafkaRespErr| {
            let context = format!("topic {}, partition {partition}: start at offset {offset}", self.topic);
            IngestError::kafka(context, error_text(code))
        })
    }

    /// Stops reading `partition`.
    pub fn stop(&mut self, partition: i32) {
        self.native.stop(partition);
    }

    /// Waits up to `timeout`, then hands out at most [`BATCH_MESSAGES_MAX`] events. Returns how many.
    pub fn poll(&mut self, timeout: Duration, visit: impl FnMut(RawEvent<'_>)) -> usize {
        self.native.poll(timeout, visit)
    }

    /// Serves librdkafka's own events (connection errors). Call it about ten times a second.
    pub fn serve(&self) {
        while self.native.consumer().poll(Duration::ZERO).is_some() {}
    }

    /// The last connection error since the previous call.
    pub fn take_trouble(&self) -> Option<String> {
        self.context.trouble.lock().take()
    }

    /// The partition's next offset as the last fetch said.
    pub fn cached_latest(&self, partition: i32) -> Option<i64> {
        self.native.cached_latest(partition)
    }
}

/// librdkafka's text for an error code.
pub fn describe(code: RDKafkaRespErr) -> String {
    error_text(code)
}
