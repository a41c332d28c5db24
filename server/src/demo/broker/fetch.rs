//! Fetch: records now, or as soon as there are any.
//!
//! A fetch that finds fewer than its minimum of bytes waits for an append to any of its partitions, at most as
//! long as the client allows. It registers with the partitions before it looks, so no append is slept through.

use std::time::Duration;

use bytes::Bytes;
use futures::future::select_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::answers::text;
use super::partition::Bounds;
use super::requests::{FetchPartition, FetchRequest};

/// Whatever a client asks for, a fetch waits no longer and answers with no more than this (and one batch).
const WAIT_MS_MAX: u64 = 60_000;
const ANSWER_BYTES_MAX: usize = 64 << 20;

pub(super) async fn fetch(shared: &Shared, request: FetchRequest) -> FetchResponse {
    let wait_ms = u64::try_from(request.wait_ms_max).unwrap_or(0).min(WAIT_MS_MAX);
    let deadline = Instant::now() + Duration::from_millis(wait_ms);
    loop {
        let partitions: Vec<_> = request
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|asked| (topic.topic.as_str(), asked)))
            .filter_map(|(topic, asked)| shared.topics.partition(topic, asked.partition))
            .collect();
        // A `Notified` hears every `notify_waiters` from its creation on.
        let appends: Vec<_> =
            partitions.iter().map(|partition| Box::pin(partition.changed.notified())).collect();
        if appends.is_empty() || is_due(shared, &request) {
            return collect(shared, &request);
        }
        if timeout_at(deadline, select_all(appends)).await.is_err() {
            return collect(shared, &request);
        }
    }
}

/// Whether the answer should go out now: enough bytes, or an error to tell.
fn is_due(shared: &Shared, request: &FetchRequest) -> bool {
    let wanted = usize::try_from(request.bytes_min).unwrap_or(0);
    let mut found = 0;
    for topic in &request.topics {
        for asked in &topic.partitions {
            let Some(partition) = shared.topics.partition(&topic.topic, asked.partition) else { return true };
            match partition.available(asked.offset).1 {
                Ok(bytes) => found += bytes,
                Err(_) => return true,
            }
        }
    }
    found >= wanted
}

fn collect(shared: &Shared, request: &FetchRequest) -> FetchResponse {
    let mut budget = usize::try_from(request.bytes_max).unwrap_or(0).min(ANSWER_BYTES_MAX);
    let mut empty = true;
    let responses = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let data = read(shared, &topic.topic, asked, budget, empty);
            let bytes = data.records.as_ref().map_or(0, |records| records.len());
            budget = budget.saturating_sub(bytes);
            empty &= bytes == 0;
            data
        });
        let partitions = partitions.collect();
        FetchableTopicResponse::default()
            .with_topic(text(topic.topic.as_str()).into())
            .with_partitions(partitions)
    });
    FetchResponse::default().with_responses(responses.collect())
}

fn read(
    shared: &Shared,
    topic: &str,
    asked: &FetchPartition,
    budget: usize,
    at_least_one: bool,
) -> PartitionData {
    let bytes_max = usize::try_from(asked.bytes_max).unwrap_or(0).min(budget);
    let (bounds, records) = match shared.topics.partition(topic, asked.partition) {
        Some(partition) => partition.read(asked.offset, bytes_max, at_least_one),
        None => (Bounds { start: -1, end: -1 }, Err(ResponseError::UnknownTopicOrPartition)),
    };
    let data = PartitionData::default()
        .with_partition_index(asked.partition)
        .with_high_watermark(bounds.end)
        .with_last_stable_offset(bounds.end)
        .with_log_start_offset(bounds.start);
    match records {
        Ok(records) => data.with_records(Some(records)),
        // Empty, not null: librdkafka takes a null for a broken answer and asks again.
        Err(error) => data.with_error_code(error.code()).with_records(Some(Bytes::new())),
    }
}
