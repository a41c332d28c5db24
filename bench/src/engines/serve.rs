//! The other end of the lines, for the engines that are Rust libraries.

use std::io::{BufRead, Write};
use std::time::Instant;

use arrow::array::RecordBatch;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::datafusion::DataFusion;
use super::headwater::Headwater;
use super::{Clients, EngineName, LoadDone, Request, Setup, Timed, rows};
use crate::Result;

/// Arguments of `headwater-bench engine`.
#[derive(Clone, Debug, Args)]
pub struct EngineArguments {
    /// The engine.
    engine: EngineName,
}

/// An engine that is a library.
pub(super) enum Local {
    Headwater(Headwater),
    DataFusion(DataFusion),
}

impl Local {
    fn load(&mut self, runtime: &Runtime) -> Result<LoadDone> {
        match self {
            Self::Headwater(engine) => runtime.block_on(engine.load()),
            Self::DataFusion(engine) => runtime.block_on(engine.load()),
        }
    }

    fn open(&mut self, runtime: &Runtime) -> Result<()> {
        match self {
            Self::Headwater(engine) => runtime.block_on(engine.open()),
            Self::DataFusion(engine) => runtime.block_on(engine.open()),
        }
    }

    async fn query(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        match self {
            Self::Headwater(engine) => engine.query(sql).await,
            Self::DataFusion(engine) => engine.query(sql).await,
        }
    }
}

/// Answers requests until standard input ends.
///
/// # Errors
/// If standard input or output breaks.
pub fn run(arguments: &EngineArguments) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(super::THREADS).enable_all().build()?;
    let mut engine = None;
    for line in std::io::stdin().lock().lines() {
        let answer = serde_json::from_str(&line?)
            .map_err(Into::into)
            .and_then(|request| answer(arguments.engine, &mut engine, &runtime, request))
            .unwrap_or_else(|error| json!({"error": error.to_string()}));
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(
    name: EngineName,
    engine: &mut Option<Local>,
    runtime: &Runtime,
    request: Request,
) -> Result<Value> {
    if let Request::Start(setup) = request {
        let (started, version) = start(name, setup)?;
        *engine = Some(started);
        return Ok(json!({"version": version}));
    }
    let engine = engine.as_mut().ok_or("start comes first")?;
    match request {
        Request::Start(_) => Ok(Value::Null),
        Request::Load => value(&engine.load(runtime)?),
        Request::Open => engine.open(runtime).map(|()| json!({})),
        Request::Query { sql } => value(&timed(engine, runtime, &sql)?),
        Request::Clients { statements, clients, seconds } => {
            value(&runtime.block_on(many(engine, &statements, clients, seconds)))
        }
    }
}

fn start(name: EngineName, setup: Setup) -> Result<(Local, String)> {
    match name {
        EngineName::Headwater => {
            Ok((Local::Headwater(Headwater::new(setup)), env!("CARGO_PKG_VERSION").into()))
        }
        EngineName::Datafusion => {
            Ok((Local::DataFusion(DataFusion::new(setup)?), datafusion::DATAFUSION_VERSION.into()))
        }
        EngineName::Duckdb | EngineName::Clickhouse => Err(format!("{name} is not a library here").into()),
    }
}

fn value(of: &impl Serialize) -> Result<Value> {
    Ok(serde_json::to_value(of)?)
}

fn timed(engine: &Local, runtime: &Runtime, sql: &str) -> Result<Timed> {
    let began = Instant::now();
    let batches = runtime.block_on(engine.query(sql))?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Timed { rows: rows::of(&batches)?, seconds })
}

/// Each client runs the statements in turn, beginning at one of its own, until the time is over.
async fn many(engine: &Local, statements: &[String], clients: usize, seconds: f64) -> Clients {
    let began = Instant::now();
    let client = |number: usize| async move {
        let (mut latencies_ms, mut errors) = (Vec::new(), 0);
        for sql in statements.iter().cycle().skip(number) {
            if began.elapsed().as_secs_f64() >= seconds {
                break;
            }
            let asked = Instant::now();
            match engine.query(sql).await {
                Ok(_) => latencies_ms.push(asked.elapsed().as_secs_f64() * 1e3),
                Err(_) => errors += 1,
            }
        }
        (latencies_ms, errors)
    };
    let measured = futures::future::join_all((0..clients).map(client)).await;
    let errors = measured.iter().map(|(_, errors)| errors).sum();
    let latencies_ms = measured.into_iter().flat_map(|(latencies, _)| latencies).collect();
    Clients { latencies_ms, seconds: began.elapsed().as_secs_f64(), errors }
}
