//! DataFusion's accumulators of one function.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator as DataFusionAccumulator, EmitTo, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use parking_lot::Mutex;

use super::accumulator::{RowGroups, grow};

/// See the module. They take it that every group they know of has had a row, so they are given numbers of their own, in
/// the order in which groups come.
pub(super) struct Stock {
    function: Arc<AggregateFunctionExpr>,
    /// Behind a lock only because it may not be shared; whoever adds has it alone.
    inner: Mutex<Inner>,
    /// The accumulators' number of each group, plus 1; 0 if they have not seen it.
    own: Vec<u32>,
    /// Groups that they have seen.
    seen: usize,
    scratch: Vec<usize>,
}

/// A function has accumulators of two kinds, and their states need not be alike (those of `corr` are not): the final aggregate
/// takes the ones for groups exactly if there are group keys.
enum Inner {
    Groups(Box<dyn GroupsAccumulator>),
    One(Box<dyn DataFusionAccumulator>),
}

impl Inner {
    fn new(function: &Arc<AggregateFunctionExpr>, is_single: bool) -> Result<Self> {
        if is_single {
            return Ok(Self::One(function.create_accumulator()?));
        }
        if function.groups_accumulator_supported() {
            return Ok(Self::Groups(function.create_groups_accumulator()?));
        }
        let function = Arc::clone(function);
        Ok(Self::Groups(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator()))))
    }
}

impl Stock {
    /// Accumulators of no group yet; `is_single` if there never is more than one.
    pub(super) fn new(function: &Arc<AggregateFunctionExpr>, is_single: bool) -> Result<Self> {
        let inner = Inner::new(function, is_single)?;
        let function = Arc::clone(function);
        Ok(Self { function, inner: Mutex::new(inner), own: Vec::new(), seen: 0, scratch: Vec::new() })
    }

    /// Makes room for groups below `total`.
    pub(super) fn resize(&mut self, total: usize) {
        grow(&mut self.own, total, 0);
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        let inner = match &*self.inner.lock() {
            Inner::Groups(groups) => groups.size(),
            Inner::One(one) => one.size(),
        };
        inner + self.own.capacity() * size_of::<u32>()
    }

    pub(super) fn add(&mut self, rows: RowGroups<'_>, arguments: &[ArrayRef]) -> Result<()> {
        self.number(rows.groups);
        match self.inner.get_mut() {
            Inner::Groups(groups) => groups.update_batch(arguments, &self.scratch, None, self.seen),
            Inner::One(_) if rows.groups.is_empty() => Ok(()),
            Inner::One(one) => one.update_batch(arguments),
        }
    }

    /// Adds states to the groups `groups`.
    pub(super) fn merge(&mut self, groups: &[u32], states: &[ArrayRef]) -> Result<()> {
        self.number(groups);
        match self.inner.get_mut() {
            Inner::Groups(inner) => inner.merge_batch(states, &self.scratch, self.seen),
            Inner::One(one) => one.merge_batch(states),
        }
    }

    fn number(&mut self, groups: &[u32]) {
        if let (Inner::One(_), Some(only)) = (self.inner.get_mut(), groups.first()) {
            (self.own[*only as usize], self.seen) = (1, 1);
            return;
        }
        self.scratch.clear();
        for group in groups {
            let own = &mut self.own[*group as usize];
            if *own == 0 {
                self.seen += 1;
                *own = self.seen as u32;
            }
            self.scratch.push(*own as usize - 1);
        }
    }

    /// The states of some groups; of those that were not seen, the state without rows. There are no groups afterwards.
    pub(super) fn states(&mut self, present: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut unseen = self.function.create_accumulator()?.state()?;
        if self.function.fun().name() == "avg" {
            // DataFusion divides the sum of a group by its rows unless its state is NULL, if the rows are 0 too.
            for state in &mut unseen {
                *state = ScalarValue::try_new_null(&state.data_type())?;
            }
        }
        let seen = match self.inner.get_mut() {
            _ if self.seen == 0 => Vec::new(),
            Inner::Groups(groups) => groups.state(EmitTo::All)?,
            Inner::One(one) => {
                let states = one.state()?;
                *one = self.function.create_accumulator()?;
                states.iter().map(ScalarValue::to_array).collect::<Result<_>>()?
            }
        };
        let places = self.places(present);
        let states = unseen.iter().enumerate();
        states.map(|(index, unseen)| with_unseen(seen.get(index), unseen, &places)).collect()
    }

    /// The values of some groups. There are no groups afterwards.
    pub(super) fn values(&mut self, present: &[u32]) -> Result<ArrayRef> {
        let unseen = self.function.create_accumulator()?.evaluate()?;
        let seen = match self.inner.get_mut() {
            _ if self.seen == 0 => None,
            Inner::Groups(groups) => Some(groups.evaluate(EmitTo::All)?),
            Inner::One(one) => {
                let value = one.evaluate()?;
                *one = self.function.create_accumulator()?;
                Some(value.to_array()?)
            }
        };
        with_unseen(seen.as_ref(), &unseen, &self.places(present))
    }

    /// Where each group is among those seen, behind which is what was not.
    fn places(&self, present: &[u32]) -> UInt32Array {
        let own = |group: &u32| self.own[*group as usize];
        present.iter().map(|group| own(group).checked_sub(1).unwrap_or(self.seen as u32)).collect()
    }
}

fn with_unseen(seen: Option<&ArrayRef>, unseen: &ScalarValue, places: &UInt32Array) -> Result<ArrayRef> {
    let unseen = unseen.to_array()?;
    let all = match seen {
        Some(seen) => concat(&[seen.as_ref(), unseen.as_ref()])?,
        None => unseen,
    };
    Ok(take(&all, places, None)?)
}
