//! The data nodes from a broker's side: one cut of a table, negotiated with all of them.
//!
//! One request per node and table, to all nodes at once; none goes through the object store. A node that does not answer in time is done
//! without: if others have its partitions nothing is missing, and if not the floors say so. Where others consume all that it may
//! consume, a node that is late, or was slow before, is not waited for: all that it could add is some milliseconds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use headwater_segment::SegmentError;
use headwater_segment::live::LiveTable;
use headwater_segment::log::LogSnapshot;
use parking_lot::Mutex;
use prost::Message;
use tokio::time::Instant;

use super::cut::{NegotiatedCut, Offer, decide};
use super::load::{Asking, Loads, Scores};
use super::messages::{OffersAnswer, OffersRequest};
use super::pace::{Paces, Shape, Times};
use super::seen::Seen;
use super::service::OFFERS_PATH;
use super::view::{Cluster, ClusterView, DataNode, MemberRow};
use super::waits::Waits;
use super::{ClusterAccess, NodeId};
use crate::engine::hedge::HedgeBudget;
use crate::{QueryError, QueryErrorKind};

/// A node that does not say within this time how far it is, is done without.
const OFFER_WAIT: Duration = Duration::from_millis(500);
/// A node that takes so many times longer than nearly all do, and longer than the least time, is late. To leave one for a moment
/// costs more than to wait: others have its columns not at hand.
const OFFER_PATIENCE: u32 = 3;
const OFFER_PATIENCE_MIN: Duration = Duration::from_millis(50);
/// What a node is expected to take for a part of a query of which too little is known.
const PART_UNKNOWN: Duration = Duration::from_secs(1);
/// Between two looks whether a cut can be had.
const AGAIN_AFTER: Duration = Duration::from_millis(10);
/// The longest time between two looks.
const AGAIN_AFTER_MAX: Duration = Duration::from_millis(100);
/// A query that may go without what is missing waits so long for it, and no longer than half of the time that it has.
const PARTIAL_AFTER: Duration = Duration::from_millis(500);
/// So long before its deadline a query that waits for a cut gives up, to be able to say why.
const ANSWER_BEFORE: Duration = Duration::from_millis(50);

/// What a query wants of its cuts.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// Per table and partition: exclusive ends that must be reached.
    pub(crate) at_least: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Nodes that have failed in this query, and are done without.
    pub(crate) excluded: BTreeSet<NodeId>,
    /// Rather without what nobody has at the moment.
    pub(crate) allow_partial: bool,
    /// For which run of which query, and until when.
    pub(crate) waits: Arc<Waits>,
}

/// See the module.
pub(crate) struct Nodes {
    cluster: Arc<dyn Cluster>,
    access: ClusterAccess,
    /// By the table's id.
    tables: Mutex<HashMap<String, Arc<Known>>>,
    loads: Arc<Loads>,
    paces: Paces,
    hedges: HedgeBudget,
    /// How long nodes took to say what they have.
    offer_times: Arc<Mutex<Times>>,
}

/// Where a cut is read.
#[derive(Debug)]
pub(crate) struct CutPlace {
    /// The nodes.
    pub(crate) view: Arc<ClusterView>,
    /// How busy they are.
    pub(crate) scores: Scores,
}

/// What the nodes have said.
struct Heard {
    offers: Vec<Offer>,
    /// Who has said nothing.
    silent: BTreeSet<NodeId>,
    /// One of them knows a newer version of the log.
    is_behind: bool,
}

/// What is known here of one table besides its log.
#[derive(Default)]
pub(super) struct Known {
    /// The epoch in which cuts were given out last, and the highest end per partition.
    floors: Mutex<(u32, BTreeMap<i32, i64>)>,
    /// A look at its log is under way.
    is_looked_at: AtomicBool,
    /// The last look found that it was dropped. What is bound to a log finds no later table of the same name.
    is_dropped: AtomicBool,
    /// What the nodes had when they were last asked by those who wait for a change.
    pub(super) seen: tokio::sync::Mutex<Option<Seen>>,
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
        Self {
            cluster,
            access,
            tables: Mutex::default(),
            loads: Arc::default(),
            paces: Paces::default(),
            hedges: HedgeBudget::default(),
            offer_times: Arc::default(),
        }
    }

    /// How long queries take.
    pub(crate) fn paces(&self) -> &Paces {
        &self.paces
    }

    /// How many queries may be run twice.
    pub(crate) fn hedges(&self) -> &HedgeBudget {
        &self.hedges
    }

    /// Notes that `node` is asked for a part of a query of this shape.
    pub(super) fn ask_part(&self, shape: Shape, node: &NodeId) -> Asking {
        let expected = self.paces.part(shape).unwrap_or(PART_UNKNOWN);
        self.loads.ask(node, expected, true)
    }

    /// The cut of what is sealed.
    pub(crate) fn sealed_cut(&self, table: &LiveTable, wanted: &Wanted) -> (NegotiatedCut, CutPlace) {
        let place = CutPlace { view: self.view(&wanted.excluded), scores: self.loads.scores() };
        (NegotiatedCut::sealed(table.snapshot()), place)
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
    ) -> Result<(NegotiatedCut, CutPlace), QueryError> {
        let known = self.known(table);
        let (began, mut pause) = (Instant::now(), AGAIN_AFTER);
        // A partial answer takes time as well.
        let patience = PARTIAL_AFTER.min(wanted.waits.run.deadline.saturating_duration_since(began) / 2);
        loop {
            let (cut, place) = self.try_cut(table, &known, wanted).await;
            wanted.waits.note_alone(&cut.alone);
            let problem = match cut.missing.first() {
                // They may have fallen silent for a moment.
                _ if place.view.nodes().is_empty() => "there is no data node in the cluster".to_owned(),
                None => return Ok((cut, place)),
                Some(problem) => problem.to_string(),
            };
            if known.is_dropped.load(Ordering::Acquire) {
                let message = format!("there is no table {}", table.name());
                return Err(QueryError::new(QueryErrorKind::UnknownTable, message));
            }
            if wanted.allow_partial && began.elapsed() >= patience {
                return Ok((cut, place));
            }
            if Instant::now() + pause + ANSWER_BEFORE >= wanted.waits.run.deadline {
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
    ) -> (NegotiatedCut, CutPlace) {
        let view = self.view(&wanted.excluded);
        let (cut, place) = self.negotiate(table, known, view, wanted.at_least.get(table.name())).await;
        if cut.missing.is_empty() {
            known.raise_floors(cut.log.stream.epoch, &cut.offsets);
        }
        (cut, place)
    }

    /// What the nodes of `view` can answer now; what they lack of what was given out, or of `at_least`, is named.
    pub(super) async fn negotiate(
        &self,
        table: &Arc<LiveTable>,
        known: &Arc<Known>,
        view: Arc<ClusterView>,
        at_least: Option<&BTreeMap<i32, i64>>,
    ) -> (NegotiatedCut, CutPlace) {
        let log = table.snapshot();
        let scores = self.loads.scores();
        let id = table.log().table_id();
        let decided = |offers: &[Offer]| {
            let mut floors = known.floors(log.stream.epoch);
            if let Some(ends) = at_least {
                raise(&mut floors, ends);
            }
            decide(
                &log,
                offers,
                &floors,
                |partition, node| view.rank(id, partition, &node.member.id),
                &scores,
            )
        };
        let is_enough =
            |offers: &[Offer]| are_all_consumed(&log, offers) && decided(offers).missing.is_empty();
        let heard = self.offers(table, &log, &view, &scores, is_enough).await;
        let cut = decided(&heard.offers);
        // What is missing may be in the log by now.
        if heard.is_behind || !cut.missing.is_empty() {
            self.look_at_log(table, known);
        }
        // Whoever does not say what it has is given nothing to do either, if there is anybody else.
        let is_whole = heard.silent.is_empty() || heard.silent.len() == view.nodes().len();
        let view = if is_whole { view } else { Arc::new(view.without(&heard.silent)) };
        (cut, CutPlace { view, scores })
    }

    /// Asks all nodes what they have, until all have said it, or those that have are enough and the others late or slow.
    async fn offers(
        &self,
        table: &Arc<LiveTable>,
        log: &LogSnapshot,
        view: &ClusterView,
        scores: &Scores,
        is_enough: impl Fn(&[Offer]) -> bool,
    ) -> Heard {
        let from = log.stream.partitions.iter().map(|(partition, state)| (*partition, state.committed));
        let request =
            OffersRequest { table: table.name().to_owned(), epoch: log.stream.epoch, from: from.collect() };
        let body = bytes::Bytes::from(request.encode_to_vec());
        let asked = view.nodes().iter().map(|node| self.ask_offers(Arc::clone(node), body.clone()));
        let mut asked: FuturesUnordered<_> = asked.collect();
        let silent = view.nodes().iter().map(|node| node.member.id.clone()).collect();
        let mut heard = Heard { offers: Vec::new(), silent, is_behind: false };
        let mut waiting = heard.silent.clone();
        let mut patience = pin!(tokio::time::sleep(self.offer_patience()));
        let mut is_late = false;
        loop {
            let (node, answer) = tokio::select! {
                biased;
                answer = asked.next() => match answer {
                    Some(answer) => answer,
                    None => return heard,
                },
                () = patience.as_mut(), if !is_late => {
                    is_late = true;
                    if is_enough(&heard.offers) {
                        break;
                    }
                    continue;
                }
            };
            waiting.remove(&node.member.id);
            if let Some(offered) = answer {
                heard.silent.remove(&node.member.id);
                heard.is_behind |= offered.log_version > log.version;
                if offered.epoch == log.stream.epoch {
                    heard.offers.push(Offer { node, partitions: offered.partitions });
                }
            }
            let is_slow =
                |node| heard.offers.iter().any(|offer| scores.is_worse(node, &offer.node.member.id));
            if !waiting.is_empty() && (is_late || waiting.iter().all(is_slow)) && is_enough(&heard.offers) {
                break;
            }
        }
        // How long they take is noted all the same.
        self.access.io().spawn(async move { while asked.next().await.is_some() {} });
        heard
    }

    /// How long a node may take to say what it has before it is late.
    fn offer_patience(&self) -> Duration {
        let usual = self.offer_times.lock().percentile(95);
        usual.map_or(OFFER_WAIT, |usual| OFFER_PATIENCE_MIN.max(usual * OFFER_PATIENCE))
    }

    /// Those of `asked` that are late to answer a question that gives them nothing to do.
    pub(crate) async fn silent(&self, asked: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let view = self.cluster.view();
        // Nobody has a table without a name.
        let nothing = bytes::Bytes::from(OffersRequest::default().encode_to_vec());
        let nodes = view.nodes().iter().filter(|node| asked.contains(&node.member.id));
        let patience = self.offer_patience();
        let asking = nodes.map(|node| async {
            let answer = tokio::time::timeout(patience, self.ask_offers(Arc::clone(node), nothing.clone()));
            let is_heard = matches!(answer.await, Ok((_, Some(_))));
            (!is_heard).then(|| node.member.id.clone())
        });
        futures::future::join_all(asking).await.into_iter().flatten().collect()
    }

    fn ask_offers(
        &self,
        node: Arc<DataNode>,
        body: bytes::Bytes,
    ) -> impl Future<Output = (Arc<DataNode>, Option<OffersAnswer>)> + Send + use<> {
        let (access, times) = (self.access.clone(), Arc::clone(&self.offer_times));
        let (mut asking, begun) = (self.loads.ask(&node.member.id, Duration::ZERO, false), Instant::now());
        async move {
            let posted = access.post(&node.url, OFFERS_PATH, body);
            let answer = tokio::time::timeout(OFFER_WAIT, posted).await;
            let answer = answer.unwrap_or_else(|elapsed| Err(elapsed.to_string()));
            let answer =
                answer.and_then(|bytes| OffersAnswer::decode(bytes).map_err(|error| error.to_string()));
            match &answer {
                Ok(_) => {
                    asking.answered();
                    times.lock().put(begun.elapsed());
                }
                Err(error) => {
                    tracing::debug!(node = %node.member.id, error, "a node did not say what it has");
                }
            }
            (node, answer.ok())
        }
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

    pub(super) fn known(&self, table: &LiveTable) -> Arc<Known> {
        let mut tables = self.tables.lock();
        // Of tables that were dropped nothing need be known.
        tables.retain(|_, known| !known.is_dropped.load(Ordering::Acquire));
        Arc::clone(tables.entry(table.log().table_id().to_owned()).or_default())
    }
}

/// Whether each partition is consumed by one of the nodes.
fn are_all_consumed(log: &LogSnapshot, offers: &[Offer]) -> bool {
    let consumed = offers.iter().flat_map(|offer| &offer.partitions).filter(|offered| offered.is_consumed);
    let consumed: BTreeSet<i32> = consumed.map(|offered| offered.partition).collect();
    log.stream.partitions.keys().all(|partition| consumed.contains(partition))
}
