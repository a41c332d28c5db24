//! What aggregate functions are given, read from the rows of a block.

use arrow::array::RecordBatch;
use datafusion::error::Result;
use headwater_segment::column::{CodeSlice, SegmentColumns, gather};

use super::accumulator::{Accumulator, RowGroups};
use super::argument::{Integers, evaluate};
use super::distinct::ArgumentNumbers;
use super::fragment::{Fragment, Input, Prepared, SegmentCall};
use super::program::{BlockRows, ProgramScratch, unlike};
use super::spread::Spread;
use super::values::Values;
use crate::execute::project::materialise;
use crate::execute::selection::Selection;

/// What functions read, in memory that they reuse.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) program: ProgramScratch,
    integers: Values<i64>,
    floats: Values<f64>,
    valid: Vec<u8>,
    /// By function; of those whose argument is numbered.
    numbers: Vec<Option<ArgumentNumbers>>,
}

/// The selected rows of a block.
pub(super) fn block_rows<'a>(
    segment: &'a SegmentColumns,
    block: usize,
    selection: &'a mut Selection,
) -> BlockRows<'a> {
    let count = selection.count();
    let rows = if selection.is_all() { None } else { Some(selection.indices()) };
    BlockRows { segment, block, rows, count }
}

impl Reader {
    pub(super) fn new(fragment: &Fragment) -> Result<Self> {
        let calls = fragment.calls.iter();
        let numbers = calls.map(|call| call.numbered.as_deref().map(ArgumentNumbers::new).transpose());
        Ok(Self { numbers: numbers.collect::<Result<_>>()?, ..Self::default() })
    }

    /// Bytes of memory that grow with the values that rows have.
    pub(super) fn size(&self) -> usize {
        self.numbers.iter().flatten().map(ArgumentNumbers::size).sum()
    }

    /// Takes the segment whose blocks come next.
    pub(super) fn enter(&mut self, calls: &[SegmentCall]) -> Result<()> {
        for (call, numbers) in calls.iter().zip(&mut self.numbers) {
            if let (Input::Numbers(argument), Some(numbers)) = (&call.input, numbers) {
                numbers.enter(argument)?;
            }
        }
        Ok(())
    }

    /// Adds the rows of a selection of its own, materialised if need be.
    pub(super) fn add_selected(
        &mut self,
        (segment, block, selection): (&SegmentColumns, usize, &mut Selection),
        (prepared, call, accumulator): (&Prepared, (usize, &SegmentCall), &mut Accumulator),
        rows: RowGroups<'_>,
        total: usize,
    ) -> Result<()> {
        let batch = if call.1.input.needs_rows() {
            Some(materialise(segment, &prepared.positions, block, selection, &prepared.rows_schema)?)
        } else {
            None
        };
        self.add(call, accumulator, block_rows(segment, block, selection), rows, batch.as_ref(), total)
    }

    /// Puts aside what one function is given.
    pub(super) fn spread(
        &mut self,
        (index, call): (usize, &SegmentCall),
        spread: &mut Spread,
        input: BlockRows<'_>,
        batch: Option<&RecordBatch>,
    ) -> Result<()> {
        match &call.input {
            Input::Presence(presence) => {
                let has_null = presence.read(input, batch, &mut self.valid)?;
                spread.add_presence(index, has_null.then_some(&self.valid[..]));
            }
            Input::Integers(integers) => {
                integers.read(input, batch, &mut self.program, &mut self.integers)?;
                spread.add_integers(index, &self.integers);
            }
            Input::Floats(floats) => {
                floats.read(input, batch, &mut self.program, &mut self.integers, &mut self.floats)?;
                spread.add_floats(index, &self.floats);
            }
            Input::Numbers(argument) => {
                let numbers = self.numbers[index].as_mut().ok_or_else(unlike)?;
                numbers.read(argument, input, batch, &mut self.integers)?;
                spread.add_integers(index, &self.integers);
            }
            // Not where functions need the rows themselves.
            Input::Rows(_) => {}
        }
        Ok(())
    }

    /// Adds rows to the accumulators of one function.
    pub(super) fn add(
        &mut self,
        (index, call): (usize, &SegmentCall),
        accumulator: &mut Accumulator,
        input: BlockRows<'_>,
        rows: RowGroups<'_>,
        batch: Option<&RecordBatch>,
        total: usize,
    ) -> Result<()> {
        match &call.input {
            Input::Presence(presence) => {
                let has_null = presence.read(input, batch, &mut self.valid)?;
                accumulator.add_rows(rows, has_null.then_some(&self.valid[..]), total);
            }
            Input::Integers(integers) => {
                if let Some(sum) = sum_of_codes(integers, accumulator, input, rows)? {
                    accumulator.add_total(rows, sum, total);
                    return Ok(());
                }
                if let Some(value) = extreme_of_zone(integers, accumulator, input, rows) {
                    accumulator.add_extreme(rows, value, total);
                    return Ok(());
                }
                integers.read(input, batch, &mut self.program, &mut self.integers)?;
                accumulator.add_integers(rows, &mut self.integers, total);
            }
            Input::Floats(floats) => {
                floats.read(input, batch, &mut self.program, &mut self.integers, &mut self.floats)?;
                accumulator.add_floats(rows, &self.floats, total);
            }
            Input::Numbers(argument) => {
                let numbers = self.numbers[index].as_mut().ok_or_else(unlike)?;
                numbers.read(argument, input, batch, &mut self.integers)?;
                accumulator.add_integers(rows, &mut self.integers, total);
            }
            Input::Rows(exprs) => {
                let arguments = exprs.iter().map(|expr| evaluate(expr, batch)).collect::<Result<Vec<_>>>()?;
                accumulator.add_arrays(rows, &arguments)?;
            }
        }
        Ok(())
    }
}

/// The sum of a column of linear codes over the rows of a single group, from the sum of the codes.
fn sum_of_codes(
    integers: &Integers,
    accumulator: &Accumulator,
    input: BlockRows<'_>,
    rows: RowGroups<'_>,
) -> Result<Option<i128>> {
    let (
        true,
        Accumulator::SumIntegers { .. } | Accumulator::AverageIntegers { .. },
        Integers::Program(program),
    ) = (rows.single, accumulator, integers)
    else {
        return Ok(None);
    };
    let Some((position, base, step)) = program.as_linear() else { return Ok(None) };
    let Some(coded) = input.segment.columns()[position].coded() else { return Err(unlike()) };
    let codes = coded.codes(input.block);
    if matches!(codes, CodeSlice::U64(_)) {
        return Ok(None);
    }
    let codes = i128::from(gather::sum(codes, input.rows));
    Ok(Some(i128::from(base) * input.count as i128 + i128::from(step) * codes))
}

/// The extreme of a column of linear codes over a whole block of a single group, from the block's bounds.
fn extreme_of_zone(
    integers: &Integers,
    accumulator: &Accumulator,
    input: BlockRows<'_>,
    rows: RowGroups<'_>,
) -> Option<i64> {
    let (true, None, Accumulator::ExtremeInteger { most, .. }, Integers::Program(program)) =
        (rows.single, input.rows, accumulator, integers)
    else {
        return None;
    };
    let (position, base, step) = program.as_linear()?;
    let (least, greatest) = input.segment.columns()[position].coded()?.zone(input.block)?;
    let code = if *most { greatest } else { least };
    i64::try_from(i128::from(base) + i128::from(step) * i128::from(code)).ok()
}
