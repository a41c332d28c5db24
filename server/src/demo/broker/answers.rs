//! What the broker answers to each request except a fetch.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, FindCoordinatorResponse, InitProducerIdResponse, ListOffsetsResponse,
    MetadataResponse, ProduceResponse, ProducerId,
};
use kafka_protocol::protocol::StrBytes;

use super::Shared;
use super::batch::LEADER_EPOCH;
use super::requests::{ListPartition, PerTopic, ProducePartition, SERVED, TopicName};
use super::topics::Topic;

/// The one node of this cluster.
const NODE: BrokerId = BrokerId(1);
/// Larger batches are refused; Kafka's `message.max.bytes` is 1 MB by default, ours leaves room for tests of big messages.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Timestamps that a client may ask ListOffsets for besides real ones.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST_TIMESTAMP: i64 = -3;

pub(super) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

pub(super) fn api_versions(supported: bool) -> ApiVersionsResponse {
    let keys = SERVED.iter().map(|&(api, min, max)| {
        ApiVersion::default().with_api_key(api as i16).with_min_version(min).with_max_version(max)
    });
    let code = if supported { 0 } else { ResponseError::UnsupportedVersion.code() };
    ApiVersionsResponse::default().with_error_code(code).with_api_keys(keys.collect())
}

/// `address` is where the asking client reached us, so it is where it finds the node again.
pub(super) fn metadata(
    shared: &Shared,
    address: SocketAddr,
    asked: Option<Vec<TopicName>>,
) -> MetadataResponse {
    let topics = match asked {
        None => shared.topics.all().iter().map(|topic| topic_metadata(topic)).collect(),
        Some(names) => names.into_iter().map(|name| named_topic_metadata(shared, name)).collect(),
    };
    let node = MetadataResponseBroker::default()
        .with_node_id(NODE)
        .with_host(text(address.ip().to_string()))
        .with_port(i32::from(address.port()));
    MetadataResponse::default()
        .with_brokers(vec![node])
        .with_cluster_id(Some(text("headwater-embedded")))
        .with_controller_id(NODE)
        .with_topics(topics)
}

fn named_topic_metadata(shared: &Shared, name: TopicName) -> MetadataResponseTopic {
    let missing = |error: ResponseError| MetadataResponseTopic::default().with_error_code(error.code());
    match name {
        TopicName::Name(name) => shared.topics.get(&name).map_or_else(
            || missing(ResponseError::UnknownTopicOrPartition).with_name(Some(text(name.as_str()).into())),
            |topic| topic_metadata(&topic),
        ),
        TopicName::Id(id) => shared.topics.by_id(id).map_or_else(
            || missing(ResponseError::UnknownTopicId).with_topic_id(id).with_name(None),
            |topic| topic_metadata(&topic),
        ),
    }
}

fn topic_metadata(topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..topic.partitions.len() as i32).map(|partition| {
        MetadataResponsePartition::default()
            .with_partition_index(partition)
            .with_leader_id(NODE)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    MetadataResponseTopic::default()
        .with_name(Some(text(topic.name.as_str()).into()))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

pub(super) fn produce(
    shared: &Shared,
    transactional: bool,
    acks: i16,
    topics: Vec<PerTopic<ProducePartition>>,
) -> ProduceResponse {
    let refused = if transactional {
        Some(ResponseError::TransactionalIdAuthorizationFailed)
    } else if !(-1..=1).contains(&acks) {
        Some(ResponseError::InvalidRequiredAcks)
    } else {
        None
    };
    let responses = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let appended = refused.map_or_else(|| append(shared, &topic.topic, asked), Err);
            let answer =
                PartitionProduceResponse::default().with_index(asked.partition).with_log_append_time_ms(-1);
            match appended {
                Ok((base_offset, start)) => answer.with_base_offset(base_offset).with_log_start_offset(start),
                Err(error) => answer.with_error_code(error.code()).with_base_offset(-1),
            }
        });
        let partitions = partitions.collect();
        TopicProduceResponse::default()
            .with_name(text(topic.topic).into())
            .with_partition_responses(partitions)
    });
    ProduceResponse::default().with_responses(responses.collect())
}

/// Base offset of the stored batch, and the log start.
fn append(shared: &Shared, topic: &str, asked: &ProducePartition) -> Result<(i64, i64), ResponseError> {
    let partition =
        shared.topics.partition(topic, asked.partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
    if asked.records.len() > BATCH_BYTES_MAX {
        return Err(ResponseError::MessageTooLarge);
    }
    let base_offset = partition.append(&asked.records)?;
    Ok((base_offset, partition.bounds().start))
}

pub(super) fn list_offsets(shared: &Shared, topics: Vec<PerTopic<ListPartition>>) -> ListOffsetsResponse {
    let topics = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition);
            match find_offset(shared, &topic.topic, asked) {
                Ok(Some((offset, timestamp))) => {
                    answer.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(LEADER_EPOCH)
                }
                Ok(None) => answer.with_offset(-1).with_timestamp(-1),
                Err(error) => answer.with_error_code(error.code()).with_offset(-1).with_timestamp(-1),
            }
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(text(topic.topic).into()).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn find_offset(
    shared: &Shared,
    topic: &str,
    asked: &ListPartition,
) -> Result<Option<(i64, i64)>, ResponseError> {
    let partition =
        shared.topics.partition(topic, asked.partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
    match asked.timestamp {
        LATEST => Ok(Some((partition.bounds().end, -1))),
        EARLIEST => Ok(Some((partition.bounds().start, -1))),
        NEWEST_TIMESTAMP => partition.newest(),
        from_ms if from_ms >= 0 => partition.first_at_or_after(from_ms),
        _ => Err(ResponseError::UnsupportedVersion), // tiered storage's kinds
    }
}

pub(super) fn init_producer_id(shared: &Shared, transactional: bool) -> InitProducerIdResponse {
    if transactional {
        let code = ResponseError::TransactionalIdAuthorizationFailed.code();
        return InitProducerIdResponse::default().with_error_code(code).with_producer_id(ProducerId(-1));
    }
    let id = shared.next_producer_id.fetch_add(1, Ordering::Relaxed);
    InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0)
}

/// There are no consumer groups and no transactions here. A consumer that names a group goes on without its
/// coordinator; a transactional producer is told for good.
pub(super) fn find_coordinator(transactional: bool) -> FindCoordinatorResponse {
    let error = if transactional {
        ResponseError::TransactionalIdAuthorizationFailed
    } else {
        ResponseError::CoordinatorNotAvailable
    };
    FindCoordinatorResponse::default()
        .with_error_code(error.code())
        .with_error_message(Some(text("the embedded broker has no consumer groups and no transactions")))
        .with_node_id(BrokerId(-1))
        .with_port(-1)
}
