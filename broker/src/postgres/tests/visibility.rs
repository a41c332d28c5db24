//! What users know of each other's sessions, and how a session is ended from another one.

use super::messages::{cancel, until_running};
use super::*;

/// It waits for a client that does not read, and leaves the engine's threads to others.
const UNREAD: &str = "SELECT value, repeat('x', 1000) FROM generate_series(1, 900000000)";

/// The row of a session, as another one is shown it.
async fn shown(client: &mut Client, columns: &str, process: u32) -> Vec<Option<String>> {
    let sql = format!("SELECT {columns} FROM pg_stat_activity WHERE pid = {process}");
    client.rows(&sql).await.remove(0)
}

fn cell(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[tokio::test]
async fn another_users_statement_is_neither_shown_nor_ended() {
    let server = server_with(Arc::new(Guarded), PostgresLimits::default()).await;
    let mut alice = Client::start_as(&server, "alice").await;
    let mut bob = Client::start_as(&server, "bob").await;
    let mut ada = Client::start_as(&server, "ada").await;
    alice.send(b'Q', &text(UNREAD)).await;
    until_running(&server, 1).await;

    let columns = "usename, query, state, client_addr";
    let hidden = [cell("alice"), cell("<insufficient privilege>"), None, None];
    assert_eq!(shown(&mut bob, columns, alice.process()).await, hidden);
    let own = bob.process();
    assert_eq!(shown(&mut bob, "usename, state", own).await, [cell("bob"), cell("active")]);
    for function in ["pg_cancel_backend", "pg_terminate_backend"] {
        let replies = bob.query(&format!("SELECT {function}({})", alice.process())).await;
        assert_eq!(code_of(&replies), "42501", "{function}: {:?}", error_of(&replies));
    }

    // An administrator sees that it runs on, and ends it.
    let whole = [cell("alice"), cell(UNREAD), cell("active"), cell("127.0.0.1")];
    assert_eq!(shown(&mut ada, columns, alice.process()).await, whole);
    let ended = ada.rows(&format!("SELECT pg_cancel_backend({})", alice.process())).await;
    assert_eq!(ended, [[cell("t")]]);
    assert_eq!(code_of(&alice.until_ready().await), "57014");
    // Their own sessions are everybody's to end.
    let mut second = Client::start_as(&server, "alice").await;
    let ended = second.rows(&format!("SELECT pg_terminate_backend({})", alice.process())).await;
    assert_eq!(ended, [[cell("t")]]);
    assert_eq!(code_of(&alice.until_ready().await), "57P01");
}

#[tokio::test]
async fn an_ended_session_does_nothing_more_that_was_sent() {
    let server = server().await;
    let (mut client, mut other) = (Client::start(&server).await, Client::start(&server).await);
    client.send(b'Q', &text(&format!("{UNREAD}; SELECT 'behind'"))).await;
    for _ in 0..100 {
        client.send(b'Q', &text("SELECT 'queued'")).await;
    }
    until_running(&server, 1).await;
    other.rows(&format!("SELECT pg_terminate_backend({})", client.process())).await;
    let replies = client.until_ready().await;
    assert_eq!((kinds(&replies).ends_with("EZ"), code_of(&replies).as_str()), (true, "57014"));
    let replies = client.until_ready().await;
    assert_eq!((kinds(&replies).as_str(), code_of(&replies).as_str()), ("E", "57P01"));
    assert!(client.receive().await.is_none());
    until_running(&server, 0).await;
}

#[tokio::test]
async fn a_server_that_stops_answers_what_was_sent() {
    let server = server().await;
    let mut client = Client::start(&server).await;
    client.send(b'Q', &text(ENDLESS)).await;
    client.send(b'Q', &text("SELECT 'queued'")).await;
    until_running(&server, 1).await;
    // Time for the second message to arrive.
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.cancel();
    cancel(&server, &client.key.clone()).await;
    assert_eq!(code_of(&client.until_ready().await), "57014");
    assert_eq!(kinds(&client.until_ready().await), "TDCZ");
    assert_eq!(code_of(&client.until_ready().await), "57P01");
}

#[tokio::test]
async fn a_session_is_known_from_its_start_and_active_with_every_row() {
    let server = server().await;
    let mut other = Client::start(&server).await;
    let mut client = Client::connect(&server, true);
    client.raw(&startup(&[("user", "alice"), ("application_name", "reports")])).await;
    client.key = client.until_ready().await.into_iter().find(|(kind, _)| *kind == b'K').unwrap().1;
    let columns = "application_name, state";
    let row = |state: &str| [cell("reports"), cell(state)];
    assert_eq!(shown(&mut other, columns, client.process()).await, row("idle"));

    client.query("BEGIN; SET LOCAL headwater.rows_max = 1000000000").await;
    client.parse("", UNREAD, &[]).await;
    client.bind("p", "", 0, &[], 0).await;
    client.execute("p", 1).await;
    assert_eq!(kinds(&client.sync().await), "12DsZ");
    assert_eq!(shown(&mut other, columns, client.process()).await, row("idle in transaction"));
    // The rest is more than fits on the way to a client that does not read.
    client.execute("p", 0).await;
    let until = Instant::now() + Duration::from_secs(30);
    while shown(&mut other, columns, client.process()).await != row("active") {
        assert!(Instant::now() < until, "it sends and is not active");
    }
}
