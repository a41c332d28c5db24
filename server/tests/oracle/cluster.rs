//! The tables of a world on two data nodes, asked through a broker, with real connections between them.
//!
//! The three know their logs at versions of their own, begun where each found its log, and have cut what is open where they liked.
//! Partitions have one owner or two, of which one may be behind. While queries run they seal, compact, restart and catch up: none
//! of that changes an answer, and neither does where rows are exchanged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_broker::cluster::placement::{MemberState, PlacementMember};
use headwater_broker::cluster::{
    Cluster as Members, ClusterAccess, ClusterView, DataNode, MemberRow, NodeId, SharedSecret,
};
use headwater_broker::engine::{EngineConfig, QueryEngine};
use headwater_segment::live::{LiveTable, Tables};
use headwater_segment::log::TableLog;
use headwater_segment::mutable::SegmentWriter;
use headwater_segment::sealed::SegmentMeta;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::filling::Filling;
use crate::world::{Engine, any_options};

const DATA_NODES: usize = 2;

/// The log of one table as the broker and the data nodes found it, the broker's last.
pub(crate) type NodeLogs = [TableLog; DATA_NODES + 1];

/// Logs that are opened at any time while a table is being filled.
#[derive(Default)]
pub(crate) struct Logs([Option<TableLog>; DATA_NODES + 1]);

impl Logs {
    /// A moment at which some processes may begin.
    pub(crate) async fn look(&mut self, random: &mut StdRng, filling: &Filling<'_>) {
        for log in &mut self.0 {
            if log.is_none() && random.random_ratio(1, 4) {
                *log = Some(filling.open_log().await);
            }
        }
    }

    /// The last moment.
    pub(crate) async fn all(self, filling: &Filling<'_>) -> NodeLogs {
        let newest = [filling.open_log().await, filling.open_log().await, filling.open_log().await];
        let mut found = self.0.into_iter();
        newest.map(|newest| found.next().flatten().unwrap_or(newest))
    }
}

/// Members that do not change.
struct Fixed(Arc<ClusterView>);

impl Members for Fixed {
    fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.0)
    }

    fn members(&self) -> Vec<MemberRow> {
        Vec::new()
    }
}

/// One table on all nodes.
struct Spread<'s> {
    filling: Filling<'s>,
    /// On each data node, then on the broker.
    lives: Vec<Arc<LiveTable>>,
    /// Of each partition on each of its owners: what writes its last segment.
    writers: BTreeMap<(usize, i32), SegmentWriter>,
    /// Writers of segments that are not the last.
    former: Vec<SegmentWriter>,
}

/// See the module.
pub(crate) struct Cluster<'s> {
    pub(crate) engine: Engine,
    tables: Vec<Spread<'s>>,
    serving: Vec<(QueryEngine, JoinHandle<()>)>,
    /// What has happened, for the report of a failure.
    pub(crate) history: Vec<String>,
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        self.serving.iter().for_each(|(_, serving)| serving.abort());
    }
}

impl<'s> Cluster<'s> {
    pub(crate) async fn start(random: &mut StdRng, filled: Vec<(Filling<'s>, NodeLogs)>) -> Self {
        let (mut tables, mut history) = (Vec::new(), Vec::new());
        for (filling, logs) in filled {
            tables.push(Spread::new(random, filling, logs, &mut history));
        }
        let served = |node: usize| {
            let served = Tables::default();
            tables.iter().for_each(|table| served.insert(Arc::clone(&table.lives[node])));
            Arc::new(served)
        };
        let secret = SharedSecret::new(b"one that all of them know");
        let (mut serving, mut members) = (Vec::new(), Vec::new());
        for node in 0..DATA_NODES {
            let engine = QueryEngine::new(config(random), served(node)).unwrap();
            let router = engine.node_router(Handle::current(), Some(secret.clone()), axum::Router::new());
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
            let id = NodeId::new(&format!("data-{node}")).unwrap();
            let member = PlacementMember { id, weight: 1, zone: None, state: MemberState::Serving };
            members.push(DataNode { member, url });
            let router = router.unwrap();
            serving.push((engine, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })));
        }
        let access = ClusterAccess::new(Some(secret), Handle::current()).unwrap();
        let members = Arc::new(Fixed(Arc::new(ClusterView::new(members))));
        let config = config(random);
        let keeps_plans = config.execute.plans;
        history.push(format!("the broker's choices: {:?}", config.execute));
        let engine = QueryEngine::clustered(config, served(DATA_NODES), members, access).unwrap();
        let engine = Engine { name: "several nodes", keeps_plans, engine };
        // From now on no cut is below what all of them have: a broker that has given none out takes what it finds.
        for table in &tables {
            let sql = format!("SELECT count(*) FROM {}", table.filling.stream.spec.name);
            engine.run(&sql).await.0.unwrap();
        }
        Self { engine, tables, serving, history }
    }

    /// Something that happens at any time.
    pub(crate) async fn happen(&mut self, random: &mut StdRng) {
        let Some(table) = self.tables.iter_mut().choose(random) else { return };
        let node = random.random_range(0..DATA_NODES);
        let what = match random.random_range(0..12) {
            0 => table.look(DATA_NODES).await,
            1 | 2 => table.look(node).await,
            3..=6 => table.seal(random).await,
            7 | 8 => table.compact(random, node).await,
            9 => table.restart(random).await,
            _ => table.catch_up(random),
        };
        if let Some(what) = what {
            self.history.push(format!("{}: {what}", table.filling.stream.spec.name));
        }
    }
}

fn config(random: &mut StdRng) -> EngineConfig {
    let (threads, execute) = (random.random_range(1..4), any_options(random));
    EngineConfig { threads, execute, ..EngineConfig::default() }
}

impl<'s> Spread<'s> {
    fn new(random: &mut StdRng, filling: Filling<'s>, logs: NodeLogs, history: &mut Vec<String>) -> Self {
        let lives: Vec<_> = logs.into_iter().map(|log| filling.table(log)).collect();
        let mut table = Self { filling, lives, writers: BTreeMap::new(), former: Vec::new() };
        let name = &table.filling.stream.spec.name;
        let versions: Vec<_> = table.lives.iter().map(|live| live.snapshot().version).collect();
        history.push(format!("{name}: log versions {versions:?}, the broker's last"));
        let ends = table.filling.next.clone();
        for (partition, end) in ends {
            let mut owners: Vec<usize> = (0..DATA_NODES).collect();
            if random.random_bool(0.5) {
                owners.remove(random.random_range(0..DATA_NODES));
            }
            let behind =
                owners.choose(random).copied().filter(|_| owners.len() > 1 && random.random_bool(0.5));
            for node in owners {
                table.begin(random, (node, partition), end, behind == Some(node), history);
            }
        }
        table
    }

    /// What a node has read of a partition.
    fn begin(
        &mut self,
        random: &mut StdRng,
        (node, partition): (usize, i32),
        end: i64,
        is_behind: bool,
        history: &mut Vec<String>,
    ) {
        let log = self.lives[node].snapshot();
        // It has begun when this was the end of what was sealed.
        let sealed = log.segments.iter().filter(|segment| segment.partition == partition);
        let starts = sealed.map(|segment| segment.from).chain(log.committed(partition));
        let start = starts.choose(random).unwrap();
        let end = if is_behind { random.random_range(start..=end) } else { end };
        let mut cuts: Vec<i64> =
            (0..random.random_range(0..3)).map(|_| random.random_range(start..=end)).collect();
        cuts.extend([start, end]);
        cuts.sort();
        history.push(format!(
            "{}: partition {partition} on data-{node}, open from {cuts:?}",
            self.filling.stream.spec.name
        ));
        for cut in cuts.windows(2) {
            let (writer, segment) = self.filling.fill(partition, cut[0]..cut[1]);
            self.lives[node].open_segment(segment);
            self.former.extend(self.writers.insert((node, partition), writer));
        }
    }

    fn owned(&self, random: &mut StdRng) -> (usize, i32) {
        *self.writers.keys().choose(random).unwrap()
    }

    /// A node looks at its log.
    async fn look(&mut self, node: usize) -> Option<String> {
        let live = &self.lives[node];
        let before = live.snapshot().version;
        live.adopt(live.log().refresh().await.unwrap(), None);
        let now = live.snapshot().version;
        (before != now).then(|| format!("node {node} (2: the broker) sees version {now} instead of {before}"))
    }

    /// An owner seals its oldest segment; the others do not know yet.
    async fn seal(&mut self, random: &mut StdRng) -> Option<String> {
        let (node, partition) = self.owned(random);
        self.look(node).await;
        let live = Arc::clone(&self.lives[node]);
        let committed = live.snapshot().committed(partition)?;
        let segments = live.segments(partition);
        let segment = segments.iter().find(|segment| segment.next_offset() > committed)?;
        if segment.start_offset() > committed {
            return None;
        }
        let to = segment.next_offset();
        if segments.last().is_some_and(|last| Arc::ptr_eq(last, segment)) {
            let (writer, next) = self.filling.fill(partition, to..to);
            live.open_segment(next);
            self.former.extend(self.writers.insert((node, partition), writer));
        }
        self.filling.commit(live.log(), segment, committed..to).await;
        live.adopt(live.log().snapshot(), Some(segment));
        let version = live.snapshot().version;
        Some(format!("data-{node} seals {committed}..{to} of partition {partition} as version {version}"))
    }

    /// A node puts one segment in the place of two.
    async fn compact(&mut self, random: &mut StdRng, node: usize) -> Option<String> {
        self.look(node).await;
        let live = Arc::clone(&self.lives[node]);
        let log = live.snapshot();
        let pairs = log.segments.iter().filter_map(|first| {
            let is_next =
                |second: &&Arc<SegmentMeta>| second.partition == first.partition && second.from == first.to;
            Some((first, log.segments.iter().find(is_next)?))
        });
        let (first, second) = pairs.choose(random)?;
        self.filling.compact(live.log(), [first, second]).await;
        live.adopt(live.log().snapshot(), None);
        Some(format!("data-{node} compacts {}..{} of partition {}", first.from, second.to, first.partition))
    }

    /// An owner begins anew at what is sealed, and is nowhere for a moment.
    async fn restart(&mut self, random: &mut StdRng) -> Option<String> {
        let (node, partition) = self.owned(random);
        self.look(node).await;
        let live = Arc::clone(&self.lives[node]);
        let committed = live.snapshot().committed(partition)?;
        let (mut writer, segment) = self.filling.fill(partition, committed..committed);
        live.restart_partition(segment);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
        let end = self.filling.next[&partition];
        self.filling.grow(&mut writer, partition, committed..end);
        live.notify_visible();
        self.former.extend(self.writers.insert((node, partition), writer));
        Some(format!("data-{node} restarts with partition {partition} at {committed}"))
    }

    /// An owner that is behind reads on.
    fn catch_up(&mut self, random: &mut StdRng) -> Option<String> {
        let place = self.owned(random);
        let (node, partition) = place;
        let from = self.lives[node].segments(partition).last()?.next_offset();
        let end = self.filling.next[&partition];
        if from >= end {
            return None;
        }
        let to = random.random_range(from..=end);
        let mut writer = self.writers.remove(&place)?;
        self.filling.grow(&mut writer, partition, from..to);
        self.writers.insert(place, writer);
        self.lives[node].notify_visible();
        Some(format!("data-{node} reads partition {partition} on, from {from} to {to}"))
    }
}
