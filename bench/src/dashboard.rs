//! `dashboard`: many clients with small questions, on the flat table of scale 1.
//!
//! Headwater answers over HTTP, each client with a connection that it keeps; DuckDB and ClickHouse answer inside their own
//! process, each client a thread with a cursor (DuckDB) or a session (ClickHouse) of its own, which spares them HTTP and
//! JSON. The clients of HTTP run on the same two cores. An answer counts from question to last byte; a question that fails
//! would be an error of the benchmark.
//!
//! With `--data-nodes` a cluster over the same store answers too, a broker and its data nodes on the same two cores as the clients:
//! what the way through the network costs, not what more machines bring.
//!
//! The clients go through a hundred statements of each kind again and again. Headwater keeps its plans, as every node does, so
//! after the warm-up it plans none of them; the peers plan each time, having no plans to keep for text. Nobody keeps results.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Result;
use crate::contest::{Compare, Prepared, Wanted, compare_answers, prepare_engines};
use crate::data::{Dataset, Kept, Random};
use crate::engines::{Clients, EngineName, store_directory};
use crate::node::Node;
use crate::report::{Machine, Output, Table, grouped, note, quantile};
use crate::ssb::Ssb;

/// Different statements of each kind, so that an answer is rarely that of the one before.
const STATEMENTS: u64 = 100;
const WARM_UP_SECONDS: f64 = 1.0;

/// Arguments of `headwater-bench dashboard`.
#[derive(Clone, Debug, Args)]
pub struct DashboardArguments {
    /// The `headwater` binary, a release build.
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Engines beside Headwater.
    #[arg(long, value_delimiter = ',', default_value = "duckdb,clickhouse")]
    peers: Vec<EngineName>,
    /// Clients at once.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    clients: Vec<usize>,
    /// Also ask a cluster of a broker and this many data nodes, on the same machine: what the way through the network costs.
    #[arg(long, value_name = "N", default_value_t = 0)]
    data_nodes: usize,
    /// Length of each measurement.
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    seconds: f64,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Document {
    benchmark: &'static str,
    machine: Machine,
    rows: u64,
    measured: Vec<Measured>,
}

#[derive(Debug, Serialize)]
struct Measured {
    question: &'static str,
    clients: usize,
    engine: String,
    queries: usize,
    queries_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    errors: u64,
}

struct Question {
    name: &'static str,
    statements: Vec<String>,
}

/// Runs the benchmark.
///
/// # Errors
/// If an engine fails, if two disagree, or if any query fails.
pub fn run(arguments: &DashboardArguments) -> Result<()> {
    let machine = Machine::here();
    let root = arguments.kept.root()?;
    let dataset = arguments.kept.prepare(&Ssb::new(1))?;
    // Loaded in a process that then makes room for the node.
    drop(prepare_engines(&dataset, &root, Wanted::plain(&[EngineName::Headwater]))?);
    let mut peers = prepare_engines(&dataset, &root, Wanted::plain(&arguments.peers))?;
    let store = store_directory(&dataset.directory.join(EngineName::Headwater.to_string()));
    let node = Node::start_over(&arguments.binary, &store)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let questions = questions();
    compare(&questions, &node, &mut peers)?;
    let cluster = match arguments.data_nodes {
        0 => Vec::new(),
        data_nodes => Node::start_cluster(&arguments.binary, &store, data_nodes)?,
    };
    let broker = cluster.first();
    if let Some(broker) = broker {
        compare(&questions, broker, &mut peers)?;
    }
    let across = format!("headwater, broker + {} nodes", arguments.data_nodes);
    let mut measured = Vec::new();
    for question in &questions {
        for count in &arguments.clients {
            let clients =
                |seconds| runtime.block_on(over_http(node.url(), &question.statements, *count, seconds));
            clients(WARM_UP_SECONDS)?;
            measured.push(Measured::new(question, *count, "headwater, HTTP", clients(arguments.seconds)?)?);
            if let Some(broker) = broker {
                let clients = |seconds| {
                    runtime.block_on(over_http(broker.url(), &question.statements, *count, seconds))
                };
                clients(WARM_UP_SECONDS)?;
                measured.push(Measured::new(question, *count, &across, clients(arguments.seconds)?)?);
            }
            for peer in &mut peers {
                let engine = &mut peer.engine;
                engine.clients(&question.statements, *count, WARM_UP_SECONDS)?;
                let clients = engine.clients(&question.statements, *count, arguments.seconds)?;
                measured.push(Measured::new(question, *count, &engine.name().to_string(), clients)?);
            }
        }
    }
    let document = Document { benchmark: "dashboard", machine, rows: dataset.rows, measured };
    arguments.output.publish(show(&document, &dataset), &document)
}

fn questions() -> Vec<Question> {
    let mut random = Random::new(1, 0, 0);
    let mut question = |name, statement: &dyn Fn(&mut Random) -> String| Question {
        name,
        statements: (0..STATEMENTS).map(|_| statement(&mut random)).collect(),
    };
    vec![
        question("SELECT 1", &|_| "SELECT 1".into()),
        question("city and year, by brand", &|random| {
            let (city, year) = (random.below(10), random.between(1992, 1997));
            format!(
                "SELECT p_brand, sum(lo_revenue) AS revenue FROM lineorder_flat WHERE c_city = 'UNITED KI{city}' \
                 AND lo_orderdate >= DATE '{year}-01-01' AND lo_orderdate < DATE '{}-01-01' GROUP BY p_brand ORDER BY p_brand",
                year + 1
            )
        }),
        question("one customer", &|random| {
            let customer = random.below(10_000) * 3 + 1;
            format!("SELECT count(*), sum(lo_revenue) FROM lineorder_flat WHERE lo_custkey = {customer}")
        }),
        question("one order", &|random| {
            let order = random.below(187_500) * 32 + 1;
            format!(
                "SELECT lo_linenumber, p_name, lo_quantity, lo_revenue FROM lineorder_flat WHERE lo_orderkey = {order} \
                 ORDER BY lo_linenumber"
            )
        }),
    ]
}

/// Every statement, on all engines.
fn compare(questions: &[Question], node: &Node, peers: &mut [Prepared]) -> Result<()> {
    let client = node.client()?;
    let statements: BTreeSet<&String> = questions.iter().flat_map(|question| &question.statements).collect();
    for sql in &statements {
        let answer: Vec<Vec<Value>> = serde_json::from_value(client.sql(sql)?["rows"].take())?;
        for peer in peers.iter_mut() {
            let other = peer.engine.query(sql)?.rows;
            compare_answers(&Compare::Rows, &answer, &other)
                .map_err(|difference| format!("{sql}: headwater and {}: {difference}", peer.engine.name()))?;
        }
    }
    note(format_args!("the answers of {} statements agree", statements.len()));
    Ok(())
}

/// Each client with a connection of its own, until the time is over.
async fn over_http(url: &str, statements: &[String], clients: usize, seconds: f64) -> Result<Clients> {
    let url = format!("{url}/sql");
    let bodies: Vec<String> = statements.iter().map(|sql| json!({"sql": sql}).to_string()).collect();
    let (url, bodies) = (Arc::new(url), Arc::new(bodies));
    let (began, time) = (Instant::now(), Duration::from_secs_f64(seconds));
    let tasks: Vec<_> = (0..clients)
        .map(|number| {
            let (url, bodies) = (Arc::clone(&url), Arc::clone(&bodies));
            tokio::spawn(async move {
                let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
                let (mut latencies_ms, mut errors) = (Vec::new(), 0);
                for body in bodies.iter().cycle().skip(number) {
                    if began.elapsed() >= time {
                        break;
                    }
                    let asked = Instant::now();
                    match ask(&http, &url, body).await {
                        Ok(true) => latencies_ms.push(asked.elapsed().as_secs_f64() * 1e3),
                        Ok(false) | Err(_) => errors += 1,
                    }
                }
                Ok::<_, reqwest::Error>((latencies_ms, errors))
            })
        })
        .collect();
    let mut all = Clients { latencies_ms: Vec::new(), seconds: 0.0, errors: 0 };
    for task in tasks {
        let (latencies_ms, errors) = task.await??;
        all.latencies_ms.extend(latencies_ms);
        all.errors += errors;
    }
    all.seconds = began.elapsed().as_secs_f64();
    Ok(all)
}

async fn ask(http: &reqwest::Client, url: &str, body: &str) -> reqwest::Result<bool> {
    let request = http.post(url).header("content-type", "application/json").body(body.to_owned());
    let response = request.send().await?;
    let success = response.status().is_success();
    response.bytes().await?;
    Ok(success)
}

impl Measured {
    fn new(question: &Question, clients: usize, engine: &str, mut measured: Clients) -> Result<Self> {
        if measured.errors > 0 {
            return Err(format!("{}: {} queries failed on {engine}", question.name, measured.errors).into());
        }
        let count = measured.latencies_ms.len();
        let measured = Self {
            question: question.name,
            clients,
            engine: engine.into(),
            queries: count,
            queries_per_second: count as f64 / measured.seconds,
            p50_ms: quantile(&mut measured.latencies_ms, 0.5),
            p99_ms: quantile(&mut measured.latencies_ms, 0.99),
            errors: measured.errors,
        };
        note(format_args!(
            "  {}, {clients} clients, {engine}: {}/s, p99 {:.2} ms",
            question.name,
            grouped(measured.queries_per_second),
            measured.p99_ms
        ));
        Ok(measured)
    }
}

fn show(document: &Document, dataset: &Dataset) -> String {
    let mut table = Table::new(&["question", "clients", "engine", "queries/s", "p50, ms", "p99, ms"]);
    for measured in &document.measured {
        table.row([
            measured.question.into(),
            measured.clients.to_string(),
            measured.engine.clone(),
            grouped(measured.queries_per_second),
            format!("{:.2}", measured.p50_ms),
            format!("{:.2}", measured.p99_ms),
        ]);
    }
    format!(
        "Clients at once on {} rows; no query failed.\n{}\n\n{table}",
        grouped(dataset.rows as f64),
        document.machine
    )
}
