//! The data nodes from a broker's side: one cut of a table, negotiated with all of them.
//!
//! One request per node and table, to all nodes at once; none goes through the object store. A node that does not answer in time is done
//! without: if others have its partitions nothing is missing, and if not the floors say so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use headwater_segment::SegmentError;
use headwater_segment::live::LiveTable;
use headwater_segment::log::LogSnapshot;
use parking_lot::Mutex;
use prost::Message;
use tokio::time::Instant;

use super::cut::{NegotiatedCut, Offer, decide};
use super::messages::{OffersAnswer, OffersRequest};
use super::service::OFFERS_PATH;
use super::view::{Cluster, ClusterView, DataNode, MemberRow};
use super::{ClusterAccess, NodeId};
use crate::{QueryError, QueryErrorKind};

/// A node that does not say within this time how far it is, is done without.
const OFFER_WAIT: Duration = Duration::from_millis(500);
/// Between two looks whether a cut can be had.
const AGAIN_AFTER: Duration = Duration::from_millis(10);
/// The longest time between two looks.
const AGAIN_AFTER_MAX: Duration = Duration::from_millis(100);
/// A query that may go without what is missing waits so long for it, and no longer than half of the time that it has.
const PARTIAL_AFTER: Duration = Duration::from_millis(500);
/// So long before its deadline a query that waits for a cut gives up, to be able to say why.
const ANSWER_BEFORE: Duration = Duration::from_millis(50);

/// What a query wants of its cuts.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Per table and partition: exclusive ends that must be reached.
    pub(crate) at_least: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Nodes that have failed in this query, and are done without.
    pub(crate) excluded: BTreeSet<NodeId>,
    /// Rather without what nobody has at the moment.
    pub(crate) allow_partial: bool,
    /// Until when.
    pub(crate) deadline: Instant,
}

/// See the module.
pub(crate) struct Nodes {
    cluster: Arc<dyn Cluster>,
    access: ClusterAccess,
    /// By the table's id.
    tables: Mutex<HashMap<String, Arc<Known>>>,
}

/// What is known here of one table besides its log.
#[derive(Default)]
struct Known {
    /// The epoch in which cuts were given out last, and the highest end per partition.
    floors: Mutex<(u32, BTreeMap<i32, i64>)>,
    /// A look at its log is under way.
    is_looked_at: AtomicBool,
    /// The last look found that it was dropped. What is bound to a log finds no later table of the same name.
    is_dropped: AtomicBool,
}

impl Known {
    /// The least ends of a cut in `epoch`, of which there are none in a new one.
    fn floors(&self, epoch: u32) -> BTreeMap<i32, i64> {
        let floors = self.floors.lock();
        if floors.0 == epoch { floors.1.clone() } else { BTreeMap::new() }
    }

    fn raise_floors(&self, epoch: u32, ends: &BTreeMap<i32, i64>) {
        let mut floors = self.floors.lock();
        if floors.0 < epoch {
            *floors = (epoch, BTreeMap::new());
        }
        if floors.0 == epoch {
            raise(&mut floors.1, ends);
        }
    }
}

fn raise(floors: &mut BTreeMap<i32, i64>, ends: &BTreeMap<i32, i64>) {
    for (partition, end) in ends {
        let floor = floors.entry(*partition).or_insert(*end);
        *floor = (*floor).max(*end);
    }
}

impl Nodes {
    pub(crate) fn new(cluster: Arc<dyn Cluster>, access: ClusterAccess) -> Self {
        Self { cluster, access, tables: Mutex::default() }
    }

    /// The members without those that have failed.
    pub(crate) fn view(&self, excluded: &BTreeSet<NodeId>) -> Arc<ClusterView> {
        let view = self.cluster.view();
        if excluded.is_empty() { view } else { Arc::new(view.without(excluded)) }
    }

    /// All members, as an operator sees them.
    pub(crate) fn members(&self) -> Vec<MemberRow> {
        self.cluster.members()
    }

    pub(crate) fn access(&self) -> &ClusterAccess {
        &self.access
    }

    /// The newest cut of `table` that the nodes can answer, at or above every earlier one.
    ///
    /// # Errors
    /// `SegmentUnavailable` if there is none before the deadline, naming what is missing; `UnknownTable` if the table was
    /// dropped meanwhile.
    pub(crate) async fn cut(
        &self,
        table: &Arc<LiveTable>,
        wanted: &Wanted,
    ) -> Result<(NegotiatedCut, Arc<ClusterView>), QueryError> {
        let known = self.known(table);
        let (began, mut pause) = (Instant::now(), AGAIN_AFTER);
        // A partial answer takes time as well.
        let patience = PARTIAL_AFTER.min(wanted.deadline.saturating_duration_since(began) / 2);
        loop {
            let (cut, view) = self.try_cut(table, &known, wanted).await;
            let problem = match cut.missing.first() {
                // They may have fallen silent for a moment.
                _ if view.nodes().is_empty() => "there is no data node in the cluster".to_owned(),
                None => return Ok((cut, view)),
                Some(problem) => problem.to_string(),
            };
            if known.is_dropped.load(Ordering::Acquire) {
                let message = format!("there is no table {}", table.name());
                return Err(QueryError::new(QueryErrorKind::UnknownTable, message));
            }
            if wanted.allow_partial && began.elapsed() >= patience {
                return Ok((cut, view));
            }
            if Instant::now() + pause + ANSWER_BEFORE >= wanted.deadline {
                let message =
                    format!("table {}: {problem}; the deadline of the query has passed", table.name());
                return Err(QueryError::new(QueryErrorKind::SegmentUnavailable, message));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_AFTER_MAX);
        }
    }

    async fn try_cut(
        &self,
        table: &Arc<LiveTable>,
        known: &Arc<Known>,
        wanted: &Wanted,
    ) -> (NegotiatedCut, Arc<ClusterView>) {
        let log = table.snapshot();
        let view = self.view(&wanted.excluded);
        let (offers, silent, is_behind) = self.offers(table, &log, &view).await;
        let mut floors = known.floors(log.stream.epoch);
        if let Some(ends) = wanted.at_least.get(table.name()) {
            raise(&mut floors, ends);
        }
        let id = table.log().table_id();
        let cut = decide(&log, &offers, &floors, |partition, node| view.rank(id, partition, &node.member.id));
        if cut.missing.is_empty() {
            known.raise_floors(log.stream.epoch, &cut.offsets);
        }
        // What is missing may be in the log by now.
        if is_behind || !cut.missing.is_empty() {
            self.look_at_log(table, known);
        }
        // Whoever does not say what it has is given nothing to do either, if there is anybody else.
        let is_whole = silent.is_empty() || silent.len() == view.nodes().len();
        (cut, if is_whole { view } else { Arc::new(view.without(&silent)) })
    }

    /// What the nodes offer, who was not heard, and whether one knows a newer version of the log.
    async fn offers(
        &self,
        table: &Arc<LiveTable>,
        log: &LogSnapshot,
        view: &ClusterView,
    ) -> (Vec<Offer>, BTreeSet<NodeId>, bool) {
        let from = log.stream.partitions.iter().map(|(partition, state)| (*partition, state.committed));
        let request =
            OffersRequest { table: table.name().to_owned(), epoch: log.stream.epoch, from: from.collect() };
        let body = bytes::Bytes::from(request.encode_to_vec());
        let asked = view.nodes().iter().map(|node| self.offers_of(node, body.clone()));
        let (mut offers, mut silent, mut is_behind) = (Vec::new(), BTreeSet::new(), false);
        for (node, answer) in view.nodes().iter().zip(join_all(asked).await) {
            let Some(offered) = answer else {
                silent.insert(node.member.id.clone());
                continue;
            };
            is_behind |= offered.log_version > log.version;
            if offered.epoch == log.stream.epoch {
                offers.push(Offer { node: Arc::clone(node), partitions: offered.partitions });
            }
        }
        (offers, silent, is_behind)
    }

    async fn offers_of(&self, node: &DataNode, body: bytes::Bytes) -> Option<OffersAnswer> {
        let asked = tokio::time::timeout(OFFER_WAIT, self.access.post(&node.url, OFFERS_PATH, body)).await;
        let answer = asked.unwrap_or_else(|elapsed| Err(elapsed.to_string()));
        let answer = answer.and_then(|bytes| OffersAnswer::decode(bytes).map_err(|error| error.to_string()));
        let heard = answer.inspect_err(
            |error| tracing::debug!(node = %node.member.id, error, "a node did not say what it has"),
        );
        heard.ok()
    }

    /// Looks at a table's log in the background, unless that is under way.
    fn look_at_log(&self, table: &Arc<LiveTable>, known: &Arc<Known>) {
        if known.is_looked_at.swap(true, Ordering::AcqRel) {
            return;
        }
        let (table, known) = (Arc::clone(table), Arc::clone(known));
        self.access.io().spawn(async move {
            match table.follow_log().await {
                Ok(()) => {}
                Err(SegmentError::NoSuchTable(_)) => known.is_dropped.store(true, Ordering::Release),
                Err(error) => tracing::debug!(table = table.name(), %error, "the log could not be looked at"),
            }
            known.is_looked_at.store(false, Ordering::Release);
        });
    }

    fn known(&self, table: &LiveTable) -> Arc<Known> {
        let mut tables = self.tables.lock();
        // Of tables that were dropped nothing need be known.
        tables.retain(|_, known| !known.is_dropped.load(Ordering::Acquire));
        Arc::clone(tables.entry(table.log().table_id().to_owned()).or_default())
    }
}
