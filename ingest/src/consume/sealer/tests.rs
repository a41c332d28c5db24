//! Seals whose encoder panics, and the decisions of a seal.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::ProgressSnapshot;
use headwater_segment::log::TableLog;
use headwater_segment::resident::ResidentConfig;
use headwater_segment::spec::parse_spec;
use headwater_segment::tasks::{TaskKind, TaskState, TaskSubject};
use headwater_segment::value::{RowSink, Value};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::decide::STANDBY_WAIT;
use crate::kafka::topic::TopicClient;
use crate::ownership::Alone;

mod standby;

#[tokio::test]
async fn a_panic_over_resident_columns_does_not_stop_a_seal() {
    without_fail("events", Ulid::nil(), || panic!("a column that cannot be built")).await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    without_fail("events", Ulid::nil(), move || sender.send(()).unwrap()).await;
    receiver.await.unwrap();
}

#[test]
fn what_remains_of_a_range() {
    let range = (3, 10, 20);
    assert_eq!(remaining_of(range, 3, Some(10)), Remaining::From(10));
    assert_eq!(remaining_of(range, 3, Some(15)), Remaining::From(15));
    assert_eq!(remaining_of(range, 3, Some(20)), Remaining::Nothing);
    assert_eq!(remaining_of(range, 3, Some(30)), Remaining::Nothing);
    assert_eq!(remaining_of(range, 3, Some(5)), Remaining::Before);
    assert_eq!(remaining_of(range, 4, Some(10)), Remaining::Nothing);
    assert_eq!(remaining_of(range, 3, None), Remaining::Nothing);
}

const SPEC: &str =
    "{name: events, columns: [{name: n, type: LONG}], stream: {brokers: 'localhost:1', topic: events}}";
const ROWS: i64 = 10;

/// A sealer of a table whose partition 0 has an open segment of [`ROWS`] rows, and that segment.
async fn sealer(encode: Encode) -> (Sealer, Arc<MutableSegment>) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (root, spec) = (Path::from("tables/events"), parse_spec(SPEC).unwrap());
    let log = TableLog::create(Arc::clone(&store), root.clone(), &spec).await.unwrap();
    let start = Change::FirstStart { epoch: 0, starts: BTreeMap::from([(0, 0)]), topic_id: None };
    log.commit(&Commit { id: Ulid::new(), at_ms: 0, change: start }).await.unwrap();
    let live = LiveTable::new(log, store, root);
    let (mut writer, segment) = MutableSegment::create(live.schema(), 0, 0, MemoryBudget::new(1 << 30));
    for offset in 0..ROWS {
        writer.set(0, Value::I64(offset));
        writer.finish_row(offset, None, None, None);
    }
    writer.publish(ROWS);
    live.open_segment(Arc::clone(&segment));
    let topic = Arc::new(Provenance::new(TopicClient::connect(&spec.stream).unwrap()));
    topic.confirm(0, 0, ROWS);
    let resident = ResidentConfig { dir: None, disk_bytes_max: 0, memory_bytes_max: 1 << 20 };
    let sealer = Sealer {
        live,
        partition: 0,
        topic,
        encode_permits: Arc::new(Semaphore::new(1)),
        residents: ResidentStore::open(resident).unwrap(),
        letters: None,
        encode,
        line: Line::new(Arc::new(Alone), MemoryBudget::new(1 << 30), Arc::default(), STANDBY_WAIT),
    };
    (sealer, segment)
}

fn job(segment: &Arc<MutableSegment>) -> SealJob {
    SealJob {
        epoch: 0,
        segment: Arc::clone(segment),
        from: 0,
        to: ROWS,
        reason: SealReason::Rows,
        handed_over: Instant::now(),
        reply: None,
        task: None,
    }
}

fn progress(live: &LiveTable) -> ProgressSnapshot {
    live.progress().into_iter().find(|progress| progress.partition == 0).unwrap()
}

#[tokio::test]
async fn a_panic_over_rows_is_told_and_tried_again_and_loses_none() {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    let (sealer, segment) = sealer(|request| match TRIES.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => panic!("no code for row {}", request.rows[0].num_rows()),
        _ => sealed::encode(request),
    })
    .await;
    let live = Arc::clone(&sealer.live);
    let subject = TaskSubject { what: "all".into(), unit: "rows", total: Some(ROWS as u64) };
    let task = live.tasks().enqueue(TaskKind::Seal, subject);
    let (jobs, queue) = mpsc::unbounded_channel();
    let (reply, sealed) = tokio::sync::oneshot::channel();
    let job = SealJob { task: Some(task), reply: Some(reply), ..job(&segment) };
    assert!(jobs.send(job).is_ok());
    tokio::spawn(sealer.run(queue));
    while TRIES.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The first panic is told before the second try.
    let told = progress(&live).seal_error.unwrap();
    let wanted =
        "table events, partition 0, offsets 0 to 10: encoding the segment panicked: no code for row 10";
    assert!(told.contains(wanted), "{told}");
    assert_eq!(progress(&live).last_error.as_ref(), Some(&told));
    let task = || live.tasks().list().pop().unwrap();
    assert!(task().last_error.unwrap().contains("no code for row 10"));
    assert_ne!(task().state, TaskState::Done);
    assert_eq!(live.read().open.iter().map(|slice| slice.rows.len()).sum::<usize>(), ROWS as usize);
    // The topic's own troubles come and go beside it.
    live.partition_progress(0).trouble("fetch: timed out");
    live.partition_progress(0).trouble_over();
    assert!(progress(&live).seal_error.is_some());

    let SealOutcome::Segment(meta) = sealed.await.unwrap().unwrap() else { panic!("the third try seals") };
    assert_eq!((meta.from, meta.to, meta.rows), (0, ROWS, ROWS as u64));
    assert_eq!((progress(&live).seal_error, progress(&live).last_error), (None, None));
    assert!(live.read().open.is_empty());
    assert_eq!(live.snapshot().committed(0), Some(ROWS));
    assert_eq!((task().state, task().done, task().next_attempt_at_ms), (TaskState::Done, ROWS as u64, None));
}

#[tokio::test]
async fn rows_of_an_earlier_spec_are_not_committed() {
    let (sealer, segment) = sealer(sealed::encode).await;
    let live = Arc::clone(&sealer.live);
    let next = SPEC.replace("type: LONG", "type: LONG, path: m");
    let other = TableLog::open(live.store().clone(), live.root().clone()).await.unwrap().unwrap();
    other.set_spec(&parse_spec(&next).unwrap()).await.unwrap();
    assert_eq!(live.spec().columns[0].path.to_string(), "n", "nobody has told this node");

    assert_eq!(sealer.seal(&job(&segment)).await, SealOutcome::Nothing);
    assert_eq!(live.snapshot().committed(0), Some(0));
    assert_eq!(live.spec().columns[0].path.to_string(), "m", "now it knows, and starts the consumer anew");
    assert_eq!(live.read().open.iter().map(|slice| slice.rows.len()).sum::<usize>(), ROWS as usize);
}

#[test]
fn a_panic_is_tried_again_ever_more_rarely() {
    let waits = |error: &IngestError| -> Vec<u64> {
        let waits = std::iter::successors(Some(RETRY_FIRST), |retry| Some(next_retry(*retry, error)));
        waits.take(15).map(|wait| wait.as_millis() as u64).collect()
    };
    let panicked = IngestError::SealPanicked {
        table: "events".into(),
        partition: 0,
        from: 0,
        to: ROWS,
        panic: "no code".into(),
    };
    let [first, .., last] = waits(&panicked)[..] else { panic!("there are more than two") };
    assert_eq!((first, last), (100, 300_000));
    let [first, .., last] = waits(&IngestError::Stopped("events".into()))[..] else { panic!("likewise") };
    assert_eq!((first, last), (100, 10_000));
}

#[test]
fn an_upload_of_long_ago_is_made_anew_before_it_is_committed() {
    let id = Ulid::nil();
    let prepared = |uploaded_at_ms| Prepared {
        id,
        from: 10,
        to: 20,
        at_ms: 0,
        segment: None,
        letters: None,
        uploaded_at_ms,
    };
    let hour = 3_600_000;
    assert!(prepared(None).is_good_for(10, 20, 100 * hour), "it is uploaded when it is to be committed");
    assert!(prepared(Some(0)).is_good_for(10, 20, hour));
    assert!(!prepared(Some(0)).is_good_for(10, 20, hour + 1));
    assert!(!prepared(Some(0)).is_good_for(10, 19, 0));
    let refused = |conflict| SegmentError::Conflict { table: "t".into(), conflict }.into();
    assert!(is_collected(&refused(Conflict::Collected { segment: id })));
    assert!(!is_collected(&refused(Conflict::Gone { segment: id })));
}
