//! Columns that queries use are loaded on the node that will be asked for them, before it is: after a join or a leave, a restart,
//! a compaction, and before a sealed segment moves to its next home.
//!
//! ```text
//! queries, here and elsewhere (`used/<table>` is gossiped) ─► columns ─┐
//! placement, now and some minutes from now ─► segments ────────────────┴─► what is missing, newest first ─► one column at a time
//! ```
//!
//! Invariants:
//! - it never stands in the way: it gives way to queries, loads one column at a time and so many bytes a second at most, and
//!   throws out nothing that queries have loaded;
//! - it only saves time. Any node can read any segment, loaded or not, so nobody waits for it but a node that has just come,
//!   and that for a bounded time.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_broker::cluster::Cluster;
use headwater_broker::engine::QueryEngine;
use headwater_segment::clock::now_ms;
use headwater_segment::live::LiveTable;
use headwater_segment::log::LogSnapshot;
use headwater_segment::resident::ResidentStore;
use headwater_segment::sealed::SegmentMeta;
use headwater_segment::tasks::{Task, TaskKind, TaskSubject};
use ulid::Ulid;

use crate::cluster::MembersView;
use crate::cluster::membership::Membership;

/// The prefix of the fact that names the columns of a table which queries have read on a node.
pub(crate) const USED_FACT: &str = "used/";
/// Longest value of that fact, in bytes: some hundred columns.
const USED_BYTES_MAX: usize = 2048;
/// How often it is looked for what is missing.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// A node that has just come is asked for what is its own after this time, loaded or not.
const SETTLE_WAIT: Duration = Duration::from_secs(60);
/// Bytes of columns in memory that are loaded in a second.
const BYTES_PER_SECOND: u64 = 64 << 20;
/// For so long a column gives way to queries.
const GIVE_WAY_MAX: Duration = Duration::from_secs(1);
const GIVE_WAY_POLL: Duration = Duration::from_millis(10);
/// A segment that could not be loaded is left alone for so long.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// This node among the others.
pub(crate) struct Place {
    pub(crate) membership: Arc<dyn Membership>,
    pub(crate) view: Arc<MembersView>,
}

/// See the module.
pub(crate) struct Warmer {
    engine: QueryEngine,
    /// `None`: there are no others.
    place: Option<Place>,
    /// Segments that could not be loaded, and when.
    failed: HashMap<Ulid, Instant>,
}

/// A segment, and the columns that it lacks here.
type Missing = (Arc<SegmentMeta>, Vec<usize>);

impl Warmer {
    pub(crate) fn new(engine: QueryEngine, place: Option<Place>) -> Self {
        Self { engine, place, failed: HashMap::new() }
    }

    /// Loads what is missing now, calls `settled` when that is done or has taken too long, and goes on for ever.
    pub(crate) async fn run(mut self, settled: impl FnOnce()) {
        let first = async {
            self.recall().await;
            self.pass().await;
        };
        if tokio::time::timeout(SETTLE_WAIT, first).await.is_err() {
            tracing::info!(
                waited_s = SETTLE_WAIT.as_secs(),
                "not all that queries use is loaded yet; this node takes part as it is"
            );
        }
        settled();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.pass().await;
        }
    }

    fn residents(&self) -> &Arc<ResidentStore> {
        self.engine.residents()
    }

    /// Local files of an earlier process say what queries used.
    async fn recall(&self) {
        let (residents, tables) = (Arc::clone(self.residents()), self.engine.tables().list());
        let recalled = tokio::task::spawn_blocking(move || {
            for table in tables {
                let snapshot = table.snapshot();
                let segments = snapshot.segments.iter().map(|segment| &**segment);
                residents.note_used_of_files(table.name(), &snapshot.schema, segments);
            }
        });
        if let Err(error) = recalled.await {
            tracing::error!(%error, "it is not known what queries used before the restart");
        }
    }

    async fn pass(&mut self) {
        self.failed.retain(|_, at| at.elapsed() < AGAIN_AFTER);
        for table in self.engine.tables().list() {
            if !self.residents().has_room() {
                return;
            }
            let snapshot = table.snapshot();
            let used = self.used_columns(&table, &snapshot);
            let missing = self.missing(&table, &snapshot, used.clone()).await;
            if !missing.is_empty() {
                let what = format!("{} columns that queries use", used.len());
                let total = Some(missing.len() as u64);
                let subject = TaskSubject { what, unit: "segments", total };
                let task = table.tasks().begin(TaskKind::CacheWarming, subject);
                self.load(&table, &snapshot, missing, task).await;
            }
        }
    }

    /// What queries have read of a table, on this node and on others.
    fn used_columns(&self, table: &LiveTable, snapshot: &LogSnapshot) -> Vec<usize> {
        let mut names: BTreeSet<String> = self.residents().used_names(table.name()).into_iter().collect();
        if let Some(place) = &self.place {
            let (fact, members) = (format!("{USED_FACT}{}", table.name()), place.membership.members());
            let told = members.compatible().filter_map(|member| member.facts.get(&fact));
            names.extend(told.flat_map(|told| told.split(',')).map(str::to_owned));
        }
        let columns = snapshot.schema.columns().iter().enumerate();
        columns.filter(|(_, column)| names.contains(&column.name)).map(|(index, _)| index).collect()
    }

    /// The segments that are, or soon will be, this node's to read and lack some of `columns` here, newest first.
    async fn missing(
        &self,
        table: &LiveTable,
        snapshot: &Arc<LogSnapshot>,
        columns: Vec<usize>,
    ) -> Vec<Missing> {
        if columns.is_empty() {
            return Vec::new();
        }
        let place = self.place.as_ref().map(|place| (place.membership.this().clone(), place.view.view()));
        let (table_id, failed) = (table.log().table_id().to_owned(), self.failed.clone());
        let (residents, snapshot) = (Arc::clone(self.residents()), Arc::clone(snapshot));
        let looked = tokio::task::spawn_blocking(move || {
            let mut is_here: Box<dyn FnMut(&SegmentMeta) -> bool> = match &place {
                Some((this, view)) => Box::new(view.is_to_have(this, &table_id, now_ms())),
                None => Box::new(|_| true),
            };
            let mut missing: Vec<Missing> = Vec::new();
            for segment in snapshot.segments.iter() {
                if is_here(segment) && !failed.contains_key(&segment.id) {
                    let lacks = residents.missing(&snapshot.schema, segment, &columns);
                    if !lacks.is_empty() {
                        missing.push((Arc::clone(segment), lacks));
                    }
                }
            }
            missing.sort_by_key(|(segment, _)| std::cmp::Reverse(segment.sealed_at_ms));
            missing
        });
        looked.await.unwrap_or_else(|error| {
            tracing::error!(table = table.name(), %error, "it is not known what could be loaded ahead of queries");
            Vec::new()
        })
    }

    async fn load(&mut self, table: &LiveTable, snapshot: &LogSnapshot, missing: Vec<Missing>, task: Task) {
        let (residents, readers) = (Arc::clone(self.residents()), self.engine.readers(table));
        for (segment, columns) in missing {
            for column in columns {
                if !residents.has_room_for(&segment) {
                    task.note(&"there is no room for more than queries ask for; the rest is loaded when it is asked for");
                    return task.done(None);
                }
                self.give_way().await;
                let begun = Instant::now();
                match residents.warm(&readers, &snapshot.schema, &segment, column).await {
                    Ok(bytes) => {
                        tokio::time::sleep(rest(bytes, begun.elapsed())).await;
                        if !residents.missing(&snapshot.schema, &segment, &[column]).is_empty() {
                            // It cannot be kept, or went at once: to load it again and again would help nobody.
                            self.failed.insert(segment.id, Instant::now());
                        }
                    }
                    Err(error) => {
                        tracing::debug!(table = table.name(), segment = %segment.id, %error, "not loaded ahead");
                        task.note(&error);
                        self.failed.insert(segment.id, Instant::now());
                        break;
                    }
                }
            }
            task.advance(1);
        }
        task.done(None);
    }

    /// Waits while queries run, but not for ever: under a steady load that would be never.
    async fn give_way(&self) {
        let until = Instant::now() + GIVE_WAY_MAX;
        while Instant::now() < until && (self.engine.is_busy() || !self.residents().is_idle()) {
            tokio::time::sleep(GIVE_WAY_POLL).await;
        }
    }
}

/// How long to wait after so many bytes that have taken so long.
fn rest(bytes: u64, took: Duration) -> Duration {
    Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND as f64).saturating_sub(took)
}

/// Names of columns as a fact, as many as fit.
pub(crate) fn listing(mut names: Vec<String>) -> String {
    names.sort_unstable();
    let mut text = String::new();
    for name in names {
        if text.len() + 1 + name.len() > USED_BYTES_MAX {
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&name);
    }
    text
}
