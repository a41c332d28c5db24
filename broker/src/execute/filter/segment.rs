//! The filter of one segment, block by block.

use std::ops::Range;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::exec_err;
use datafusion::error::Result;
use headwater_segment::column::{CodeSlice, SegmentColumns, select};
use roaring::RoaringBitmap;

use super::code_set::CodeSet;
use super::compile::{CodeStep, Step, compile};
use super::index::take_indexed;
use super::shape::{Leaf, Shape};
use crate::execute::options::ExecuteOptions;
use crate::execute::project::materialise;
use crate::execute::selection::{MASK_WORDS, Mask, Selection, true_bits};

/// Bytes of codes that are compared with a range in the time in which the code of one row is read by its number.
const BYTES_PER_ROW: usize = 128;
/// More ranges than this are searched for each row's code, instead of scanning the block for each.
const RANGES_MANY: usize = 16;

/// A filter, compiled for one segment.
#[derive(Debug)]
pub(crate) struct SegmentFilter {
    /// What the indexes leave to be done.
    step: Step,
    index: Option<Index>,
}

/// Rows that indexes leave.
#[derive(Debug)]
struct Index {
    rows: RoaringBitmap,
    /// Places of the columns whose indexes were used.
    places: Vec<usize>,
}

impl Index {
    /// The rows that are left of a block of the segment, numbered within it.
    fn rows_of(&self, segment: &SegmentColumns, block: usize) -> impl Iterator<Item = usize> {
        let block = segment.block(block);
        let bound = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
        self.rows.range(bound(block.start)..bound(block.end)).map(move |row| row as usize - block.start)
    }
}

/// Memory that [`SegmentFilter::narrow`] reuses from block to block.
pub(crate) struct FilterScratch {
    mask: Box<Mask>,
    range: Box<Mask>,
    /// A pair of selections and a mask for each OR within another.
    ors: Vec<OrScratch>,
}

struct OrScratch {
    /// Rows of which no alternative is true yet.
    open: Selection,
    /// Rows that the next alternative leaves.
    next: Selection,
    /// Rows of which some alternative is true.
    found: Box<Mask>,
}

impl FilterScratch {
    pub(crate) fn new() -> Self {
        Self { mask: Box::new([0; MASK_WORDS]), range: Box::new([0; MASK_WORDS]), ors: Vec::new() }
    }
}

impl SegmentFilter {
    pub(super) async fn new(
        shape: Option<&Shape>,
        segment: &SegmentColumns,
        options: &ExecuteOptions,
    ) -> Result<Self> {
        let mut step = match shape {
            None => Step::Always,
            Some(shape) => compile(shape, segment, segment.rows()).await?,
        };
        let index = match take_indexed(&mut step, segment, options.indexes) {
            Some((rows, _)) if rows.is_empty() => {
                step = Step::Never;
                None
            }
            found => found.map(|(rows, places)| Index { rows, places }),
        };
        Ok(Self { step, index })
    }

    /// What is done to each block, in order, for people: `codes(2 ranges of column 3) AND rows(a@0 > b@1)`.
    pub(crate) fn describe(&self) -> String {
        match &self.index {
            None => describe(&self.step),
            Some(index) => {
                let (rows, places) = (index.rows.len(), &index.places);
                format!("(index({rows} rows by columns {places:?}) AND {})", describe(&self.step))
            }
        }
    }

    /// Whether no row is selected.
    pub(crate) fn is_never(&self) -> bool {
        matches!(self.step, Step::Never)
    }

    /// Whether every row is selected.
    #[cfg(test)]
    pub(crate) fn is_always(&self) -> bool {
        matches!(self.step, Step::Always) && self.index.is_none()
    }

    /// The blocks of `blocks` of the segment that may have selected rows.
    pub(crate) fn candidates(
        &self,
        segment: &SegmentColumns,
        blocks: Range<usize>,
    ) -> impl Iterator<Item = usize> {
        blocks.filter(|block| {
            let indexed = |index: &Index| index.rows_of(segment, *block).next().is_some();
            may_select(&self.step, *block) && self.index.as_ref().is_none_or(indexed)
        })
    }

    /// Selects the rows of a block.
    pub(crate) fn select(
        &self,
        segment: &SegmentColumns,
        block: usize,
        scratch: &mut FilterScratch,
        out: &mut Selection,
    ) -> Result<()> {
        out.select_all(segment.block(block).len());
        self.narrow(segment, block, scratch, out)
    }

    /// Leaves, of the rows of a block that are selected so far, those that pass. An expression that can fail sees no other
    /// row.
    pub(crate) fn narrow(
        &self,
        segment: &SegmentColumns,
        block: usize,
        scratch: &mut FilterScratch,
        rows: &mut Selection,
    ) -> Result<()> {
        if let Some(index) = &self.index {
            scratch.mask.fill(0);
            index.rows_of(segment, block).for_each(|row| scratch.mask[row / 64] |= 1 << (row % 64));
            rows.keep(&scratch.mask);
        }
        narrow(&self.step, segment, block, scratch, rows)
    }
}

fn describe(step: &Step) -> String {
    let join = |steps: &[Step], word: &str| {
        let parts: Vec<String> = steps.iter().map(describe).collect();
        format!("({})", parts.join(word))
    };
    match step {
        Step::Never => "never".into(),
        Step::Always => "always".into(),
        Step::Codes(step) => match &step.set {
            CodeSet::Ranges(ranges) => format!("codes({} ranges of column {})", ranges.len(), step.place),
            CodeSet::Bits(bits) => format!("codes({} of column {})", bits.count(), step.place),
        },
        Step::Rows(leaf) => format!("rows({})", leaf.expr),
        Step::And(steps) => join(steps, " AND "),
        Step::Or(steps) => join(steps, " OR "),
    }
}

/// Whether the zone maps leave a chance that a row of the block is selected.
fn may_select(step: &Step, block: usize) -> bool {
    match step {
        Step::Never => false,
        Step::Always | Step::Rows(_) => true,
        Step::Codes(step) => step.zone(block) != Zone::None,
        Step::And(steps) => steps.iter().all(|step| may_select(step, block)),
        Step::Or(steps) => steps.iter().any(|step| may_select(step, block)),
    }
}

/// What a zone map says of a block's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    None,
    Some,
    All,
}

impl CodeStep {
    pub(super) fn zone(&self, block: usize) -> Zone {
        let Some((min, max)) = self.column.coded().and_then(|column| column.zone(block)) else {
            return Zone::Some;
        };
        match self.set.count_in(min, max) {
            0 => Zone::None,
            members if members == max - min + 1 => Zone::All,
            _ => Zone::Some,
        }
    }
}

/// Takes from `rows` those for which `step` is not true.
fn narrow(
    step: &Step,
    segment: &SegmentColumns,
    block: usize,
    scratch: &mut FilterScratch,
    rows: &mut Selection,
) -> Result<()> {
    if rows.count() == 0 {
        return Ok(());
    }
    match step {
        Step::Always => Ok(()),
        Step::Never => {
            rows.select_none(rows.rows());
            Ok(())
        }
        Step::Codes(step) => {
            match step.zone(block) {
                Zone::None => rows.select_none(rows.rows()),
                Zone::All => {}
                Zone::Some => narrow_by_codes(step, block, scratch, rows),
            }
            Ok(())
        }
        Step::Rows(leaf) => narrow_by_rows(leaf, segment, block, &mut scratch.mask, rows),
        Step::And(steps) => steps.iter().try_for_each(|step| narrow(step, segment, block, scratch, rows)),
        Step::Or(steps) => narrow_by_any(steps, segment, block, scratch, rows),
    }
}

fn narrow_by_codes(step: &CodeStep, block: usize, scratch: &mut FilterScratch, rows: &mut Selection) {
    let Some(column) = step.column.coded() else { return };
    let codes = column.codes(block);
    let many_ranges = matches!(&step.set, CodeSet::Ranges(ranges) if ranges.len() > RANGES_MANY);
    if rows.count() < few_rows(&step.set, codes) || many_ranges {
        match &step.set {
            CodeSet::Bits(bits) => {
                select::set_mask_at(codes, rows.indices(), bits.members(), &mut scratch.mask);
            }
            CodeSet::Ranges(ranges) => {
                select::ranges_mask_at(codes, rows.indices(), ranges, &mut scratch.mask);
            }
        }
        return rows.keep(&scratch.mask);
    }
    match &step.set {
        CodeSet::Bits(bits) => select::set_mask(codes, bits.members(), &mut scratch.mask),
        CodeSet::Ranges(ranges) => {
            scratch.mask.fill(0);
            for (lo, hi) in ranges {
                select::range_mask(codes, *lo, *hi, &mut scratch.range);
                scratch.mask.iter_mut().zip(scratch.range.iter()).for_each(|(mask, range)| *mask |= range);
            }
        }
    }
    rows.keep(&scratch.mask);
}

/// If fewer rows of a block are left, their codes are read one by one.
fn few_rows(set: &CodeSet, codes: CodeSlice<'_>) -> usize {
    let (rows, width) = match codes {
        CodeSlice::U8(codes) => (codes.len(), 1),
        CodeSlice::U16(codes) => (codes.len(), 2),
        CodeSlice::U32(codes) => (codes.len(), 4),
        CodeSlice::U64(codes) => (codes.len(), 8),
    };
    let comparisons = match (set, codes) {
        (CodeSet::Ranges(ranges), _) => ranges.len(),
        (CodeSet::Bits(_), CodeSlice::U8(_)) => 2,
        // The bit of each row's code is looked up.
        (CodeSet::Bits(_), _) => 8,
    };
    rows * width * comparisons / BYTES_PER_ROW
}

fn narrow_by_rows(
    leaf: &Leaf,
    segment: &SegmentColumns,
    block: usize,
    mask: &mut Mask,
    rows: &mut Selection,
) -> Result<()> {
    let batch = materialise(segment, &leaf.columns, block, rows, &leaf.schema)?;
    let truth = leaf.expr.evaluate(&batch)?.into_array(batch.num_rows())?;
    if truth.data_type() == &DataType::Null {
        rows.select_none(rows.rows());
        return Ok(());
    }
    let Some(truth) = truth.as_boolean_opt() else {
        return exec_err!("a filter must be true or false, not {}", truth.data_type());
    };
    spread(truth, rows, mask);
    rows.keep(mask);
    Ok(())
}

/// Sets the bits of the selected rows whose value is TRUE.
fn spread(truth: &BooleanArray, rows: &mut Selection, mask: &mut Mask) {
    mask.fill(0);
    let is_true = true_bits(truth);
    if rows.is_all() {
        mask.iter_mut().zip(is_true.bit_chunks().iter_padded()).for_each(|(word, bits)| *word = bits);
        return;
    }
    let indices = rows.indices();
    for index in is_true.set_indices() {
        let row = usize::from(indices[index]);
        mask[row / 64] |= 1 << (row % 64);
    }
}

fn narrow_by_any(
    steps: &[Step],
    segment: &SegmentColumns,
    block: usize,
    scratch: &mut FilterScratch,
    rows: &mut Selection,
) -> Result<()> {
    let mut or = scratch.ors.pop().unwrap_or_else(|| OrScratch {
        open: Selection::new(),
        next: Selection::new(),
        found: Box::new([0; MASK_WORDS]),
    });
    or.found.fill(0);
    or.open.copy_from(rows);
    for step in steps {
        if or.open.count() == 0 {
            break;
        }
        or.next.copy_from(&or.open);
        narrow(step, segment, block, scratch, &mut or.next)?;
        let mut left: Mask = [u64::MAX; MASK_WORDS];
        match or.next.mask() {
            None => left.fill(0),
            Some(mask) => left.iter_mut().zip(mask).for_each(|(left, mask)| *left = !mask),
        }
        or.found.iter_mut().zip(&left).for_each(|(found, left)| *found |= !left);
        or.open.keep(&left);
    }
    rows.keep(&or.found);
    scratch.ors.push(or);
    Ok(())
}
