//! Without faults: what each change does to the table, and what is refused.

use super::*;

#[tokio::test]
async fn a_table_is_created_once_and_opened_as_it_was() {
    let store = memory();
    assert!(TableLog::open(store.clone(), root()).await.unwrap().is_none());
    let log = TableLog::create(store.clone(), root(), &spec()).await.unwrap();
    assert_eq!(log.snapshot().version, 0);
    assert_eq!(*log.snapshot().spec, spec());
    assert_reopens(&store, &log).await;
    assert_refused(TableLog::create(store.clone(), root(), &spec()).await, "already exists");
}

#[tokio::test]
async fn segments_and_their_offsets_become_visible_together() {
    let store = memory();
    let log = started(&store, 2).await;
    let reader = open(&store).await;
    log.commit(&segment(1, 0, 10)).await.unwrap();
    log.commit(&segment(0, 0, 5)).await.unwrap();
    log.commit(&segment(1, 10, 30)).await.unwrap();
    assert_eq!(reader.snapshot().segments.len(), 0);
    let seen = reader.refresh().await.unwrap();
    assert_eq!((seen.committed(0), seen.committed(1), seen.committed(2)), (Some(5), Some(30), None));
    let ranges: Vec<_> =
        seen.segments.iter().map(|segment| (segment.partition, segment.from, segment.to)).collect();
    assert_eq!(ranges, [(0, 0, 5), (1, 0, 10), (1, 10, 30)]);
    assert_same(&seen, &log.snapshot());
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn a_commit_from_anywhere_but_the_committed_offset_is_fenced() {
    let store = memory();
    let log = started(&store, 1).await;
    log.commit(&segment(0, 0, 10)).await.unwrap();
    assert_fenced(log.commit(&segment(0, 0, 10)).await, (0, 10));
    assert_fenced(log.commit(&segment(0, 5, 20)).await, (5, 10));
    assert_fenced(log.commit(&segment(0, 11, 20)).await, (11, 10));
    assert_fenced(log.commit(&offsets(0, 9, 20)).await, (9, 10));
    assert_fenced(log.commit(&start(&[(0, 0)])).await, (0, 10));
    assert_fenced(log.commit(&start(&[(1, 0), (0, 3)])).await, (3, 10));
    assert_refused(log.commit(&segment(7, 0, 10)).await, "partition 7 was never begun");
    assert_refused(log.commit(&segment(0, 10, 10)).await, "not a range");
    assert_refused(log.commit(&start(&[])).await, "no partition");
    let mut foreign = start(&[(1, 0)]);
    if let Change::FirstStart { topic_id, .. } = &mut foreign.change {
        *topic_id = Some("topic-9".into());
    }
    assert_refused(log.commit(&foreign).await, "recreated");
    log.commit(&start(&[(1, 100)])).await.unwrap();
    assert_eq!(log.snapshot().committed(1), Some(100));
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn ranges_without_rows_are_gaps_with_a_reason() {
    let store = memory();
    let log = started(&store, 1).await;
    log.commit(&offsets(0, 0, 4)).await.unwrap();
    log.commit(&offsets(0, 4, 9)).await.unwrap();
    log.commit(&segment(0, 9, 12)).await.unwrap();
    log.commit(&gap(0, 12, 40, GapReason::Retention)).await.unwrap();
    log.commit(&segment(0, 40, 41)).await.unwrap();
    let state = log.snapshot().stream.partitions[&0].clone();
    let gaps: Vec<_> = state.gaps.iter().map(|gap| (gap.from, gap.to, gap.reason)).collect();
    assert_eq!(gaps, [(0, 9, GapReason::Empty), (12, 40, GapReason::Retention)]);
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn a_recreated_topic_begins_a_new_epoch_that_the_old_writers_cannot_reach() {
    let store = memory();
    let log = started(&store, 2).await;
    log.commit(&segment(0, 0, 100)).await.unwrap();
    let zombie = open(&store).await;
    log.commit(&recreated(0, &[(0, 0)])).await.unwrap();
    assert_fenced(log.commit(&recreated(0, &[(0, 0)])).await, (0, 0));
    log.commit(&segment_in(1, 0, 0, 100)).await.unwrap();
    // The zombie's offset is the committed one again, by chance; its rows are another topic's.
    assert_fenced(zombie.commit(&segment_in(0, 0, 100, 200)).await, (100, 100));
    assert_fenced(zombie.commit(&segment_in(0, 1, 0, 200)).await, (0, -1));
    let snapshot = log.snapshot();
    assert!(snapshot.segments.places().map(Place::epoch).eq([0, 1]));
    assert_eq!(snapshot.committed(1), None);
    assert_eq!(snapshot.stream.closed[0].partitions[&0].gaps[0].reason, GapReason::TopicRecreated);
    assert_reopens(&store, &log).await;
    // Retention takes the old topic's rows: its epoch is forgotten.
    log.expire_segments(vec![snapshot.segments.iter().next().unwrap().id]).await.unwrap();
    assert!(log.snapshot().stream.closed.is_empty());
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn expired_segments_move_the_first_offset() {
    let store = memory();
    let log = started(&store, 2).await;
    for (from, to) in [(0, 10), (10, 20), (20, 30)] {
        log.commit(&segment(0, from, to)).await.unwrap();
    }
    let ids: Vec<Ulid> = log.snapshot().segments.iter().map(|segment| segment.id).collect();
    log.expire_segments(vec![ids[1]]).await.unwrap();
    assert_eq!(log.snapshot().stream.partitions[&0].first, 0);
    assert_reopens(&store, &log).await;
    log.expire_segments(vec![ids[0], ids[1]]).await.unwrap();
    assert_eq!(log.snapshot().stream.partitions[&0].first, 20);
    assert_reopens(&store, &log).await;
    let version = log.snapshot().version;
    log.expire_segments(ids[..2].to_vec()).await.unwrap();
    assert_eq!(log.snapshot().version, version, "nothing was left to expire");
}

#[tokio::test]
async fn a_spec_changes_only_as_its_segments_allow() {
    let store = memory();
    let log = started(&store, 1).await;
    log.commit(&segment(0, 0, 10)).await.unwrap();
    let id = "{name: id, type: LONG, nullable: false}";
    let city = "{name: city, type: STRING}";
    for (columns, word) in [
        (id.to_string(), "column city: it is missing"),
        (format!("{city}, {id}"), "column id: it moved from place 1 to 2"),
        (format!("{id}, {{name: city, type: LONG}}"), "column city: its type is STRING"),
        (format!("{{name: id, type: LONG}}, {city}"), "column id: its nullability"),
        (
            format!("{id}, {city}, {{name: x, type: INT, nullable: false}}"),
            "column x: a new column must be nullable",
        ),
    ] {
        assert_refused(log.set_spec(&spec_with(&columns)).await, word);
    }
    let mut other = spec();
    other.stream.topic = "others".into();
    assert_refused(log.set_spec(&other).await, "reads topic orders");

    let wider = spec_with(&format!("{id}, {city}, {{name: x, type: INT}}"));
    let version = log.set_spec(&wider).await.unwrap().version;
    assert_eq!(log.set_spec(&wider).await.unwrap().version, version, "it is in force already");
    log.commit(&segment_of(&wider, 0, 0, 10, 20)).await.unwrap();
    let snapshot = log.snapshot();
    assert_eq!(*snapshot.spec, wider);
    assert_eq!(snapshot.segments.len(), 2);
    assert!(snapshot.segments.iter().all(|segment| segment.columns.len() == snapshot.schema.columns().len()));
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn a_checkpoint_reads_as_the_entries_do() {
    let store = memory();
    let log = started(&store, 3).await;
    let zombie = open(&store).await;
    let retried = segment(0, 0, 10);
    log.commit(&retried).await.unwrap();
    let forgotten = offsets(1, 0, 7);
    log.commit(&forgotten).await.unwrap();
    log.commit(&gap(1, 7, 9, GapReason::Truncated)).await.unwrap();
    log.commit(&recreated(0, &[(0, 0), (1, 5)])).await.unwrap();
    log.commit(&segment_in(1, 0, 0, 10)).await.unwrap();
    let expired = segment_in(1, 0, 10, 20);
    log.commit(&expired).await.unwrap();
    let Change::Segment { meta, .. } = &expired.change else { unreachable!() };
    log.expire_segments(vec![meta.id]).await.unwrap();
    let replayed = open(&store).await.snapshot();
    log.checkpoint(replayed.version).await;

    // With the entries gone, only the checkpoint can tell; the last entry stays, as a clean-up would leave it.
    for version in 0..replayed.version {
        store.delete(&root().join("_delta_log").join(format!("{version:020}.json"))).await.unwrap();
    }
    assert_same(&replayed, &open(&store).await.snapshot());
    // Whoever knows a version that was cleaned up must not believe it to be the newest.
    assert_same(&replayed, &zombie.refresh().await.unwrap());

    let reopened = open(&store).await;
    reopened.commit(&retried).await.unwrap(); // known by its segment
    assert_eq!(reopened.snapshot().version, replayed.version);
    assert_fenced(reopened.commit(&forgotten).await, (0, 5)); // unknown, and so never again
    reopened.commit(&segment_in(1, 1, 5, 6)).await.unwrap();
    assert_reopens(&store, &reopened).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_are_written_along_the_way() {
    let store = memory();
    let log = started(&store, 1).await;
    for offset in 0..130 {
        log.commit(&segment(0, offset, offset + 1)).await.unwrap();
    }
    let hint = root().join("_delta_log").join("_last_checkpoint");
    for _ in 0..200 {
        if store.head(&hint).await.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(store.head(&hint).await.is_ok(), "there is no checkpoint after 130 commits");
    assert_reopens(&store, &log).await;
}

#[tokio::test]
async fn damaged_logs_are_named_and_never_believed() {
    let entry = |version: u64| root().join("_delta_log").join(format!("{version:020}.json"));
    for damage in ["not json", "{\"add\":{}}", "{\"nonsense\":{}}", "{\"txn\":null}", "\u{0}", "{\"add\":"] {
        let store = memory();
        let log = started(&store, 1).await;
        store.put(&entry(2), damage.into()).await.unwrap();
        let error = log.refresh().await.unwrap_err();
        assert!(
            matches!(&error, SegmentError::Corrupt(message) if message.contains("entry 2")),
            "{damage}: {error}"
        );
        assert!(TableLog::open(store.clone(), root()).await.is_err());
        assert!(log.commit(&segment(0, 0, 10)).await.is_err());
    }
    let store = memory();
    started(&store, 1).await.commit(&segment(0, 0, 10)).await.unwrap();
    store.delete(&entry(1)).await.unwrap();
    let missing = TableLog::open(store.clone(), root()).await;
    assert!(matches!(missing, Err(SegmentError::Corrupt(message)) if message.contains("missing")));

    let store = memory();
    started(&store, 1).await;
    let checkpoint = root().join("_delta_log").join(format!("{:020}.checkpoint.parquet", 1));
    store.put(&checkpoint, "PAR1 but not really PAR1".into()).await.unwrap();
    assert!(matches!(TableLog::open(store, root()).await, Err(SegmentError::Corrupt(_))));
}

/// Flips bits of one object of a small log, and expects an answer, whatever it is.
async fn survives_damage(object: &str, at: usize, bits: u8) {
    let store = memory();
    let log = started(&store, 2).await;
    log.commit(&segment(0, 0, 10)).await.unwrap();
    log.commit(&gap(1, 0, 10, GapReason::Retention)).await.unwrap();
    log.checkpoint(3).await;
    log.commit(&segment(0, 10, 20)).await.unwrap();
    let path = root().join("_delta_log").join(object);
    let mut bytes = store.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
    let at = at % bytes.len();
    bytes[at] ^= bits;
    store.put(&path, bytes.into()).await.unwrap();
    if let Ok(Some(log)) = TableLog::open(store, root()).await {
        log.snapshot().check_tiling();
        let _ = log.commit(&segment(0, 20, 30)).await;
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn flipped_bits_never_panic(
        object in proptest::sample::select(vec![
            "00000000000000000004.json", "00000000000000000003.checkpoint.parquet", "_last_checkpoint",
        ]),
        at in 0..100_000usize,
        bits in 1..=255u8,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(survives_damage(object, at, bits));
    }
}

#[tokio::test]
async fn a_segment_is_replaced_by_one_with_the_same_rows() {
    let store = memory();
    let log = started(&store, 1).await;
    log.commit(&segment(0, 0, 10)).await.unwrap();
    log.commit(&segment(0, 10, 20)).await.unwrap();
    let schema = Arc::new(TableSchema::new(&spec()));
    let old = log.snapshot().segments.iter().next().unwrap().clone();
    let new = meta(&spec(), 0, 0, 10);
    let seen = log.replace(old.id, new.clone(), schema.clone()).await.unwrap();
    let ids: Vec<Ulid> = seen.segments.iter().map(|segment| segment.id).collect();
    assert_eq!(ids, [new.id, log.snapshot().segments.iter().nth(1).unwrap().id]);
    assert_eq!(seen.committed(0), Some(20), "offsets stay");
    assert_reopens(&store, &log).await;

    let version = seen.version;
    assert_eq!(log.replace(old.id, new.clone(), schema.clone()).await.unwrap().version, version, "once");
    let late = meta(&spec(), 0, 0, 10);
    assert_conflict(
        log.replace(old.id, late.clone(), schema.clone()).await,
        Conflict::Replaced { segment: old.id, by: new.id },
    );
    let never = Conflict::Gone { segment: late.id };
    assert_conflict(log.replace(late.id, meta(&spec(), 0, 20, 30), schema.clone()).await, never);
    for other in [meta(&spec(), 0, 0, 9), meta(&spec(), 0, 1, 10), meta(&spec(), 1, 0, 10)] {
        assert_refused(log.replace(new.id, other, schema.clone()).await, "does not hold the same rows");
    }
    let fewer = SegmentMeta { rows: 9, ..(*meta(&spec(), 0, 0, 10)).clone() };
    assert_refused(log.replace(new.id, Arc::new(fewer), schema.clone()).await, "does not hold the same rows");
    assert_eq!(log.snapshot().version, version);
    log.expire_segments(vec![new.id]).await.unwrap();
    assert_conflict(log.replace(new.id, late, schema).await, Conflict::Expired { segment: new.id });
}

#[tokio::test]
async fn a_replacement_changes_no_data_and_stays_in_its_epoch() {
    let store = memory();
    let log = started(&store, 1).await;
    log.commit(&segment(0, 0, 10)).await.unwrap();
    log.commit(&commit(Change::TopicRecreated { epoch: 0, starts: [(0, 0)].into(), topic_id: None }))
        .await
        .unwrap();
    let old = log.snapshot().segments.iter().next().unwrap().clone();
    let new = meta(&spec(), 0, 0, 10);
    log.replace(old.id, new.clone(), Arc::new(TableSchema::new(&spec()))).await.unwrap();
    // The same range of the new epoch is another one.
    log.commit(&segment_in(1, 0, 0, 10)).await.unwrap();
    assert_eq!(log.snapshot().segments.len(), 2);
    assert_eq!(log.snapshot().segments.iter().next().unwrap().id, new.id);
    assert_reopens(&store, &log).await;
    let entry = root().join("_delta_log").join(format!("{:020}.json", log.snapshot().version - 1));
    let text = store.get(&entry).await.unwrap().bytes().await.unwrap();
    let lines: Vec<serde_json::Value> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    for action in ["add", "remove"] {
        let found = lines.iter().find_map(|line| line.get(action)).unwrap();
        assert_eq!(found["dataChange"], false, "{action}");
    }
}
