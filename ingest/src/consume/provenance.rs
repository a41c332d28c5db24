//! Which offsets are known to be of the topic that the table log names.
//!
//! When a topic is deleted and created again, librdkafka goes on at its old position as soon as the new topic has that
//! many messages (its `rd_kafka_topic_metadata_update` says that this is left open), and nothing in a message tells the two apart. So
//! the time decides: what was visible before Kafka said that the topic still has its id is of that topic.
//!
//! **Invariant:** only offsets that are confirmed in this way are sealed.

use std::collections::BTreeMap;

use headwater_segment::live::LiveTable;
use parking_lot::Mutex;

use crate::error::Result;
use crate::kafka::topic::{TopicClient, TopicState};

/// A topic that is asked for its id, and what that has confirmed.
pub(crate) struct Provenance {
    pub(super) client: TopicClient,
    /// The epoch that is confirmed, and per partition the end of what is.
    confirmed: Mutex<(u32, BTreeMap<i32, i64>)>,
}

impl Provenance {
    pub(super) fn new(client: TopicClient) -> Self {
        Self { client, confirmed: Mutex::default() }
    }

    /// Asks Kafka what there is. If the topic still is the one that the log names, everything that was visible when the
    /// question was asked is confirmed. Blocks.
    pub(super) fn look(&self, live: &LiveTable) -> Result<TopicState> {
        let before = live.read();
        let state = self.client.describe()?;
        if !is_recreated(before.log.stream.topic_id.as_deref(), state.id.as_deref()) {
            let mut confirmed = self.confirmed.lock();
            let epoch = before.log.stream.epoch;
            if confirmed.0 != epoch {
                *confirmed = (epoch, BTreeMap::new());
            }
            for (partition, offset) in before.cut.offsets {
                let end = confirmed.1.entry(partition).or_insert(offset);
                *end = (*end).max(offset);
            }
        }
        Ok(state)
    }

    /// Forgets what is confirmed of a partition: what was read is let go, and may be read again from another topic.
    pub(super) fn forget(&self, partition: i32) {
        self.confirmed.lock().1.remove(&partition);
    }

    /// As if Kafka had been asked.
    #[cfg(test)]
    pub(super) fn confirm(&self, epoch: u32, partition: i32, end: i64) {
        *self.confirmed.lock() = (epoch, BTreeMap::from([(partition, end)]));
    }

    /// Every offset of `epoch` below this one is confirmed.
    pub(super) fn confirmed(&self, epoch: u32, partition: i32) -> Option<i64> {
        let confirmed = self.confirmed.lock();
        if confirmed.0 == epoch { confirmed.1.get(&partition).copied() } else { None }
    }
}

/// Whether `now` is the id of another topic than `logged`. A broker that tells no id gets the benefit of the doubt.
pub(super) fn is_recreated(logged: Option<&str>, now: Option<&str>) -> bool {
    logged.zip(now).is_some_and(|(logged, now)| logged != now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_id_is_another_topic() {
        assert!(is_recreated(Some("a"), Some("b")));
        assert!(!is_recreated(Some("a"), Some("a")));
        assert!(!is_recreated(None, Some("a")));
        assert!(!is_recreated(Some("a"), None));
    }
}
