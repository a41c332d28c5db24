//! Scans whose rows are on several nodes: what each node reads of one, and one as the node that reads it sees it.

use std::sync::Arc;

use datafusion::common::ColumnStatistics;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;

use super::{Estimate, SegmentOrder, SegmentScanExec};
use crate::catalog::{Pruner, QueryCatalog};
use crate::cluster::assignment::Assignment;
use crate::execute::layout::with_results;
use crate::execute::source::Source;

impl SegmentScanExec {
    /// A scan of what another node has assigned to this one.
    pub(crate) fn assigned(
        source: Arc<Source>,
        conjuncts: Vec<Arc<dyn PhysicalExpr>>,
        projection: Vec<usize>,
        limit: Option<usize>,
        order: Option<SegmentOrder>,
        partitions: usize,
        assignment: Assignment,
    ) -> Self {
        let pruner = Pruner::new(&source, &conjuncts);
        let segments = assignment.sealed.len() + assignment.open.len();
        let columns = vec![ColumnStatistics::new_unknown(); source.visible.len()];
        let estimate = Estimate { segments_total: segments, segments, rows: 0, columns };
        let scan = Self::new(source, conjuncts, pruner, projection, limit, estimate, partitions);
        Self { order, assignment: Some(Arc::new(assignment)), ..scan }
    }

    /// This scan as it goes to other nodes: what narrows it while it runs stays behind, and the results of subqueries go as values.
    pub(crate) fn settled(&self) -> Result<Self> {
        let scan = self.without_dynamic_conjuncts();
        let conjuncts: Vec<_> = scan
            .conjuncts
            .iter()
            .map(|conjunct| with_results(Arc::clone(conjunct)))
            .collect::<Result<_>>()?;
        let same = scan.conjuncts.iter().zip(&conjuncts).all(|(before, now)| Arc::ptr_eq(before, now));
        let pruner = if same { Arc::clone(&self.pruner) } else { Arc::default() };
        Ok(Self { conjuncts, pruner, ..scan })
    }

    /// This scan, [settled](Self::settled), for each node that has rows of it in the query of `catalog`.
    ///
    /// # Errors
    /// If the table was changed, or there is no node.
    pub(crate) fn spread(&self, catalog: &QueryCatalog) -> Result<Vec<Self>> {
        let table = catalog.bind(&self.source)?;
        let pruner = self.pruner.get_or_init(|| Pruner::new(&self.source, &self.conjuncts));
        let assignments = table.spread(pruner, self.order.as_ref())?.into_iter();
        let scan = |assignment| Self { assignment: Some(Arc::new(assignment)), ..self.fresh() };
        Ok(assignments.map(scan).collect())
    }

    /// What is to be read of the query's cut; `None`: all of it.
    pub(crate) fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_deref()
    }
}
