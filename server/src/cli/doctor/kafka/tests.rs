//! Against the demo's Kafka, and against nothing.

use std::net::SocketAddr;

use headwater_segment::spec::{OnGap, StartPosition};
use headwater_server::demo::broker::{EmbeddedBroker, TopicConfig};

use super::super::report::{Report, Verdict};
use super::*;

fn stream(broker: &str, topic: &str) -> StreamSpec {
    StreamSpec {
        brokers: vec![broker.to_string()],
        topic: topic.into(),
        start: StartPosition::Earliest,
        on_gap: OnGap::Fail,
        properties: BTreeMap::new(),
    }
}

async fn report(stream: &StreamSpec) -> Report {
    let findings = Findings::new(Duration::from_secs(5));
    check(&findings, None, stream, None).await;
    findings.into_report(Vec::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_there_or_is_missing() {
    let topic = TopicConfig { name: "rides".into(), partitions: 3, retention_bytes: 1 << 20 };
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let kafka = EmbeddedBroker::start(any_port, None, vec![topic]).await.unwrap();
    let address = kafka.addr().to_string();

    let found = report(&stream(&address, "rides")).await;
    assert_eq!(found.of("reach").0, Verdict::Ok);
    let (verdict, text) = found.of("topic");
    assert_eq!(verdict, Verdict::Ok, "{text}");
    assert!(text.contains("3 partitions") && text.contains("PLAINTEXT"), "{text}");
    assert_ne!(found.of("versions").0, Verdict::Skipped);

    let (verdict, text) = report(&stream(&address, "nowhere")).await.of("topic");
    assert_eq!(verdict, Verdict::Failure);
    assert!(text.contains("no such topic") && text.contains("create the topic"), "{text}");

    // What is no property, and what a listener without TLS does to TLS.
    let mut wrong = stream(&address, "rides");
    wrong.properties.insert("sasl.mechanismus".into(), PropertyValue::Literal("x".into()));
    assert!(report(&wrong).await.of("topic").1.contains("sasl.mechanismus"));
    let mut wrong = stream(&address, "rides");
    wrong.properties.insert("security.protocol".into(), PropertyValue::Literal("ssl".into()));
    let (verdict, text) = report(&wrong).await.of("topic");
    assert_eq!(verdict, Verdict::Failure);
    assert!(text.contains("ssl.*"), "{text}");
    kafka.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_port_says_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let found = report(&stream(&free.to_string(), "rides")).await;
    let (verdict, text) = found.of("reach");
    assert_eq!(verdict, Verdict::Failure);
    assert!(text.contains("refused") && text.contains("stream.brokers"), "{text}");
    assert_eq!(found.of("topic").0, Verdict::Skipped);
}

#[test]
fn what_is_not_read_yet_must_still_be_there() {
    let read = |committed| BTreeMap::from([(0, PartitionState { first: 0, committed, gaps: Vec::new() })]);
    let marks = BTreeMap::from([(0, Marks { low: 1_000, high: 2_000 })]);
    for (committed, verdict, text) in [
        (500, Verdict::Failure, "offsets 500 to 1000 are gone"),
        (1_050, Verdict::Warning, "oldest tenth"),
        (1_500, Verdict::Ok, "500 offsets"),
        (2_000, Verdict::Ok, "0 offsets"),
    ] {
        let outcome = retention(&read(committed), &marks);
        assert_eq!(outcome.verdict, verdict, "{committed}: {}", outcome.seen);
        assert!(outcome.seen.contains(text), "{}", outcome.seen);
    }
    // Nothing was ever deleted: the oldest messages are in no danger.
    let whole = BTreeMap::from([(0, Marks { low: 0, high: 2_000 })]);
    assert_eq!(retention(&read(10), &whole).verdict, Verdict::Ok);
}
