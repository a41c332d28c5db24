//! The groups of one partition: blocks in, partial states out.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::Result;
use headwater_segment::column::{BLOCK_ROWS, SegmentColumns};

use super::accumulator::{Accumulator, RowGroups, count, grow};
use super::distinct::Distinct;
use super::fragment::{Fragment, Prepared};
use super::grouping::{Grouping, key_arrays};
use super::key_values::KeyValues;
use super::keys::Shape;
use super::merge::{Merge, Output, PartitionGroups, batch};
use super::reader::{Reader, block_rows};
use super::spread::Spread;
use crate::execute::filter::FilterScratch;
use crate::execute::project::materialise;
use crate::execute::selection::Selection;

/// See the module.
pub(super) struct PartitionState {
    fragment: Arc<Fragment>,
    keys: Vec<Arc<KeyValues>>,
    grouping: Grouping,
    /// Rows of each group; groups without rows are not emitted.
    rows: Vec<i64>,
    accumulators: Vec<Accumulator>,
    /// The segment that the grouping has entered.
    entered: Option<usize>,
    /// With more groups than this, further rows are put aside.
    spread_after: usize,
    spread: Option<Spread>,
    emitted: VecDeque<RecordBatch>,
    selection: Selection,
    filter_scratch: FilterScratch,
    groups: Vec<u32>,
    /// The rows that pass a function's FILTER too, and their groups.
    filtered: Selection,
    filtered_groups: Vec<u32>,
    reader: Reader,
    /// What the partition has done, for metrics.
    pub(super) blocks_read: usize,
    pub(super) rows_selected: usize,
}

impl PartitionState {
    /// Without groups; `keys` are the values of the fragment's keys. Once there are more than `spread_after` groups,
    /// further rows are put aside.
    pub(super) fn new(
        fragment: Arc<Fragment>,
        keys: Vec<Arc<KeyValues>>,
        spread_after: usize,
    ) -> Result<Self> {
        let reader = Reader::new(&fragment)?;
        let mut state = Self {
            grouping: Grouping::new(&keys),
            keys,
            fragment,
            rows: Vec::new(),
            accumulators: Vec::new(),
            entered: None,
            spread_after,
            spread: None,
            emitted: VecDeque::new(),
            selection: Selection::new(),
            filter_scratch: FilterScratch::new(),
            groups: Vec::new(),
            filtered: Selection::new(),
            filtered_groups: Vec::new(),
            reader,
            blocks_read: 0,
            rows_selected: 0,
        };
        state.reset()?;
        Ok(state)
    }

    /// Starts anew, without groups.
    fn reset(&mut self) -> Result<()> {
        self.rows = Vec::new();
        self.accumulators = self.fragment.accumulators()?;
        self.entered = None;
        self.spread = None;
        self.grouping.clear();
        if self.fragment.keys.is_empty() {
            self.grow();
        }
        Ok(())
    }

    fn grow(&mut self) {
        let total = self.grouping.total();
        if self.rows.len() != total || self.rows.is_empty() {
            grow(&mut self.rows, total, 0);
            self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(total));
        }
    }

    /// Bytes of memory that the groups take.
    pub(super) fn size(&self) -> usize {
        let accumulators: usize = self.accumulators.iter().map(Accumulator::size).sum();
        let spread = self.spread.as_ref().map_or(0, Spread::size);
        self.grouping.size()
            + self.rows.capacity() * size_of::<i64>()
            + accumulators
            + spread
            + self.reader.size()
    }

    /// How rows are grouped now, for people.
    pub(super) fn mode(&self) -> &'static str {
        if self.spread.is_some() { "spread" } else { self.grouping.describe() }
    }

    /// How keys are told apart; `None` before the first row.
    pub(super) fn shapes(&self) -> Option<&[Shape]> {
        self.grouping.shapes()
    }

    /// Whether groups were handed out.
    pub(super) fn has_emitted(&self) -> bool {
        !self.emitted.is_empty()
    }

    /// Hands out partial states that were found before.
    pub(super) fn hand_out(&mut self, states: Vec<RecordBatch>) {
        self.emitted.extend(states.into_iter().filter(|states| states.num_rows() > 0));
    }

    /// The next batch of partial states, if there is one.
    pub(super) fn next_batch(&mut self) -> Option<RecordBatch> {
        self.emitted.pop_front()
    }

    /// Takes the blocks of a segment; `segment_index` tells segments apart.
    pub(super) fn consume(
        &mut self,
        segment: &SegmentColumns,
        prepared: &Prepared,
        segment_index: usize,
        blocks: Range<usize>,
    ) -> Result<()> {
        for block in prepared.filter.candidates(segment, blocks) {
            self.blocks_read += 1;
            prepared.filter.select(segment, block, &mut self.filter_scratch, &mut self.selection)?;
            if self.selection.count() > 0 {
                self.rows_selected += self.selection.count();
                self.consume_block(segment, prepared, segment_index, block)?;
            }
        }
        Ok(())
    }

    fn consume_block(
        &mut self,
        segment: &SegmentColumns,
        prepared: &Prepared,
        segment_index: usize,
        block: usize,
    ) -> Result<()> {
        let batch = if prepared.needs_rows {
            Some(materialise(
                segment,
                &prepared.positions,
                block,
                &mut self.selection,
                &prepared.rows_schema,
            )?)
        } else {
            None
        };
        if self.spread_block(segment, prepared, (segment_index, block), batch.as_ref())? {
            return Ok(());
        }
        // A second try finds no groups; what it needed more bits for, or another mode, is known by then. Several keys
        // may each need more.
        while !(self.enter(prepared, segment_index)?
            && self.assign(segment, prepared, block, batch.as_ref())?)
        {
            self.emit()?;
        }
        self.grow();
        let total = self.grouping.total();
        let rows = RowGroups { groups: &self.groups, single: self.grouping.is_single() };
        count(rows, &mut self.rows);
        let input = block_rows(segment, block, &mut self.selection);
        let mut sub_selected = false;
        let calls = prepared.calls.iter().zip(&mut self.accumulators).enumerate();
        for (index, (call, accumulator)) in calls {
            if call.filter.is_none() {
                self.reader.add((index, call), accumulator, input, rows, batch.as_ref(), total)?;
            }
            sub_selected |= call.filter.is_some();
        }
        if sub_selected {
            self.add_filtered(segment, prepared, block, total)?;
        }
        Ok(())
    }

    fn enter(&mut self, prepared: &Prepared, segment_index: usize) -> Result<bool> {
        if self.entered == Some(segment_index) {
            return Ok(true);
        }
        let entered = self.grouping.enter(&prepared.keys)?;
        self.reader.enter(&prepared.calls)?;
        self.entered = entered.then_some(segment_index);
        Ok(entered)
    }

    fn assign(
        &mut self,
        segment: &SegmentColumns,
        prepared: &Prepared,
        block: usize,
        batch: Option<&RecordBatch>,
    ) -> Result<bool> {
        let input = block_rows(segment, block, &mut self.selection);
        self.grouping.assign(&prepared.keys, input, batch, &mut self.reader.program, &mut self.groups)
    }

    /// The functions with a FILTER: each over the selected rows that pass it.
    fn add_filtered(
        &mut self,
        segment: &SegmentColumns,
        prepared: &Prepared,
        block: usize,
        total: usize,
    ) -> Result<()> {
        let calls = prepared.calls.iter().zip(&mut self.accumulators).enumerate();
        for (index, (call, accumulator)) in calls {
            let Some(filter) = &call.filter else { continue };
            self.filtered.copy_from(&self.selection);
            filter.narrow(segment, block, &mut self.filter_scratch, &mut self.filtered)?;
            if self.filtered.count() == 0 {
                continue;
            }
            let passed = self.filtered.mask();
            let passes =
                |row: u16| passed.is_none_or(|mask| mask[usize::from(row) / 64] >> (row % 64) & 1 == 1);
            let both = self.selection.indices().iter().zip(&self.groups);
            self.filtered_groups.clear();
            self.filtered_groups.extend(both.filter(|(row, _)| passes(**row)).map(|(_, group)| *group));
            let single = self.grouping.is_single();
            self.reader.add_selected(
                (segment, block, &mut self.filtered),
                (prepared, (index, call), accumulator),
                RowGroups { groups: &self.filtered_groups, single },
                total,
            )?;
        }
        Ok(())
    }

    /// Hands out the groups, and starts anew.
    pub(super) fn emit(&mut self) -> Result<()> {
        if self.spread.is_some() {
            let groups = self.take_groups()?;
            let merge = Merge::new(
                Arc::clone(&self.fragment),
                self.keys.clone(),
                groups.into_iter().collect(),
                Vec::new(),
            );
            while let Some(job) = merge.next_job() {
                self.emitted.extend(merge.run(job, &Output::States)?);
            }
            return Ok(());
        }
        let present = self.present();
        if !present.is_empty() {
            let keys = match self.grouping.shapes() {
                Some(shapes) => key_arrays(&self.keys, shapes, self.grouping.words(&present))?,
                None => Vec::new(),
            };
            let mut arrays = self.fragment.all_keys(keys)?;
            for accumulator in &mut self.accumulators {
                arrays.extend(accumulator.states(&present, &self.rows)?);
            }
            let batch = batch(&self.fragment.output, arrays, present.len())?;
            for start in (0..present.len()).step_by(BLOCK_ROWS) {
                self.emitted.push_back(batch.slice(start, BLOCK_ROWS.min(present.len() - start)));
            }
        }
        self.reset()
    }

    /// The groups to hand out: those that have rows, and the only one there is without keys.
    fn present(&self) -> Vec<u32> {
        let all = 0..self.rows.len() as u32;
        if self.grouping.is_single() {
            return all.collect();
        }
        all.filter(|group| self.rows[*group as usize] > 0).collect()
    }

    /// Bytes that settling takes until it is done, at most.
    pub(super) fn settle_bytes(&self) -> usize {
        self.distinct().map(Distinct::settle_bytes).sum()
    }

    /// Makes the groups ready for a merge: no rows follow.
    pub(super) fn settle(&mut self) {
        for accumulator in &mut self.accumulators {
            if let Accumulator::Distinct(distinct) = accumulator {
                distinct.settle();
            }
        }
    }

    fn distinct(&self) -> impl Iterator<Item = &Distinct> {
        self.accumulators.iter().filter_map(|accumulator| match accumulator {
            Accumulator::Distinct(distinct) => Some(distinct),
            _ => None,
        })
    }

    /// Most distinct values that there may be, of all groups and functions.
    pub(super) fn distinct_len_max(&self) -> usize {
        self.distinct().map(Distinct::len_max).sum()
    }

    /// The groups, for others to merge; `None` if there are keys and there was no row. Starts anew.
    pub(super) fn take_groups(&mut self) -> Result<Option<PartitionGroups>> {
        let shapes = match self.grouping.shapes() {
            Some(shapes) => shapes.to_vec(),
            None if self.keys.is_empty() => Vec::new(),
            None => return Ok(None),
        };
        let present = self.present();
        let words = self.grouping.words(&present);
        let accumulators = std::mem::take(&mut self.accumulators).into_iter();
        let accumulators = accumulators.map(|accumulator| accumulator.finish(&present));
        let accumulators = accumulators.collect::<Result<Vec<_>>>()?;
        let (rows, spread) = (std::mem::take(&mut self.rows), self.spread.take());
        self.reset()?;
        Ok(Some(PartitionGroups { shapes, present, words, rows, accumulators, spread }))
    }

    /// Puts the selected rows of a block aside if there are many groups; whether it did.
    fn spread_block(
        &mut self,
        segment: &SegmentColumns,
        prepared: &Prepared,
        (segment_index, block): (usize, usize),
        batch: Option<&RecordBatch>,
    ) -> Result<bool> {
        if self.spread.is_none()
            && let Some(packed) = self.grouping.hashed().filter(|packed| packed.len() > self.spread_after)
            && prepared.calls.iter().all(|call| call.filter.is_none())
        {
            self.spread = Spread::new(packed, &self.accumulators);
        }
        if self.spread.is_none() {
            return Ok(false);
        }
        if !self.enter(prepared, segment_index)? {
            self.emit()?;
            return Ok(false);
        }
        let Some(spread) = &mut self.spread else { return Ok(false) };
        let input = block_rows(segment, block, &mut self.selection);
        let packed = self.grouping.pack_rows(&prepared.keys, input, batch, &mut self.reader.program)?;
        spread.add_keys(packed)?;
        for (call, prepared) in prepared.calls.iter().enumerate() {
            self.reader.spread((call, prepared), spread, input, batch)?;
        }
        Ok(true)
    }
}
