//! Rows that the data nodes exchange among themselves.

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

use super::*;
use crate::engine::ExecuteOptions;

/// Exchanges wherever they are possible, and sides of joins up to so many rows in every task.
pub(super) fn everywhere(broadcast_rows_max: usize) -> ExecuteOptions {
    ExecuteOptions { exchange_rows_min: 0, broadcast_rows_max, ..ExecuteOptions::default() }
}

pub(super) async fn exchanging(
    store: &Arc<dyn ObjectStore>,
    nodes: &[&Node],
    execute: ExecuteOptions,
) -> QueryEngine {
    let table = opened(store, &[]).await;
    let access = ClusterAccess::new(secret("one"), Handle::current()).unwrap();
    let cluster = Arc::new(Fixed::new(nodes, "broker"));
    QueryEngine::clustered(EngineConfig { execute, ..config() }, serving(&table), cluster, access).unwrap()
}

const EXCHANGED: &[&str] = &[
    "SELECT id, count(*), sum(amount) FROM sales GROUP BY id",
    "SELECT city, amount, count(*) FROM sales GROUP BY city, amount HAVING count(*) > 1",
    "SELECT city, amount, min(id) FROM sales GROUP BY city, amount ORDER BY 3 DESC LIMIT 9",
    "SELECT DISTINCT city, amount % 7 FROM sales",
    "SELECT city, count(DISTINCT amount), count(DISTINCT id % 3) FROM sales GROUP BY city",
    "SELECT count(DISTINCT amount) FROM sales",
    "SELECT city, amount % 3, sum(id) FROM sales GROUP BY GROUPING SETS ((city), (amount % 3), ())",
    "SELECT a.id, b.id FROM sales a JOIN sales b ON a.amount = b.amount AND a.id < b.id",
    "SELECT a.id, b.id FROM sales a LEFT JOIN sales b ON a.id = b.amount",
    "SELECT a.id, b.id FROM sales a RIGHT JOIN sales b ON a.id = b.amount AND b.id > 50",
    "SELECT a.id, b.id FROM sales a FULL JOIN sales b ON a.id = b.amount AND a.share > b.share",
    "SELECT a.city, count(*) FROM sales a JOIN sales b ON a.city = b.city GROUP BY a.city",
    "SELECT a.id, b.id FROM sales a JOIN sales b ON a.city IS NOT DISTINCT FROM b.city WHERE a.id < 40 AND b.id < 40",
    "SELECT id FROM sales a WHERE EXISTS (SELECT 1 FROM sales b WHERE b.amount = a.id)",
    "SELECT id FROM sales a WHERE NOT EXISTS (SELECT 1 FROM sales b WHERE b.amount = a.id)",
    "SELECT id FROM sales WHERE amount IN (SELECT id FROM sales WHERE city = 'Rome')",
    "SELECT id FROM sales WHERE id NOT IN (SELECT amount FROM sales)",
    "SELECT count(*) FROM sales WHERE city NOT IN (SELECT city FROM sales WHERE id < 12)",
    "SELECT a.id, b.n FROM sales a JOIN (SELECT city, count(*) AS n FROM sales GROUP BY city) b ON a.city = b.city",
    "SELECT a.amount, a.n, b.n FROM (SELECT amount, count(*) AS n FROM sales GROUP BY amount) a \
     FULL JOIN (SELECT id, count(*) AS n FROM sales GROUP BY id) b ON a.amount = b.id",
    "SELECT a.id, b.x FROM sales a JOIN (VALUES (1), (2), (3)) AS b(x) ON a.amount = b.x",
    "SELECT b.x, a.id FROM (VALUES (1), (2), (400)) AS b(x) LEFT JOIN sales a ON a.amount = b.x",
    "SELECT a.id, c.id FROM sales a JOIN sales b ON a.id = b.amount JOIN sales c ON b.id = c.amount",
    "SELECT a.id FROM sales a JOIN sales b ON a.id = b.amount WHERE a.amount > (SELECT avg(amount) FROM sales)",
    "SELECT id, row_number() OVER (PARTITION BY city ORDER BY id) FROM sales",
    "SELECT id, sum(amount) OVER (PARTITION BY city ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) FROM sales",
    "SELECT id, sum(amount) OVER (PARTITION BY city), rank() OVER (PARTITION BY amount ORDER BY id) FROM sales",
    "SELECT id, sum(amount) OVER (ORDER BY id) FROM sales WHERE id < 60",
    "SELECT * FROM (SELECT id, row_number() OVER (PARTITION BY city ORDER BY share DESC) AS n FROM sales) WHERE n <= 3",
    "SELECT city, max(n) FROM (SELECT city, count(*) OVER (PARTITION BY city, amount % 5) AS n FROM sales) GROUP BY city",
    "SELECT id, count(*) FROM sales GROUP BY id UNION ALL SELECT amount, count(*) FROM sales GROUP BY amount",
    "SELECT id FROM sales INTERSECT SELECT amount FROM sales",
    "SELECT amount FROM sales EXCEPT SELECT id FROM sales WHERE id < 30",
    "SELECT id, count(*) FROM sales WHERE id < 0 GROUP BY id",
    "SELECT a.id, b.id FROM sales a LEFT JOIN (SELECT id FROM sales WHERE id < 0) b ON a.id = b.id",
    "SELECT sum(n) FROM (SELECT amount, count(*) AS n FROM sales GROUP BY amount)",
];

#[tokio::test(flavor = "multi_thread")]
async fn exchanged_rows_give_the_answers_of_one_process() {
    let (store, _broker, nodes) = three().await;
    let alone = QueryEngine::new(config(), serving(&opened(&store, &[0, 1]).await)).unwrap();
    let whole = Node::start("data-2", opened(&store, &[0, 1]).await, secret("one")).await;
    let two: Vec<&Node> = nodes.iter().collect();
    let engines = [
        ("both sides of joins exchanged", exchanging(&store, &two, everywhere(0)).await),
        ("one side of joins broadcast", exchanging(&store, &two, everywhere(1 << 20)).await),
        ("one data node, exchanged", exchanging(&store, &[&whole], everywhere(0)).await),
        ("one data node, broadcast", exchanging(&store, &[&whole], everywhere(1 << 20)).await),
    ];
    for statement in STATEMENTS.iter().chain(EXCHANGED) {
        let expected = ask(&alone, statement).await.unwrap();
        for (name, engine) in &engines {
            let found = ask(engine, statement).await;
            let found = found.unwrap_or_else(|error| panic!("{name}: {statement}: {error}"));
            assert_eq!(found, expected, "{name}: {statement}");
        }
    }
    // Once more, with a plan that was kept.
    let (_, engine) = &engines[0];
    assert_eq!(ask(engine, EXCHANGED[0]).await.unwrap(), ask(&alone, EXCHANGED[0]).await.unwrap());
    assert!(is_plan_kept(engine, EXCHANGED[0]).await);
}

/// A side of which no node has anything is nowhere: what joins it is on the broker, and what meets that there is by the same keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_is_nowhere_brings_the_others_here_by_their_keys() {
    let (store, _broker, nodes) = three().await;
    let alone = QueryEngine::new(config(), serving(&opened(&store, &[0, 1]).await)).unwrap();
    let whole = Node::start("data-2", opened(&store, &[0, 1]).await, secret("one")).await;
    let two: Vec<&Node> = nodes.iter().collect();
    let engines = [
        ("one data node", exchanging(&store, &[&whole], everywhere(0)).await),
        ("two data nodes", exchanging(&store, &two, everywhere(0)).await),
    ];
    // The log knows that no sealed segment has such an id.
    let nothing = "(SELECT id FROM sales WHERE id < -5)";
    for statement in [
        format!(
            "SELECT a.id, x.id FROM sales a JOIN (SELECT b.* FROM sales b LEFT JOIN {nothing} c ON b.id = c.id) x ON a.amount = x.id"
        ),
        format!("SELECT a.id, b.id FROM sales a FULL JOIN {nothing} b ON a.amount = b.id"),
        format!(
            "SELECT id, count(*) FROM (SELECT id FROM sales UNION ALL SELECT id FROM {nothing} AS e) u GROUP BY id"
        ),
    ] {
        let request =
            || QueryRequest { sql: statement.clone(), sealed_only: true, ..QueryRequest::default() };
        let expected = ask_with(&alone, request()).await.unwrap();
        assert!(expected.len() > 50, "{statement}");
        for (name, engine) in &engines {
            assert_eq!(ask_with(engine, request()).await.unwrap(), expected, "{name}: {statement}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_behind_an_exchange_are_those_of_one_process() {
    let (store, _broker, nodes) = three().await;
    let alone = QueryEngine::new(config(), serving(&opened(&store, &[0, 1]).await)).unwrap();
    let broker = exchanging(&store, &nodes.iter().collect::<Vec<_>>(), everywhere(0)).await;
    for statement in [
        "SELECT id, sum(amount + 9223372036854775800) FROM sales GROUP BY id",
        "SELECT city, sum(n) FROM (SELECT city, amount, sum(id * 9000000000000000) AS n FROM sales GROUP BY city, amount) \
         GROUP BY city",
        "SELECT a.id * 92233720368547758 * b.id FROM sales a JOIN sales b ON a.amount = b.amount",
        "SELECT id, sum(id * 90000000000000000) OVER (PARTITION BY city) FROM sales",
        "SELECT n / (n - n) FROM (SELECT id, count(*) AS n FROM sales GROUP BY id)",
    ] {
        let expected = ask(&alone, statement).await.unwrap_err();
        let found = ask(&broker, statement).await.unwrap_err();
        assert_eq!(found.kind, expected.kind, "{statement}: {found}");
    }
}

async fn plan_and_nodes(engine: &QueryEngine, sql: &str) -> (String, String) {
    let lines = ask(engine, sql).await.unwrap();
    let of = |kind: &str| lines.iter().find(|line| line.starts_with(kind)).unwrap().clone();
    (of("physical_plan|"), of("nodes|"))
}

/// Nobody knows how many groups there are until somebody has counted them.
#[tokio::test(flavor = "multi_thread")]
async fn groups_are_exchanged_once_there_were_many() {
    let (store, _broker, nodes) = three().await;
    let execute = ExecuteOptions { exchange_rows_min: 100, ..ExecuteOptions::default() };
    let broker = exchanging(&store, &nodes.iter().collect::<Vec<_>>(), execute).await;
    let explain = |keys: &str| format!("EXPLAIN SELECT {keys}, count(*) FROM sales GROUP BY {keys}");
    for (keys, is_exchanged) in [("id", true), ("city", false)] {
        let (plan, _) = plan_and_nodes(&broker, &explain(keys)).await;
        assert!(!plan.contains("NetworkShuffleExec"), "{plan}");
        // Again and again: what is counted behind a shuffle counts too.
        for _ in 0..3 {
            ask(&broker, explain(keys).trim_start_matches("EXPLAIN ")).await.unwrap();
            let (plan, _) = plan_and_nodes(&broker, &explain(keys)).await;
            assert_eq!(plan.contains("NetworkShuffleExec"), is_exchanged, "{plan}");
        }
    }
    // So few rows cannot be so many groups.
    let (plan, _) =
        plan_and_nodes(&broker, "EXPLAIN SELECT id, count(*) FROM sales WHERE id = 7 GROUP BY id").await;
    assert!(!plan.contains("NetworkShuffleExec"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_queries_have_one_boundary_for_each_leaf() {
    let (_store, broker, _nodes) = three().await;
    for statement in STATEMENTS.iter().chain(EXCHANGED) {
        let (plan, _) = plan_and_nodes(&broker, &format!("EXPLAIN {statement}")).await;
        assert!(!plan.contains("NetworkShuffleExec") && !plan.contains("NetworkBroadcastExec"), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_go_where_their_rows_are() {
    let (store, _broker, nodes) = three().await;
    let nodes: Vec<&Node> = nodes.iter().collect();
    let (shuffles, broadcasts) = (
        exchanging(&store, &nodes, everywhere(0)).await,
        exchanging(&store, &nodes, everywhere(1 << 20)).await,
    );
    for (kind, is_broadcast) in [("JOIN", true), ("FULL JOIN", false)] {
        let sql = format!("EXPLAIN SELECT a.id, b.id FROM sales a {kind} sales b ON a.id = b.amount");
        let (plan, stages) = plan_and_nodes(&broadcasts, &sql).await;
        assert_eq!(plan.contains("NetworkBroadcastExec"), is_broadcast, "{plan}");
        assert_eq!(stages.contains("stage 1 to stage 2: broadcast"), is_broadcast, "{stages}");
        let (plan, stages) = plan_and_nodes(&shuffles, &sql).await;
        assert_eq!(plan.matches("NetworkShuffleExec").count(), 2, "{plan}");
        for line in [
            "stage 1 to stage 3: shuffle\nstage 1, data-0: sales at version",
            "stage 2 to stage 3: shuffle\nstage 2, data-0: sales at version",
            "stage 3 to this node: gather\nstage 3, data-0: reads stages 1, 2\nstage 3, data-1: reads stages 1, 2",
        ] {
            assert!(stages.contains(line), "{stages}");
        }
    }
    // What only the broker has is joined there, and nothing is shuffled for it.
    let values = "EXPLAIN SELECT a.id FROM sales a JOIN (VALUES (1), (2)) AS b(x) ON a.amount = b.x";
    let (plan, _) = plan_and_nodes(&shuffles, values).await;
    assert!(!plan.contains("NetworkShuffleExec"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_analyze_says_what_crossed_each_boundary() {
    let (store, _broker, nodes) = three().await;
    let broker = exchanging(&store, &nodes.iter().collect::<Vec<_>>(), everywhere(0)).await;
    let sql = "EXPLAIN ANALYZE SELECT city, count(*) FROM sales WHERE city IS NOT NULL GROUP BY city";
    let (_, stages) = plan_and_nodes(&broker, sql).await;
    let crossed = |line: &str| -> Vec<u64> {
        let line = stages.lines().find(|found| found.contains(line)).unwrap_or_else(|| panic!("{stages}"));
        line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
    };
    let shuffled = crossed("to stage 2: shuffle, ");
    // Five groups of each of four partitions at most.
    assert!((5..=20).contains(&shuffled[1]) && shuffled[2] > 0, "{stages}");
    let gathered = crossed("stage 2 to this node: gather, ");
    assert!(gathered[1] == 5 && gathered[2] > 0, "{stages}");
}

/// What stands between a node and the others, and breaks every connection for good once the node has sent so many bytes.
struct Wire {
    url: Url,
    task: JoinHandle<()>,
}

impl Wire {
    async fn to(node: &Node, bytes_max: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let address = node.node.url.socket_addrs(|| None).unwrap()[0];
        let left = Arc::new(std::sync::atomic::AtomicUsize::new(bytes_max));
        let task = tokio::spawn(async move {
            let (broken, mut breaks) = tokio::sync::mpsc::channel::<()>(1);
            let mut connections = JoinSet::new();
            loop {
                let client = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    _ = breaks.recv() => return,
                };
                let (left, broken) = (Arc::clone(&left), broken.clone());
                connections.spawn(async move {
                    let server = TcpStream::connect(address).await.unwrap();
                    let (mut from_client, to_client) = client.into_split();
                    let (from_server, mut to_server) = server.into_split();
                    tokio::select! {
                        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                        () = until_spent(from_server, to_client, &left) => drop(broken.try_send(())),
                    }
                });
            }
        });
        Self { url, task }
    }
}

/// Copies until all connections together have copied so much.
async fn until_spent(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    left: &std::sync::atomic::AtomicUsize,
) {
    use std::sync::atomic::Ordering::Relaxed;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = [0; 512];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let Ok(_) = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(read)) else { return };
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    // This connection is over, the node is not.
    std::future::pending::<()>().await;
}

/// The node is lost at any point of the query: before its plan came, while it sends rows to the other node, while it sends
/// rows to the broker. The other one has all rows too.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_in_an_exchange_is_done_without() {
    let store = sealed_sales().await;
    let mut nodes = Vec::new();
    for name in ["data-0", "data-1"] {
        nodes.push(Node::start(name, opened(&store, &[0, 1]).await, secret("one")).await);
    }
    let alone = QueryEngine::new(config(), serving(&opened(&store, &[0, 1]).await)).unwrap();
    let sql = "SELECT a.id, a.city, b.id, b.share FROM sales a JOIN sales b ON a.amount = b.amount";
    let expected = ask(&alone, sql).await.unwrap();
    let (url, mut lost) = (nodes[0].node.url.clone(), 0);
    for step in 0..24 {
        nodes[0].node.url = url.clone();
        let wire = Wire::to(&nodes[0], 100 + step * step * 60).await;
        nodes[0].node.url = wire.url.clone();
        let broker = exchanging(&store, &nodes.iter().collect::<Vec<_>>(), everywhere(0)).await;
        let begun = Instant::now();
        // The second one meets what the first one left.
        for _ in 0..2 {
            let found = ask(&broker, sql).await.unwrap_or_else(|error| panic!("step {step}: {error}"));
            assert_eq!(found, expected, "step {step}");
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "step {step}: {:?}", begun.elapsed());
        lost += usize::from(wire.task.is_finished());
    }
    assert!(lost >= 12, "only {lost} wires broke");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_only_a_dead_node_has_are_named() {
    let (store, _broker, mut nodes) = three().await;
    let sql = "SELECT a.id, a.city, b.id, b.share FROM sales a JOIN sales b ON a.amount = b.amount";
    let wire = Wire::to(&nodes[1], 2500).await;
    nodes[1].node.url = wire.url.clone();
    let broker = exchanging(&store, &nodes.iter().collect::<Vec<_>>(), everywhere(0)).await;
    for _ in 0..2 {
        let request = QueryRequest {
            sql: sql.into(),
            deadline: Some(Duration::from_secs(3)),
            ..QueryRequest::default()
        };
        let error = ask_with(&broker, request).await.unwrap_err();
        assert_eq!(error.kind, QueryErrorKind::SegmentUnavailable, "{error}");
        assert!(error.message.contains("partition 1") || error.message.contains("data-1"), "{error}");
    }
}
