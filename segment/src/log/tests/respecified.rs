//! Rows that were read with an earlier spec than the table has: they are not let in, whoever brings them.

use super::*;
use crate::spec::OnError;

/// The spec of a table whose second column may be read otherwise.
fn changed(change: impl FnOnce(&mut TableSpec)) -> TableSpec {
    let mut spec = spec();
    change(&mut spec);
    spec
}

fn assert_spec_changed<T>(result: Result<T, SegmentError>, partition: i32, offset: i64) {
    match result {
        Err(SegmentError::SpecChanged { table, partition: found, from }) => {
            assert_eq!((table.as_str(), found, from), ("orders", partition, offset))
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was committed"),
    }
}

#[tokio::test]
async fn what_another_spec_would_have_read_otherwise_is_not_let_in() {
    let with_path = |path: &str| {
        let columns =
            format!("{{name: id, type: LONG, nullable: false}}, {{name: city, type: STRING{path}}}");
        spec_with(&columns)
    };
    let added = spec_with(
        "{name: id, type: LONG, nullable: false}, {name: city, type: STRING}, {name: more, type: STRING}",
    );
    let refusing =
        [with_path(", path: address.city"), changed(|spec| spec.columns[1].on_error = OnError::Null), added];
    for next in refusing {
        let store = memory();
        let log = started(&store, 2).await;
        // By another process, which the writer has not heard of.
        open(&store).await.set_spec(&next).await.unwrap();
        assert_spec_changed(log.commit(&segment(0, 0, 10)).await, 0, 0);
        assert_eq!(log.snapshot().spec.columns, next.columns, "the refusal says what there is now");
        assert_spec_changed(log.commit(&offsets(1, 0, 10)).await, 1, 0);
        // A gap is nothing that was read.
        log.commit(&gap(1, 0, 10, GapReason::Retention)).await.unwrap();
        // Read anew, it is let in.
        let schema = Arc::new(TableSchema::new(&next));
        let anew = Change::Segment { epoch: 0, meta: meta(&next, 0, 0, 10), schema: schema.clone() };
        log.commit(&commit(anew)).await.unwrap();
        let empty = Change::Offsets { epoch: 0, schema, partition: 1, from: 10, to: 20 };
        log.commit(&commit(empty)).await.unwrap();
        assert_reopens(&store, &log).await;
    }
    let harmless = [
        changed(|spec| spec.seal.rows_max = 7),
        changed(|spec| spec.retention = Some(std::time::Duration::from_secs(3600))),
        changed(|spec| spec.stream.brokers = vec!["elsewhere:9092".into()]),
        changed(|spec| spec.sort_key = vec!["city".into()]),
    ];
    for next in harmless {
        let store = memory();
        let log = started(&store, 1).await;
        open(&store).await.set_spec(&next).await.unwrap();
        log.commit(&segment(0, 0, 10)).await.unwrap();
        assert_reopens(&store, &log).await;
    }
}

#[tokio::test]
async fn what_was_let_in_before_stays_and_what_others_committed_is_fenced() {
    let store = memory();
    let log = started(&store, 2).await;
    let landed = segment(0, 0, 10);
    log.commit(&landed).await.unwrap();
    let next = changed(|spec| spec.columns[1].on_error = OnError::Null);
    open(&store).await.set_spec(&next).await.unwrap();
    // The answer to the first try was lost, say.
    log.refresh().await.unwrap();
    log.commit(&landed).await.unwrap();
    open(&store).await.commit(&landed).await.unwrap();
    assert_fenced(log.commit(&segment(0, 0, 20)).await, (0, 10));
    assert_eq!(log.snapshot().segments.len(), 1);
}

#[tokio::test]
async fn of_several_that_wait_only_those_of_the_earlier_spec_are_refused() {
    let store = memory();
    let log = started(&store, 2).await;
    let next = changed(|spec| spec.columns[1].on_error = OnError::Null);
    log.set_spec(&next).await.unwrap();
    let schema = Arc::new(TableSchema::new(&next));
    let new = commit(Change::Segment { epoch: 0, meta: meta(&next, 1, 0, 10), schema });
    let old = segment(0, 0, 10);
    let held = log.hold().await;
    let both = async {
        let (old, new) = futures::join!(log.commit(&old), log.commit(&new));
        assert_spec_changed(old, 0, 0);
        new.unwrap();
    };
    let release = async {
        tokio::task::yield_now().await;
        drop(held);
    };
    futures::join!(both, release);
    let snapshot = log.snapshot();
    assert_eq!((snapshot.committed(0), snapshot.committed(1)), (Some(0), Some(10)));
    assert_reopens(&store, &log).await;
}
