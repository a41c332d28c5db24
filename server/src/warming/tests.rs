//! One node, over a store in memory, whose segments are sealed by somebody else.

use std::collections::BTreeMap;

use futures::StreamExt;
use headwater_broker::engine::EngineConfig;
use headwater_broker::request::QueryRequest;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::Tables;
use headwater_segment::log::{Change, Commit, TableLog};
use headwater_segment::mutable::MutableSegment;
use headwater_segment::sealed::{SealRequest, encode};
use headwater_segment::spec::parse_spec;
use headwater_segment::tasks::TaskState;
use headwater_segment::value::{RowSink, Value};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;

const SPEC: &str =
    "{name: t, columns: [{name: a, type: LONG}, {name: b, type: LONG}], stream: {brokers: 'h:1', topic: t}}";

struct World {
    table: Arc<LiveTable>,
    engine: QueryEngine,
}

impl World {
    async fn new(config: EngineConfig) -> Self {
        let (store, root): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Path::from("tables/t"));
        let log = TableLog::create(store.clone(), root.clone(), &parse_spec(SPEC).unwrap()).await.unwrap();
        let start = Change::FirstStart { epoch: 0, starts: BTreeMap::from([(0, 0)]), topic_id: None };
        log.commit(&Commit { id: Ulid::new(), at_ms: 0, change: start }).await.unwrap();
        let (table, tables) = (LiveTable::new(log, store, root), Arc::new(Tables::default()));
        tables.insert(table.clone());
        Self { table, engine: QueryEngine::new(config, tables).unwrap() }
    }

    /// Another node seals ten rows.
    async fn others_seal(&self, from: i64) -> Arc<SegmentMeta> {
        let (schema, budget) = (self.table.schema(), MemoryBudget::new(1 << 30));
        let (mut writer, segment) = MutableSegment::create(schema.clone(), 0, from, budget);
        for offset in from..from + 10 {
            writer.set(0, Value::I64(offset));
            writer.set(1, Value::I64(-offset));
            writer.finish_row(offset, Some(offset), None, None);
        }
        writer.publish(from + 10);
        let all: Vec<usize> = (0..schema.columns().len()).collect();
        let sealed = encode(SealRequest {
            schema: &schema,
            table: "t",
            partition: 0,
            from,
            to: from + 10,
            id: Ulid::new(),
            dead_letters: 0,
            rows: segment.batches(0..10, &all).collect::<Result<_, _>>().unwrap(),
            keep: Vec::new(),
        });
        let sealed = sealed.unwrap();
        let meta = Arc::new(sealed.meta);
        self.table.store().put(&meta.location(self.table.root()), sealed.bytes.into()).await.unwrap();
        let change = Change::Segment { epoch: 0, meta: meta.clone(), schema };
        self.table.log().commit(&Commit { id: meta.id, at_ms: 0, change }).await.unwrap();
        self.table.follow_log().await.unwrap();
        meta
    }

    async fn query(&self, sql: &str) {
        let request = QueryRequest { sql: sql.into(), ..QueryRequest::default() };
        let mut answer = self.engine.run(request).await.unwrap();
        while let Some(batch) = answer.stream.next().await {
            batch.unwrap();
        }
    }

    fn is_loaded(&self, meta: &SegmentMeta, column: usize) -> bool {
        self.engine.residents().ready(&self.table.schema(), meta, &[column]).is_some()
    }

    /// The tasks that there were, as state, done and total.
    fn tasks(&self) -> Vec<(TaskState, u64, Option<u64>)> {
        let tasks = self.table.tasks().list().into_iter();
        tasks.map(|task| (task.state, task.done, task.subject.total)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_queries_use_is_loaded_before_it_is_asked_for() {
    let world = World::new(EngineConfig::default()).await;
    let first = world.others_seal(0).await;
    let mut warmer = Warmer::new(world.engine.clone(), None);
    warmer.pass().await;
    assert!(!world.is_loaded(&first, 0) && world.tasks().is_empty(), "nobody has asked for anything");

    world.query("SELECT sum(a) FROM t").await;
    let later = [world.others_seal(10).await, world.others_seal(20).await];
    assert!(world.is_loaded(&first, 0) && !world.is_loaded(&later[0], 0));
    warmer.pass().await;
    assert!(later.iter().all(|meta| world.is_loaded(meta, 0) && !world.is_loaded(meta, 1)));
    assert_eq!(world.tasks(), [(TaskState::Done, 2, Some(2))]);
    warmer.pass().await;
    assert_eq!(world.tasks().len(), 1, "there is nothing left to load");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_cannot_be_loaded_is_left_alone_and_does_not_hold_up_others() {
    let world = World::new(EngineConfig::default()).await;
    world.others_seal(0).await;
    world.query("SELECT sum(a), sum(b) FROM t").await;
    let (damaged, fine) = (world.others_seal(10).await, world.others_seal(20).await);
    world.table.store().delete(&damaged.location(world.table.root())).await.unwrap();
    let mut warmer = Warmer::new(world.engine.clone(), None);
    warmer.pass().await;
    assert!(world.is_loaded(&fine, 0) && world.is_loaded(&fine, 1) && !world.is_loaded(&damaged, 0));
    let told = world.table.tasks().list().pop().unwrap();
    assert!(told.last_error.is_some_and(|error| error.contains(&damaged.id.to_string())));
    warmer.pass().await;
    assert_eq!(world.tasks().len(), 1, "it is not tried again at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_settles_when_it_has_loaded_what_there_is() {
    let world = World::new(EngineConfig::default()).await;
    world.engine.residents().note_used("t", &world.table.schema(), &[1]);
    let segment = world.others_seal(0).await;
    let (settled, heard) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(Warmer::new(world.engine.clone(), None).run(|| settled.send(()).unwrap()));
    heard.await.unwrap();
    assert!(world.is_loaded(&segment, 1));
    running.abort();
}

#[test]
fn a_second_takes_its_bytes() {
    assert_eq!(rest(BYTES_PER_SECOND, Duration::ZERO), Duration::from_secs(1));
    assert_eq!(rest(BYTES_PER_SECOND / 2, Duration::from_millis(200)), Duration::from_millis(300));
    assert_eq!(rest(1, Duration::from_secs(1)), Duration::ZERO);
}

#[test]
fn names_as_a_fact() {
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    assert_eq!(listing(names(&["b", "a"])), "a,b");
    let many: Vec<String> = (0..1000).map(|number| format!("column_{number:04}")).collect();
    let text = listing(many);
    assert!(text.len() <= USED_BYTES_MAX && text.starts_with("column_0000,column_0001"));
    assert!(text.split(',').all(|name| name.len() == 11));
}
