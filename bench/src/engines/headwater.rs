//! Headwater's query engine in process, over a table of sealed segments in a local store, as a data node opens it. But
//! unlike a data node it keeps no plans unless it is told to: the other engines of a contest plan each time.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::DataType;
use futures::{StreamExt, TryStreamExt};
use headwater_broker::engine::{EngineConfig, ExecuteOptions, QueryEngine, error_of};
use headwater_broker::request::QueryRequest;
use headwater_segment::clock::now_ms;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{self, Change, Commit, TableLog};
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{EncodedSegment, SealRequest, encode};
use headwater_server::config::StoreConfig;
use headwater_server::store::{self, Store};
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use ulid::Ulid;

use super::{LoadDone, Setup};
use crate::Result;
use crate::data::{FILE_ROWS, TableDefinition, integers, longs};

/// Segments that are encoded at once.
const ENCODERS: usize = 2;
const BATCH_ROWS: usize = 65_536;
/// Each engine may use the memory that it wants; this one asks for a figure.
const QUERY_MEMORY_BYTES: u64 = 12 << 30;
const DEADLINE: Duration = Duration::from_secs(600);

pub(super) struct Headwater {
    setup: Setup,
    engine: Option<QueryEngine>,
}

impl Headwater {
    pub(super) fn new(setup: Setup) -> Self {
        Self { setup, engine: None }
    }

    pub(super) async fn load(&mut self) -> Result<LoadDone> {
        let began = Instant::now();
        let store = open_store(&self.setup.directory)?;
        let loaded = store_table(&store, &self.setup.table, &self.setup.files).await?;
        Ok(LoadDone { seconds: began.elapsed().as_secs_f64(), ..loaded })
    }

    pub(super) async fn open(&mut self) -> Result<()> {
        let store = open_store(&self.setup.directory)?;
        let root = log::table_root(&store.root, &self.setup.table.name);
        let log = TableLog::open(Arc::clone(&store.objects), root.clone()).await?;
        let log = log.ok_or("the store does not hold the table; load it again")?;
        let tables = Tables::default();
        tables.insert(LiveTable::new(log, store.objects, root));
        let config = EngineConfig {
            threads: self.setup.threads,
            memory_bytes_default: QUERY_MEMORY_BYTES,
            memory_bytes_max: QUERY_MEMORY_BYTES,
            deadline_default: DEADLINE,
            result_bytes_max: 0,
            execute: ExecuteOptions { plans: self.setup.keeps_plans, ..ExecuteOptions::default() },
            ..EngineConfig::default()
        };
        self.engine = Some(QueryEngine::new(config, Arc::new(tables))?);
        Ok(())
    }

    pub(super) async fn query(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let engine = self.engine.as_ref().ok_or("the table is not open")?;
        let mut answer = engine.run(QueryRequest { sql: sql.into(), ..QueryRequest::default() }).await?;
        let mut batches = Vec::new();
        while let Some(batch) = answer.stream.next().await {
            batches.push(batch.map_err(|error| error_of(&error))?);
        }
        Ok(batches)
    }
}

/// Where the store lies in the engine's directory.
pub fn store_directory(directory: &FilePath) -> std::path::PathBuf {
    directory.join("store")
}

fn open_store(directory: &FilePath) -> Result<Store> {
    let url = format!("file://{}", store_directory(directory).display());
    Ok(store::open(&StoreConfig { url, ..StoreConfig::default() })?)
}

/// Makes a table in a store: one sealed segment of each file, all of partition 0, offsets by row number.
async fn store_table(
    store: &Store,
    table: &TableDefinition,
    files: &[std::path::PathBuf],
) -> Result<LoadDone> {
    let spec = table.spec(FILE_ROWS)?;
    let schema = Arc::new(TableSchema::new(&spec));
    let root = log::table_root(&store.root, &table.name);
    let log = TableLog::create(Arc::clone(&store.objects), root.clone(), &spec).await?;
    commit(&log, Change::FirstStart { epoch: 0, starts: BTreeMap::from([(0, 0)]), topic_id: None }).await?;
    let segments = files.iter().enumerate().map(|(number, file)| {
        let (schema, table, file) = (Arc::clone(&schema), table.clone(), file.clone());
        async move {
            tokio::task::spawn_blocking(move || segment(&schema, &table, &file, number as u64 * FILE_ROWS))
                .await?
        }
    });
    let mut segments = futures::stream::iter(segments).buffered(ENCODERS);
    let mut done = LoadDone { rows: 0, seconds: 0.0, bytes_on_disk: 0 };
    while let Some(segment) = segments.try_next().await? {
        done.rows += segment.meta.rows;
        done.bytes_on_disk += segment.meta.size_bytes;
        store.objects.put(&segment.meta.location(&root), segment.bytes.into()).await?;
        let meta = Arc::new(segment.meta);
        commit(&log, Change::Segment { epoch: 0, meta, schema: Arc::clone(&schema) }).await?;
    }
    // Nobody produces to it: a node that serves the table need not look for its topic.
    commit(&log, Change::SetPaused { paused: true }).await?;
    Ok(done)
}

async fn commit(log: &TableLog, change: Change) -> Result<()> {
    let at_ms = now_ms();
    log.commit(&Commit { id: Ulid::new(), at_ms, change }).await?;
    Ok(())
}

fn segment(
    schema: &TableSchema,
    table: &TableDefinition,
    file: &FilePath,
    from: u64,
) -> Result<EncodedSegment> {
    let options = ArrowReaderOptions::new().with_schema(table.arrow(&DataType::Utf8View));
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(file)?, options)?;
    let (mut rows, mut next) = (Vec::new(), from as i64);
    for batch in reader.with_batch_size(BATCH_ROWS).build()? {
        let batch = batch?;
        let end = next + batch.num_rows() as i64;
        let mut columns = batch.columns().to_vec();
        columns.extend(stream_columns(schema, next..end));
        rows.push(RecordBatch::try_new(Arc::clone(schema.arrow()), columns)?);
        next = end;
    }
    Ok(encode(SealRequest {
        schema,
        table: &table.name,
        partition: 0,
        from: from as i64,
        to: next,
        id: Ulid::new(),
        dead_letters: 0,
        rows,
        keep: Vec::new(),
    })?)
}

/// Partition and offset; no time, key or headers, because the rows never were messages.
fn stream_columns(schema: &TableSchema, offsets: Range<i64>) -> Vec<ArrayRef> {
    let count = (offsets.end - offsets.start) as usize;
    let nulls = [schema.timestamp_column(), schema.key_column(), schema.headers_column()]
        .map(|column| new_null_array(schema.arrow().field(column).data_type(), count));
    [integers(std::iter::repeat_n(0, count)), longs(offsets)].into_iter().chain(nulls).collect()
}
