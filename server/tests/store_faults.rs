//! The whole path of a row over an object store that fails one call in five, half of the writes after they took effect:
//! every event is there once, whatever failed, and no answer on the way is wrong.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use headwater_broker::engine::{EngineConfig, QueryEngine};
use headwater_broker::request::QueryRequest;
use headwater_ingest::table::{IngestContext, TableIngest};
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::{TableLog, table_root};
use headwater_segment::spec::parse_spec;
use headwater_server::demo::broker::{EmbeddedBroker, TopicConfig};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tokio::sync::Semaphore;

const EVENTS: i64 = 100_000;
const PARTITIONS: i32 = 4;
const WAIT: Duration = Duration::from_secs(60);

/// Fails one call in five, in no rhythm that a retry could fall into; of the writes, every other failure comes after the write took effect.
#[derive(Debug)]
struct Flaky {
    inner: InMemory,
    calls: AtomicU64,
    failures: AtomicU64,
    healed: AtomicBool,
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flaky")
    }
}

impl Flaky {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            healed: AtomicBool::new(false),
        })
    }

    /// The number of the failure, if this call is to fail.
    fn failure(&self) -> Option<u64> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let mixed = call.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (mixed.is_multiple_of(5) && !self.healed.load(Ordering::SeqCst))
            .then(|| self.failures.fetch_add(1, Ordering::SeqCst))
    }

    fn error<T>(&self) -> Result<T> {
        Err(Error::Generic { store: "Flaky", source: "timed out".into() })
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.failure() {
            None => self.inner.put_opts(location, payload, options).await,
            Some(failure) if failure % 2 == 0 => self.error(),
            Some(_) => {
                self.inner.put_opts(location, payload, options).await.ok();
                self.error()
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.failure().is_some() {
            return self.error();
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.failure().is_some() {
            let error = self.error();
            return futures::stream::once(async move { error }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Tries until the store lets it through.
async fn persist<T, F: Future<Output = headwater_segment::Result<T>>>(mut attempt: impl FnMut() -> F) -> T {
    let until = Instant::now() + WAIT;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if error.is_transient() && Instant::now() < until => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn spec_text(broker: SocketAddr) -> String {
    format!(
        "name: events\ncolumns:\n  - {{name: id, type: LONG, nullable: false}}\n  - {{name: word, type: STRING}}\n\
         sort_key: [word]\nstream: {{brokers: [\"{broker}\"], topic: events}}\nseal: {{rows_max: 400, age_max: 1s}}\n"
    )
}

async fn produce(broker: SocketAddr) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", broker.to_string()).create().unwrap();
    for id in 0..EVENTS {
        let payload = format!("{{\"id\": {id}, \"word\": \"w{}\"}}", id % 97);
        let record = || -> BaseRecord<'_, (), String> {
            BaseRecord::to("events").partition((id % i64::from(PARTITIONS)) as i32).payload(&payload)
        };
        while producer.send(record()).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    producer.flush(WAIT).unwrap();
}

/// Count and sum of ids with the offsets they were read at; `None` if the store failed the query.
async fn ask(engine: &QueryEngine) -> Option<(i64, i64, i64, BTreeMap<i32, i64>)> {
    let sql = "SELECT count(*), coalesce(sum(id), 0), count(DISTINCT id) FROM events".to_string();
    let answer = engine.run(QueryRequest { sql, ..QueryRequest::default() }).await.ok()?;
    let offsets = answer.cuts.get("events").map(|cut| cut.offsets.clone()).unwrap_or_default();
    let batches: Vec<_> = answer.stream.collect().await;
    let batch = batches.into_iter().next()?.ok()?;
    let value = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
    Some((value(0), value(1), value(2), offsets))
}

/// What must be in an answer at `offsets`: event `id` is at offset `id / PARTITIONS` of partition `id % PARTITIONS`.
fn expected(offsets: &BTreeMap<i32, i64>) -> (i64, i64, i64) {
    let partitions = i64::from(PARTITIONS);
    let sum_of = |(partition, end): (&i32, &i64)| {
        (0..*end).map(|offset| offset * partitions + i64::from(*partition)).sum::<i64>()
    };
    let count = offsets.values().sum();
    (count, offsets.iter().map(sum_of).sum(), count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_there_once_over_a_store_that_fails_one_call_in_five() {
    let store: Arc<Flaky> = Flaky::new();
    let root = table_root(&Path::default(), "events");
    let topic = TopicConfig { name: "events".into(), partitions: PARTITIONS, retention_bytes: 1 << 30 };
    let kafka =
        EmbeddedBroker::start(SocketAddr::from(([127, 0, 0, 1], 0)), None, vec![topic]).await.unwrap();
    let spec = parse_spec(&spec_text(kafka.addr())).unwrap();

    // A create whose answer was lost may have worked, so it is opened first.
    let log = persist(|| async {
        match TableLog::open(store.clone(), root.clone()).await? {
            Some(log) => Ok(log),
            None => TableLog::create(store.clone(), root.clone(), &spec).await,
        }
    })
    .await;
    let live = LiveTable::new(log, store.clone(), root.clone());
    let tables = Arc::new(Tables::default());
    tables.insert(live.clone());
    let engine = QueryEngine::new(EngineConfig { threads: 2, ..EngineConfig::default() }, tables).unwrap();
    let context = IngestContext {
        budget: MemoryBudget::new(256 << 20),
        encode_permits: Arc::new(Semaphore::new(2)),
        residents: engine.residents().clone(),
        runtime: tokio::runtime::Handle::current(),
        workers_per_table: 2,
        ownership: Arc::new(headwater_ingest::ownership::Alone),
    };
    let ingest = TableIngest::start(live.clone(), &context).unwrap();
    let producing = tokio::spawn(produce(kafka.addr()));

    let until = Instant::now() + WAIT;
    let mut answers = 0;
    loop {
        assert!(Instant::now() < until, "not sealed in time: {:#?}", live.progress());
        if let Some((count, sum, distinct, offsets)) = ask(&engine).await {
            assert_eq!((count, sum, distinct), expected(&offsets));
            answers += 1;
        }
        let committed: i64 = live.snapshot().stream.partitions.values().map(|state| state.committed).sum();
        if committed == EVENTS {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    producing.await.unwrap();
    ingest.stop(true).await;
    assert!(answers > 3, "{answers} answers");
    assert!(store.failures.load(Ordering::SeqCst) > 30, "{} failures", store.failures.load(Ordering::SeqCst));

    // A load reads every entry; a store that fails each fifth read never lets a long log through whole.
    store.healed.store(true, Ordering::SeqCst);
    let log = TableLog::open(store.clone(), root.clone()).await.unwrap().unwrap();
    let snapshot = log.snapshot();
    assert_eq!(snapshot.check_tiling(), Vec::<String>::new());
    assert_eq!(snapshot.segments.iter().map(|segment| segment.rows as i64).sum::<i64>(), EVENTS);
    kafka.shutdown().await;
}
