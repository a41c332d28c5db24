//! Questions about a topic: its partitions, its id, and which offsets exist.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater_segment::spec::StreamSpec;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::native;
use super::stream::StreamContext;
use crate::error::{IngestError, Result};
use crate::preview::SampledMessage;

const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the messages that a spec is inferred from.
const SAMPLE_BYTES_MAX: usize = 256 << 20;

/// What exists of a topic right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Changes when the topic is deleted and created again; `None` if the broker does not tell.
    pub id: Option<String>,
    /// Partition numbers in order.
    pub partitions: Vec<i32>,
}

/// The offsets that a partition has: `[low, high)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// Oldest offset that can still be read.
    pub low: i64,
    /// The offset that the next message will get.
    pub high: i64,
}

/// Bounds on a look at a topic's newest messages.
#[derive(Clone, Copy, Debug)]
pub struct SampleLimits {
    /// Messages in all.
    pub messages_max: usize,
    /// Bytes of their keys, payloads and headers; the message that goes beyond is the last one.
    pub bytes_max: usize,
    /// Partitions that are read.
    pub partitions_max: usize,
    /// How long to read. A question that is under way by then is waited for.
    pub within: Duration,
}

/// A connection for asking; it blocks, so it belongs on a thread of its own.
pub struct TopicClient {
    consumer: BaseConsumer<StreamContext>,
    topic: String,
    ask_timeout: Duration,
}

impl TopicClient {
    /// Connects in the background.
    pub fn connect(stream: &StreamSpec) -> Result<Self> {
        Self::connect_asking(stream, ASK_TIMEOUT)
    }

    /// The same, with another bound on how long each question is waited for.
    pub fn connect_asking(stream: &StreamSpec, ask_timeout: Duration) -> Result<Self> {
        let consumer =
            super::config::consumer_config(stream)?.create_with_context(StreamContext::default()).map_err(
                |error| IngestError::Config { topic: stream.topic.clone(), reason: error.to_string() },
            )?;
        Ok(Self { consumer, topic: stream.topic.clone(), ask_timeout })
    }

    /// Asks for the topic's partitions and id.
    pub fn describe(&self) -> Result<TopicState> {
        let _ = self.consumer.poll(Duration::ZERO);
        let metadata = self
            .consumer
            .fetch_metadata(Some(&self.topic), self.ask_timeout)
            .map_err(|error| IngestError::kafka(format!("metadata of topic {}", self.topic), error))?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let topic = found.ok_or_else(|| IngestError::NoSuchTopic(self.topic.clone()))?;
        match topic.error() {
            None => {}
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => {
                return Err(IngestError::NoSuchTopic(self.topic.clone()));
            }
            Some(
                code @ (RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION
                | RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
            ) => {
                let reason = native::error_text(code);
                return Err(IngestError::TopicRefused { topic: self.topic.clone(), reason });
            }
            Some(code) => {
                let reason = RDKafkaErrorCode::from(code);
                return Err(IngestError::kafka(format!("metadata of topic {}", self.topic), reason));
            }
        }
        let mut partitions: Vec<i32> = topic.partitions().iter().map(|partition| partition.id()).collect();
        partitions.sort_unstable();
        if partitions.is_empty() {
            return Err(IngestError::NoSuchTopic(self.topic.clone()));
        }
        Ok(TopicState { id: native::topic_id(&self.consumer, &self.topic, self.ask_timeout), partitions })
    }

    /// Asks which offsets a partition has.
    pub fn watermarks(&self, partition: i32) -> Result<Watermarks> {
        let (low, high) =
            self.consumer.fetch_watermarks(&self.topic, partition, self.ask_timeout).map_err(|error| {
                IngestError::kafka(format!("offsets of topic {}, partition {partition}", self.topic), error)
            })?;
        Ok(Watermarks { low, high })
    }

    /// Where partitions end for readers, in one question to each broker. One that its broker does not answer for is left out.
    pub fn ends(&self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>> {
        let found = self.offsets_at(partitions, Offset::End, || format!("ends of topic {}", self.topic))?;
        let ends = found.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) if element.error().is_ok() => Some((element.partition(), offset)),
            _ => None,
        });
        Ok(ends.collect())
    }

    /// What Kafka answers if asked for the offsets at `at`: a time in milliseconds, or an end.
    fn offsets_at(
        &self,
        partitions: &[i32],
        at: Offset,
        context: impl Fn() -> String,
    ) -> Result<TopicPartitionList> {
        let mut wanted = TopicPartitionList::new();
        for partition in partitions {
            wanted
                .add_partition_offset(&self.topic, *partition, at)
                .map_err(|error| IngestError::kafka(context(), error))?;
        }
        let found = self.consumer.offsets_for_times(wanted, self.ask_timeout);
        found.map_err(|error| IngestError::kafka(context(), error))
    }

    /// The first offset at or after a time, per partition; the end of the partition where nothing is that late.
    pub fn offsets_for_time(&self, partitions: &[i32], timestamp_ms: i64) -> Result<BTreeMap<i32, i64>> {
        let context = || format!("offsets of topic {} for time {timestamp_ms} ms", self.topic);
        let found = self.offsets_at(partitions, Offset::Offset(timestamp_ms), context)?;
        let mut offsets = BTreeMap::new();
        for partition in partitions {
            let offset = match found.find_partition(&self.topic, *partition).map(|element| element.offset()) {
                Some(Offset::Offset(offset)) => offset,
                _ => self.watermarks(*partition)?.high,
            };
            offsets.insert(*partition, offset);
        }
        Ok(offsets)
    }

    /// The names of all topics but Kafka's own.
    pub fn topic_names(&self) -> Result<Vec<String>> {
        let metadata = self
            .consumer
            .fetch_metadata(None, self.ask_timeout)
            .map_err(|error| IngestError::kafka("list of topics", error))?;
        let names = metadata.topics().iter().map(|topic| topic.name().to_string());
        Ok(names.filter(|name| !name.starts_with("__")).collect())
    }

    /// Reads up to `count` recent messages' payloads, for inferring a spec. Waits at most `within`.
    pub fn sample(&self, stream: &StreamSpec, count: usize, within: Duration) -> Result<Vec<Vec<u8>>> {
        let limits = SampleLimits {
            messages_max: count,
            bytes_max: SAMPLE_BYTES_MAX,
            partitions_max: usize::MAX,
            within,
        };
        let messages = self.newest(stream, limits)?;
        Ok(messages.into_iter().filter_map(|message| message.payload).collect())
    }

    /// Reads the newest messages of each partition, in the order of partitions and offsets.
    pub fn newest(&self, stream: &StreamSpec, limits: SampleLimits) -> Result<Vec<SampledMessage>> {
        let give_up = Instant::now() + limits.within;
        let state = self.describe()?;
        let read = state.partitions.len().min(limits.partitions_max).max(1);
        let per_partition = (limits.messages_max / read).max(1) as i64;
        let mut fetch = super::stream::PartitionStream::connect(stream)?;
        let mut open = 0usize;
        for partition in state.partitions.iter().take(read) {
            if Instant::now() >= give_up {
                break;
            }
            let marks = self.watermarks(*partition)?;
            if marks.low < marks.high {
                fetch.start(*partition, (marks.high - per_partition).max(marks.low))?;
                open += 1;
            }
        }
        let (mut messages, mut bytes) = (Vec::new(), 0usize);
        while open > 0
            && messages.len() < limits.messages_max
            && bytes < limits.bytes_max
            && Instant::now() < give_up
        {
            fetch.poll(Duration::from_millis(100), |event| match event {
                super::stream::RawEvent::Message(message) => {
                    if messages.len() < limits.messages_max && bytes < limits.bytes_max {
                        let message = SampledMessage::copied(&message);
                        bytes += message.bytes();
                        messages.push(message);
                    }
                }
                super::stream::RawEvent::End { .. } => open = open.saturating_sub(1),
                super::stream::RawEvent::Error { .. } => {}
            });
        }
        messages.sort_by_key(|message| (message.partition, message.offset));
        Ok(messages)
    }
}
