//! Which segments to compact next: a run of small neighbours, oldest first.
//!
//! A run is taken if it has at least [`CompactionLimits::segments_min`] segments, stays within the limits of bytes and rows, and
//! has at least [`GROWTH`] times the rows of its largest segment. The last rule bounds the work:
//!
//! - Each time a row is written anew it comes to lie in a segment of at least twice the rows. A row that was sealed among `r`
//!   rows is therefore written anew at most `log2(rows_max / r)` times.
//! - Each job leaves fewer segments than it found, so repeated application ends; then no run is left that qualifies.
//!
//! Rows and not bytes are counted for it, because rows are conserved and bytes shrink as segments are merged.
//!
//! **Invariant:** a run is of one partition and one epoch, and what lies between its segments is nothing or recorded as empty;
//! what the log asks of a compaction.

use std::sync::Arc;

use crate::log::LogSnapshot;
use crate::sealed::SegmentMeta;

/// The merged segment has at least this many times the rows of the largest one in it.
const GROWTH: u64 = 2;
/// Most segments of one job: their objects are read side by side.
const SEGMENTS_MAX: usize = 64;

/// What a job may take.
#[derive(Clone, Copy, Debug)]
pub struct CompactionLimits {
    /// Fewer neighbours are left alone; at least 2.
    pub segments_min: usize,
    /// Most bytes of the old segments, which is what a job holds of objects, and about the length of the new one.
    pub bytes_max: u64,
    /// Most rows of the new segment.
    pub rows_max: u64,
}

/// Neighbouring segments that are to become one.
#[derive(Clone, Debug)]
pub struct CompactionJob {
    /// Stream epoch of their offsets.
    pub epoch: u32,
    /// The segments, in the order of their offsets.
    pub segments: Vec<Arc<SegmentMeta>>,
}

/// The next job of a table: of the first qualifying run in each partition, the one that begins with the oldest segment.
/// `None` if no run qualifies. Segments for which `is_held` answers true are passed over, and end a run.
pub fn next_compaction(
    snapshot: &LogSnapshot,
    limits: &CompactionLimits,
    is_held: impl Fn(&SegmentMeta) -> bool,
) -> Option<CompactionJob> {
    let places: Vec<(u32, &Arc<SegmentMeta>)> =
        snapshot.segments.places().map(|place| (place.epoch(), &place.meta)).collect();
    let is_small =
        |segment: &SegmentMeta| segment.size_bytes < limits.bytes_max && segment.rows < limits.rows_max;
    let runs = places.chunk_by(|&(epoch, left), &(next_epoch, right)| {
        (epoch, left.partition) == (next_epoch, right.partition)
            && [left, right].into_iter().all(|segment| is_small(segment) && !is_held(segment))
            && snapshot
                .stream
                .partition(epoch, left.partition)
                .is_some_and(|partition| partition.is_empty_between(left.to, right.from))
    });
    let jobs = runs.filter_map(|run| first_job(run, limits));
    let oldest = jobs.min_by_key(|job| job.first().map(|(_, segment)| segment.sealed_at_ms))?;
    let epoch = oldest.first()?.0;
    Some(CompactionJob { epoch, segments: oldest.iter().map(|&(_, segment)| segment.clone()).collect() })
}

/// The longest job that begins at the earliest segment of a run of neighbours at which any job begins.
fn first_job<'a>(
    run: &'a [(u32, &'a Arc<SegmentMeta>)],
    limits: &CompactionLimits,
) -> Option<&'a [(u32, &'a Arc<SegmentMeta>)]> {
    (0..run.len()).find_map(|start| {
        let (mut bytes, mut rows, mut largest) = (0_u64, 0_u64, 0_u64);
        let mut job = None;
        for end in start + 1..=run.len().min(start + SEGMENTS_MAX) {
            let segment = run[end - 1].1;
            bytes = bytes.saturating_add(segment.size_bytes);
            rows = rows.saturating_add(segment.rows);
            largest = largest.max(segment.rows);
            if bytes > limits.bytes_max || rows > limits.rows_max {
                break;
            }
            if end - start >= limits.segments_min.max(2) && rows >= largest.saturating_mul(GROWTH) {
                job = Some(&run[start..end]);
            }
        }
        job
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use ulid::Ulid;

    use super::*;
    use crate::log::{Gap, GapReason, PartitionState, SegmentKey, StreamState};
    use crate::schema::TableSchema;
    use crate::spec::parse_spec;

    const LIMITS: CompactionLimits = CompactionLimits { segments_min: 4, bytes_max: 20_000, rows_max: 1000 };

    fn segment(id: u128, partition: i32, from: i64, to: i64, rows: u64, bytes: u64) -> Arc<SegmentMeta> {
        Arc::new(SegmentMeta {
            path: format!("data/{partition}/{from}-{to}-{id}"),
            id: Ulid(id),
            partition,
            from,
            to,
            rows,
            size_bytes: bytes,
            format_version: 1,
            sealed_at_ms: from,
            index_offset: 0,
            index_length: 0,
            tail_crc32c: 0,
            dead_letters: 0,
            index_settings: 0,
            columns: Vec::new(),
        })
    }

    /// One piece of a partition: rows, or a gap of a reason.
    type Piece = Result<u64, GapReason>;

    /// Partitions of the current epoch from their pieces; those of even number are also in a closed epoch, cut in half.
    fn table(partitions: &[Vec<Piece>]) -> LogSnapshot {
        let spec = "name: t\ncolumns: [{name: a, type: INT}]\nstream: {brokers: 'k:1', topic: t}\n";
        let spec = Arc::new(parse_spec(spec).unwrap());
        let mut stream = StreamState { epoch: 1, ..StreamState::default() };
        let mut closed = BTreeMap::new();
        let mut placed = Vec::new();
        let mut id = 0;
        for (number, pieces) in (0..).zip(partitions) {
            let halves =
                if number % 2 == 0 { pieces.split_at(pieces.len() / 2) } else { (&[][..], &pieces[..]) };
            for (epoch, pieces) in [(0, halves.0), (1, halves.1)] {
                let mut state = PartitionState { first: 0, committed: 0, gaps: Vec::new() };
                for piece in pieces {
                    let from = state.committed;
                    state.committed += 1 + piece.unwrap_or(7) as i64;
                    match *piece {
                        Ok(rows) => {
                            id += 1;
                            placed.push((epoch, segment(id, number, from, state.committed, rows, rows * 10)));
                        }
                        Err(reason) => {
                            state.gaps.push(Gap { from, to: state.committed, reason, at_ms: 0 });
                        }
                    }
                }
                if epoch == 1 {
                    stream.partitions.insert(number, state)
                } else {
                    closed.insert(number, state)
                };
            }
        }
        stream.closed.push(crate::log::ClosedEpoch { epoch: 0, topic_id: None, partitions: closed });
        let schema = Arc::new(TableSchema::new(&spec));
        let segments = placed.into_iter().map(placed_at).collect();
        LogSnapshot { version: 0, spec, schema, segments, stream }
    }

    fn placed_at((epoch, segment): (u32, Arc<SegmentMeta>)) -> (SegmentKey, Arc<SegmentMeta>) {
        ((segment.partition, epoch, segment.from), segment)
    }

    /// What committing a job makes of the table.
    fn apply(snapshot: &mut LogSnapshot, job: &CompactionJob, id: u128) {
        let (first, last) = (&job.segments[0], &job.segments[job.segments.len() - 1]);
        let (partition, from, to) = (first.partition, first.from, last.to);
        let rows = job.segments.iter().map(|segment| segment.rows).sum();
        let bytes: u64 = job.segments.iter().map(|segment| segment.size_bytes).sum();
        let run = (partition, job.epoch, from)..(partition, job.epoch, to);
        let run = snapshot.segments.range(run).map(|place| &place.meta);
        assert!(run.eq(&job.segments), "a run is not contiguous in the log");
        let merged = segment(id, partition, from, to, rows, bytes * 9 / 10);
        let left = snapshot.segments.places().filter(|place| !job.segments.contains(&place.meta));
        let left = left.map(|place| (place.key, place.meta.clone()));
        snapshot.segments = left.chain([placed_at((job.epoch, merged))]).collect();
        let partitions = match job.epoch {
            1 => &mut snapshot.stream.partitions,
            _ => &mut snapshot.stream.closed[0].partitions,
        };
        let gaps = &mut partitions.get_mut(&partition).unwrap().gaps;
        let crossed = gaps.iter().filter(|gap| gap.from >= from && gap.to <= to);
        assert!(
            crossed.clone().all(|gap| gap.reason == GapReason::Empty),
            "a gap with a meaning was crossed"
        );
        gaps.retain(|gap| gap.from < from || gap.to > to);
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let piece = prop_oneof![
            8 => (1..40_u64).prop_map(Ok),
            2 => (40..1200_u64).prop_map(Ok),
            1 => Just(Err(GapReason::Empty)),
            1 => Just(Err(GapReason::Retention)),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|mut pieces: Vec<Piece>| {
            pieces.dedup_by(|next, previous| next.is_err() && next == previous);
            pieces
        })
    }

    proptest! {
        #[test]
        fn repeated_application_ends_tiles_and_rewrites_a_row_no_more_often_than_the_logarithm(
            partitions in prop::collection::vec(pieces(), 1..4),
        ) {
            let mut snapshot = table(&partitions);
            prop_assert_eq!(snapshot.check_tiling(), Vec::<String>::new());
            let count = snapshot.segments.len();
            // Of each segment as it was sealed: how often its rows were written anew.
            let sealed = snapshot.segments.clone();
            let mut rewrites = vec![0_u32; count];
            let mut jobs = 0;
            while let Some(job) = next_compaction(&snapshot, &LIMITS, |_| false) {
                jobs += 1;
                prop_assert!(jobs * (LIMITS.segments_min - 1) < count.max(1), "it does not end");
                prop_assert!(job.segments.len() >= LIMITS.segments_min);
                let rows: u64 = job.segments.iter().map(|segment| segment.rows).sum();
                let bytes: u64 = job.segments.iter().map(|segment| segment.size_bytes).sum();
                prop_assert!(rows <= LIMITS.rows_max && bytes <= LIMITS.bytes_max);
                let range = job.segments[0].from..job.segments[job.segments.len() - 1].to;
                for (number, place) in sealed.places().enumerate() {
                    let old = &place.meta;
                    if old.partition == job.segments[0].partition
                        && place.epoch() == job.epoch
                        && range.contains(&old.from)
                    {
                        rewrites[number] += 1;
                        prop_assert!(rows >= old.rows << rewrites[number], "a row moved and its segment did not double");
                        prop_assert!(rewrites[number] <= (LIMITS.rows_max / old.rows).ilog2());
                    }
                }
                apply(&mut snapshot, &job, 1_000_000 + jobs as u128);
                prop_assert_eq!(snapshot.check_tiling(), Vec::<String>::new());
            }
            prop_assert_eq!(snapshot.segments.rows(), sealed.rows());
        }
    }

    #[test]
    fn a_stream_of_small_seals_stays_a_few_segments() {
        let mut snapshot = table(&[vec![], vec![]]);
        let mut most = 0;
        for seal in 0..500_u64 {
            let state = snapshot.stream.partitions.get_mut(&1).unwrap();
            let from = state.committed;
            state.committed += 2;
            let sealed = placed_at((1, segment(u128::from(seal), 1, from, from + 2, 2, 20)));
            let before = snapshot.segments.places().map(|place| (place.key, place.meta.clone()));
            snapshot.segments = before.chain([sealed]).collect();
            while let Some(job) = next_compaction(&snapshot, &LIMITS, |_| false) {
                apply(&mut snapshot, &job, 1_000_000 + u128::from(seal));
            }
            most = most
                .max(snapshot.segments.iter().filter(|segment| segment.rows < LIMITS.rows_max / 4).count());
        }
        // Three of a size, of each of the sizes that lie between a seal and a quarter of the target.
        assert!(most <= 3 * 8, "{most}");
        assert_eq!(snapshot.check_tiling(), Vec::<String>::new());
    }

    #[test]
    fn the_oldest_run_comes_first_and_what_is_held_ends_a_run() {
        let snapshot = table(&[vec![], vec![Ok(5), Ok(5), Ok(900), Ok(5), Ok(5), Ok(5), Ok(5), Ok(5)]]);
        let ids = |job: Option<CompactionJob>| -> Vec<u128> {
            job.into_iter().flat_map(|job| job.segments).map(|segment| segment.id.0).collect()
        };
        assert_eq!(ids(next_compaction(&snapshot, &LIMITS, |_| false)), [4, 5, 6, 7, 8]);
        assert_eq!(ids(next_compaction(&snapshot, &LIMITS, |held| held.id.0 == 4)), [5, 6, 7, 8]);
        assert!(next_compaction(&snapshot, &LIMITS, |held| held.id.0 == 5).is_none());
    }
}
