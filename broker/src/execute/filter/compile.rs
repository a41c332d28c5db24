//! A predicate's shape and the columns of one segment -> steps that select rows of its blocks.
//!
//! A leaf over one coded column becomes the set of codes for which it is true; sets of the same column are intersected
//! or united as sets. What is left is evaluated on rows. A leaf that fails for some value of a dictionary is evaluated on
//! rows too: no selected row may have the value.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::error::Result;
use futures::future::BoxFuture;
use headwater_segment::column::{CodeSlice, CodedColumn, Column, SegmentColumns};

use super::code_set::CodeSet;
use super::search::true_codes;
use super::shape::{Leaf, Shape};
use crate::execute::pieces::evaluate_in_pieces;
use crate::execute::project::{dictionary_pays, dictionary_values};

/// Dictionaries up to this size are evaluated rather than searched: it costs no more.
const EVALUATE_AT_ONCE: u64 = 1024;

/// A part of a filter, compiled for one segment.
#[derive(Debug)]
pub(super) enum Step {
    Never,
    Always,
    /// Rows whose code is in a set.
    Codes(CodeStep),
    /// Rows for which an expression is true.
    Rows(Arc<Leaf>),
    And(Vec<Step>),
    Or(Vec<Step>),
}

/// Rows whose code in one column is in a set, which is neither empty nor full.
#[derive(Debug)]
pub(super) struct CodeStep {
    /// Place of the column.
    pub(super) place: usize,
    pub(super) column: Arc<Column>,
    pub(super) set: CodeSet,
    /// Expected share of the rows.
    pub(super) share: f64,
}

impl CodeStep {
    /// Rows whose code is in `set`: none, all, or some.
    fn step(place: usize, column: &Arc<Column>, set: CodeSet, blocks: usize) -> Step {
        let Some(coded) = column.coded() else { return Step::Never };
        match set.count() {
            0 => Step::Never,
            members if members == coded.values.count() => Step::Always,
            _ => {
                let share = sampled_share(&set, coded, blocks);
                Step::Codes(Self { place, column: Arc::clone(column), set, share })
            }
        }
    }
}

impl CodeStep {
    /// Bytes of a code.
    pub(super) fn width(&self) -> f64 {
        match self.column.coded().map(|column| column.codes(0)) {
            Some(CodeSlice::U8(_)) | None => 1.0,
            Some(CodeSlice::U16(_)) => 2.0,
            Some(CodeSlice::U32(_)) => 4.0,
            Some(CodeSlice::U64(_)) => 8.0,
        }
    }
}

/// The share of rows whose code is in a set, by the codes of a few rows here and there: some values are much more frequent
/// than others. Among none of the rows seen there may still be some, as many as the set's share of the codes says.
fn sampled_share(set: &CodeSet, column: &CodedColumn, blocks: usize) -> f64 {
    const BLOCKS: usize = 4;
    const ROWS_PER_BLOCK: usize = 64;
    let prior = set.count() as f64 / column.values.count().max(1) as f64;
    let (mut seen, mut members) = (0, 0);
    for block in (0..blocks).step_by(blocks.div_ceil(BLOCKS).max(1)) {
        let codes = column.codes(block);
        for row in (0..codes.len()).step_by(codes.len().div_ceil(ROWS_PER_BLOCK).max(1)) {
            seen += 1;
            members += u32::from(set.contains(codes.get(row)));
        }
    }
    (f64::from(members) + prior) / (f64::from(seen) + 1.0)
}

/// Compiles `shape` for `segment`, of whose rows about `rows` are still selected where it is asked.
pub(super) fn compile<'a>(
    shape: &'a Shape,
    segment: &'a SegmentColumns,
    rows: usize,
) -> BoxFuture<'a, Result<Step>> {
    Box::pin(async move {
        match shape {
            Shape::Leaf(leaf) => compile_leaf(leaf, segment, rows).await,
            Shape::And(parts) => compile_and(parts, segment, rows).await,
            Shape::Or(parts) => {
                let mut steps = Vec::with_capacity(parts.len());
                for part in parts {
                    steps.push(compile(part, segment, rows).await?);
                }
                Ok(or(steps, segment.blocks()))
            }
        }
    })
}

/// Parts that are cheap to compile go first: what they leave decides whether the dictionary of another part is worth
/// evaluating.
async fn compile_and(parts: &[Shape], segment: &SegmentColumns, rows: usize) -> Result<Step> {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|part| effort(&parts[*part], segment));
    let mut steps: Vec<Option<Step>> = parts.iter().map(|_| None).collect();
    let mut left = rows as f64;
    for part in order {
        let step = compile(&parts[part], segment, left.ceil() as usize).await?;
        if matches!(step, Step::Never) {
            return Ok(Step::Never);
        }
        left *= share(&step);
        steps[part] = Some(step);
    }
    Ok(and(steps.into_iter().flatten().collect(), segment.blocks()))
}

/// How many values must be evaluated to compile a part.
fn effort(shape: &Shape, segment: &SegmentColumns) -> u64 {
    match shape {
        Shape::And(parts) | Shape::Or(parts) => {
            parts.iter().map(|part| effort(part, segment)).fold(0, u64::saturating_add)
        }
        Shape::Leaf(leaf) => match the_coded(leaf, segment) {
            Some((_, column)) if leaf.search.is_some() && column.values.is_sorted() => 0,
            Some((_, column)) => column.values.count(),
            None => u64::MAX,
        },
    }
}

/// The share of rows that a step is expected to select.
pub(super) fn share(step: &Step) -> f64 {
    match step {
        Step::Never => 0.0,
        Step::Always => 1.0,
        Step::Codes(step) => step.share,
        Step::Rows(_) => 0.5,
        Step::And(steps) => steps.iter().map(share).product(),
        Step::Or(steps) => steps.iter().map(share).sum::<f64>().min(1.0),
    }
}

/// The one column that a leaf reads, if it has codes.
fn the_coded<'a>(leaf: &Leaf, segment: &'a SegmentColumns) -> Option<(&'a Arc<Column>, &'a CodedColumn)> {
    let [place] = leaf.columns.as_slice() else { return None };
    let column = segment.columns().get(*place)?;
    column.coded().filter(|_| !leaf.volatile).map(|coded| (column, coded))
}

async fn compile_leaf(leaf: &Arc<Leaf>, segment: &SegmentColumns, rows: usize) -> Result<Step> {
    let step = match the_coded(leaf, segment) {
        Some((column, coded)) => code_set(leaf, coded, rows)
            .await?
            .map(|set| CodeStep::step(leaf.columns[0], column, set, segment.blocks())),
        None if leaf.columns.is_empty() && !leaf.volatile => constant(leaf),
        None => None,
    };
    Ok(step.unwrap_or_else(|| Step::Rows(Arc::clone(leaf))))
}

/// The codes for which a leaf is true; `None` if it must be evaluated on rows.
async fn code_set(leaf: &Leaf, column: &CodedColumn, rows: usize) -> Result<Option<CodeSet>> {
    let field = leaf.schema.field(0);
    if let Some(search) = &leaf.search
        && column.values.count() > EVALUATE_AT_ONCE
        && let Some(set) = true_codes(search, column, field)?
    {
        return Ok(Some(set));
    }
    if !dictionary_pays(column, rows) {
        return Ok(None);
    }
    let Ok(truth) = evaluate_in_pieces(&leaf.expr, &dictionary_values(column)?, field).await else {
        return Ok(None);
    };
    Ok(truth.as_boolean_opt().map(CodeSet::of_true))
}

/// A leaf that reads no column; `None` if it fails, so that it fails when a row asks.
fn constant(leaf: &Leaf) -> Option<Step> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).ok()?;
    let truth = leaf.expr.evaluate(&row).ok()?.into_array(1).ok()?;
    let truth = truth.as_boolean_opt()?;
    Some(if truth.is_valid(0) && truth.value(0) { Step::Always } else { Step::Never })
}

/// All of `steps`: sets of the same column intersected, sets before rows, the most selective set first. Steps that
/// evaluate rows keep their order.
fn and(steps: Vec<Step>, blocks: usize) -> Step {
    let mut kept: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        match step {
            Step::Never => return Step::Never,
            Step::Always => {}
            Step::And(steps) => kept.extend(steps),
            step => kept.push(step),
        }
    }
    let mut kept = combine(kept, CodeSet::intersect, blocks);
    if kept.iter().any(|step| matches!(step, Step::Never)) {
        return Step::Never;
    }
    kept.retain(|step| !matches!(step, Step::Always));
    kept.sort_by(|left, right| rank(left).total_cmp(&rank(right)));
    match kept.len() {
        0 => Step::Always,
        1 => kept.remove(0),
        _ => Step::And(kept),
    }
}

/// Any of `steps`.
fn or(steps: Vec<Step>, blocks: usize) -> Step {
    let mut kept: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        match step {
            Step::Always => return Step::Always,
            Step::Never => {}
            Step::Or(steps) => kept.extend(steps),
            step => kept.push(step),
        }
    }
    let mut kept = combine(kept, CodeSet::union, blocks);
    if kept.iter().any(|step| matches!(step, Step::Always)) {
        return Step::Always;
    }
    kept.sort_by_key(reads_rows);
    match kept.len() {
        0 => Step::Never,
        1 => kept.remove(0),
        _ => Step::Or(kept),
    }
}

/// One set per column.
fn combine(steps: Vec<Step>, both: impl Fn(CodeSet, CodeSet) -> CodeSet, blocks: usize) -> Vec<Step> {
    let mut combined: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        let Step::Codes(step) = step else {
            combined.push(step);
            continue;
        };
        let same = |other: &Step| matches!(other, Step::Codes(other) if other.place == step.place);
        match combined.iter().position(same) {
            Some(index) => {
                let Step::Codes(other) = combined.remove(index) else { continue };
                combined.insert(
                    index,
                    CodeStep::step(step.place, &step.column, both(other.set, step.set), blocks),
                );
            }
            None => combined.push(Step::Codes(step)),
        }
    }
    combined
}

/// Whether a step evaluates expressions.
fn reads_rows(step: &Step) -> bool {
    match step {
        Step::Rows(_) => true,
        Step::And(steps) | Step::Or(steps) => steps.iter().any(reads_rows),
        Step::Never | Step::Always | Step::Codes(_) => false,
    }
}

/// Least first: cost per row that a step takes away. Steps that evaluate rows come last, all alike.
fn rank(step: &Step) -> f64 {
    if reads_rows(step) { f64::INFINITY } else { cost(step) / (1.0 - share(step)).max(1e-6) }
}

/// Bytes that a step reads per row, weighed by how it reads them.
fn cost(step: &Step) -> f64 {
    match step {
        Step::Never | Step::Always => 0.0,
        Step::Rows(_) => f64::INFINITY,
        Step::And(steps) | Step::Or(steps) => steps.iter().map(cost).sum(),
        Step::Codes(step) => match &step.set {
            CodeSet::Ranges(ranges) => step.width() * ranges.len() as f64,
            CodeSet::Bits(_) => step.width() * 8.0,
        },
    }
}
