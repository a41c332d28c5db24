//! Queries are found and ended from every node, and a broker knows how far the data nodes are.

use super::*;
use crate::QueryErrorKind;
use crate::request::QueryState;

fn named(id: &str, sql: &str) -> QueryRequest {
    QueryRequest { sql: sql.into(), query_id: Some(id.into()), ..QueryRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_found_and_ended_from_every_node() {
    let (_store, broker, nodes) = three().await;
    let endless = "SELECT a.value FROM range(1000000) a, range(1000000) b";
    let adas = QueryRequest { user: Some("ada".into()), ..named("endless", endless) };
    let mut answer = nodes[1].engine.run(adas).await.unwrap();
    assert!(answer.stream.next().await.unwrap().is_ok());
    let found = broker.progress("endless", None, true).await.unwrap();
    assert_eq!((found.id.as_str(), found.state), ("endless", QueryState::Running));
    assert!(found.rows_returned > 0 && found.plan.unwrap().contains("Join"));

    assert!(!broker.kill("another", None).await && !broker.kill("../endless", None).await);
    // An identity that bob uses as well, here, opens nobody else's query elsewhere.
    assert!(broker.progress("endless", Some("bob"), true).await.is_none());
    let bobs = QueryRequest { user: Some("bob".into()), ..named("endless", "SELECT 1") };
    let mut own = broker.run(bobs).await.unwrap();
    while own.stream.next().await.is_some() {}
    assert_eq!(broker.progress("endless", Some("bob"), true).await.unwrap().state, QueryState::Done);
    assert!(!broker.kill("endless", Some("bob")).await);
    let found = broker.progress("endless", Some("ada"), false).await.unwrap();
    assert_eq!((found.user.as_deref(), found.state), (Some("ada"), QueryState::Running));
    assert!(broker.kill("endless", Some("ada")).await);
    let error = loop {
        if let Err(error) = answer.stream.next().await.unwrap() {
            break crate::engine::error_of(&error);
        }
    };
    assert_eq!(error.kind, QueryErrorKind::Cancelled);
    let ended = broker.progress("endless", Some("ada"), false).await.unwrap();
    assert_eq!(ended.state, QueryState::Cancelled);
    assert!(!broker.kill("endless", None).await);
    assert!(broker.progress("another", None, false).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_has_what_the_data_nodes_have_done() {
    let (_store, broker, _nodes) = three().await;
    for (id, sql) in
        [("rows", "SELECT id FROM sales"), ("groups", "SELECT city, count(*) FROM sales GROUP BY city")]
    {
        let mut answer = broker.run(named(id, sql)).await.unwrap();
        // The answer is short enough to be held back until all fragments have ended.
        let progress = broker.progress(id, None, false).await.unwrap();
        assert_eq!((progress.state, progress.segments_total), (QueryState::Running, 4), "{id}");
        assert_eq!((progress.segments_done, progress.rows_scanned), (4, 300), "{id}");
        while answer.stream.next().await.is_some() {}
        let progress = broker.progress(id, None, false).await.unwrap();
        assert_eq!((progress.state, progress.segments_done), (QueryState::Done, 4), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_queries_of_all_nodes() {
    let (_store, broker, nodes) = three().await;
    ask(&nodes[0].engine, "SELECT 7").await.unwrap();
    ask(&broker, "SELECT count(*) FROM sales").await.unwrap();
    ask(&broker, "SELECT 1 / 0").await.unwrap_err();
    let log = "SELECT sql, user_name, client, state, error IS NULL, rows_returned, rows_scanned, segments_scanned, \
               plan, duration_ms > 0, node FROM system.query_log WHERE sql NOT LIKE '%system%'";
    let expected = [
        "SELECT 1 / 0|anonymous|http|failed|false|0|0|0|NULL|true|broker",
        "SELECT 7|anonymous|http|done|true|1|0|0|NULL|true|data-0",
        "SELECT count(*) FROM sales|anonymous|http|done|true|1|300|4|NULL|true|broker",
    ];
    assert_eq!(ask(&broker, log).await.unwrap(), expected);
}
