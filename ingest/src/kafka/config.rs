//! librdkafka properties of a table's stream: ours first, then the spec's, with secrets resolved.

use headwater_segment::spec::StreamSpec;
use rdkafka::ClientConfig;

use crate::error::{IngestError, Result};

/// Properties for reading the stream. Secrets are resolved now, so a rotated file is seen at the next start.
pub fn consumer_config(stream: &StreamSpec) -> Result<ClientConfig> {
    let mut config = client_config(stream)?;
    let ours = [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // A missing offset is never silently replaced: the table log records the gap, or the partition stops.
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("isolation.level", "read_committed"),
        ("allow.auto.create.topics", "false"),
        // Every message is checked by the broker on append; this finds what the network or memory broke since.
        ("check.crcs", "true"),
    ];
    let defaults = [
        ("fetch.wait.max.ms", "100"),
        ("fetch.error.backoff.ms", "100"),
        ("fetch.queue.backoff.ms", "5"),
        ("queued.min.messages", "100000"),
        ("queued.max.messages.kbytes", "65536"),
        ("fetch.message.max.bytes", "4194304"),
        ("fetch.max.bytes", "67108864"),
        ("receive.message.max.bytes", "134217728"),
        ("reconnect.backoff.max.ms", "2000"),
        ("topic.metadata.refresh.interval.ms", "30000"),
    ];
    for (key, value) in defaults {
        if !stream.properties.contains_key(key) {
            config.set(key, value);
        }
    }
    for (key, value) in ours {
        config.set(key, value);
    }
    Ok(config)
}

/// Properties for producing to the stream's brokers (dead letters).
pub fn producer_config(stream: &StreamSpec) -> Result<ClientConfig> {
    let mut config = client_config(stream)?;
    config.set("acks", "all").set("enable.idempotence", "true").set("message.max.bytes", "104857600");
    Ok(config)
}

fn client_config(stream: &StreamSpec) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stream.brokers.join(",")).set("client.id", "headwater");
    for (key, value) in &stream.properties {
        let value = value
            .resolve(key)
            .map_err(|reason| IngestError::Config { topic: stream.topic.clone(), reason })?;
        config.set(key, value);
    }
    Ok(config)
}
