//! Histories of one partition, as two nodes may have lived them, against the plain list of its rows.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;
use crate::budget::MemoryBudget;
use crate::log::tests::{meta, spec};
use crate::log::{Gap, GapReason, PartitionState, StreamState};
use crate::schema::TableSchema;
use crate::value::{RowSink, Value};

const PARTITION: i32 = 3;
const EPOCH: u32 = 2;

/// What an offset of the topic became.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Row,
    /// Filtered, undecodable, or a marker.
    NoRow,
    /// Gone from the topic before it was read, and recorded as a gap.
    Gone,
}

/// One node's view of the partition.
#[derive(Clone, Debug)]
struct History {
    fates: Vec<Fate>,
    /// Where this node's segments begin, besides the first one and those behind gaps.
    cuts: Vec<usize>,
    /// Segments that are sealed and committed in the log as the node knows it.
    sealed: usize,
    /// Of these, the newest that are still in memory.
    retired: usize,
}

fn history() -> impl Strategy<Value = History> {
    let fate = prop_oneof![6 => Just(Fate::Row), 2 => Just(Fate::NoRow)];
    let runs = prop::collection::vec((prop::collection::vec(fate, 1..12), 0_usize..4), 1..5);
    (runs, prop::collection::vec(0_usize..60, 0..6), 0_usize..8, 0_usize..4).prop_map(
        |(runs, cuts, sealed, retired)| {
            let fates = runs
                .into_iter()
                .flat_map(|(fates, gone)| fates.into_iter().chain(std::iter::repeat_n(Fate::Gone, gone)));
            let mut fates: Vec<Fate> = fates.collect();
            // A gap is recorded when the rows behind it are read.
            fates.push(Fate::Row);
            History { fates, cuts, sealed, retired }
        },
    )
}

struct Node {
    log: LogSnapshot,
    mutable: Vec<Arc<MutableSegment>>,
}

impl History {
    /// The ranges without gaps between which segments change.
    fn segments(&self) -> Vec<Range<usize>> {
        let is_gone = |at: usize| self.fates[at] == Fate::Gone;
        let begins = |at: usize| !is_gone(at) && (at == 0 || is_gone(at - 1) || self.cuts.contains(&at));
        let starts = (0..self.fates.len()).filter(|at| begins(*at));
        starts
            .map(|start| {
                let ends = |at: &usize| *at == self.fates.len() || is_gone(*at) || begins(*at);
                start..(start + 1..=self.fates.len()).find(ends).unwrap()
            })
            .collect()
    }

    fn node(&self) -> Node {
        let segments = self.segments();
        let sealed = self.sealed.min(segments.len());
        let metas: Vec<_> = segments[..sealed]
            .iter()
            .map(|range| meta(&spec(), PARTITION, range.start as i64, range.end as i64))
            .collect();
        let gaps = (0..self.fates.len()).filter(|at| self.fates[*at] == Fate::Gone).map(|at| Gap {
            from: at as i64,
            to: at as i64 + 1,
            reason: GapReason::Retention,
            at_ms: 0,
        });
        let committed = sealed.checked_sub(1).map_or(0, |last| segments[last].end as i64);
        let state = PartitionState { first: 0, committed, gaps: gaps.collect() };
        let others = meta(&spec(), PARTITION + 1, 0, 1000);
        let log = LogSnapshot {
            version: 9,
            spec: Arc::new(spec()),
            schema: Arc::new(TableSchema::new(&spec())),
            segments: metas
                .into_iter()
                .chain([others])
                .map(|meta| ((meta.partition, EPOCH, meta.from), meta))
                .collect(),
            stream: StreamState {
                epoch: EPOCH,
                partitions: BTreeMap::from([(PARTITION, state)]),
                ..StreamState::default()
            },
        };
        let first = sealed - self.retired.min(sealed);
        let mutable = segments[first..].iter().map(|range| self.mutable(range)).collect();
        Node { log, mutable }
    }

    fn mutable(&self, range: &Range<usize>) -> Arc<MutableSegment> {
        let schema = Arc::new(TableSchema::new(&spec()));
        let budget = MemoryBudget::new(1 << 30);
        let (mut writer, segment) = MutableSegment::create(schema, PARTITION, range.start as i64, budget);
        for offset in range.clone().filter(|at| self.fates[*at] == Fate::Row) {
            writer.set(0, Value::I64(offset as i64));
            writer.finish_row(offset as i64, None, None, None);
        }
        writer.publish(range.end as i64);
        segment
    }

    fn rows(&self, range: Range<i64>) -> Vec<i64> {
        range.filter(|offset| self.fates[*offset as usize] == Fate::Row).collect()
    }
}

fn ask(from: i64, to: i64) -> OffsetRange {
    OffsetRange { epoch: EPOCH, partition: PARTITION, from, to }
}

/// The rows' offsets of a piece, of a topic with this history.
fn rows_of(piece: &Piece, history: &History) -> Vec<i64> {
    match piece {
        Piece::Sealed { segment, offsets } => {
            assert_ne!(*offsets, Some(segment.from..segment.to), "all of it needs no limits");
            history.rows(offsets.clone().unwrap_or(segment.from..segment.to))
        }
        Piece::Open(slice) => {
            let column = slice.segment.schema().offset_column();
            let batches = slice.segment.batches(slice.rows.clone(), &[column]);
            let offsets = |batch: arrow::array::RecordBatch| {
                batch.column(0).as_primitive::<Int64Type>().values().to_vec()
            };
            batches.flat_map(|batch| offsets(batch.unwrap())).collect()
        }
    }
}

proptest! {
    #[test]
    fn pieces_are_the_range(history in history(), from in 0_i64..60, length in 0_i64..60) {
        let end = history.fates.len() as i64;
        let (from, to) = (from.min(end), (from + length).min(end));
        let node = history.node();
        let pieces = match resolve(&node.log, &node.mutable, &ask(from, to)) {
            Ok(pieces) => pieces,
            Err(refusal) => panic!("{refusal}"),
        };
        let found: Vec<i64> = pieces.iter().flat_map(|piece| rows_of(piece, &history)).collect();
        prop_assert_eq!(found, history.rows(from.min(to)..to));
    }

    /// What two nodes with segments of their own, and logs of different age, have of a range are the same rows.
    #[test]
    fn a_broker_with_any_version_of_the_log_counts_every_row_once(
        history in history(), cuts in prop::collection::vec(0_usize..60, 0..6), sealed in 0_usize..8,
    ) {
        let broker = History { cuts, sealed, retired: 0, ..history.clone() }.node().log;
        let end = history.fates.len() as i64;
        let committed = broker.committed(PARTITION).unwrap();
        let sealed = broker.segments.iter().filter(|segment| segment.partition == PARTITION);
        let mut rows: Vec<i64> = sealed.flat_map(|segment| history.rows(segment.from..segment.to)).collect();
        let node = history.node();
        for piece in resolve(&node.log, &node.mutable, &ask(committed, end)).unwrap_or_default() {
            rows.extend(rows_of(&piece, &history));
        }
        prop_assert_eq!(rows, history.rows(0..end));
    }
}

fn plain(sealed: usize, retired: usize) -> Node {
    History { fates: vec![Fate::Row; 30], cuts: vec![10, 20], sealed, retired }.node()
}

fn refusal(node: &Node, range: &OffsetRange) -> Option<Refusal> {
    resolve(&node.log, &node.mutable, range).err()
}

#[test]
fn memory_comes_before_segments() {
    let node = plain(2, 1);
    let pieces = resolve(&node.log, &node.mutable, &ask(5, 25)).unwrap_or_default();
    let kinds: Vec<&str> = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Sealed { offsets: Some(limits), .. } if *limits == (5..10) => "part of the first",
            Piece::Open(slice) if slice.sealing => "second, in memory still",
            Piece::Open(_) => "open",
            Piece::Sealed { .. } => "another",
        })
        .collect();
    assert_eq!(kinds, ["part of the first", "second, in memory still", "open"]);
}

#[test]
fn what_is_not_there_is_said() {
    let mut node = plain(1, 0);
    assert_eq!(refusal(&node, &ask(5, 31)), Some(Refusal::NotYet { visible: 30 }));
    assert_eq!(refusal(&node, &ask(40, 41)), Some(Refusal::NotYet { visible: 30 }));
    assert_eq!(refusal(&node, &OffsetRange { epoch: 1, ..ask(5, 30) }), Some(Refusal::Epoch { here: EPOCH }));
    let unknown = OffsetRange { partition: 7, ..ask(0, 1) };
    assert_eq!(resolve(&node.log, &[], &unknown).err(), Some(Refusal::NotYet { visible: 0 }));
    // Another process committed what was being sealed here, and this one began again behind it.
    node.mutable.remove(0);
    assert_eq!(refusal(&node, &ask(5, 25)), Some(Refusal::Missing { from: 10 }));
    assert_eq!(refusal(&node, &ask(5, 10)), None);
    assert_eq!(refusal(&node, &ask(20, 30)), None);
}
