//! What a data node does for brokers at once, and for how long.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;

const COUNT: &str = "SELECT count(*), sum(id) FROM sales";

fn narrow(queue_max: usize) -> EngineConfig {
    EngineConfig { concurrent_max: 1, queue_max, ..config() }
}

/// Nodes with all rows, that run one query at once.
async fn narrow_nodes(count: usize, queue_max: usize) -> (Arc<dyn ObjectStore>, Vec<Node>) {
    let store = sealed_sales().await;
    let mut nodes = Vec::new();
    for number in 0..count {
        let table = opened(&store, &[0, 1]).await;
        nodes.push(Node::with(&format!("data-{number}"), table, secret("one"), narrow(queue_max)).await);
    }
    (store, nodes)
}

/// A broker that has asked for a fragment, and says no more.
async fn silent_broker(node: &Node, deadline: Duration) -> TcpStream {
    let authority = node.node.url.authority();
    let mut connection = TcpStream::connect(authority).await.unwrap();
    let access = ClusterAccess::new(secret("one"), Handle::current()).unwrap();
    let headers = access.headers();
    let bearer = headers[reqwest::header::AUTHORIZATION].to_str().unwrap();
    let head = format!(
        "POST /worker.WorkerService/CoordinatorChannel HTTP/1.1\r\nhost: {authority}\r\nauthorization: {bearer}\r\n\
         content-type: application/grpc\r\ntransfer-encoding: chunked\r\nheadwater-query: {}\r\nheadwater-run: 1\r\n\
         headwater-deadline-ms: {}\r\n\r\n",
        Ulid::from_parts(1, 1),
        deadline.as_millis(),
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
}

async fn ask_soon(engine: &QueryEngine, within: Duration) -> Result<Vec<String>, QueryError> {
    ask_with(engine, QueryRequest { sql: COUNT.into(), deadline: Some(within), ..QueryRequest::default() })
        .await
}

/// Asks until a place is free.
async fn ask_until_admitted(engine: &QueryEngine) -> Duration {
    let begun = Instant::now();
    while let Err(error) = ask_soon(engine, Duration::from_secs(5)).await {
        assert_eq!(error.kind, QueryErrorKind::Overloaded, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
    }
    begun.elapsed()
}

async fn until_full(engine: &QueryEngine) -> QueryError {
    let begun = Instant::now();
    loop {
        match ask_soon(engine, Duration::from_secs(5)).await {
            Err(error) => return error,
            Ok(_) => assert!(begun.elapsed() < Duration::from_secs(20), "the silent broker has no place"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_is_left_for_a_replica_and_named_if_there_is_none() {
    let (store, nodes) = narrow_nodes(2, 0).await;
    let (both, _) = broker(&store, &[&nodes[0], &nodes[1]]).await;
    let (one, _) = broker(&store, &[&nodes[0]]).await;
    let _silent = silent_broker(&nodes[0], Duration::from_secs(60)).await;
    let error = until_full(&one).await;
    assert_eq!(error.kind, QueryErrorKind::Overloaded, "{error}");
    let said = "node data-0: 1 queries are running and 0 are waiting";
    assert!(error.message.contains(said), "{error}");
    assert_eq!(ask_soon(&both, Duration::from_secs(20)).await.unwrap(), ["300|44850"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_of_a_broker_that_hangs_up_is_free_at_once() {
    let (store, nodes) = narrow_nodes(1, 0).await;
    let (broker, _) = broker(&store, &[&nodes[0]]).await;
    let silent = silent_broker(&nodes[0], Duration::from_secs(600)).await;
    until_full(&broker).await;
    drop(silent);
    ask_until_admitted(&broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_of_a_broker_that_falls_silent_is_free_at_its_deadline() {
    let (store, nodes) = narrow_nodes(1, 0).await;
    let (broker, _) = broker(&store, &[&nodes[0]]).await;
    let _silent = silent_broker(&nodes[0], Duration::from_secs(3)).await;
    until_full(&broker).await;
    ask_until_admitted(&broker).await;
}

/// Each holds a place here while it waits for one there.
#[tokio::test(flavor = "multi_thread")]
async fn queries_of_several_brokers_over_full_nodes_do_not_wait_for_each_other() {
    let store = sealed_sales().await;
    let mut nodes = Vec::new();
    for partition in 0..2 {
        let table = opened(&store, &[partition]).await;
        nodes.push(Node::with(&format!("data-{partition}"), table, secret("one"), narrow(100)).await);
    }
    let (first, _) = broker(&store, &[&nodes[0], &nodes[1]]).await;
    let (second, _) = broker(&store, &[&nodes[0], &nodes[1]]).await;
    // A merge of sorted rows holds one node back until the other one has rows.
    let sorted = "SELECT id FROM sales ORDER BY id";
    let asked = (0..40).map(|number| ask(if number % 2 == 0 { &first } else { &second }, sorted));
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer.unwrap().len(), 300);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_say_for_which_query_it_asks_is_told_so() {
    let (_store, nodes) = narrow_nodes(1, 0).await;
    let access = ClusterAccess::new(secret("one"), Handle::current()).unwrap();
    let url = nodes[0].node.url.join("worker.WorkerService/ExecuteTask").unwrap();
    let answer = reqwest::Client::new().post(url).headers(access.headers()).send().await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "3");
}
