//! Topics of the benchmarks: created, asked for their size, deleted.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::runtime::Builder;

use crate::Result;
use crate::events::PARTITIONS;

const WAIT: Duration = Duration::from_secs(20);

/// A topic with the benchmarks' number of partitions.
pub struct Topic {
    kafka: String,
    name: String,
    /// Deleted when dropped.
    temporary: bool,
}

impl Topic {
    /// Creates a topic that is deleted when the handle is dropped.
    ///
    /// # Errors
    /// If Kafka cannot be reached or refuses.
    pub fn temporary(kafka: &str, name: &str) -> Result<Self> {
        let topic = Self { kafka: kafka.into(), name: name.into(), temporary: true };
        topic.create()?;
        Ok(topic)
    }

    /// A topic that stays, whether it exists or not.
    pub fn lasting(kafka: &str, name: &str) -> Self {
        Self { kafka: kafka.into(), name: name.into(), temporary: false }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates the topic.
    ///
    /// # Errors
    /// If Kafka cannot be reached or refuses.
    pub fn create(&self) -> Result<()> {
        let new = NewTopic::new(&self.name, PARTITIONS, TopicReplication::Fixed(1)).set("retention.ms", "-1");
        let answers = Builder::new_current_thread().enable_all().build()?.block_on(async {
            self.admin()?.create_topics([&new], &AdminOptions::new().operation_timeout(Some(WAIT))).await
        })?;
        for answer in answers {
            answer.map_err(|(topic, code)| format!("topic {topic} cannot be created: {code}"))?;
        }
        Ok(())
    }

    /// Deletes the topic.
    ///
    /// # Errors
    /// If Kafka cannot be reached or refuses.
    pub fn delete(&self) -> Result<()> {
        let answers = Builder::new_current_thread().enable_all().build()?.block_on(async {
            self.admin()?
                .delete_topics(&[&self.name], &AdminOptions::new().operation_timeout(Some(WAIT)))
                .await
        })?;
        for answer in answers {
            answer.map_err(|(topic, code)| format!("topic {topic} cannot be deleted: {code}"))?;
        }
        Ok(())
    }

    /// How many messages the topic holds; `None` if it does not exist.
    ///
    /// # Errors
    /// If Kafka cannot be reached.
    pub fn messages(&self) -> Result<Option<u64>> {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.kafka).create()?;
        let metadata = consumer.fetch_metadata(None, WAIT)?;
        let found =
            metadata.topics().iter().find(|topic| topic.name() == self.name && topic.error().is_none());
        let Some(topic) = found else { return Ok(None) };
        let mut messages = 0;
        for partition in topic.partitions() {
            let (low, high) = consumer.fetch_watermarks(&self.name, partition.id(), WAIT)?;
            messages += (high - low).unsigned_abs();
        }
        Ok(Some(messages))
    }

    fn admin(&self) -> rdkafka::error::KafkaResult<AdminClient<DefaultClientContext>> {
        ClientConfig::new().set("bootstrap.servers", &self.kafka).create()
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        if self.temporary {
            // What is left is an unused topic with a name that says whose it is.
            let _ = self.delete();
        }
    }
}
