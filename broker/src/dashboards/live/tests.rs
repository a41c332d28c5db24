//! The hub over an engine that counts its runs.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::fakes::{FakeEngine, FakeStore, revision};
use super::super::{StoredDashboard, read_dashboard};
use super::*;
use crate::QueryErrorKind;

mod fakes;
mod opening;

const SOON: Duration = Duration::from_secs(5);
/// Long enough that something which should not happen would have.
const A_WHILE: Duration = Duration::from_millis(150);

struct World {
    engine: Arc<FakeEngine>,
    store: Arc<FakeStore>,
    hub: Arc<LiveHub>,
}

fn world(panels: &[&str], limits: LiveLimits) -> World {
    let dashboard = read_dashboard(&document(panels)).unwrap();
    // A document would not be allowed to.
    let dashboard = Dashboard { refresh_ms: 20, ..dashboard };
    let stored = StoredDashboard { dashboard, revision: revision(1), updated_at_ms: 0 };
    let store = Arc::new(FakeStore::new(stored));
    let engine = Arc::new(FakeEngine::new());
    let hub = Arc::new(LiveHub::new(engine.clone(), store.clone(), limits));
    World { engine, store, hub }
}

fn document(panels: &[&str]) -> Value {
    let panels: Vec<Value> = panels
        .iter()
        .enumerate()
        .map(|(index, sql)| {
            json!({"id": format!("p{index}"), "sql": sql, "kind": "number", "at": {"x": 0, "y": index, "w": 1, "h": 1}})
        })
        .collect();
    let variables = json!([
        {"name": "a", "kind": "text", "default": "0"},
        {"name": "b", "kind": "text", "default": "0"},
        {"name": "rows", "kind": "list", "sql": "SELECT rows FROM t WHERE at > $time_from"},
        {"name": "few", "kind": "list", "values": ["x", "y"]},
    ]);
    json!({"title": "t", "variables": variables, "panels": panels})
}

/// A client that reads its events.
struct Client(mpsc::Receiver<Bytes>);

impl Client {
    /// The next event: its name and its data.
    async fn any(&mut self) -> (String, Value) {
        let text = timeout(SOON, self.0.recv()).await.expect("an event comes").expect("the stream goes on");
        let text = String::from_utf8(text.to_vec()).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("no {name} in {text:?}")).to_string()
        };
        assert!(text.ends_with("\n\n") && !text.trim_end().contains("\n\n"), "{text:?}");
        (field("event"), serde_json::from_str(&field("data")).unwrap())
    }

    /// The next event that is no beat.
    async fn event(&mut self) -> (String, Value) {
        loop {
            let event = self.any().await;
            if event.0 != "beat" {
                return event;
            }
        }
    }

    /// The first beat of which `is_it` is true of the age of the newest row of panel `p0`.
    async fn beat_with_age(&mut self, is_it: impl Fn(Option<i64>) -> bool) {
        let found = async {
            loop {
                let (name, data) = self.any().await;
                if name == "beat" && is_it(data["freshness_ms"]["p0"].as_i64()) {
                    return;
                }
            }
        };
        timeout(SOON, found).await.expect("a beat with such an age comes");
    }

    async fn number(&mut self) -> i64 {
        let (name, data) = self.event().await;
        assert_eq!((name.as_str(), &data["error"]), ("panel", &Value::Null), "{data}");
        data["rows"][0][0].as_i64().unwrap()
    }

    async fn hears_nothing(&mut self) {
        let next = timeout(A_WHILE, self.event()).await;
        assert!(next.is_err(), "{next:?}");
    }

    async fn ended(&mut self) {
        let ended = async { while self.0.recv().await.is_some() {} };
        timeout(SOON, ended).await.expect("the stream ends");
    }
}

impl World {
    async fn watch(&self) -> Client {
        self.watch_with(&Chosen::default()).await.unwrap()
    }

    async fn watch_with(&self, chosen: &Chosen) -> Result<Client, WatchError> {
        let viewer = self.hub.watch("d", chosen).await?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(viewer.run(sender));
        Ok(Client(receiver))
    }

    fn runs(&self) -> usize {
        self.engine.runs.load(Ordering::SeqCst)
    }

    fn new_row(&self) {
        self.engine.rows.send_modify(|rows| *rows += 1);
    }

    /// Waits until all runners have ended.
    async fn no_runners(&self) {
        let ended = async {
            while self.runners() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, ended).await.expect("the runners end");
    }

    fn runners(&self) -> usize {
        self.hub.runners.lock().values().filter(|runner| runner.strong_count() > 0).count()
    }
}

fn chosen(name: &str, value: &str) -> Chosen {
    Chosen { values: BTreeMap::from([(name.to_string(), value.to_string())]), last: None }
}

#[tokio::test]
async fn one_run_for_all_viewers_and_none_without_new_rows() {
    let world = world(&["SELECT count(*) AS rows FROM t"], LiveLimits::default());
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(world.watch().await);
    }
    for client in &mut clients {
        assert_eq!(client.number().await, 0);
    }
    assert_eq!(world.runs(), 1);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(world.runs(), 1, "no row came");
    world.new_row();
    for client in &mut clients {
        assert_eq!(client.number().await, 1);
    }
    assert_eq!(world.runs(), 2);
    // Who comes later sees at once what is known.
    assert_eq!(world.watch().await.number().await, 1);
    assert_eq!((world.runs(), world.runners()), (2, 1));
}

#[tokio::test]
async fn a_panel_runs_at_most_once_per_refresh() {
    let world = world(&["SELECT count(*) AS rows FROM t"], LiveLimits::default());
    world.store.change(1, |dashboard| dashboard.refresh_ms = 100);
    let mut client = world.watch().await;
    client.number().await;
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_millis(450) {
        world.new_row();
        tokio::time::sleep(Duration::from_millis(5)).await;
        while client.0.try_recv().is_ok() {}
    }
    assert!((2..=6).contains(&world.runs()), "{} runs in 450 ms", world.runs());
}

#[tokio::test]
async fn an_answer_that_is_the_same_is_not_sent() {
    let world = world(&["SELECT count(*) AS rows FROM t"], LiveLimits::default());
    world.engine.shown.store(1, Ordering::SeqCst);
    let mut client = world.watch().await;
    assert_eq!(client.number().await, 1);
    // One row more, of which the answer shows nothing.
    world.engine.shown.store(0, Ordering::SeqCst);
    world.new_row();
    client.hears_nothing().await;
    assert_eq!(world.runs(), 2);
}

#[tokio::test]
async fn the_runner_ends_with_its_last_viewer_and_cancels_what_runs() {
    let limits = LiveLimits { linger: Duration::ZERO, ..LiveLimits::default() };
    let world = world(&["SELECT count(*) AS rows FROM t"], limits);
    world.engine.open.send_replace(false);
    let (first, second) = (world.watch().await, world.watch().await);
    let mut running = world.engine.running.subscribe();
    timeout(SOON, running.wait_for(|running| *running == 1)).await.unwrap().unwrap();
    drop(first);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!((*running.borrow(), world.runners()), (1, 1));
    drop(second);
    timeout(SOON, running.wait_for(|running| *running == 0)).await.unwrap().unwrap();
    assert_eq!((world.runners(), world.runs()), (0, 1));
}

#[tokio::test]
async fn a_slow_viewer_skips_to_the_newest_answer_and_holds_nobody_back() {
    let world = world(&["SELECT count(*) AS rows FROM t"], LiveLimits::default());
    let mut slow = world.watch().await;
    let mut fast = world.watch().await;
    assert_eq!((slow.number().await, fast.number().await), (0, 0));
    for row in 1..=20 {
        world.new_row();
        assert_eq!(fast.number().await, row);
    }
    // One answer waits in its channel and one in its hand; all others were passed over.
    let mut seen = Vec::new();
    while seen.last() != Some(&20) {
        seen.push(slow.number().await);
    }
    assert!(seen.len() <= 3, "{seen:?}");
}

#[tokio::test]
async fn a_viewer_who_takes_nothing_is_let_go() {
    let limits =
        LiveLimits { stall: Duration::from_millis(50), linger: Duration::ZERO, ..LiveLimits::default() };
    let world = world(&["SELECT count(*) AS rows FROM t"], limits);
    let mut client = world.watch().await;
    assert_eq!(client.number().await, 0);
    for _ in 0..6 {
        world.new_row();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    world.no_runners().await;
    client.ended().await;
}

#[tokio::test]
async fn only_values_that_a_panel_reads_keep_viewers_apart() {
    let panels = ["SELECT $a FROM t", "SELECT $b FROM t WHERE x > $a", "SELECT 1 FROM t"];
    let world = world(&panels, LiveLimits::default());
    let mut clients = vec![world.watch().await];
    assert_eq!(world.runners(), 3);
    clients.push(world.watch_with(&chosen("b", "it's; DROP")).await.unwrap());
    assert_eq!(world.runners(), 4);
    clients.push(world.watch_with(&chosen("a", "1")).await.unwrap());
    assert_eq!(world.runners(), 6);
    for client in &mut clients {
        for _ in 0..3 {
            client.number().await;
        }
    }
    let seen = world.engine.seen.lock().clone();
    let quoted = seen.iter().find(|request| request.parameters.contains(&json!("it's; DROP"))).unwrap();
    assert_eq!(quoted.sql, "SELECT $1 FROM t WHERE x > $2");
    assert!(matches!(world.hub.watch("d", &chosen("c", "1")).await, Err(WatchError::Values(_))));
}

#[tokio::test]
async fn a_failure_is_told_once_and_keeps_what_was_there() {
    let world = world(&["SELECT count(*) AS rows FROM t"], LiveLimits::default());
    let mut client = world.watch().await;
    assert_eq!(client.number().await, 0);
    *world.engine.fails.lock() = Some(QueryErrorKind::Deadline);
    world.new_row();
    let (_, data) = client.event().await;
    assert_eq!((&data["error"]["kind"], &data["rows"]), (&json!("deadline"), &json!([[0]])));
    client.hears_nothing().await;
    assert!(world.runs() > 2, "it is tried again without new rows");
    *world.engine.fails.lock() = None;
    assert_eq!(client.number().await, 1);
}

#[tokio::test]
async fn what_changes_with_time_runs_without_new_rows() {
    let world = world(&["SELECT count(*) FROM t WHERE at > $time_from"], LiveLimits::default());
    world.store.change(1, |dashboard| dashboard.time.last = Duration::from_secs(6));
    let mut client = world.watch().await;
    client.number().await;
    tokio::time::sleep(Duration::from_millis(175)).await;
    // Every 50 ms, a 120th of the range.
    assert!((2..=5).contains(&world.runs()), "{} runs", world.runs());
    let seen = world.engine.seen.lock();
    assert!(seen[0].parameters[0].as_str().unwrap() < seen[1].parameters[0].as_str().unwrap());
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let world = world(&["SELECT wide FROM t"], LiveLimits::default());
    let (_, data) = world.watch().await.event().await;
    assert_eq!(data["error"]["kind"], "rows_exceeded");
    assert!(data["error"]["message"].as_str().unwrap().contains("10000 rows"), "{data}");
    let limits = LiveLimits { rows_max: 100_000, answer_bytes_max: 1_000, ..LiveLimits::default() };
    let narrow = super::tests::world(&["SELECT wide FROM t"], limits);
    let (_, data) = narrow.watch().await.event().await;
    assert!(data["error"]["message"].as_str().unwrap().contains("1000 bytes"), "{data}");
    let error = world.hub.preview("SELECT wide", &BTreeMap::new(), SOON, None).await.unwrap_err();
    assert_eq!(error.kind, QueryErrorKind::RowsExceeded);
}

#[tokio::test]
async fn there_are_only_so_many_viewers_and_runners() {
    let limits =
        LiveLimits { viewers_max: 2, runners_max: 2, linger: Duration::ZERO, ..LiveLimits::default() };
    let world = world(&["SELECT $a FROM t", "SELECT 1 FROM t"], limits);
    let first = world.watch().await;
    assert!(matches!(world.watch_with(&chosen("a", "1")).await, Err(WatchError::Busy(_))));
    let second = world.watch().await;
    assert!(matches!(world.watch_with(&Chosen::default()).await, Err(WatchError::Busy(_))));
    drop((first, second));
    timeout(SOON, async {
        while world.watch_with(&chosen("a", "1")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("there is room again");
}

#[tokio::test]
async fn a_newer_version_is_the_last_event() {
    let world = world(&["SELECT count(*) AS rows FROM t"], LiveLimits::default());
    let mut client = world.watch().await;
    client.number().await;
    world.store.change(2, |_| ());
    world.hub.changed("d");
    assert_eq!(client.event().await, ("dashboard".to_string(), json!({"version": 2, "etag": "2-w2"})));
    client.ended().await;
    let mut client = world.watch().await;
    client.number().await;
    *world.store.stored.lock() = None;
    world.hub.changed("d");
    assert_eq!(client.event().await, ("dashboard".to_string(), json!({"version": null, "etag": null})));
    assert!(matches!(
        world.watch_with(&Chosen::default()).await,
        Err(WatchError::Dashboard(DashboardError::NotFound(_)))
    ));
}

#[tokio::test]
async fn what_another_process_changed_is_noticed() {
    let limits = LiveLimits { follow: Duration::from_millis(30), ..LiveLimits::default() };
    let world = world(&["SELECT count(*) AS rows FROM t"], limits);
    let mut client = world.watch().await;
    client.number().await;
    world.store.change(7, |_| ());
    assert_eq!(client.event().await.1, json!({"version": 7, "etag": "7-w7"}));
}

#[tokio::test]
async fn beats_come_without_answers_and_the_hub_lets_go() {
    let limits = LiveLimits { beat: Duration::from_millis(20), ..LiveLimits::default() };
    let world = world(&[], limits);
    let mut client = world.watch().await;
    let first = timeout(SOON, client.0.recv()).await.unwrap().unwrap();
    assert!(first.starts_with(b"retry: 1000\nevent: beat\ndata: "), "{first:?}");
    for _ in 0..3 {
        let beat = json!({"version": 1, "etag": "1-w1", "freshness_ms": {}});
        assert_eq!(client.any().await, ("beat".to_string(), beat));
    }
    world.hub.close();
    client.ended().await;
}

#[tokio::test]
async fn beats_tell_how_old_the_newest_row_is_by_now() {
    let limits = LiveLimits { beat: Duration::from_millis(20), ..LiveLimits::default() };
    let world = world(&["SELECT count(*) AS rows FROM t"], limits);
    world.engine.open.send_replace(false);
    let mut client = world.watch().await;
    client.beat_with_age(|age| age.is_none()).await;
    world.engine.open.send_replace(true);
    assert_eq!(client.number().await, 0);
    client.beat_with_age(|age| age > Some(100)).await;
    // A new row after which the panel shows what it showed before.
    world.engine.shown.store(u64::MAX, Ordering::SeqCst);
    world.new_row();
    client.beat_with_age(|age| age < Some(100)).await;
    assert_eq!(world.runs(), 2);
}
