//! COUNT(DISTINCT x): the number of distinct pairs of a group and a value of x.
//!
//! | x | a value is |
//! |---|---|
//! | integers, dates, times | itself, in 32 or 64 bits |
//! | text, bytes, booleans, decimals | its number among the query's values of x, the same for all partitions and segments |
//! | anything else, doubles too | left to DataFusion's accumulators |
//!
//! ```text
//! per block      (group, value) of the rows that are not NULL ─▶ PairSets: a hash set, or one for each partition of values
//! worker's end   PairSets ─▶ Listed: the values of each group, each once
//! job of a merge the lists of a group in all workers ─▶ their union, counted group by group and partition by partition
//! handed out     Listed ─▶ the state of DataFusion's accumulator: a list of values for each group
//! ```
//!
//! What it takes: 8 bytes for a pair (a value of 32 bits, or no keys) or 16, in a set that is a third to five eighths full,
//! and half as much put aside: 20 to 60 bytes for each distinct pair; 8 once listed. The union reads each list once. Text costs
//! a look-up of its code's number per row, and a hash per dictionary entry that is new to the query.
//!
//! Invariants:
//! - NULL is not counted: its rows never become pairs;
//! - the same value is the same 64 bits in all workers of an execution, and different values are different bits;
//! - after [`Distinct::settle`] no rows are added.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use datafusion::common::resources_err;
use datafusion::error::Result;

use super::accumulator::RowGroups;
use super::grouping::number;
use super::key_values::KeyValues;
use super::keys::{Key, SegmentKey};
use super::numbers::Numbers;
use super::outcome::Moved;
use super::pairs::{Alone, Listed, Narrow, PairSets, Set, Wide, union};
use super::program::BlockRows;
use super::spread::PARTITIONS;
use super::values::{Values, integer_array};

/// All partitions of the values.
const ALL: Range<usize> = 0..PARTITIONS;

/// An argument whose values are numbered.
pub(super) struct Numbered {
    pub(super) key: Key,
    pub(super) values: Arc<KeyValues>,
}

/// Whether values of the type are numbered.
pub(super) fn is_numbered(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, Boolean, Decimal128, LargeBinary, LargeUtf8, Utf8, Utf8View};
    matches!(
        data_type,
        Utf8View | Utf8 | LargeUtf8 | BinaryView | Binary | LargeBinary | Boolean | Decimal128(..)
    )
}

/// The numbers of an argument's values in one partition.
pub(super) struct ArgumentNumbers {
    numbers: Numbers,
    null: u32,
    found: Vec<u32>,
}

impl ArgumentNumbers {
    pub(super) fn new(argument: &Numbered) -> Result<Self> {
        let null = argument.values.number_of_null()?;
        Ok(Self { numbers: Numbers::new(&argument.values), null, found: Vec::new() })
    }

    /// Bytes of memory, with a share of what partitions have in common.
    pub(super) fn size(&self) -> usize {
        self.numbers.size()
    }

    /// Takes the argument of the segment whose blocks come next.
    pub(super) fn enter(&mut self, argument: &SegmentKey) -> Result<()> {
        if let SegmentKey::Codes { values, identity, .. } = argument {
            self.numbers.enter(values, *identity)?;
        }
        Ok(())
    }

    /// The numbers of a block's rows.
    pub(super) fn read(
        &mut self,
        argument: &SegmentKey,
        input: BlockRows<'_>,
        batch: Option<&RecordBatch>,
        out: &mut Values<i64>,
    ) -> Result<()> {
        number(argument, &mut self.numbers, input, batch, false, &mut self.found)?;
        out.values.clear();
        out.values.extend(self.found.iter().map(|number| i64::from(number.cast_signed())));
        out.has_null = self.found.contains(&self.null);
        if out.has_null {
            out.valid.clear();
            out.valid.extend(self.found.iter().map(|number| u8::from(*number != self.null)));
        }
        Ok(())
    }
}

/// What the values are.
#[derive(Clone)]
pub(super) enum Argument {
    Integers(DataType),
    Numbers(Arc<Numbered>),
}

/// See the module.
pub(super) struct Distinct {
    argument: Argument,
    pairs: Pairs,
    /// Groups are below.
    total: usize,
    /// The pairs, once they are complete.
    listed: Option<Arc<Listed>>,
    /// Of other workers.
    others: Vec<Other>,
    /// By group, once they were asked for.
    counts: Vec<i64>,
}

enum Pairs {
    Alone(PairSets<Alone>),
    Narrow(PairSets<Narrow>),
    Wide(PairSets<Wide>),
}

/// Runs an expression over the sets, whatever their pairs are.
macro_rules! each_kind {
    ($pairs:expr, $sets:ident => $result:expr) => {
        match $pairs {
            Pairs::Alone($sets) => $result,
            Pairs::Narrow($sets) => $result,
            Pairs::Wide($sets) => $result,
        }
    };
}

/// Values that another worker has listed.
struct Other {
    listed: Arc<Listed>,
    /// By group here: the group there, plus 1.
    groups: Vec<u32>,
}

impl Distinct {
    /// Without groups; `is_single` if there never is more than one.
    pub(super) fn new(argument: Argument, is_single: bool) -> Self {
        let is_narrow = match &argument {
            Argument::Integers(data_type) => matches!(data_type, DataType::Int32 | DataType::Date32),
            Argument::Numbers(_) => true,
        };
        let pairs = match (is_single, is_narrow) {
            (true, _) => Pairs::Alone(PairSets::new()),
            (false, true) => Pairs::Narrow(PairSets::new()),
            (false, false) => Pairs::Wide(PairSets::new()),
        };
        Self { argument, pairs, total: 0, listed: None, others: Vec::new(), counts: Vec::new() }
    }

    /// Makes room for groups below `total`.
    pub(super) fn resize(&mut self, total: usize) {
        self.total = total;
    }

    /// Bytes of memory, without what is other workers'.
    pub(super) fn size(&self) -> usize {
        let listed = self.listed.as_ref().map_or(0, |listed| listed.size());
        each_kind!(&self.pairs, sets => sets.size()) + listed
    }

    /// Rows and their values.
    pub(super) fn add(&mut self, rows: RowGroups<'_>, values: &Values<i64>) {
        let pairs = rows.groups.iter().copied().zip(values.values.iter().copied());
        each_kind!(&mut self.pairs, sets => match values.valid() {
            None => sets.add(pairs),
            Some(valid) => {
                let valid = valid.iter().map(|valid| *valid != 0);
                sets.add(pairs.zip(valid).filter(|(_, valid)| *valid).map(|(pair, _)| pair));
            }
        });
    }

    /// Most pairs that there may be, before it settles.
    pub(super) fn len_max(&self) -> usize {
        each_kind!(&self.pairs, sets => sets.len_max())
    }

    /// Bytes that settling takes until it is done, at most.
    pub(super) fn settle_bytes(&self) -> usize {
        if self.listed.is_some() { 0 } else { (self.len_max() + self.total) * size_of::<i64>() }
    }

    /// Lists the values of each group: no rows follow.
    pub(super) fn settle(&mut self) -> &Arc<Listed> {
        let (pairs, total) = (&mut self.pairs, self.total);
        self.listed.get_or_insert_with(|| Arc::new(each_kind!(pairs, sets => sets.take_listed(total))))
    }

    /// Adds groups of another worker, which has settled; groups are below `total`.
    pub(super) fn merge(&mut self, other: &Self, moved: Moved<'_>, total: usize) {
        let Some(listed) = &other.listed else { return };
        let mut groups = vec![0; total];
        moved.each(|group, to| groups[to] = group as u32 + 1);
        self.others.push(Other { listed: Arc::clone(listed), groups });
    }

    /// Calls `each` with those of a group's values whose partition is one of `wanted`, each once.
    fn of(&self, group: usize, wanted: &Range<usize>, scratch: &mut Set<Alone>, each: impl FnMut(&[i64])) {
        let own = self.listed.as_ref().map_or(&[][..], |listed| listed.of(group));
        if self.others.is_empty() {
            return union(&mut [own], wanted, scratch, each);
        }
        let others = self.others.iter().map(|other| {
            let group = other.groups.get(group).copied().unwrap_or(0);
            group.checked_sub(1).map_or(&[][..], |group| other.listed.of(group as usize))
        });
        let lists = std::iter::once(own).chain(others).filter(|list| !list.is_empty());
        union(&mut lists.collect::<Vec<_>>(), wanted, scratch, each);
    }

    /// Values that are listed, of all groups.
    pub(super) fn listed_len(&self) -> usize {
        self.listed.as_ref().map_or(0, |listed| listed.len())
    }

    /// How many values each group has, of those whose partition is one of `wanted`; all rows are listed.
    pub(super) fn count(&self, wanted: &Range<usize>) -> Vec<i64> {
        let mut scratch = Set::new();
        let mut counts = vec![0; self.total];
        for (group, count) in counts.iter_mut().enumerate() {
            self.of(group, wanted, &mut scratch, |values| *count += values.len() as i64);
        }
        counts
    }

    /// Takes the number of values of each group.
    pub(super) fn set_counts(&mut self, counts: Vec<i64>) {
        self.counts = counts;
    }

    /// How many values each of the groups `present` has.
    pub(super) fn values(&mut self, present: &[u32]) -> ArrayRef {
        self.settle();
        if self.counts.is_empty() {
            self.counts = self.count(&ALL);
        }
        let counts = present.iter().map(|group| self.counts[*group as usize]);
        Arc::new(Int64Array::from_iter_values(counts))
    }

    /// The values of each of the groups `present`, in a list.
    pub(super) fn states(&mut self, present: &[u32]) -> Result<ArrayRef> {
        self.settle();
        let (mut values, mut ends) = (Vec::new(), vec![0i32]);
        let mut scratch = Set::new();
        for group in present {
            self.of(*group as usize, &ALL, &mut scratch, |more| values.extend_from_slice(more));
            match i32::try_from(values.len()) {
                Ok(end) => ends.push(end),
                Err(_) => {
                    return resources_err!("more than 2^31 distinct values are to be handed on at once");
                }
            }
        }
        let (data_type, values) = match &self.argument {
            Argument::Integers(data_type) => (data_type.clone(), integer_array(values, None, data_type)?),
            Argument::Numbers(argument) => {
                let numbers = values.into_iter().map(|value| value as u32).collect();
                (argument.key.field.data_type().clone(), argument.values.values(numbers)?)
            }
        };
        let field = Arc::new(Field::new_list_field(data_type, true));
        Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::new(ends.into()), values, None)?))
    }
}
