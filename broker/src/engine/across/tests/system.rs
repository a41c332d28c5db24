//! System tables show all nodes, whichever is asked, and do without those that do not answer.

use headwater_segment::live::PartitionStage;
use headwater_segment::mutable::DeadLetter;
use headwater_segment::sealed::{dead_letters_path, encode_dead_letters};
use headwater_segment::tasks::{TaskKind, TaskSubject};

use super::*;

const PARTITIONS: &str =
    "SELECT partition, state, committed_offset, visible_offset, node FROM system.partitions";
const SEGMENTS: &str = "SELECT partition, state, from_offset, to_offset, rows, node FROM system.segments";
const NODES: &str = "SELECT node, this, error FROM system.nodes";

/// `table` consumes these partitions only.
fn consumes(table: &LiveTable, partitions: &[i32]) {
    for partition in 0..2 {
        let progress = table.partition_progress(partition);
        match partitions.contains(&partition) {
            true => progress.stage(PartitionStage::Live),
            false => progress.elsewhere(),
        }
    }
}

/// A broker with two data nodes, of which each consumes one partition.
async fn shared_out() -> (Arc<dyn ObjectStore>, QueryEngine, Vec<Node>) {
    let (store, broker, nodes) = three().await;
    for (partition, node) in (0..).zip(&nodes) {
        consumes(&node.table, &[partition]);
    }
    (store, broker, nodes)
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_segments_are_those_of_all_nodes() {
    let (_store, broker, nodes) = shared_out().await;
    let partitions = ["0|live|100|150|data-0", "1|live|100|150|data-1"];
    let segments = [
        "0|open|100|150|50|data-0",
        "0|sealed|0|100|100|NULL",
        "1|open|100|150|50|data-1",
        "1|sealed|0|100|100|NULL",
    ];
    assert_eq!(ask(&broker, PARTITIONS).await.unwrap(), partitions);
    assert_eq!(ask(&broker, SEGMENTS).await.unwrap(), segments);
    // A data node says the same, with its own rows once.
    let both: Vec<_> = nodes.iter().collect();
    let data = clustered(&nodes[0].table, Fixed::new(&both, "data-0"));
    assert_eq!(ask(&data, PARTITIONS).await.unwrap(), partitions);
    assert_eq!(ask(&data, SEGMENTS).await.unwrap(), segments);
    // What the nodes have can be worked on as any other rows.
    let worked_on = "SELECT partition, row_number() OVER (PARTITION BY state ORDER BY node) FROM system.partitions \
                     WHERE node IN (SELECT node FROM system.segments WHERE state = 'open')";
    assert_eq!(ask(&broker, worked_on).await.unwrap(), ["0|1", "1|2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_have_a_row_each() {
    let store = sealed_sales().await;
    let mut nodes = Vec::new();
    for name in ["data-0", "data-1"] {
        nodes.push(Node::start(name, opened(&store, &[0]).await, secret("one")).await);
        consumes(&nodes[nodes.len() - 1].table, &[0]);
    }
    let (broker, _) = broker(&store, &nodes.iter().collect::<Vec<_>>()).await;
    let expected = ["0|live|100|150|data-0", "0|live|100|150|data-1"];
    assert_eq!(ask(&broker, PARTITIONS).await.unwrap(), expected);
    let open = format!("{SEGMENTS} WHERE state = 'open'");
    let expected = ["0|open|100|150|50|data-0", "0|open|100|150|50|data-1"];
    assert_eq!(ask(&broker, &open).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_those_of_all_nodes() {
    let (_store, broker, nodes) = shared_out().await;
    ask(&nodes[1].engine, "SELECT 7").await.unwrap();
    let queries = "SELECT sql, state, node FROM system.queries WHERE sql NOT LIKE '%system%'";
    ask(&broker, "SELECT 8").await.unwrap();
    assert_eq!(ask(&broker, queries).await.unwrap(), ["SELECT 7|done|data-1", "SELECT 8|done|broker"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_those_of_all_nodes() {
    let (_store, broker, nodes) = shared_out().await;
    let subject = |what: &str, total| TaskSubject { what: what.into(), unit: "segments", total };
    let tasks = nodes[0].table.tasks();
    let running = tasks.begin(TaskKind::Compaction, subject("partition 0", Some(4)));
    running.advance(3);
    let waiting = nodes[1].table.tasks().enqueue(TaskKind::IndexRebuild, subject("partition 1", None));
    waiting.retry_in(Duration::from_secs(3600), &"no such object");
    tasks.begin(TaskKind::Retention, subject("old rows", Some(1))).done(None);
    let all = "SELECT table_name, kind, subject, state, done, total, unit, last_error, ended_at IS NULL, \
               next_attempt_at > now(), started_at <= now(), node FROM system.tasks";
    let expected = [
        "sales|compaction|partition 0|running|3|4|segments|NULL|true|NULL|true|data-0",
        "sales|index_rebuild|partition 1|waiting|0|NULL|segments|no such object|true|true|true|data-1",
        "sales|retention|old rows|done|0|1|segments|NULL|false|NULL|true|data-0",
    ];
    assert_eq!(ask(&broker, all).await.unwrap(), expected);
    let data = clustered(&nodes[1].table, Fixed::new(&nodes.iter().collect::<Vec<_>>(), "data-1"));
    assert_eq!(ask(&data, all).await.unwrap(), expected);
    drop(running);
    let stopped = "SELECT count(*) FROM system.tasks WHERE state = 'stopped' AND ended_at >= started_at";
    assert_eq!(ask(&broker, stopped).await.unwrap(), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_has_one_row() {
    let letter = |offset| DeadLetter::new(0, offset, Some(1_700_000_000_000), "no JSON".into(), b"{", None);
    let (store, broker, nodes) = shared_out().await;
    // Both nodes have read 150 and 151; 151 is stored, and still in memory.
    for node in &nodes {
        let budget = MemoryBudget::new(1 << 30);
        let (mut writer, segment) = MutableSegment::create(node.table.schema(), 0, 150, budget);
        writer.dead_letter(letter(150));
        writer.dead_letter(letter(151));
        writer.publish(152);
        node.table.open_segment(segment);
    }
    let stored = encode_dead_letters(&[letter(7), letter(151)]).unwrap();
    let place = format!("{}/{}", root(), dead_letters_path(0, 0, 152, Ulid::new()));
    store.put(&place.into(), stored.into()).await.unwrap();
    let letters =
        "SELECT table_name, partition, \"offset\", CAST(payload AS STRING), node FROM system.dead_letters";
    let expected = ["sales|0|150|{|data-0", "sales|0|151|{|NULL", "sales|0|7|{|NULL"];
    assert_eq!(ask(&broker, letters).await.unwrap(), expected);
    let data = clustered(&nodes[1].table, Fixed::new(&nodes.iter().collect::<Vec<_>>(), "data-1"));
    let expected = ["sales|0|150|{|data-1", "sales|0|151|{|NULL", "sales|0|7|{|NULL"];
    assert_eq!(ask(&data, letters).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_reads_only_the_dead_letters_that_it_may_need() {
    let (store, broker, _nodes) = shared_out().await;
    let letter = |partition, offset| {
        DeadLetter::new(partition, offset, Some(1_700_000_000_000), "no JSON".into(), b"{", None)
    };
    for (partition, from, is_sound) in [(0, 0, true), (0, 20, false), (1, 0, false)] {
        let whole = encode_dead_letters(&[letter(partition, from + 3)]).unwrap();
        let bytes = if is_sound { whole } else { "damaged".into() };
        let place = format!("{}/{}", root(), dead_letters_path(partition, from, from + 10, Ulid::new()));
        store.put(&place.into(), bytes.into()).await.unwrap();
    }
    let found = |filter: &'static str| {
        let sql = format!("SELECT partition, \"offset\" FROM system.dead_letters {filter}");
        let broker = &broker;
        async move { ask(broker, &sql).await }
    };
    for (filter, expected) in [
        ("WHERE partition = 0 AND \"offset\" < 10", &["0|3"][..]),
        ("WHERE partition IN (0, 7) AND \"offset\" BETWEEN 2 AND 19 AND reason LIKE 'no%'", &["0|3"]),
        ("WHERE partition = 0 AND \"offset\" < 3", &[]),
        ("WHERE partition = 0 AND \"offset\" = 3 LIMIT 1", &["0|3"]),
        ("WHERE table_name = 'another'", &[]),
        ("WHERE partition = 2", &[]),
    ] {
        assert_eq!(found(filter).await.unwrap(), expected, "{filter}");
    }
    // What the name does not tell must be read.
    for filter in ["", "WHERE reason = 'x'", "WHERE partition = 0", "WHERE partition = 1 LIMIT 1"] {
        assert!(found(filter).await.is_err(), "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_is_named_and_its_rows_are_missing() {
    let (_store, broker, nodes) = shared_out().await;
    assert_eq!(
        ask(&broker, NODES).await.unwrap(),
        ["broker|true|NULL", "data-0|false|NULL", "data-1|false|NULL"]
    );
    let all = "SELECT * EXCLUDE (cpus_used, cpus, memory_bytes, memory_limit_bytes) FROM system.nodes WHERE node = 'data-1'";
    let address = nodes[1].node.url.authority();
    let expected =
        format!("data-1|data|serving|{address}|127.0.0.1:2|NULL|1|1.2.3|2023-11-14T22:13:20Z|false|0|NULL");
    assert_eq!(ask(&broker, all).await.unwrap(), [expected]);
    let known = "SELECT node FROM system.nodes WHERE cpus_used >= 0 AND cpus > 0 AND memory_bytes < memory_limit_bytes";
    assert_eq!(ask(&broker, known).await.unwrap(), ["broker", "data-0", "data-1"]);

    nodes[1].serving.abort();
    eventually(&broker, "SELECT count(error) FROM system.nodes WHERE node = 'data-1'", "1").await;
    let load =
        "SELECT count(cpus), count(memory_bytes), count(queries) FROM system.nodes WHERE node = 'data-1'";
    assert_eq!(ask(&broker, load).await.unwrap(), ["0|0|0"]);
    assert_eq!(ask(&broker, PARTITIONS).await.unwrap(), ["0|live|100|150|data-0"]);
    let open = format!("{SEGMENTS} WHERE state <> 'sealed'");
    assert_eq!(ask(&broker, &open).await.unwrap(), ["0|open|100|150|50|data-0"]);
    let sealed = "SELECT sum(rows) FROM system.segments WHERE state = 'sealed'";
    assert_eq!(ask(&broker, sealed).await.unwrap(), ["200"]);
}

/// A connection that was open when the node ended may serve a request more.
async fn eventually(engine: &QueryEngine, sql: &str, expected: &str) {
    for _ in 0..100 {
        if ask(engine, sql).await.unwrap() == [expected] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never {expected}: {sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_keeps_silent_is_waited_for_a_second_only() {
    let (store, _, mut nodes) = shared_out().await;
    // It takes connections, and that is all.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    nodes[1].node.url = format!("http://{}/", silent.local_addr().unwrap()).parse().unwrap();
    let mut cluster = Fixed::new(&nodes.iter().collect::<Vec<_>>(), "broker");
    let another = "speaks wire version 9".to_owned();
    cluster.members.push(MemberRow { refused: Some(another), ..member("new", "all", "127.0.0.1:1") });
    cluster.members.push(member("odd", "broker", "no address"));
    let table = opened(&store, &[]).await;
    let broker = clustered(&table, cluster);
    let asked = std::time::Instant::now();
    assert_eq!(ask(&broker, PARTITIONS).await.unwrap(), ["0|live|100|150|data-0"]);
    let expected = [
        "broker|true|NULL",
        "data-0|false|NULL",
        "data-1|false|it did not answer within 1000 ms",
        "new|false|speaks wire version 9",
        "odd|false|\"no address\" is no address; set cluster.advertise there",
    ];
    assert_eq!(ask(&broker, NODES).await.unwrap(), expected);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}
