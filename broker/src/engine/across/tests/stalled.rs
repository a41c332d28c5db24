//! Nodes that take what is sent to them and do not answer: queries leave them long before anybody calls them dead.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::shuffles::{everywhere, exchanging};
use super::*;

const GROUPED: &str = "SELECT city, count(*), sum(amount) FROM sales GROUP BY city";
/// How a connection for fragments begins.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

const NOTHING: u8 = 0;
const FRAGMENTS: u8 = 1;
const ALL: u8 = 2;
/// All, once a fragment comes.
const FROM_FRAGMENTS_ON: u8 = 3;

/// What stands before a node, and can hold back what is sent to it: fragments, or all.
struct Gate {
    held: Arc<AtomicU8>,
    serving: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Gate {
    /// From now on `node` is reached through it.
    async fn before(node: &mut Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = node.node.url.authority().to_owned();
        node.node.url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let held = Arc::new(AtomicU8::new(NOTHING));
        let holding = Arc::clone(&held);
        let serving = tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let to = TcpStream::connect(&behind).await.unwrap();
                let (from_read, from_write) = from.into_split();
                let (to_read, to_write) = to.into_split();
                let is_http2 = Arc::new(AtomicU8::new(0));
                tokio::spawn(pass(from_read, to_write, Arc::clone(&holding), Arc::clone(&is_http2)));
                tokio::spawn(pass(to_read, from_write, Arc::clone(&holding), is_http2));
            }
        });
        Self { held, serving }
    }

    fn hold(&self, what: u8) {
        self.held.store(what, Ordering::SeqCst);
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    held: Arc<AtomicU8>,
    is_http2: Arc<AtomicU8>,
) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut bytes).await {
        if bytes[..count].starts_with(HTTP2) {
            is_http2.store(1, Ordering::SeqCst);
        }
        let is_held = || match held.load(Ordering::SeqCst) {
            NOTHING => false,
            FRAGMENTS => is_http2.load(Ordering::SeqCst) == 1,
            FROM_FRAGMENTS_ON if is_http2.load(Ordering::SeqCst) == 1 => {
                held.store(ALL, Ordering::SeqCst);
                true
            }
            FROM_FRAGMENTS_ON => false,
            _ => true,
        };
        while is_held() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// Two nodes with all rows and something to do each, the first one behind a gate, and a broker that has asked them often.
async fn gated() -> (QueryEngine, Gate, Vec<Node>, Vec<String>) {
    // Who reads what depends on the table's identity, which is drawn: one table in two is one node's alone.
    for _ in 0..40 {
        let store = sealed_sales().await;
        let mut nodes = Vec::new();
        for name in ["data-0", "data-1"] {
            nodes.push(Node::start(name, opened(&store, &[0, 1]).await, secret("one")).await);
        }
        let gate = Gate::before(&mut nodes[0]).await;
        let (broker, _) = broker(&store, &nodes.iter().collect::<Vec<_>>()).await;
        let expected = ask(&broker, GROUPED).await.unwrap();
        if !reads_at(&broker, "data-0").await || !reads_at(&broker, "data-1").await {
            continue;
        }
        for _ in 0..20 {
            assert_eq!(ask(&broker, GROUPED).await.unwrap(), expected);
        }
        return (broker, gate, nodes, expected);
    }
    panic!("no table is read at both nodes");
}

/// Whether a node is given something to do.
async fn reads_at(broker: &QueryEngine, node: &str) -> bool {
    let lines = ask(broker, &format!("EXPLAIN {GROUPED}")).await.unwrap();
    lines.iter().any(|line| line.contains(&format!("stage 1, {node}: ")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_does_not_wait_for_a_node_that_holds_its_fragment_back() {
    let (broker, gate, _nodes, expected) = gated().await;
    gate.hold(FRAGMENTS);
    let begun = Instant::now();
    assert_eq!(ask(&broker, GROUPED).await.unwrap(), expected);
    // A connection that is silent is given up after 3 s.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_node_is_left_by_all_queries_and_comes_back() {
    let (broker, gate, _nodes, expected) = gated().await;
    gate.hold(ALL);
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(ask(&broker, GROUPED).await.unwrap(), expected);
    }
    // The time that a single query would otherwise wait to hear what it has.
    assert!(begun.elapsed() < Duration::from_millis(20 * 250), "{:?}", begun.elapsed());
    gate.hold(NOTHING);
    let begun = Instant::now();
    while !reads_at(&broker, "data-0").await {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is never asked again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ask(&broker, GROUPED).await.unwrap(), expected);
}

/// Those that exchange rows with it are as late as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_exchanges_rows_does_not_wait_for_a_node_that_falls_silent() {
    let store = sealed_sales().await;
    let mut nodes = Vec::new();
    for name in ["data-0", "data-1", "data-2"] {
        nodes.push(Node::start(name, opened(&store, &[0, 1]).await, secret("one")).await);
    }
    let gate = Gate::before(&mut nodes[0]).await;
    let broker = exchanging(&store, &nodes.iter().collect::<Vec<_>>(), everywhere(0)).await;
    let joined = "SELECT a.id, b.id FROM sales a JOIN sales b ON a.amount = b.amount AND a.id < b.id";
    let expected = ask(&broker, joined).await.unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&broker, joined).await.unwrap(), expected);
    }
    gate.hold(FROM_FRAGMENTS_ON);
    let begun = Instant::now();
    assert_eq!(ask(&broker, joined).await.unwrap(), expected);
    assert_eq!(gate.held.load(Ordering::SeqCst), ALL, "it was given something to do");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// Another run could only wait for the same node.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_alone_has_its_rows_is_waited_for() {
    let store = sealed_sales().await;
    let mut nodes = Vec::new();
    for partition in 0..2 {
        let table = opened(&store, &[partition]).await;
        nodes.push(Node::start(&format!("data-{partition}"), table, secret("one")).await);
    }
    let gate = Gate::before(&mut nodes[0]).await;
    let (broker, _) = broker(&store, &nodes.iter().collect::<Vec<_>>()).await;
    let expected = ask(&broker, GROUPED).await.unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&broker, GROUPED).await.unwrap(), expected);
    }
    gate.hold(FRAGMENTS);
    let asking = ask(&broker, GROUPED);
    let going_on = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        gate.hold(NOTHING);
    };
    let begun = Instant::now();
    let (answer, ()) = futures::join!(asking, going_on);
    assert_eq!(answer.unwrap(), expected);
    assert!(begun.elapsed() >= Duration::from_millis(700));
}

/// All fragments of a broker on a node share one connection.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_do_not_hold_up_others() {
    let (_store, broker, _nodes) = three().await;
    let mut unread = Vec::new();
    for _ in 0..6 {
        let sql = "SELECT repeat('x', 200000) FROM sales";
        unread.push(broker.run(QueryRequest { sql: sql.into(), ..QueryRequest::default() }).await.unwrap());
    }
    // Until they have filled whatever there is to fill.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let request = QueryRequest {
        sql: "SELECT count(*) FROM sales".into(),
        deadline: Some(Duration::from_secs(20)),
        ..QueryRequest::default()
    };
    assert_eq!(ask_with(&broker, request).await.unwrap().len(), 1);
}
