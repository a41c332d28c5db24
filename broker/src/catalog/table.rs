//! One table at one cut, as DataFusion scans it: sealed segments and open rows, side by side.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use headwater_segment::live::{LiveTable, TableRead};
use headwater_segment::sealed::FooterCache;

use super::open_scan::OpenSegmentExec;
use super::prune;
use super::sealed_scan::SealedScan;
use crate::request::{QueryStats, TableCut};

/// A table whose read was taken.
pub(super) struct CutTable {
    live: Arc<LiveTable>,
    footers: Arc<FooterCache>,
    read: TableRead,
    /// The visible columns' places in the full schema.
    visible: Vec<usize>,
    schema: SchemaRef,
    stats: Arc<QueryStats>,
    taken_at_ms: i64,
    scanned: AtomicBool,
}

impl fmt::Debug for CutTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CutTable")
            .field("name", &self.live.name())
            .field("cut", &self.read.cut)
            .finish_non_exhaustive()
    }
}

impl CutTable {
    /// Takes the table's read now. With `sealed_only` the open rows are left out, and out of the cut.
    pub(super) fn take(
        live: Arc<LiveTable>,
        footers: Arc<FooterCache>,
        stream_columns: &BTreeSet<String>,
        sealed_only: bool,
        stats: Arc<QueryStats>,
    ) -> Self {
        let mut read = live.read();
        if sealed_only {
            read.open.clear();
            read.cut.newest_timestamp_ms = None;
            let partitions = &read.log.stream.partitions;
            read.cut.offsets =
                partitions.iter().map(|(partition, state)| (*partition, state.committed)).collect();
        }
        let full = &read.log.schema;
        let is_visible = |index: &usize| {
            *index < full.spec_columns() || stream_columns.contains(&full.columns()[*index].name)
        };
        let visible: Vec<usize> = (0..full.columns().len()).filter(is_visible).collect();
        let fields: Vec<_> = visible.iter().map(|index| Arc::clone(&full.arrow().fields()[*index])).collect();
        let taken_at_ms = chrono::Utc::now().timestamp_millis();
        Self {
            live,
            footers,
            read,
            visible,
            schema: Arc::new(Schema::new(fields)),
            stats,
            taken_at_ms,
            scanned: AtomicBool::new(false),
        }
    }

    /// Whether the plan reads the table (and did not only ask for its schema).
    pub(super) fn is_scanned(&self) -> bool {
        self.scanned.load(Ordering::Relaxed)
    }

    /// The cut as the answer names it.
    pub(super) fn cut(&self) -> TableCut {
        let newest = self.read.cut.newest_timestamp_ms.or_else(|| prune::newest_timestamp_ms(&self.read.log));
        TableCut {
            log_version: self.read.cut.log_version,
            offsets: self.read.cut.offsets.clone(),
            freshness_ms: newest.map(|newest| (self.taken_at_ms - newest).max(0)),
        }
    }

    fn count(&self, sealed_scanned: usize) {
        self.scanned.store(true, Ordering::Relaxed);
        let sealed_rows: u64 = self.read.log.segments.iter().map(|segment| segment.rows).sum();
        let open_rows: u64 = self.read.open.iter().map(|slice| slice.rows.len() as u64).sum();
        let open = self.read.open.len() as u64;
        let stats = &self.stats;
        stats.rows_total.fetch_add(sealed_rows + open_rows, Ordering::Relaxed);
        stats.segments_total.fetch_add(self.read.log.segments.len() as u64 + open, Ordering::Relaxed);
        stats.segments_scanned.fetch_add(sealed_scanned as u64 + open, Ordering::Relaxed);
        stats.segments_open.fetch_add(open, Ordering::Relaxed);
    }
}

#[async_trait]
impl TableProvider for CutTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        // Filters prune segments, row groups and pages; what is left is filtered again.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let full = &self.read.log.schema;
        let sealed = prune::surviving(state, &self.schema, full, &self.read.log.segments, filters)?;
        self.count(sealed.len());

        // The sealed scan prunes by filters that the limit must not come before.
        let limit = limit.filter(|_| filters.is_empty());
        let projection: Vec<usize> =
            projection.map_or_else(|| (0..self.visible.len()).collect(), |projection| projection.clone());
        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::with_capacity(2);
        if !sealed.is_empty() {
            let scan = SealedScan {
                table: &self.live,
                footers: &self.footers,
                schema: full,
                visible: &self.visible,
                segments: sealed,
            };
            inputs.push(scan.plan(state, &self.schema, &projection, limit)?);
        }
        if !self.read.open.is_empty() {
            let columns: Vec<usize> = projection.iter().map(|index| self.visible[*index]).collect();
            let open = OpenSegmentExec::new(
                full,
                &self.read.open,
                columns,
                limit,
                state.config().target_partitions(),
                Arc::clone(&self.stats),
            )?;
            inputs.push(Arc::new(open));
        }
        match inputs.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&projection)?)))),
            1 => Ok(inputs.swap_remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }
}
