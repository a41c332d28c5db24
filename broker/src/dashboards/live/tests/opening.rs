//! What it costs that many open a dashboard, come back to it, and are told of its versions.

use super::*;
use crate::dashboards::document::{Choice, ListValues, VALUES_MAX};

const COUNT: &str = "SELECT count(*) AS rows FROM t";

fn within(last: Duration) -> Chosen {
    Chosen { last: Some(last), ..Chosen::default() }
}

#[test]
fn viewers_share_a_panel_unless_it_reads_what_they_chose_differently() {
    let panels = ["SELECT $a FROM t", "SELECT 1 FROM t WHERE at > $time_from", "SELECT now() FROM t"];
    let dashboard = read_dashboard(&document(&panels)).unwrap();
    let (default, other) = (dashboard.time.last, Duration::from_secs(60));
    let stored = |version| StoredDashboard {
        dashboard: dashboard.clone(),
        revision: revision(version),
        updated_at_ms: 0,
    };
    let first = Document::new(stored(1)).unwrap();
    let keys = |document: &Document, chosen: &Chosen| {
        let values = values_of(&document.dashboard, chosen).unwrap();
        keys_of("d", document, &values, chosen.last)
    };
    let same = |chosen: &Chosen| -> Vec<bool> {
        let (mine, others) = (keys(&first, &Chosen::default()), keys(&first, chosen));
        mine.iter().zip(&others).map(|(mine, others)| mine == others).collect()
    };
    assert_eq!(same(&within(default)), [true, true, true]);
    assert_eq!(same(&within(other)), [true, false, true]);
    assert_eq!(same(&chosen("a", "1")), [false, true, true]);
    assert_eq!(keys(&first, &within(default))[1].last, Some(default));
    // Another life of the dashboard may have the same number.
    let again = StoredDashboard { revision: Revision::new(1, "later"), ..stored(1) };
    let again = keys(&Document::new(again).unwrap(), &Chosen::default());
    assert!(keys(&first, &Chosen::default()).iter().zip(&again).all(|(mine, others)| mine != others));
}

#[tokio::test]
async fn the_range_that_is_the_default_is_no_other_range() {
    let world = world(&[COUNT, "SELECT 1 FROM t WHERE at > $time_from"], LiveLimits::default());
    let last = read_dashboard(&document(&[])).unwrap().time.last;
    let mut clients = vec![world.watch().await, world.watch_with(&within(last)).await.unwrap()];
    assert_eq!(world.runners(), 2);
    clients.push(world.watch_with(&within(Duration::from_secs(60))).await.unwrap());
    assert_eq!(world.runners(), 3);
}

#[tokio::test]
async fn a_dashboard_is_read_once_for_all_who_open_it() {
    let world = world(&[COUNT], LiveLimits::default());
    let opened = futures::future::join_all((0..200).map(|_| world.watch())).await;
    let costs = || (world.store.reads.load(Ordering::SeqCst), world.store.looks.load(Ordering::SeqCst));
    assert_eq!((opened.len(), costs().0), (200, 1));
    // A moment later it is asked whether that is still the newest, and no more.
    tokio::time::sleep(Duration::from_millis(250)).await;
    let (_, looks) = costs();
    world.watch().await;
    assert_eq!(costs(), (1, looks + 1));
    // A change through this process is seen at once.
    world.store.change(2, |dashboard| dashboard.title = "new".into());
    world.hub.changed("d");
    assert_eq!(world.hub.document("d").await.unwrap().dashboard.title, "new");
    *world.store.stored.lock() = None;
    world.hub.changed("d");
    assert!(matches!(world.hub.document("d").await, Err(DashboardError::NotFound(_))));
}

#[tokio::test]
async fn who_has_read_a_newer_version_is_not_told_of_an_older_one() {
    let world = world(&[COUNT], LiveLimits::default());
    let mut old = world.watch().await;
    old.number().await;
    // Another process changes it; nobody here has noticed when the next viewer comes.
    world.store.change(2, |_| ());
    world.hub.documents.forget("d");
    let mut new = world.watch().await;
    new.number().await;
    assert_eq!(old.event().await, ("dashboard".to_string(), json!({"version": 2, "etag": "2-w2"})));
    new.hears_nothing().await;
}

#[tokio::test]
async fn a_viewer_comes_back_after_a_while_and_its_panels_have_not_stopped() {
    let limits = LiveLimits { stay: Duration::from_millis(100), ..LiveLimits::default() };
    let world = world(&[COUNT], limits);
    let mut client = world.watch().await;
    assert_eq!(client.number().await, 0);
    client.ended().await;
    assert_eq!(world.hub.viewers.available_permits(), limits.viewers_max, "its place is free");
    for _ in 0..5 {
        let mut client = world.watch().await;
        assert_eq!(client.number().await, 0);
        drop(client);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!((world.runs(), world.runners()), (1, 1));
    // It has not slept meanwhile either.
    world.new_row();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(world.runs(), 2);
}

#[tokio::test]
async fn runners_end_a_while_after_their_last_viewer() {
    let limits = LiveLimits { linger: Duration::from_millis(300), ..LiveLimits::default() };
    let world = world(&[COUNT], limits);
    let mut client = world.watch().await;
    client.number().await;
    drop(client);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(world.runners(), 1);
    world.no_runners().await;
}

#[tokio::test]
async fn runners_of_a_version_that_is_past_end_at_once() {
    let limits = LiveLimits { linger: SOON * 10, ..LiveLimits::default() };
    let world = world(&[COUNT], limits);
    let mut client = world.watch().await;
    client.number().await;
    world.store.change(2, |_| ());
    world.hub.changed("d");
    client.ended().await;
    // Nobody comes back for them.
    world.no_runners().await;
}

#[tokio::test]
async fn the_values_of_a_list_are_asked_for_once() {
    let world = world(&[], LiveLimits::default());
    world.new_row();
    let asked = futures::future::join_all((0..100).map(|_| world.hub.values("d", "rows"))).await;
    for answer in asked {
        assert_eq!(answer.unwrap(), r#"{"values":[1],"more":false}"#);
    }
    world.new_row();
    assert_eq!(world.hub.values("d", "rows").await.unwrap(), r#"{"values":[1],"more":false}"#);
    assert_eq!(world.runs(), 1);
    {
        let seen = world.engine.seen.lock();
        assert_eq!((seen[0].parameters.len(), seen[0].user.as_deref()), (1, None));
        assert_eq!((seen[0].client, seen[0].rows_max), (crate::request::ClientKind::Dashboard, None));
    }
    // Another version may have another statement.
    world.store.change(2, |_| ());
    world.hub.changed("d");
    assert_eq!(world.hub.values("d", "rows").await.unwrap(), r#"{"values":[2],"more":false}"#);
    assert_eq!(world.runs(), 2);
    assert_eq!(world.hub.values("d", "few").await.unwrap(), r#"{"values":["x","y"],"more":false}"#);
    for name in ["a", "nobody"] {
        assert!(matches!(world.hub.values("d", name).await, Err(ValuesError::NoList(_))), "{name}");
    }
}

#[tokio::test]
async fn a_list_that_fails_does_so_once_for_all_who_ask() {
    let world = world(&[], LiveLimits::default());
    *world.engine.fails.lock() = Some(QueryErrorKind::Deadline);
    let asked = futures::future::join_all((0..20).map(|_| world.hub.values("d", "rows"))).await;
    for answer in asked {
        assert!(matches!(answer, Err(ValuesError::Query(error)) if error.kind == QueryErrorKind::Deadline));
    }
    assert_eq!(world.runs(), 1);
}

#[tokio::test]
async fn a_list_ends_where_nobody_could_choose_from_it() {
    let world = world(&[], LiveLimits::default());
    world.store.change(2, |dashboard| {
        let Choice::List(list) = &mut dashboard.variables[2].choice else { panic!("it is a list") };
        *list = ListValues::Sql("SELECT wide FROM t".into());
    });
    let list: Value = serde_json::from_slice(&world.hub.values("d", "rows").await.unwrap()).unwrap();
    assert_eq!((list["values"].as_array().unwrap().len(), &list["more"]), (VALUES_MAX, &json!(true)));
}

#[tokio::test]
async fn answers_have_room_for_all_together() {
    let limits = LiveLimits { kept_bytes_max: 1_000, ..LiveLimits::default() };
    let world = world(&["SELECT wide FROM t"], limits);
    let (_, data) = world.watch().await.event().await;
    assert_eq!(data["error"]["kind"], "rows_exceeded", "an answer's own bound comes first: {data}");
    let limits = LiveLimits { rows_max: 100_000, ..limits };
    let narrow = super::world(&["SELECT wide FROM t", COUNT], limits);
    let mut client = narrow.watch().await;
    for _ in 0..2 {
        let (_, data) = client.event().await;
        match data["panel"].as_str() {
            Some("p0") => {
                assert_eq!((&data["error"]["kind"], &data["rows"]), (&json!("memory_exceeded"), &json!([])))
            }
            _ => assert_eq!((&data["rows"], data.get("error")), (&json!([[0]]), None)),
        }
    }
}

#[tokio::test]
async fn a_preview_runs_for_whoever_asks() {
    let world = world(&[], LiveLimits::default());
    world.hub.preview(COUNT, &BTreeMap::new(), SOON, Some("ada".into())).await.unwrap();
    assert_eq!(world.engine.seen.lock()[0].user.as_deref(), Some("ada"));
}
