//! Rows from inverted indexes instead of scans of codes, where that reads less.

use headwater_segment::column::{Postings, SegmentColumns};
use roaring::RoaringBitmap;

use super::compile::{CodeStep, Step};
use super::segment::Zone;
use crate::execute::options::Toggle;

/// Sets with more codes are scanned.
const CODES_MAX: u64 = 4096;
/// What a row from an index costs: as many bytes of codes are read in that time.
const BYTES_PER_ROW: f64 = 32.0;

/// Takes from `step`, a conjunction, the sets of codes that indexes answer, and returns the rows that they leave and the
/// places of their columns; `None` if scans are better, or there is no index.
pub(super) fn take_indexed(
    step: &mut Step,
    segment: &SegmentColumns,
    toggle: Toggle,
) -> Option<(RoaringBitmap, Vec<usize>)> {
    if toggle == Toggle::Off {
        return None;
    }
    let mut rows: Option<RoaringBitmap> = None;
    let mut places = Vec::new();
    let mut indexed = |part: &Step| {
        let Step::Codes(part) = part else { return false };
        let Some(found) = rows_of(part, segment, toggle) else { return false };
        rows = Some(match rows.take() {
            Some(rows) => rows & found,
            None => found,
        });
        places.push(part.place);
        true
    };
    let nothing_left = match step {
        Step::And(parts) => {
            parts.retain(|part| !indexed(part));
            parts.is_empty()
        }
        _ => indexed(step),
    };
    if nothing_left {
        *step = Step::Always;
    }
    rows.map(|rows| (rows, places))
}

/// The rows of a set, if the index knows all of them and is expected to be faster.
fn rows_of(step: &CodeStep, segment: &SegmentColumns, toggle: Toggle) -> Option<RoaringBitmap> {
    let postings = step.column.coded()?.postings.as_ref()?;
    if step.set.count() > CODES_MAX || (toggle == Toggle::Auto && !pays(step, postings.as_ref(), segment)) {
        return None;
    }
    let mut rows = RoaringBitmap::new();
    for code in step.set.codes() {
        rows |= postings.rows(code)?;
    }
    Some(rows)
}

/// Whether reading the rows of the set costs less than scanning the blocks that the zone maps leave.
fn pays(step: &CodeStep, postings: &dyn Postings, segment: &SegmentColumns) -> bool {
    let mut found = 0;
    for code in step.set.codes() {
        let Some(count) = postings.count(code) else { return false };
        found += count;
        if found as f64 * BYTES_PER_ROW > segment.rows() as f64 * step.width() {
            return false;
        }
    }
    let scanned: usize = (0..segment.blocks())
        .filter(|block| step.zone(*block) == Zone::Some)
        .map(|block| segment.block(block).len())
        .sum();
    found as f64 * BYTES_PER_ROW < scanned as f64 * step.width()
}
