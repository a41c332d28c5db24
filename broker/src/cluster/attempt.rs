//! What the nodes report of one run of a query: that one of them failed it, and how much crossed each boundary.
//!
//! A fragment may wait for rows of another fragment whose plan never arrived: whoever waits cannot know. The broker, which sends
//! all plans, can: the first failure of a plan or of its channel ends everything that is read here, with its own error.
//!
//! How much crossed a boundary between data nodes comes with the metrics of the task that read it, when the query ends; how much
//! came here is counted here. What is [learned] of it decides where the next query like this one exchanges its rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, RecordBatch};
use axum::http::HeaderMap;
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use datafusion_distributed::{TaskKey, TaskMetrics};
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::ClusterAccess;
use super::learned::{GroupKey, LearnedGroups};

/// A stage of one of the plans of a run: a query has one besides those of its subqueries.
type StagePlace = (Uuid, usize);

/// How much has crossed the boundary above a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crossed {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Crossed {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// See the module. Part of the context in which the broker runs its part of the plan.
pub(crate) struct Attempt {
    learned: Arc<LearnedGroups>,
    access: ClusterAccess,
    /// What all its requests carry.
    headers: HeaderMap,
    failure: watch::Sender<Option<Arc<DataFusionError>>>,
    stages: Mutex<Stages>,
    has_ended: AtomicBool,
}

#[derive(Default)]
struct Stages {
    /// The stages that each stage reads, as its plan has them.
    inputs: BTreeMap<StagePlace, Vec<usize>>,
    /// Stages whose rows are partial groups.
    groups: BTreeMap<StagePlace, GroupKey>,
    crossed: BTreeMap<StagePlace, Crossed>,
}

impl Attempt {
    /// With what all its requests carry, but for which run it is.
    pub(crate) fn new(learned: Arc<LearnedGroups>, access: ClusterAccess, headers: HeaderMap) -> Self {
        Self {
            learned,
            access,
            headers,
            failure: watch::Sender::new(None),
            stages: Mutex::default(),
            has_ended: AtomicBool::new(false),
        }
    }

    /// The attempt that `context` belongs to.
    pub(crate) fn of(context: &TaskContext) -> Result<Arc<Self>> {
        let attempt = context.session_config().get_extension::<Self>();
        attempt.ok_or_else(|| internal_datafusion_err!("a plan on several nodes without its attempt"))
    }

    /// All rows have come: what was counted is all there is.
    pub(crate) fn ended(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// The way to the nodes.
    pub(super) fn access(&self) -> &ClusterAccess {
        &self.access
    }

    /// See [`new`](Self::new).
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn learned(&self) -> &Arc<LearnedGroups> {
        &self.learned
    }

    /// A plan that is to be run: which stages each of its stages reads, and which of them have partial groups.
    pub(super) fn begin(
        &self,
        query: Uuid,
        inputs: impl IntoIterator<Item = (usize, Vec<usize>)>,
        groups: impl IntoIterator<Item = (usize, GroupKey)>,
    ) {
        let mut stages = self.stages.lock();
        stages.inputs.extend(inputs.into_iter().map(|(stage, inputs)| ((query, stage), inputs)));
        stages.groups.extend(groups.into_iter().map(|(stage, key)| ((query, stage), key)));
    }

    /// A fragment cannot run, or its node was lost. The first report counts.
    pub(super) fn fail(&self, error: &Arc<DataFusionError>) {
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| Arc::clone(error));
            is_first
        });
    }

    /// Tells of a failure.
    pub(super) fn failures(&self) -> watch::Receiver<Option<Arc<DataFusionError>>> {
        self.failure.subscribe()
    }

    /// Rows of a stage that came here.
    pub(super) fn count(&self, task: &TaskKey, batch: &RecordBatch) {
        let sizes =
            batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
        self.add(task, batch.num_rows(), sizes.sum());
    }

    /// As [`count`](Self::count), where nobody will ask for the bytes.
    pub(super) fn count_rows(&self, task: &TaskKey, batch: &RecordBatch) {
        self.add(task, batch.num_rows(), 0);
    }

    fn add(&self, task: &TaskKey, rows: usize, bytes: usize) {
        let crossed = Crossed { rows: rows as u64, bytes: bytes as u64 };
        self.stages.lock().crossed.entry((task.query_id, task.stage_id)).or_default().add(crossed);
    }

    /// What a task has read from other stages, by its metrics.
    pub(super) fn count_read(&self, task: &TaskKey, metrics: &TaskMetrics) {
        let mut stages = self.stages.lock();
        let Some(inputs) = stages.inputs.get(&(task.query_id, task.stage_id)).cloned() else { return };
        let boundaries: Vec<_> = metrics.pre_order_plan_metrics.iter().filter_map(crossed_in).collect();
        // A boundary that was never read from has no metrics: then nobody knows which one it was.
        if boundaries.len() == inputs.len() {
            for (stage, crossed) in inputs.into_iter().zip(boundaries) {
                let sum = stages.crossed.entry((task.query_id, stage)).or_default();
                sum.add(crossed);
            }
        }
    }

    /// What has crossed the boundary above a stage, as far as it is known by now.
    pub(crate) fn crossed(&self, query: Uuid, stage: usize) -> Option<Crossed> {
        self.stages.lock().crossed.get(&(query, stage)).copied()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Also of a query that failed: it may have failed because there were so many.
        let Stages { groups, crossed, .. } = std::mem::take(self.stages.get_mut());
        for (place, key) in groups {
            if let Some(crossed) = crossed.get(&place) {
                self.learned.learn(key, crossed.rows, *self.has_ended.get_mut());
            }
        }
    }
}

/// What the metrics of an operator say if it is a boundary that was read from.
fn crossed_in(metrics: &MetricsSet) -> Option<Crossed> {
    // Boundaries count how they reached the other side; nothing else does.
    metrics.sum_by_name("local_connections_used")?;
    let bytes = metrics.sum(|metric| matches!(metric.value(), MetricValue::OutputBytes(_)));
    let bytes = bytes.map_or(0, |bytes| bytes.as_usize() as u64);
    Some(Crossed { rows: metrics.output_rows().unwrap_or(0) as u64, bytes })
}
