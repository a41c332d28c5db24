//! A compacted topic with holes: written before the run, compacted, then frozen, so that what survives is known.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use serde_json::Value;

use super::error::{ChaosError, Result};
use super::model::{Content, Model};
use super::topic::{ReadBack, Topics, client};

/// Partitions of the topic.
pub(crate) const PARTITIONS: i32 = 4;
const PASSES: u32 = 4;
const PASS_MESSAGES: u32 = 6_000;
const KEYS: u32 = 1_500;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Rolls often and cleans eagerly, so that holes appear within seconds.
const COMPACTING: [(&str, &str); 6] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "500"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("min.compaction.lag.ms", "0"),
    ("max.compaction.lag.ms", "500"),
    ("delete.retention.ms", "0"),
];
const FROZEN: [(&str, &str); 3] =
    [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];

/// Writes the topic, waits for the broker to compact it, and tells what survives.
pub(crate) async fn prepare(topics: &Topics, kafka: &str, topic: &str) -> Result<Model> {
    topics.create(topic, PARTITIONS, &COMPACTING).await?;
    let written = write(kafka, topic).await?;
    let give_up = Instant::now() + TIMEOUT;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let survivors = tokio::task::block_in_place(|| topics.read_all(topic, PARTITIONS))?;
        // The newest pass is not compacted; of the others, most must be gone.
        if survivors.len() < (written / 2) as usize {
            break;
        }
        if Instant::now() > give_up {
            return Err(ChaosError::new(
                "compacted topic",
                format!("{} of {written} messages left", survivors.len()),
            ));
        }
    }
    topics.configure(topic, &FROZEN).await?;
    frozen(topics, topic).await
}

/// Waits until a compaction that was under way is over, and reads what is left.
async fn frozen(topics: &Topics, topic: &str) -> Result<Model> {
    let mut offsets = BTreeSet::new();
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let survivors = tokio::task::block_in_place(|| topics.read_all(topic, PARTITIONS))?;
        let present: BTreeSet<_> =
            survivors.iter().map(|message| (message.partition, message.offset)).collect();
        if present == offsets {
            let ends = tokio::task::block_in_place(|| topics.ends(topic, PARTITIONS))?;
            let mut model = Model::default();
            for message in &survivors {
                model.acknowledge(message.partition, message.offset, content(message)?, None);
            }
            model.settle_to_end(&ends);
            return Ok(model);
        }
        offsets = present;
    }
}

fn content(message: &ReadBack) -> Result<Content> {
    let Some(payload) = &message.payload else { return Ok(Content::Tombstone) };
    let what = || format!("message {}/{} of the compacted topic", message.partition, message.offset);
    let document: Value = serde_json::from_slice(payload).map_err(ChaosError::at(what()))?;
    let id = document["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    id.map(Content::Row).ok_or_else(|| ChaosError::new(what(), "it has no id"))
}

/// Several passes over the same keys, one of them in transactions, half of those aborted. Returns how many messages.
async fn write(kafka: &str, topic: &str) -> Result<u32> {
    let mut config = client(kafka);
    config
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("transactional.id", format!("{topic}-writer"));
    let producer: FutureProducer = config.create().map_err(ChaosError::at("connect a producer"))?;
    let failed = |what: &str| ChaosError::at(format!("{what} a transaction on the compacted topic"));
    tokio::task::block_in_place(|| producer.init_transactions(TIMEOUT)).map_err(failed("init"))?;
    let mut id = 0;
    for _pass in 0..PASSES {
        for part in 0..6 {
            producer.begin_transaction().map_err(failed("begin"))?;
            let mut deliveries = Vec::new();
            for _ in 0..PASS_MESSAGES / 6 {
                id += 1;
                let key = format!("key {}", id % KEYS);
                let payload = format!("{{\"id\":{id},\"producer\":9,\"v\":\"compacted\"}}");
                let partition = (id % KEYS % PARTITIONS.unsigned_abs()).cast_signed();
                let record = FutureRecord::to(topic).partition(partition).key(&key);
                let record = if id % 211 == 0 { record } else { record.payload(&payload) };
                let sent = producer.send_result(record);
                deliveries
                    .push(sent.map_err(|(error, _)| ChaosError::new("write the compacted topic", error))?);
            }
            for delivery in deliveries {
                let delivery = delivery.await.map_err(ChaosError::at("write the compacted topic"))?;
                delivery.map_err(|(error, _)| ChaosError::new("write the compacted topic", error))?;
            }
            tokio::task::block_in_place(|| match part {
                4 => producer.abort_transaction(TIMEOUT),
                _ => producer.commit_transaction(TIMEOUT),
            })
            .map_err(failed("end"))?;
        }
        // Longer than segment.ms: the next pass begins a new segment, and this one may be compacted.
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    Ok(id)
}
