//! What was written to a topic, offset by offset, and so what any cut of its table must contain.
//!
//! Offsets become *settled* in order. An offset is settled once it is certain what a reader of committed messages finds
//! there: a row, a dead letter, a tombstone, or nothing (aborted, compacted away, a control record of a transaction).
//!
//! Invariants:
//! - [`PartitionModel::settle`] is called only while no message is on its way to the broker. Then an offset that nobody
//!   acknowledged, below one that somebody did, is a control record;
//! - nothing at or past the first message of an undecided transaction is settled;
//! - memory is little more than 4 bytes an offset, so a run may take hours.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

/// Offsets per stored prefix sum; a look-up adds up at most this many.
const BLOCK: usize = 1024;
/// Classes that events fall into by their id, for questions that group.
pub(crate) const CLASSES: usize = 7;

/// Per partition, the first offset that is not part of an answer.
pub(crate) type Cut = BTreeMap<i32, i64>;

/// What an answer says about a set of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Number of rows.
    pub(crate) rows: u64,
    /// Sum of their ids.
    pub(crate) id_sum: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.id_sum += other.id_sum;
    }
}

/// Totals per class: `ids[c]` are those of the ids that leave a rest of `c`.
pub(crate) type ByClass = [Totals; CLASSES];

/// What a reader of committed messages finds at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// An event; ids begin at 1.
    Row(u32),
    /// A message that cannot be decoded.
    DeadLetter,
    /// A message without payload.
    Tombstone,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    /// `None`: its transaction was aborted.
    content: Option<Content>,
    /// The transaction that it waits for.
    undecided: Option<u64>,
}

/// One partition's messages.
#[derive(Debug, Default)]
pub(crate) struct PartitionModel {
    /// Settled offsets from 0 on: the row's id, or 0 where there is no row.
    ids: Vec<u32>,
    /// `blocks[i]`: totals of the offsets below `i * BLOCK`, per class of ids.
    blocks: Vec<ByClass>,
    /// `greatest[i]`: the greatest id of the offsets from `i * BLOCK` on.
    greatest: Vec<u32>,
    all: ByClass,
    dead_letters: BTreeSet<i64>,
    written: BTreeMap<i64, Written>,
    delivered_end: i64,
}

impl PartitionModel {
    /// The broker acknowledged a message; with a `transaction`, it counts only once that is committed.
    pub(crate) fn acknowledge(&mut self, offset: i64, content: Content, transaction: Option<u64>) {
        self.written.insert(offset, Written { content: Some(content), undecided: transaction });
    }

    /// A transaction ended.
    fn decide(&mut self, transaction: u64, committed: bool) {
        let of_transaction =
            self.written.values_mut().filter(|written| written.undecided == Some(transaction));
        for written in of_transaction {
            written.undecided = None;
            written.content = written.content.filter(|_| committed);
        }
    }

    /// Settles what can be settled, given that no message is on its way.
    fn settle(&mut self) {
        while let Some((&offset, &written)) = self.written.first_key_value() {
            self.settle_empty_up_to(offset);
            if written.undecided.is_some() {
                return;
            }
            self.written.remove(&offset);
            let id = match written.content {
                Some(Content::Row(id)) => id,
                Some(Content::DeadLetter | Content::Tombstone) | None => 0,
            };
            if written.content == Some(Content::DeadLetter) {
                self.dead_letters.insert(offset);
            }
            self.push(id);
            if written.content.is_some() {
                self.delivered_end = offset + 1;
            }
        }
    }

    /// Offsets up to the end of the partition that nobody acknowledged are control records.
    fn settle_empty_up_to(&mut self, end: i64) {
        while self.settled() < end {
            self.push(0);
        }
    }

    fn push(&mut self, id: u32) {
        if self.ids.len().is_multiple_of(BLOCK) {
            self.blocks.push(self.all);
            self.greatest.push(0);
        }
        if let Some(greatest) = self.greatest.last_mut() {
            *greatest = id.max(*greatest);
        }
        self.ids.push(id);
        add(&mut self.all, id);
    }

    /// Everything below this offset is certain.
    pub(crate) fn settled(&self) -> i64 {
        self.ids.len() as i64
    }

    /// One past the last settled offset that a reader is given a message for.
    pub(crate) fn delivered_end(&self) -> i64 {
        self.delivered_end
    }

    /// Totals of the rows below `end`, per class; `None` if that is not certain yet.
    fn by_class(&self, end: i64) -> Option<ByClass> {
        let end = usize::try_from(end).unwrap_or(0);
        if end == self.ids.len() {
            return Some(self.all);
        }
        let mut totals = *self.blocks.get(end / BLOCK).filter(|_| end < self.ids.len())?;
        for id in &self.ids[end / BLOCK * BLOCK..end] {
            add(&mut totals, *id);
        }
        Some(totals)
    }

    /// Puts the rows below `end` into `greatest`, the `count` greatest ids, ascending. Nothing below `end` is uncertain.
    fn collect_greatest(&self, end: i64, count: usize, greatest: &mut BTreeSet<u32>) {
        let end = usize::try_from(end).unwrap_or(0).min(self.ids.len());
        for block in (0..end.div_ceil(BLOCK)).rev() {
            let least = greatest.first().copied().filter(|_| greatest.len() >= count).unwrap_or(0);
            if self.greatest[block] <= least {
                continue;
            }
            greatest.extend(&self.ids[block * BLOCK..end.min((block + 1) * BLOCK)]);
            greatest.remove(&0);
            while greatest.len() > count {
                greatest.pop_first();
            }
        }
    }
}

fn add(totals: &mut ByClass, id: u32) {
    totals[id as usize % CLASSES] += Totals { rows: u64::from(id > 0), id_sum: u64::from(id) };
}

fn sum(totals: ByClass) -> Totals {
    totals.into_iter().fold(Totals::default(), |mut all, totals| {
        all += totals;
        all
    })
}

/// A topic's messages.
#[derive(Debug, Default)]
pub(crate) struct Model {
    partitions: BTreeMap<i32, PartitionModel>,
}

impl Model {
    /// See [`PartitionModel::acknowledge`].
    pub(crate) fn acknowledge(
        &mut self,
        partition: i32,
        offset: i64,
        content: Content,
        transaction: Option<u64>,
    ) {
        self.partitions.entry(partition).or_default().acknowledge(offset, content, transaction);
    }

    /// A transaction ended, in all partitions.
    pub(crate) fn decide(&mut self, transaction: u64, committed: bool) {
        for partition in self.partitions.values_mut() {
            partition.decide(transaction, committed);
        }
    }

    /// Settles what can be settled, given that no message is on its way.
    pub(crate) fn settle(&mut self) {
        for partition in self.partitions.values_mut() {
            partition.settle();
        }
    }

    /// The topic is complete: everything up to these ends of its partitions is certain.
    pub(crate) fn settle_to_end(&mut self, ends: &Cut) {
        self.settle();
        for (partition, end) in ends {
            self.partitions.entry(*partition).or_default().settle_empty_up_to(*end);
        }
    }

    /// Totals per partition at a cut; `None` if some of it is not certain yet.
    pub(crate) fn partition_totals(&self, cut: &Cut) -> Option<BTreeMap<i32, Totals>> {
        cut.iter().map(|(partition, end)| Some((*partition, self.partition(*partition, *end)?))).collect()
    }

    /// Totals of a partition's rows below `end`; `None` if some of it is not certain yet.
    pub(crate) fn partition(&self, partition: i32, end: i64) -> Option<Totals> {
        self.partition_by_class(partition, end).map(sum)
    }

    fn partition_by_class(&self, partition: i32, end: i64) -> Option<ByClass> {
        match self.partitions.get(&partition) {
            Some(model) => model.by_class(end),
            None => (end <= 0).then(ByClass::default),
        }
    }

    /// Totals per class of ids at a cut; `None` if some of it is not certain yet.
    pub(crate) fn class_totals(&self, cut: &Cut) -> Option<ByClass> {
        let mut all = ByClass::default();
        for (partition, end) in cut {
            for (all, totals) in all.iter_mut().zip(self.partition_by_class(*partition, *end)?) {
                *all += totals;
            }
        }
        Some(all)
    }

    /// The `count` greatest ids at a cut, descending; `None` if some of it is not certain yet.
    pub(crate) fn greatest(&self, cut: &Cut, count: usize) -> Option<Vec<u32>> {
        self.totals(cut)?;
        let mut greatest = BTreeSet::new();
        for (partition, end) in cut {
            if let Some(model) = self.partitions.get(partition) {
                model.collect_greatest(*end, count, &mut greatest);
            }
        }
        Some(greatest.into_iter().rev().collect())
    }

    /// Totals of the whole topic at a cut; `None` if some of it is not certain yet.
    pub(crate) fn totals(&self, cut: &Cut) -> Option<Totals> {
        let mut all = Totals::default();
        for totals in self.partition_totals(cut)?.into_values() {
            all += totals;
        }
        Some(all)
    }

    /// The least cut that contains every message.
    pub(crate) fn delivered_ends(&self) -> Cut {
        self.partitions.iter().map(|(partition, model)| (*partition, model.delivered_end())).collect()
    }

    /// Partition and offset of every settled dead letter.
    pub(crate) fn dead_letters(&self) -> BTreeSet<(i32, i64)> {
        let of_partition = |(partition, model): (&i32, &PartitionModel)| {
            let partition = *partition;
            model.dead_letters.iter().map(move |offset| (partition, *offset)).collect::<Vec<_>>()
        };
        self.partitions.iter().flat_map(of_partition).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn totals(rows: u64, id_sum: u64) -> Option<Totals> {
        Some(Totals { rows, id_sum })
    }

    #[test]
    fn an_open_transaction_holds_back_everything_from_its_first_message_on() {
        let mut model = Model::default();
        model.acknowledge(0, 0, Content::Row(1), None);
        model.acknowledge(0, 1, Content::Row(2), Some(7));
        model.acknowledge(0, 2, Content::Row(3), None);
        model.settle();
        assert_eq!(model.totals(&Cut::from([(0, 1)])), totals(1, 1));
        assert_eq!(model.totals(&Cut::from([(0, 2)])), None);
        model.decide(7, false);
        assert_eq!(model.totals(&Cut::from([(0, 2)])), None, "not before the next settling");
        model.settle();
        assert_eq!(model.totals(&Cut::from([(0, 3)])), totals(2, 4));
    }

    #[test]
    fn control_records_are_empty_only_below_an_acknowledged_offset() {
        let mut model = Model::default();
        model.acknowledge(0, 0, Content::Row(1), Some(1));
        model.decide(1, true);
        model.settle();
        assert_eq!(
            model.totals(&Cut::from([(0, 2)])),
            None,
            "offset 1 may be a control record or the next event"
        );
        model.acknowledge(0, 2, Content::Row(2), None);
        model.settle();
        assert_eq!(model.totals(&Cut::from([(0, 2)])), totals(1, 1));
        assert_eq!(model.totals(&Cut::from([(0, 3)])), totals(2, 3));
        model.settle_to_end(&Cut::from([(0, 5), (1, 0)]));
        assert_eq!(model.totals(&Cut::from([(0, 5), (1, 0)])), totals(2, 3));
        assert_eq!(model.delivered_ends(), Cut::from([(0, 3), (1, 0)]));
    }

    #[test]
    fn letters_and_tombstones_take_an_offset_and_are_no_rows() {
        let mut model = Model::default();
        model.acknowledge(3, 0, Content::DeadLetter, None);
        model.acknowledge(3, 1, Content::Tombstone, None);
        model.acknowledge(3, 2, Content::DeadLetter, Some(1));
        model.decide(1, false);
        model.settle();
        assert_eq!(model.totals(&Cut::from([(3, 3)])), totals(0, 0));
        assert_eq!(model.dead_letters(), BTreeSet::from([(3, 0)]), "an aborted one is never read");
        assert_eq!(model.delivered_ends(), Cut::from([(3, 2)]));
    }

    #[test]
    fn a_partition_that_nobody_wrote_to_must_be_empty() {
        let model = Model::default();
        assert_eq!(model.totals(&Cut::from([(9, 0)])), totals(0, 0));
        assert_eq!(model.totals(&Cut::from([(9, 1)])), None);
    }

    #[test]
    fn classes_and_the_greatest_ids_are_those_of_the_cut() {
        let mut model = Model::default();
        for offset in 0..3000_i64 {
            model.acknowledge((offset % 2) as i32, offset / 2, Content::Row(offset as u32 + 1), None);
        }
        model.settle();
        let cut = Cut::from([(0, 1200), (1, 7)]);
        assert_eq!(model.greatest(&cut, 3), Some(vec![2399, 2397, 2395]));
        let classes = model.class_totals(&cut).unwrap();
        assert_eq!(Some(sum(classes)), model.totals(&cut));
        let seventh = (0..1200).map(|offset| offset * 2 + 1).chain((1..=7).map(|n| n * 2));
        assert_eq!(classes[3].rows, seventh.filter(|id| id % 7 == 3).count() as u64);
        assert_eq!(model.greatest(&Cut::from([(0, 1501)]), 3), None);
    }

    proptest! {
        #[test]
        fn totals_are_those_of_a_plain_list(slots in proptest::collection::vec(proptest::option::of(1u32..1000), 0..5000)) {
            let mut model = PartitionModel::default();
            for (offset, id) in slots.iter().enumerate() {
                if let Some(id) = id {
                    model.acknowledge(offset as i64, Content::Row(*id), None);
                }
            }
            model.settle();
            model.settle_empty_up_to(slots.len() as i64);
            for end in (0..=slots.len()).step_by(97).chain([slots.len()]) {
                let rows: Vec<u32> = slots[..end].iter().flatten().copied().collect();
                let expected = Totals { rows: rows.len() as u64, id_sum: rows.iter().copied().map(u64::from).sum() };
                prop_assert_eq!(model.by_class(end as i64).map(sum), Some(expected));
                let all: BTreeSet<u32> = rows.into_iter().collect();
                let mut greatest = BTreeSet::new();
                model.collect_greatest(end as i64, 10, &mut greatest);
                prop_assert_eq!(greatest, all.into_iter().rev().take(10).collect());
            }
            prop_assert_eq!(model.by_class(slots.len() as i64 + 1), None);
        }
    }
}
