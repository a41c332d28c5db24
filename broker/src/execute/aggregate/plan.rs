//! From DataFusion's aggregate over a scan to a [`Fragment`]: which shapes are taken over, and in which columns.
//!
//! Taken over are all partial aggregates, directly over a scan or over projections of one, except for grouping sets,
//! functions that depend on the order of the rows, expressions that are not a function of the row, and scans with a limit.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, conjunction_opt};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

use super::distinct::Numbered;
use super::fragment::{Call, Fragment, KeyOutput, Kind};
use super::keys::Key;
use super::results::{AggregateKey, CallKey};
use crate::execute::filter::Filter;
use crate::execute::filter::columns::{column_indexes, with_columns};
use crate::execute::layout::{Layout, is_dynamic};
use crate::execute::scan::SegmentScanExec;
use crate::execute::source::Source;

type Expr = Arc<dyn PhysicalExpr>;

/// An aggregate over a scan. Expressions are over the visible columns of the scan's table.
pub(super) struct Shape {
    pub(super) scan: Arc<dyn ExecutionPlan>,
    pub(super) keys: Vec<Expr>,
    pub(super) calls: Vec<ShapeCall>,
    /// Keys, then the states of the functions.
    pub(super) output: SchemaRef,
}

pub(super) struct ShapeCall {
    pub(super) function: Arc<AggregateFunctionExpr>,
    pub(super) arguments: Vec<Expr>,
    pub(super) filter: Option<Expr>,
}

impl Shape {
    /// `None` if the aggregate is not to be taken over.
    pub(super) fn new(aggregate: &AggregateExec) -> Result<Option<Self>> {
        let groups = aggregate.group_expr();
        let is_plain = groups.is_single()
            && *aggregate.mode() == AggregateMode::Partial
            && *aggregate.input_order_mode() == InputOrderMode::Linear
            && aggregate.aggr_expr().iter().all(is_unordered);
        if !is_plain {
            return Ok(None);
        }

        let mut exprs = Exprs {
            keys: groups.input_exprs(),
            calls: aggregate
                .aggr_expr()
                .iter()
                .zip(aggregate.filter_expr())
                .map(|(function, filter)| ShapeCall {
                    function: Arc::clone(function),
                    arguments: function.expressions(),
                    filter: filter.clone(),
                })
                .collect(),
        };
        let mut input = aggregate.input();
        while let Some(projection) = input.downcast_ref::<ProjectionExec>() {
            exprs.rewrite(&|column| match projection.expr().get(column.index()) {
                Some(projected) => Ok(Arc::clone(&projected.expr)),
                None => internal_err!("a projection has no column {column}"),
            })?;
            input = projection.input();
        }
        let Some(scan) = input.downcast_ref::<SegmentScanExec>().filter(|scan| scan.limit().is_none()) else {
            return Ok(None);
        };
        exprs.rewrite(&|column| match scan.projection().get(column.index()) {
            Some(visible) => Ok(Arc::new(Column::new(column.name(), *visible))),
            None => internal_err!("a scan has no column {column}"),
        })?;
        if exprs.all().any(is_volatile) {
            return Ok(None);
        }
        Ok(Some(Self {
            scan: Arc::clone(input),
            keys: exprs.keys,
            calls: exprs.calls,
            output: aggregate.schema(),
        }))
    }

    /// The scan that is replaced.
    pub(super) fn scan(&self) -> Result<&SegmentScanExec> {
        match self.scan.downcast_ref::<SegmentScanExec>() {
            Some(scan) => Ok(scan),
            None => plan_err!("an aggregate of segments has no scan"),
        }
    }

    /// The functions that count distinct values, rather than DataFusion's accumulators.
    pub(super) fn distinct(&self) -> impl Iterator<Item = &str> {
        let schema = self.scan().map(|scan| &scan.source().visible_schema).ok();
        let is_distinct = move |call: &&ShapeCall| {
            let kind = schema.map(|schema| Kind::of(&call.function, &call.arguments, schema));
            matches!(kind, Some(Ok(Kind::DistinctIntegers { .. } | Kind::DistinctNumbers)))
        };
        self.calls.iter().filter(is_distinct).map(|call| call.function.name())
    }

    /// What its partial aggregates of a segment are kept by; `None` if they are not to be kept.
    pub(super) fn result_key(&self) -> Result<Option<AggregateKey>> {
        let scan = self.scan()?;
        if scan.conjuncts().iter().any(is_dynamic) {
            return Ok(None);
        }
        let source = scan.source();
        let calls = self.calls.iter().map(|call| CallKey {
            function: call.function.fun().clone(),
            is_distinct: call.function.is_distinct(),
            ignores_nulls: call.function.ignore_nulls(),
            arguments: call.arguments.clone(),
            filter: call.filter.clone(),
        });
        Ok(Some(AggregateKey {
            schema: Arc::clone(&source.schema),
            visible: Arc::clone(&source.visible_schema),
            conjuncts: scan.conjuncts().to_vec(),
            keys: self.keys.clone(),
            calls: calls.collect(),
            output: Arc::clone(&self.output),
        }))
    }

    /// The fragment, and the visible columns that it reads, in the order of the fragment's schema.
    pub(super) fn fragment(&self) -> Result<(Fragment, Vec<usize>)> {
        let scan = self.scan()?;
        let options = &scan.source().options;
        let mut exprs = Exprs {
            keys: self.keys.clone(),
            calls: self
                .calls
                .iter()
                .map(|call| ShapeCall {
                    function: Arc::clone(&call.function),
                    arguments: call.arguments.clone(),
                    filter: call.filter.clone(),
                })
                .collect(),
        };
        let mut used = BTreeSet::new();
        exprs.all().for_each(|expr| {
            used.extend(column_indexes(expr));
        });
        let used: Vec<usize> = used.into_iter().collect();
        let layout = Layout::new(scan.source(), scan.conjuncts(), &used)?;
        exprs.rewrite(&|column| match used.binary_search(&column.index()) {
            Ok(index) => Ok(Arc::new(Column::new(column.name(), layout.output[index]))),
            Err(_) => internal_err!("no column {column} is loaded"),
        })?;

        let schema = layout.schema;
        let filter = conjunction_opt(layout.filter.into_iter().chain(layout.dynamic));
        let (keys, outputs) = keys(exprs.keys, &self.output)?;
        let calls = exprs.calls.into_iter().map(|call| {
            let kind = Kind::of(&call.function, &call.arguments, &schema)?;
            let filter = call.filter.map(|filter| Filter::new(Some(&filter), &schema, options));
            let (function, arguments, filter) = (call.function, call.arguments, filter.transpose()?);
            let numbered = match (&kind, arguments.as_slice()) {
                (Kind::DistinctNumbers, [argument]) => Some(numbered(argument, &schema, scan.source())?),
                _ => None,
            };
            Ok(Call { function, arguments, filter, kind, numbered })
        });
        let fragment = Fragment {
            filter: Filter::new(filter.as_ref(), &schema, options)?,
            keys,
            outputs,
            calls: calls.collect::<Result<_>>()?,
            output: Arc::clone(&self.output),
            schema,
        };
        Ok((fragment, layout.loaded))
    }
}

/// An argument whose values are numbered, as those of a key are.
fn numbered(argument: &Expr, schema: &SchemaRef, source: &Source) -> Result<Arc<Numbered>> {
    let key = Key::of_argument(argument, schema)?;
    let values = key.shared_values(schema, source)?;
    Ok(Arc::new(Numbered { key, values }))
}

/// The keys that tell groups apart, and how all keys are had from these: one that is a function of others tells nothing.
/// Of doubles it may: 0 and -0 are one group, and not what 1/x makes of them.
fn keys(exprs: Vec<Expr>, output: &SchemaRef) -> Result<(Vec<Key>, Vec<KeyOutput>)> {
    let fields = || exprs.iter().zip(output.fields());
    let exact = fields().filter(|(_, field)| !field.data_type().is_floating());
    let columns: Vec<usize> =
        exact.filter_map(|(expr, _)| expr.downcast_ref::<Column>().map(Column::index)).collect();
    let is_function = |expr: &Expr| {
        let used = column_indexes(expr);
        expr.downcast_ref::<Column>().is_none()
            && !used.is_empty()
            && used.iter().all(|column| columns.contains(column))
    };
    let kept: Vec<bool> = exprs.iter().map(|expr| !is_function(expr)).collect();
    let keys: Vec<Key> = fields()
        .zip(&kept)
        .filter(|(_, kept)| **kept)
        .map(|((expr, field), _)| Key { expr: Arc::clone(expr), field: Arc::clone(field) })
        .collect();
    let place = |column: &Column| {
        let is_column =
            |key: &Key| key.expr.downcast_ref::<Column>().is_some_and(|key| key.index() == column.index());
        match keys.iter().position(is_column) {
            Some(place) => Ok(Arc::new(Column::new(column.name(), place)) as Expr),
            None => internal_err!("no key is the column {column}"),
        }
    };
    let mut next = 0..keys.len();
    let mut outputs = Vec::with_capacity(exprs.len());
    for (expr, kept) in exprs.iter().zip(kept) {
        outputs.push(match kept {
            true => KeyOutput::Key(next.next().unwrap_or_default()),
            false => KeyOutput::Function(with_columns(expr, place)?),
        });
    }
    Ok((keys, outputs))
}

/// Every expression of an aggregate.
struct Exprs {
    keys: Vec<Expr>,
    calls: Vec<ShapeCall>,
}

impl Exprs {
    fn all(&self) -> impl Iterator<Item = &Expr> {
        let calls = self.calls.iter().flat_map(|call| call.arguments.iter().chain(&call.filter));
        self.keys.iter().chain(calls)
    }

    /// Replaces every column.
    fn rewrite(&mut self, replace: &dyn Fn(&Column) -> Result<Expr>) -> Result<()> {
        let calls = self.calls.iter_mut().flat_map(|call| call.arguments.iter_mut().chain(&mut call.filter));
        for expr in self.keys.iter_mut().chain(calls) {
            *expr = with_columns(expr, replace)?;
        }
        Ok(())
    }
}

fn is_unordered(function: &Arc<AggregateFunctionExpr>) -> bool {
    function.order_bys().is_empty()
        && function.order_sensitivity() == AggregateOrderSensitivity::Insensitive
        && !function.is_reversed()
}
