//! Idempotent producers: which batch of which producer is already in a partition.
//!
//! As Kafka does it, the last five batches of each producer are remembered (a client keeps at most five in
//! flight), so that a batch sent again after a lost answer is recognised and not stored twice.

use std::collections::{HashMap, VecDeque};

use super::batch::BatchHeader;

const RECENT_BATCHES: usize = 5;
/// Producers remembered per partition; the one silent for longest is forgotten first.
const PRODUCERS_MAX: usize = 1000;

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// New: store it.
    Append,
    /// Stored before, at this base offset.
    Duplicate(i64),
    /// A batch before it is missing.
    OutOfOrder,
    /// Its producer has been replaced by one with a higher epoch.
    Fenced,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    recent: VecDeque<Stored>,
}

#[derive(Debug)]
struct Stored {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// The producers that a partition has seen.
#[derive(Debug, Default)]
pub(super) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// Decides about a batch; changes nothing.
    pub(super) fn judge(&self, header: &BatchHeader) -> Verdict {
        if header.producer_id < 0 {
            return Verdict::Append;
        }
        // A producer that is not known (any more) may go on: its earlier batches have left the log.
        let Some(producer) = self.by_id.get(&header.producer_id) else { return Verdict::Append };
        if header.producer_epoch < producer.epoch {
            return Verdict::Fenced;
        }
        if header.producer_epoch > producer.epoch {
            return if header.base_sequence == 0 { Verdict::Append } else { Verdict::OutOfOrder };
        }
        let same = |stored: &&Stored| {
            stored.first_sequence == header.base_sequence && stored.last_sequence == last_sequence(header)
        };
        if let Some(stored) = producer.recent.iter().find(same) {
            return Verdict::Duplicate(stored.base_offset);
        }
        let next = producer.recent.back().map_or(0, |stored| stored.last_sequence.wrapping_add(1) & i32::MAX);
        if header.base_sequence == next { Verdict::Append } else { Verdict::OutOfOrder }
    }

    /// Remembers a batch that was stored at `header.base_offset`.
    pub(super) fn stored(&mut self, header: &BatchHeader) {
        if header.producer_id < 0 {
            return;
        }
        if self.by_id.len() >= PRODUCERS_MAX && !self.by_id.contains_key(&header.producer_id) {
            self.forget_one();
        }
        let producer = self
            .by_id
            .entry(header.producer_id)
            .or_insert_with(|| Producer { epoch: header.producer_epoch, recent: VecDeque::new() });
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.recent.clear();
        }
        if producer.recent.len() == RECENT_BATCHES {
            producer.recent.pop_front();
        }
        producer.recent.push_back(Stored {
            first_sequence: header.base_sequence,
            last_sequence: last_sequence(header),
            base_offset: header.base_offset,
        });
    }

    fn forget_one(&mut self) {
        let last_offset =
            |producer: &Producer| producer.recent.back().map_or(-1, |stored| stored.base_offset);
        let oldest = self.by_id.iter().min_by_key(|(_, producer)| last_offset(producer)).map(|(id, _)| *id);
        if let Some(id) = oldest {
            self.by_id.remove(&id);
        }
    }
}

/// Sequences run from 0 to `i32::MAX` and then start again at 0.
fn last_sequence(header: &BatchHeader) -> i32 {
    header.base_sequence.wrapping_add(header.last_offset_delta) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::super::batch::testing::batch;
    use super::*;

    fn header(epoch: i16, sequence: i32, records: usize, offset: i64) -> BatchHeader {
        let mut header = BatchHeader::check(&batch(&vec![0; records], (7, epoch, sequence))).unwrap();
        header.base_offset = offset;
        header
    }

    #[test]
    fn batches_are_judged_by_their_sequence() {
        let mut producers = Producers::default();
        assert_eq!(producers.judge(&header(0, 40, 2, 0)), Verdict::Append, "an unknown producer goes on");
        producers.stored(&header(0, 40, 2, 100));
        assert_eq!(producers.judge(&header(0, 40, 2, 0)), Verdict::Duplicate(100));
        assert_eq!(producers.judge(&header(0, 42, 1, 0)), Verdict::Append);
        assert_eq!(producers.judge(&header(0, 43, 1, 0)), Verdict::OutOfOrder);
        assert_eq!(producers.judge(&header(1, 0, 1, 0)), Verdict::Append);
        assert_eq!(producers.judge(&header(1, 5, 1, 0)), Verdict::OutOfOrder);
        producers.stored(&header(1, 0, 1, 102));
        assert_eq!(producers.judge(&header(0, 42, 1, 0)), Verdict::Fenced);
        for sequence in 1..=RECENT_BATCHES as i32 {
            producers.stored(&header(1, sequence, 1, 102 + i64::from(sequence)));
        }
        assert_eq!(producers.judge(&header(1, 0, 1, 0)), Verdict::OutOfOrder, "five batches are remembered");
        assert_eq!(producers.judge(&header(1, 1, 1, 0)), Verdict::Duplicate(103));
    }

    #[test]
    fn sequences_wrap() {
        let mut producers = Producers::default();
        producers.stored(&header(0, i32::MAX - 1, 3, 0));
        assert_eq!(producers.judge(&header(0, 1, 1, 0)), Verdict::Append);
    }

    #[test]
    fn the_number_of_producers_is_bounded() {
        let mut producers = Producers::default();
        for id in 0..2 * PRODUCERS_MAX as i64 {
            let mut header = header(0, 0, 1, id);
            header.producer_id = id;
            producers.stored(&header);
        }
        assert_eq!(producers.by_id.len(), PRODUCERS_MAX);
        assert!(producers.by_id.contains_key(&(2 * PRODUCERS_MAX as i64 - 1)));
    }
}
