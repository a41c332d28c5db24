//! The path under test: messages through the decoder into mutable segments, some of them sealed and committed, all of
//! them in the tables of one query engine, and once more on the nodes of a cluster.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use headwater_broker::QueryError;
use headwater_broker::engine::{EngineConfig, ExecuteOptions, QueryEngine, Toggle, error_of};
use headwater_broker::request::{QueryAnswer, QueryRequest};
use headwater_segment::live::Tables;
use headwater_segment::spec::TableSpec;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tempfile::TempDir;

use crate::cluster::{Cluster, Logs};
use crate::filling::Filling;
use crate::message::Message;
use crate::reference::{Datum, row_of};
use arrow::array::RecordBatch;

/// A table as the stream has it.
pub(crate) struct Stream {
    pub(crate) spec: TableSpec,
    pub(crate) partitions: BTreeMap<i32, Vec<Message>>,
}

impl Stream {
    /// The rows that the second decoder finds.
    pub(crate) fn reference_rows(&self) -> Vec<Vec<Datum>> {
        let messages = self.partitions.iter().flat_map(|(partition, messages)| {
            messages.iter().filter_map(|message| row_of(&self.spec, *partition, message))
        });
        messages.collect()
    }
}

/// What has become of a stretch of offsets. In this order along a partition; the last stretch is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Committed, and the mutable segment gone.
    Sealed,
    /// Committed by another process: the log that readers use may not know it yet, the rows are still in memory.
    Unadopted,
    /// Another process has committed the first part, and readers know.
    Overlapped,
    /// Encoded and uploaded, but not committed.
    Sealing,
    Open,
}

/// Every query runs with inverted indexes and bloom filters by choice, wherever they are possible, and never; and with and
/// without zone maps, the fused aggregate and kept plans.
const ENGINES: [(&str, ExecuteOptions); 4] = [
    ("by choice", options(Toggle::Auto, true, true)),
    ("forced on", options(Toggle::On, true, true)),
    ("without zone maps", options(Toggle::Auto, false, true)),
    ("forced off", options(Toggle::Off, false, false)),
];

const fn options(indexes: Toggle, zones: bool, others: bool) -> ExecuteOptions {
    let (exchange_rows_min, broadcast_rows_max) = (100_000, 128 << 10);
    ExecuteOptions { indexes, zones, aggregate: others, plans: others, exchange_rows_min, broadcast_rows_max }
}

/// How a node of a cluster executes: not all need do it alike. Two brokers of three have rows exchanged between data nodes
/// wherever that is possible, and one of these two sends no side of a join to all of them.
pub(crate) fn any_options(random: &mut StdRng) -> ExecuteOptions {
    let options = ENGINES.choose(random).unwrap().1;
    match random.random_range(0..3) {
        0 => options,
        1 => ExecuteOptions { exchange_rows_min: 0, ..options },
        _ => ExecuteOptions { exchange_rows_min: 0, broadcast_rows_max: 0, ..options },
    }
}

/// A query engine, by how it was told to execute.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    pub(crate) keeps_plans: bool,
    pub(crate) engine: QueryEngine,
}

/// The engines over the tables.
pub(crate) struct World<'s> {
    engines: Vec<Engine>,
    /// The same tables on the nodes of a cluster.
    pub(crate) cluster: Cluster<'s>,
    _resident_dir: TempDir,
    /// Which stretches are in which form, for the report of a failure.
    pub(crate) mixture: String,
}

impl<'s> World<'s> {
    pub(crate) async fn new(random: &mut StdRng, streams: &'s [Stream]) -> Self {
        let tables = Tables::default();
        let (mut filled, mut mixture) = (Vec::new(), String::new());
        for stream in streams {
            let mut filling = Filling::new(stream).await;
            let mut logs = Logs::default();
            for (partition, messages) in &stream.partitions {
                let _ = write!(mixture, "\n  {} partition {partition}:", stream.spec.name);
                for (form, stretch) in stretches(random, messages.len()) {
                    logs.look(random, &filling).await;
                    let _ = write!(mixture, " {form:?}({} messages)", stretch.len());
                    filling.stretch(random, *partition, messages, stretch, form).await;
                }
            }
            tables.insert(Arc::clone(&filling.live));
            let logs = logs.all(&filling).await;
            filled.push((filling, logs));
        }
        let tables = Arc::new(tables);
        let resident_dir = tempfile::tempdir().unwrap();
        let engines = ENGINES.map(|(name, execute)| {
            let config = EngineConfig {
                threads: random.random_range(1..4),
                execute,
                // Of the engines one maps its resident columns from files.
                resident_dir: (execute.indexes == Toggle::On).then(|| resident_dir.path().to_owned()),
                ..EngineConfig::default()
            };
            let engine = QueryEngine::new(config, Arc::clone(&tables)).unwrap();
            Engine { name, keeps_plans: execute.plans, engine }
        });
        let cluster = Cluster::start(random, filled).await;
        Self { engines: engines.into(), cluster, _resident_dir: resident_dir, mixture }
    }

    pub(crate) fn engines(&self) -> &[Engine] {
        &self.engines
    }
}

impl Engine {
    /// The answer, or the error; whether the plan of an earlier run was used; and in how many sealed segments its
    /// partial aggregates.
    pub(crate) async fn run(&self, sql: &str) -> (Result<Vec<RecordBatch>, QueryError>, bool, u64) {
        let request = QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() };
        match self.engine.run(request).await {
            Ok(answer) => {
                let is_kept = answer.stats.plan_kept.load(Ordering::Relaxed);
                let stats = Arc::clone(&answer.stats);
                let batches = batches(answer).await;
                (batches, is_kept, stats.segments_kept.load(Ordering::Relaxed))
            }
            Err(error) => (Err(error), false, 0),
        }
    }
}

async fn batches(mut answer: QueryAnswer) -> Result<Vec<RecordBatch>, QueryError> {
    let mut batches = vec![RecordBatch::new_empty(Arc::clone(&answer.schema))];
    while let Some(batch) = answer.stream.next().await {
        batches.push(batch.map_err(|error| error_of(&error))?);
    }
    Ok(batches)
}

/// So many messages make more rows than a block of a segment has (8192), although some are no rows.
const BLOCK_MESSAGES: usize = 9300;

/// Cuts the messages of a partition into stretches.
fn stretches(random: &mut StdRng, messages: usize) -> Vec<(Form, Range<usize>)> {
    use Form::{Open, Overlapped, Sealed, Sealing, Unadopted};
    if messages > BLOCK_MESSAGES {
        // More than one block in one segment, and another segment behind it.
        let form = [Sealed, Sealing, Unadopted][random.random_range(0..3)];
        let cut = random.random_range(BLOCK_MESSAGES..=messages);
        return vec![(form, 0..cut), (Open, cut..messages)];
    }
    let mut forms: Vec<Form> = match random.random_range(0..8) {
        0 => vec![],
        1 => vec![Sealed; random.random_range(1..4)],
        2 => vec![Sealing; random.random_range(1..4)],
        _ => (0..random.random_range(1..5))
            .map(|_| [Sealed, Sealed, Unadopted, Overlapped, Sealing][random.random_range(0..5)])
            .collect(),
    };
    forms.sort();
    forms.dedup_by(|a, b| *a == Overlapped && a == b);
    forms.push(Open);
    let mut cuts: Vec<usize> = (1..forms.len()).map(|_| random.random_range(0..=messages)).collect();
    // Sometimes everything is sealed or sealing.
    if let Some(last) = cuts.last_mut()
        && random.random_ratio(1, 3)
    {
        *last = messages;
    }
    cuts.sort();
    let starts: Vec<usize> = std::iter::once(0).chain(cuts.iter().copied()).collect();
    let ends = cuts.into_iter().chain([messages]);
    forms.into_iter().zip(starts.into_iter().zip(ends).map(|(start, end)| start..end)).collect()
}
