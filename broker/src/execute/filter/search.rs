//! The true codes of a leaf, found by searching the sorted values of a column instead of evaluating all of them.
//!
//! The comparison itself is always DataFusion's, evaluated on a few probes at a time, so that casts, units, decimals and
//! the order of floats mean exactly what they mean in a scan. An error or a NULL where none belongs gives up the search.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Field;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use headwater_segment::column::CodedColumn;

use super::code_set::{CodeSet, merge_ranges};
use super::shape::Search;
use crate::execute::project::{evaluate_on_values, values_of_codes};

/// Values that one round of a search looks at.
const PROBES: u64 = 64;

/// The codes of `column` for which `search` is true; `None` if it cannot be told this way.
pub(super) fn true_codes(search: &Search, column: &CodedColumn, field: &Field) -> Result<Option<CodeSet>> {
    let count = column.values.count();
    let first = u64::from(column.has_null);
    match search {
        Search::Never => return Ok(Some(CodeSet::empty())),
        Search::IsNull => return Ok(Some(CodeSet::between(0, first))),
        Search::IsNotNull => return Ok(Some(CodeSet::between(first, count))),
        _ if !column.values.is_sorted() => return Ok(None),
        _ => {}
    }
    let sorted = Sorted { column, field };
    Ok(match search {
        Search::Monotone { expr, rising } => {
            let Some(turn) = sorted.turn(expr, *rising, first, count)? else { return Ok(None) };
            Some(if *rising { CodeSet::between(turn, count) } else { CodeSet::between(first, turn) })
        }
        Search::Equal { at, negated } => {
            let mut ranges = Vec::with_capacity(at.len());
            for [at_least, at_most] in at {
                let Some(start) = sorted.turn(at_least, true, first, count)? else { return Ok(None) };
                let Some(end) = sorted.turn(at_most, false, start, count)? else { return Ok(None) };
                if start < end {
                    ranges.push((start, end - 1));
                }
            }
            let equal = CodeSet::of_ranges(merge_ranges(ranges));
            Some(if *negated { equal.complement(first, count) } else { equal })
        }
        Search::Prefix { at_least, like } => {
            let Some(start) = sorted.turn(at_least, true, first, count)? else { return Ok(None) };
            sorted.turn(like, false, start, count)?.map(|end| CodeSet::between(start, end))
        }
        Search::Never | Search::IsNull | Search::IsNotNull => None,
    })
}

/// The ascending values of a column.
struct Sorted<'a> {
    column: &'a CodedColumn,
    field: &'a Field,
}

impl Sorted<'_> {
    /// The first code of `first..end` at which `expr`, which changes at most once, is what it becomes: true if `rising`,
    /// else false. `end` if there is none; `None` if a value has no answer: then the first or the last has none, and both
    /// are looked at.
    fn turn(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        rising: bool,
        mut first: u64,
        mut end: u64,
    ) -> Result<Option<u64>> {
        while first < end {
            let stride = (end - first).div_ceil(PROBES);
            let mut probes: Vec<u64> = (first..end).step_by(stride as usize).collect();
            if probes.last() != Some(&(end - 1)) {
                probes.push(end - 1);
            }
            let values = values_of_codes(self.column, &probes)?;
            let Ok(truth) = evaluate_on_values(expr, values, self.field) else { return Ok(None) };
            let Some(truth) = truth.as_boolean_opt().filter(|truth| truth.null_count() == 0) else {
                return Ok(None);
            };
            let turned = (0..probes.len()).find(|probe| truth.value(*probe) == rising);
            let before = turned.unwrap_or(probes.len()).checked_sub(1);
            if let Some(turned) = turned {
                end = probes[turned];
            }
            if let Some(before) = before {
                first = probes[before] + 1;
            }
        }
        Ok(Some(end))
    }
}
