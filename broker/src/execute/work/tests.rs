use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::ready;
use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::{LiveTable, OpenSlice};
use headwater_segment::log::TableLog;
use headwater_segment::mutable::MutableSegment;
use headwater_segment::resident::{ResidentConfig, ResidentStore};
use headwater_segment::sealed::{FooterCache, SegmentReaderFactory};
use headwater_segment::spec::parse_spec;
use headwater_segment::value::{RowSink, Value};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::execute::aggregate::ResultCache;
use crate::execute::options::ExecuteOptions;

const SPEC: &str =
    "{name: t, columns: [{name: n, type: LONG}], stream: {brokers: 'localhost:9092', topic: t}}";

/// A table with an open segment for each of `rows`.
async fn table(rows: &[i64]) -> (Arc<Source>, Vec<SegmentPart>) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let root = Path::from("tables/t");
    let log = TableLog::create(Arc::clone(&store), root.clone(), &parse_spec(SPEC).unwrap()).await.unwrap();
    let table = LiveTable::new(log, Arc::clone(&store), root.clone());
    let schema = table.schema();
    let parts = rows.iter().map(|rows| {
        let budget = MemoryBudget::new(1 << 30);
        let (mut writer, segment) = MutableSegment::create(Arc::clone(&schema), 0, 0, budget);
        for offset in 0..*rows {
            writer.set(0, Value::I64(offset));
            writer.finish_row(offset, None, None, None);
        }
        writer.publish(*rows);
        SegmentPart::Open(OpenSlice { segment, rows: 0..*rows as usize, sealing: false })
    });
    let parts = parts.collect();
    let config = ResidentConfig { dir: None, disk_bytes_max: 0, memory_bytes_max: 1 << 20 };
    let source = Source {
        visible: vec![0],
        visible_schema: Arc::new(schema.arrow().project(&[0]).unwrap()),
        schema,
        readers: SegmentReaderFactory::new(store, root, FooterCache::new(1 << 20)),
        residents: ResidentStore::open(config).unwrap(),
        key_values: Arc::default(),
        results: Arc::new(ResultCache::new(0)),
        options: ExecuteOptions::default(),
        table,
    };
    (Arc::new(source), parts)
}

fn work(source: &Arc<Source>, parts: Vec<SegmentPart>, prepare: Prepare<()>) -> Work<()> {
    let around = Around { io: Handle::current(), stats: Arc::default(), trace: Span::none() };
    Work::new(Arc::clone(source), parts, vec![0], Probes::none(), around, prepare)
}

/// The blocks of each part, as they were handed out.
async fn drain(work: Arc<Work<()>>) -> BTreeMap<usize, Vec<usize>> {
    let mut blocks: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    while let Some(morsel) = work.next().await.unwrap() {
        assert!(morsel.blocks.len() <= BLOCKS_PER_MORSEL);
        blocks.entry(morsel.segment_index).or_default().extend(morsel.blocks);
        tokio::task::yield_now().await;
    }
    blocks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_is_handed_out_once_however_many_ask() {
    let (source, parts) = table(&[200_000, 1, 0, 9_000, 150_000]).await;
    let wanted: Vec<usize> =
        parts.iter().map(|part| source.ready(part, &[0]).unwrap().unwrap().blocks()).collect();
    for partitions in 1..4 {
        let work = Arc::new(work(&source, parts.clone(), Box::new(|_| Box::pin(ready(Ok(Some(())))))));
        let drains = (0..partitions).map(|_| tokio::spawn(drain(Arc::clone(&work))));
        let mut all: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for drained in drains.collect::<Vec<_>>() {
            drained
                .await
                .unwrap()
                .into_iter()
                .for_each(|(part, blocks)| all.entry(part).or_default().extend(blocks));
        }
        for (part, blocks) in wanted.iter().enumerate() {
            let mut handed_out = all.remove(&part).unwrap_or_default();
            handed_out.sort_unstable();
            assert_eq!(handed_out, (0..*blocks).collect::<Vec<_>>(), "part {part}, {partitions} partitions");
        }
    }
}

#[tokio::test]
async fn a_part_that_is_not_wanted_is_skipped_and_an_error_reaches_whoever_asks() {
    let (source, parts) = table(&[10, 20, 30]).await;
    let skips = work(
        &source,
        parts.clone(),
        Box::new(|segment| Box::pin(ready(Ok((segment.rows() != 20).then_some(()))))),
    );
    assert_eq!(drain(Arc::new(skips)).await.into_keys().collect::<Vec<_>>(), [0, 2]);
    let fails = work(
        &source,
        parts,
        Box::new(|segment| {
            Box::pin(ready(match segment.rows() {
                20 => Err(internal_datafusion_err!("broken")),
                _ => Ok(Some(())),
            }))
        }),
    );
    assert!(fails.next().await.unwrap().is_some());
    // Whatever one partition does with the error, the others get it too.
    assert!(fails.next().await.is_err());
    assert!(fails.next().await.is_err());
}

#[tokio::test]
async fn a_search_through_segments_without_rows_gives_way_after_each() {
    let (source, parts) = table(&[1; 50]).await;
    let looked_at = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&looked_at);
    let prepare: Prepare<()> = Box::new(move |_| {
        counts.fetch_add(1, Ordering::Relaxed);
        Box::pin(ready(Ok(None)))
    });
    let work = work(&source, parts, prepare);
    let mut next = pin!(work.next());
    for turn in 1..=50 {
        assert!(futures::poll!(next.as_mut()).is_pending());
        assert_eq!(looked_at.load(Ordering::Relaxed), turn);
    }
    assert!(next.await.unwrap().is_none());
}

#[tokio::test]
async fn a_claim_that_is_given_up_is_taken_by_another() {
    let (source, parts) = table(&[10]).await;
    let work = Arc::new(work(&source, parts, Box::new(|_| Box::pin(ready(Ok(Some(())))))));
    let Step::Open(claim) = work.step() else { panic!("there is a part to open") };
    let waiting = tokio::spawn(drain(Arc::clone(&work)));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished(), "the other may still bring morsels");
    drop(claim);
    assert_eq!(waiting.await.unwrap(), BTreeMap::from([(0, vec![0])]));
}

#[test]
fn an_operator_that_runs_again_shares_anew() {
    let shared = Shared::default();
    let made = AtomicUsize::new(0);
    let get = |partition| *shared.get(partition, || Ok(made.fetch_add(1, Ordering::Relaxed))).unwrap();
    assert_eq!([get(0), get(1), get(2)], [0, 0, 0]);
    assert_eq!([get(1), get(0), get(2)], [1, 1, 1]);
    assert_eq!(made.load(Ordering::Relaxed), 2);
}
