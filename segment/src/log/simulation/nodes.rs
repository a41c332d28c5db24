//! What runs in a simulation: nodes that seal, compact, expire and collect, and a reader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::future::Either;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use ulid::Ulid;

use super::super::testing::segment_meta;
use super::super::{Change, Commit, Conflict, GapReason, LogSnapshot, Standing, TableLog};
use super::store::{SimStore, World};
use super::{Bug, MINUTE_MS};
use crate::maintain::garbage::{self, Collector, GRACE_MS, is_upload_too_old};
use crate::maintain::{CompactionLimits, next_compaction};
use crate::schema::TableSchema;
use crate::sealed::SegmentMeta;
use crate::spec::{TableSpec, parse_spec};
use crate::{Result, SegmentError};

pub(super) const PARTITIONS: i32 = 3;
const LIMITS: CompactionLimits = CompactionLimits { segments_min: 2, bytes_max: 1 << 20, rows_max: 40 };

pub(super) fn root() -> Path {
    Path::from("wh/tables/t")
}

/// The spec of the table, in one of several editions: they differ in where the value of the column stands in a message.
pub(super) fn spec(edition: usize) -> TableSpec {
    let column = format!("{{name: a, type: INT, path: v{edition}}}");
    parse_spec(&format!("name: t\ncolumns: [{column}]\nstream: {{brokers: 'k:1', topic: t}}\n")).unwrap()
}

/// Whether the message at an offset is a row of the table: now and then one is not, and here and there none is for a while.
pub(super) fn has_row(partition: i32, offset: i64) -> bool {
    (offset + i64::from(partition)) % 7 != 3 && offset % 24 < 17
}

/// The rows of a range, as the object that holds them. Those of a seal come with the place that their values were read from.
fn object_of(rows: &[i64], read_from: Option<&TableSpec>) -> Bytes {
    let place = read_from.map(place_of);
    place.into_iter().chain(rows.iter().map(i64::to_string)).collect::<Vec<_>>().join(" ").into()
}

/// Where the spec has the value of the column.
pub(super) fn place_of(spec: &TableSpec) -> String {
    spec.columns[0].path.to_string()
}

/// Where the values of an object's rows were read, if they are of one seal.
pub(super) fn read_from(object: &Bytes) -> Option<&str> {
    let text = std::str::from_utf8(object).unwrap_or_default();
    text.split(' ').find(|word| word.starts_with('v'))
}

pub(super) fn rows_of(object: &Bytes) -> Vec<i64> {
    let text = std::str::from_utf8(object).unwrap_or_default();
    text.split(' ').filter_map(|offset| offset.parse().ok()).collect()
}

#[derive(Clone)]
pub(super) struct Env {
    world: Arc<Mutex<World>>,
    store: Arc<dyn ObjectStore>,
    schema: Arc<TableSchema>,
}

impl Env {
    pub(super) fn new(world: Arc<Mutex<World>>) -> Self {
        let store = Arc::new(SimStore(world.clone()));
        Self { world, store, schema: Arc::new(TableSchema::new(&spec(0))) }
    }

    pub(super) fn first_start(&self) -> Commit {
        let starts: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
        self.commit(Change::FirstStart { epoch: 0, starts, topic_id: None })
    }

    fn draw(&self, bound: usize) -> usize {
        self.world.lock().draw(bound as u64) as usize
    }

    fn now_ms(&self) -> i64 {
        self.world.lock().now_ms
    }

    fn has(&self, bug: Bug) -> bool {
        self.world.lock().bug == Some(bug)
    }

    fn commit(&self, change: Change) -> Commit {
        let mut world = self.world.lock();
        let id = match &change {
            Change::Segment { meta, .. } | Change::Compact { meta, .. } => meta.id,
            _ => world.id(),
        };
        Commit { id, at_ms: world.now_ms, change }
    }

    fn violated(&self, what: String) {
        self.world.lock().violations.push(what);
    }

    /// Others have their turn.
    async fn wait(&self, turns: usize) {
        for _ in 0..turns {
            let mut is_first = true;
            std::future::poll_fn(|_| match std::mem::take(&mut is_first) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            })
            .await;
        }
    }

    async fn open(&self) -> TableLog {
        loop {
            match TableLog::open(self.store.clone(), root()).await {
                Ok(Some(log)) => return log,
                Ok(None) => self.violated("the table is gone".into()),
                Err(error) if error.is_transient() => {}
                Err(error) => self.violated(format!("the log cannot be opened: {error}")),
            }
            self.wait(1).await;
        }
    }

    /// Commits until it is known what became of it, or the node loses patience. What is refused is passed on.
    async fn insist(&self, log: &TableLog, commit: &Commit) -> Result<()> {
        loop {
            match log.commit(commit).await {
                Ok(_) => {
                    self.world.lock().acknowledged.push(commit.id);
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    if self.draw(6) == 0 {
                        return Err(error);
                    }
                    let turns = self.draw(4);
                    self.wait(turns).await;
                }
                Err(error) => {
                    self.world.lock().refused.push(commit.id);
                    return Err(error);
                }
            }
        }
    }

    async fn upload(
        &self,
        partition: i32,
        range: (i64, i64),
        rows: &[i64],
        read_from: Option<&TableSpec>,
    ) -> Result<Arc<SegmentMeta>> {
        let id = self.world.lock().id();
        let mut meta = segment_meta(&self.schema, id, partition, range);
        meta.rows = rows.len() as u64;
        let put = self.store.put(&meta.location(&root()), object_of(rows, read_from).into()).await;
        put.map(|_| Arc::new(meta)).map_err(|error| SegmentError::store("upload", error))
    }
}

/// A node that does whatever comes up, on any partition: who owns what is never more than a hint.
pub(super) async fn node(env: Env) {
    let log = env.open().await;
    let mut collector = Collector::default();
    // What its decoders were made with: it follows the log some time later.
    let mut reads = log.snapshot();
    loop {
        if env.draw(4) == 0 {
            reads = log.snapshot();
        }
        let done = match env.draw(17) {
            0..3 => seal(&env, &log, &reads).await,
            3..8 => seal_several(&env, &log, &reads).await,
            8..11 => compact(&env, &log).await,
            11 => expire(&env, &log).await,
            12 | 13 => collect(&env, &log, &mut collector).await,
            14 => respecify(&env, &log).await,
            _ => log.refresh().await.map(|_| ()),
        };
        match done {
            Ok(()) | Err(SegmentError::Fenced { .. } | SegmentError::Conflict { .. }) => {}
            Err(SegmentError::SpecChanged { .. }) => {
                env.world.lock().outdated += 1;
                reads = log.snapshot();
            }
            Err(error) if error.is_transient() => {}
            Err(error) => env.violated(format!("a node met {error}")),
        }
        env.wait(1).await;
    }
}

/// Follows the sealer of `ingest`, decision by decision.
async fn seal(env: &Env, log: &TableLog, reads: &LogSnapshot) -> Result<()> {
    let partition = env.draw(PARTITIONS as usize) as i32;
    let from = log.snapshot().committed(partition).unwrap_or_default();
    let to = from + 1 + env.draw(8) as i64;
    let mut prepared: Option<(i64, Commit)> = None;
    loop {
        let is_good = |prepared: &(i64, Commit)| !is_upload_too_old(prepared.0, env.now_ms());
        let (began_at_ms, commit) = match prepared.filter(is_good) {
            Some(prepared) => prepared,
            None => (env.now_ms(), prepare(env, log, reads, partition, (from, to)).await?),
        };
        // A while may pass between the decision and the commit.
        let turns = env.draw(3);
        env.wait(turns).await;
        match env.insist(log, &commit).await {
            Err(SegmentError::Conflict { conflict: Conflict::Collected { .. }, .. }) => prepared = None,
            Err(error) if error.is_transient() && env.draw(2) == 0 => prepared = Some((began_at_ms, commit)),
            other => return other,
        }
    }
}

/// The commit of a range, with its rows uploaded, as they are read with the spec of `reads`.
async fn prepare(
    env: &Env,
    log: &TableLog,
    reads: &LogSnapshot,
    partition: i32,
    (from, to): (i64, i64),
) -> Result<Commit> {
    let schema = match env.has(Bug::ReadWithIsForgotten) {
        true => log.snapshot().schema.clone(),
        false => reads.schema.clone(),
    };
    let mut rows: Vec<i64> = (from..to).filter(|offset| has_row(partition, *offset)).collect();
    if env.has(Bug::RowsTakenForNone) && rows.len() == 1 {
        rows.clear();
    }
    if rows.is_empty() {
        return Ok(env.commit(Change::Offsets { epoch: 0, schema, partition, from, to }));
    }
    let meta = env.upload(partition, (from, to), &rows, Some(&reads.spec)).await?;
    Ok(env.commit(Change::Segment { epoch: 0, meta, schema }))
}

/// Several seals that are ready at once, of any partitions: they share entries. Now and then one is given up in the middle of
/// anything, be it at work for the others.
async fn seal_several(env: &Env, log: &TableLog, reads: &LogSnapshot) -> Result<()> {
    let mut commits = Vec::new();
    for partition in 0..PARTITIONS {
        let mut from = log.snapshot().committed(partition).unwrap_or_default();
        for _ in 0..env.draw(3) {
            let to = from + 1 + env.draw(8) as i64;
            commits.push(prepare(env, log, reads, partition, (from, to)).await?);
            from = to;
        }
    }
    let seals = commits.iter().map(|commit| async {
        let patience = if env.draw(8) == 0 { env.draw(20) } else { usize::MAX };
        let seal = std::pin::pin!(env.insist(log, commit));
        let impatient = std::pin::pin!(env.wait(patience));
        match futures::future::select(seal, impatient).await {
            Either::Left((sealed, _)) => sealed,
            Either::Right(_) => Ok(()),
        }
    });
    for sealed in futures::future::join_all(seals).await {
        match sealed {
            Err(SegmentError::Fenced { .. } | SegmentError::Conflict { .. }) => {}
            other => other?,
        }
    }
    Ok(())
}

async fn compact(env: &Env, log: &TableLog) -> Result<()> {
    let Some(job) = next_compaction(&log.snapshot(), &LIMITS, |_| false) else { return Ok(()) };
    let mut rows = Vec::new();
    for segment in &job.segments {
        let failed = |error| SegmentError::store("reading", error);
        let object = env.store.get(&segment.location(&root())).await.map_err(failed)?;
        rows.extend(rows_of(&object.bytes().await.map_err(failed)?));
    }
    let (first, last) = (&job.segments[0], &job.segments[job.segments.len() - 1]);
    let count: u64 = job.segments.iter().map(|segment| segment.rows).sum();
    if env.has(Bug::CompactionLosesARow) {
        rows.pop();
    }
    if env.has(Bug::CompactionDoublesARow) {
        rows.push(rows[0]);
    }
    let mut meta = env.upload(first.partition, (first.from, last.to), &rows, None).await?;
    Arc::make_mut(&mut meta).rows = count;
    let old = job.segments.iter().map(|segment| segment.id).collect();
    let change = Change::Compact { epoch: job.epoch, old, meta, schema: env.schema.clone() };
    env.insist(log, &env.commit(change)).await?;
    env.world.lock().compactions += 1;
    Ok(())
}

async fn respecify(env: &Env, log: &TableLog) -> Result<()> {
    let spec = Arc::new(spec(env.draw(4)));
    log.commit(&env.commit(Change::SetSpec { spec })).await.map(|_| ())
}

async fn expire(env: &Env, log: &TableLog) -> Result<()> {
    let snapshot = log.snapshot();
    let count = snapshot.segments.len();
    if count < 4 {
        return Ok(());
    }
    let segments = vec![snapshot.segments.iter().nth(env.draw(count)).unwrap().id];
    log.commit(&env.commit(Change::Expire { segments })).await.map(|_| ())
}

async fn collect(env: &Env, log: &TableLog, collector: &mut Collector) -> Result<()> {
    let mark = env.world.lock().id();
    let store = &*env.store;
    let found = if env.has(Bug::NoMark) {
        find_without_mark(env, log).await?
    } else if env.has(Bug::NoGrace) {
        // Everything that was removed counts as seen long ago.
        let ahead = std::cell::Cell::new(0);
        let clock = || env.now_ms() + ahead.get();
        collector.find(log, store, &root(), mark, clock).await?;
        ahead.set(GRACE_MS + 1);
        let again = env.world.lock().id();
        collector.find(log, store, &root(), again, clock).await?
    } else {
        collector.find(log, store, &root(), mark, || env.now_ms()).await?
    };
    // The sweep is slow.
    let turns = env.draw(4);
    env.wait(turns).await;
    garbage::delete(store, &root(), found).await.map(|_| ())
}

async fn find_without_mark(env: &Env, log: &TableLog) -> Result<Vec<Path>> {
    use futures::TryStreamExt;
    let data = root().join("data");
    let listed = env.store.list(Some(&data)).map_ok(|object| object.location).try_collect::<Vec<_>>().await;
    let objects = listed.map_err(|error| SegmentError::store("listing", error))?;
    let references = log.references().await?;
    let is_garbage = |path: &Path| {
        let id = path.as_ref().strip_prefix("wh/tables/t/").and_then(SegmentMeta::id_of_path);
        id.is_some_and(|id| {
            references.standing(id) == Standing::Unknown
                && env.now_ms() - id.timestamp_ms() as i64 > 10 * MINUTE_MS as i64
        })
    };
    Ok(objects.into_iter().filter(is_garbage).collect())
}

/// A broker: looks at the log, holds what it saw for as long as the grace, and looks again.
pub(super) async fn reader(env: Env) {
    let log = env.open().await;
    let other = if env.has(Bug::ReaderChangesNodes) { Some(env.open().await) } else { None };
    let mut before: Option<Arc<LogSnapshot>> = None;
    loop {
        let looked_at_ms = env.now_ms();
        let looked = match &other {
            Some(other) if env.draw(2) == 0 => Ok(other.snapshot()),
            _ => log.refresh().await,
        };
        let seen = match looked {
            Ok(seen) => seen,
            Err(_) => {
                env.wait(1).await;
                continue;
            }
        };
        if let Some(before) = &before
            && let Err(violation) = check_monotonic(before, &seen)
        {
            env.violated(violation);
        }
        for _ in 0..env.draw(12) {
            env.wait(1).await;
            if env.now_ms() - looked_at_ms > GRACE_MS {
                break;
            }
            for segment in seen.segments.iter() {
                if env.world.lock().object(&segment.location(&root())).is_none() {
                    env.violated(format!("{} was deleted inside the grace of a reader", segment.path));
                }
            }
        }
        before = Some(seen);
        env.wait(1).await;
    }
}

fn visible(snapshot: &LogSnapshot) -> BTreeSet<(i32, i64)> {
    let segments = snapshot.segments.iter();
    let offsets =
        segments.flat_map(|segment| (segment.from..segment.to).map(|offset| (segment.partition, offset)));
    offsets.filter(|(partition, offset)| has_row(*partition, *offset)).collect()
}

/// A row once visible stays visible, until retention says otherwise.
fn check_monotonic(before: &LogSnapshot, after: &LogSnapshot) -> std::result::Result<(), String> {
    if after.version < before.version {
        return Err(format!("a reader went back from version {} to {}", before.version, after.version));
    }
    let now = visible(after);
    let expired = |partition: i32, offset: i64| {
        after.stream.partitions[&partition]
            .gaps
            .iter()
            .any(|gap| gap.reason == GapReason::Expired && (gap.from..gap.to).contains(&offset))
    };
    match visible(before)
        .iter()
        .find(|(partition, offset)| !now.contains(&(*partition, *offset)) && !expired(*partition, *offset))
    {
        Some((partition, offset)) => Err(format!(
            "partition {partition}, offset {offset} was visible at version {} and is not at {}",
            before.version, after.version
        )),
        None => Ok(()),
    }
}

/// The segment of an object's path.
pub(super) fn segment_of(path: &Path) -> Option<Ulid> {
    path.as_ref().strip_prefix("wh/tables/t/").and_then(SegmentMeta::id_of_path)
}
