//! Topics of a run: created, widened, read back by a consumer that is not Headwater's, deleted.

use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::error::{ChaosError, Result};
use super::model::Cut;

const ASK_TIMEOUT: Duration = Duration::from_secs(20);

/// One message as an independent reader of committed messages sees it.
pub(crate) struct ReadBack {
    /// Partition.
    pub(crate) partition: i32,
    /// Offset.
    pub(crate) offset: i64,
    /// `None` for a tombstone.
    pub(crate) payload: Option<Vec<u8>>,
}

/// Client properties for a broker.
pub(crate) fn client(kafka: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka).set("client.id", "headwater-chaos");
    config
}

/// The administrator of a run's topics.
pub(crate) struct Topics {
    kafka: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Topics {
    pub(crate) fn connect(kafka: &str) -> Result<Self> {
        let admin = client(kafka).create().map_err(ChaosError::at("connect to Kafka"))?;
        Ok(Self { kafka: kafka.to_string(), admin })
    }

    fn options() -> AdminOptions {
        AdminOptions::new().request_timeout(Some(ASK_TIMEOUT)).operation_timeout(Some(ASK_TIMEOUT))
    }

    pub(crate) async fn create(&self, topic: &str, partitions: i32, config: &[(&str, &str)]) -> Result<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = config.iter().fold(new, |new, (key, value)| new.set(key, value));
        let outcome = self.admin.create_topics([&new], &Self::options()).await;
        one_outcome(format!("create topic {topic}"), outcome)
    }

    /// Raises the number of partitions.
    pub(crate) async fn widen(&self, topic: &str, partitions: i32) -> Result<()> {
        let new = NewPartitions::new(topic, partitions.unsigned_abs() as usize);
        let outcome = self.admin.create_partitions([&new], &Self::options()).await;
        one_outcome(format!("widen topic {topic} to {partitions} partitions"), outcome)
    }

    /// Replaces the topic's configuration.
    pub(crate) async fn configure(&self, topic: &str, config: &[(&str, &str)]) -> Result<()> {
        let alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let alter = config.iter().fold(alter, |alter, (key, value)| alter.set(key, value));
        let what = format!("configure topic {topic}");
        let outcome =
            self.admin.alter_configs([&alter], &Self::options()).await.map_err(ChaosError::at(&what))?;
        match outcome.into_iter().find_map(std::result::Result::err) {
            Some((_, code)) => Err(ChaosError::new(what, code)),
            None => Ok(()),
        }
    }

    pub(crate) async fn delete(&self, topic: &str) -> Result<()> {
        let outcome = self.admin.delete_topics(&[topic], &Self::options()).await;
        one_outcome(format!("delete topic {topic}"), outcome)
    }

    /// The end of each partition, control records included. Blocks.
    pub(crate) fn ends(&self, topic: &str, partitions: i32) -> Result<Cut> {
        let consumer = self.reader()?;
        let end = |partition| Ok((partition, consumer.fetch_watermarks(topic, partition, ASK_TIMEOUT)?.1));
        let ends: KafkaResult<Cut> = (0..partitions).map(end).collect();
        ends.map_err(ChaosError::at(format!("ends of topic {topic}")))
    }

    /// Every committed message of the topic. Blocks.
    pub(crate) fn read_all(&self, topic: &str, partitions: i32) -> Result<Vec<ReadBack>> {
        let what = format!("read topic {topic}");
        let consumer = self.reader()?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            let added = assignment.add_partition_offset(topic, partition, Offset::Beginning);
            added.map_err(ChaosError::at(&what))?;
        }
        consumer.assign(&assignment).map_err(ChaosError::at(&what))?;
        let (mut messages, mut open) = (Vec::new(), partitions);
        let give_up = Instant::now() + Duration::from_secs(120);
        while open > 0 {
            if Instant::now() > give_up {
                return Err(ChaosError::new(what, "not at the end after two minutes"));
            }
            match consumer.poll(Duration::from_millis(500)) {
                Some(Ok(message)) => messages.push(ReadBack {
                    partition: message.partition(),
                    offset: message.offset(),
                    payload: message.payload().map(<[u8]>::to_vec),
                }),
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) => return Err(ChaosError::new(what, error)),
                None => {}
            }
        }
        Ok(messages)
    }

    fn reader(&self) -> Result<BaseConsumer> {
        client(&self.kafka)
            .set("group.id", "headwater-chaos")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .create()
            .map_err(ChaosError::at("connect a consumer"))
    }
}

type TopicOutcomes = KafkaResult<Vec<rdkafka::admin::TopicResult>>;

fn one_outcome(what: String, outcome: TopicOutcomes) -> Result<()> {
    let outcome = outcome.map_err(ChaosError::at(&what))?;
    match outcome.into_iter().find_map(std::result::Result::err) {
        Some((_, code)) => Err(ChaosError::new(what, code)),
        None => Ok(()),
    }
}
