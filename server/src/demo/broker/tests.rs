//! The broker seen by librdkafka: what is produced is consumed, exactly, whatever happens in between.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::*;

const WAIT: Duration = Duration::from_secs(20);

fn topic(partitions: i32) -> TopicConfig {
    TopicConfig { name: "t".into(), partitions, retention_bytes: 1 << 30 }
}

async fn start(dir: Option<&std::path::Path>, config: TopicConfig) -> EmbeddedBroker {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    EmbeddedBroker::start(listen, dir.map(Into::into), vec![config]).await.unwrap()
}

fn client(broker: &EmbeddedBroker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.addr().to_string());
    config
}

fn producer(
    broker: &EmbeddedBroker,
    properties: &[(&str, &str)],
) -> ThreadedProducer<DefaultProducerContext> {
    let mut config = client(broker);
    config.set("linger.ms", "5");
    properties.iter().for_each(|(name, value)| {
        config.set(*name, *value);
    });
    config.create().unwrap()
}

/// A consumer of `partitions` = (partition, offset), as ingestion sets one up.
fn consumer(broker: &EmbeddedBroker, partitions: &[(i32, Offset)]) -> BaseConsumer {
    let mut config = client(broker);
    config
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("topic.metadata.refresh.interval.ms", "200");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for (partition, offset) in partitions {
        assignment.add_partition_offset("t", *partition, *offset).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    consumer
}

fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    partition: i32,
    payloads: impl Iterator<Item = u64>,
) {
    for number in payloads {
        let payload = number.to_be_bytes();
        let mut record = BaseRecord::<(), [u8; 8]>::to("t").partition(partition).payload(&payload);
        while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) =
            producer.send(record)
        {
            std::thread::sleep(Duration::from_millis(5));
            record = back;
        }
    }
}

fn number(message: &BorrowedMessage<'_>) -> u64 {
    u64::from_be_bytes(message.payload().unwrap().try_into().unwrap())
}

/// The next message; waits for it.
fn next(consumer: &BaseConsumer) -> BorrowedMessage<'_> {
    consumer.poll(WAIT).expect("a message in time").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_messages_arrive_in_order_with_exact_offsets() {
    for properties in [&[("enable.idempotence", "true")][..], &[("compression.type", "zstd"), ("acks", "1")]]
    {
        let broker = start(None, topic(4)).await;
        let producer = producer(&broker, properties);
        let consumer = consumer(&broker, &[0, 1, 2, 3].map(|p| (p, Offset::Offset(0))));
        for chunk in 0..25_000 / 1000 {
            for partition in 0..4 {
                send(&producer, partition, chunk * 1000..(chunk + 1) * 1000);
            }
        }
        producer.flush(WAIT).unwrap();
        let mut expected = [0_u64; 4];
        for _ in 0..100_000 {
            let message = next(&consumer);
            let expected = &mut expected[message.partition() as usize];
            assert_eq!((message.offset() as u64, number(&message)), (*expected, *expected));
            *expected += 1;
        }
        assert_eq!(expected, [25_000; 4]);
        assert!(consumer.poll(Duration::from_millis(300)).is_none());
        assert_eq!(consumer.fetch_watermarks("t", 3, WAIT).unwrap(), (0, 25_000));
        broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_fetch_wakes_as_soon_as_something_is_produced() {
    let broker = start(None, topic(2)).await;
    let producer = producer(&broker, &[("linger.ms", "0"), ("acks", "0")]);
    let consumer = consumer(&broker, &[(0, Offset::Beginning), (1, Offset::Beginning)]);
    send(&producer, 0, 0..1);
    next(&consumer);
    let mut waits = Vec::new();
    for round in 1..40 {
        std::thread::sleep(Duration::from_millis(7)); // the consumer is in its next long poll by now
        let sent = Instant::now();
        send(&producer, round as i32 % 2, round..round + 1);
        assert_eq!(number(&next(&consumer)), round);
        waits.push(sent.elapsed());
    }
    waits.sort();
    // Far from fetch.wait.max.ms (500 ms), on a busy machine in the dev profile too.
    assert!(waits[waits.len() / 2] < Duration::from_millis(15), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_headers_and_timestamp_are_preserved_and_timestamps_are_found() {
    let broker = start(None, topic(1)).await;
    let producer = producer(&broker, &[("acks", "all")]);
    for index in 0..100_i64 {
        let headers = OwnedHeaders::new()
            .insert(Header { key: "h", value: Some("wert") })
            .insert(Header { key: "null", value: None::<&str> });
        let key = format!("k{index}");
        let record =
            BaseRecord::to("t").key(&key).payload("p").timestamp(1_000 + index * 10).headers(headers);
        producer.send(record).unwrap();
        if index % 7 == 0 {
            producer.flush(WAIT).unwrap(); // many batches
        }
    }
    producer.flush(WAIT).unwrap();
    let consumer = consumer(&broker, &[(0, Offset::Beginning)]);
    let message = next(&consumer);
    assert_eq!((message.key().unwrap(), message.timestamp().to_millis()), (&b"k0"[..], Some(1_000)));
    let headers = message.headers().unwrap();
    assert_eq!((headers.get(0).key, headers.get(0).value), ("h", Some(&b"wert"[..])));
    assert_eq!((headers.get(1).key, headers.get(1).value), ("null", None));

    for (timestamp, expected) in [
        (0, Offset::Offset(0)),
        (1_501, Offset::Offset(51)),
        (1_990, Offset::Offset(99)),
        (1_991, Offset::End),
    ] {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset("t", 0, Offset::Offset(timestamp)).unwrap();
        let found = consumer.offsets_for_times(asked, WAIT).unwrap();
        assert_eq!(found.elements()[0].offset(), expected, "at {timestamp}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_from_files_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let broker = start(Some(dir.path()), topic(2)).await;
        let producer = producer(&broker, &[("enable.idempotence", "true")]);
        send(&producer, 1, round * 500..(round + 1) * 500);
        producer.flush(WAIT).unwrap();
        let consumer = consumer(&broker, &[(1, Offset::Offset(0))]);
        for expected in 0..(round + 1) * 500 {
            let message = next(&consumer);
            assert_eq!((message.offset() as u64, number(&message)), (expected, expected));
        }
        drop((producer, consumer));
        broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_that_retention_has_passed_is_out_of_range() {
    let broker = start(None, topic(1)).await;
    let producer = producer(&broker, &[]);
    send(&producer, 0, 0..1000);
    producer.flush(WAIT).unwrap();
    broker.truncate_before("t", 0, 600).unwrap();
    let late = consumer(&broker, &[(0, Offset::Offset(599))]);
    assert_eq!(late.fetch_watermarks("t", 0, WAIT).unwrap(), (600, 1000));
    let error = late.poll(WAIT).expect("an answer in time").unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AutoOffsetReset), "{error}");
    let first = consumer(&broker, &[(0, Offset::Offset(600))]);
    assert_eq!(number(&next(&first)), 600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_partitions_topics_and_a_recreated_topic_are_seen() {
    let broker = start(None, topic(1)).await;
    let id = broker.shared.topics.get("t").unwrap().id;
    broker.create_topic(&TopicConfig { name: "u".into(), ..topic(3) }).unwrap();
    broker.add_partitions("t", 3).unwrap();
    let producer = producer(&broker, &[]);
    send(&producer, 2, 0..10);
    producer.flush(WAIT).unwrap();
    let consumer = consumer(&broker, &[(2, Offset::Beginning)]);
    assert_eq!(number(&next(&consumer)), 0);
    let metadata = consumer.fetch_metadata(None, WAIT).unwrap();
    let topics: Vec<_> =
        metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len())).collect();
    assert_eq!(topics, [("t", 3), ("u", 3)]);

    broker.recreate_topic("t").unwrap();
    assert_ne!(broker.shared.topics.get("t").unwrap().id, id);
    assert_eq!(consumer.fetch_watermarks("t", 2, WAIT).unwrap(), (0, 0));
    let missing = consumer.fetch_metadata(Some("nobody"), WAIT).unwrap();
    assert_eq!(
        missing.topics()[0].error().map(RDKafkaErrorCode::from),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_closes_one_connection_and_nothing_else() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let broker = start(None, topic(1)).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 99], &[0xff; 64], &[0, 0, 0, 1, 0]]
    {
        let mut stream = tokio::net::TcpStream::connect(broker.addr()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(WAIT, stream.read_to_end(&mut rest)).await.expect("closed in time");
        assert!(closed.is_err() || rest.is_empty());
    }
    assert_eq!(consumer(&broker, &[]).fetch_watermarks("t", 0, WAIT).unwrap(), (0, 0));
}
