//! Up to which offsets a broker answers, and what it waits for.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_query_waits_for_a_node_to_be_there() {
    let store = sealed_sales().await;
    let node = Node::start("data-0", opened(&store, &[0, 1]).await, secret("one")).await;
    let table = opened(&store, &[]).await;
    let cluster = Arc::new(Fixed::new(&[], "broker"));
    let access = ClusterAccess::new(secret("one"), Handle::current()).unwrap();
    let broker = QueryEngine::clustered(config(), serving(&table), cluster.clone(), access).unwrap();
    let asking = ask(&broker, "SELECT count(*) FROM sales");
    let joining = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cluster.view.store(Arc::new(ClusterView::new([node.node.clone()])));
    };
    assert_eq!(futures::join!(asking, joining).0.unwrap(), ["300"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_answer_is_given_only_when_asked_for_and_says_what_is_missing() {
    let (_store, broker, nodes) = three().await;
    let request = QueryRequest {
        sql: "SELECT count(*) FROM sales".into(),
        allow_partial: true,
        deadline: Some(Duration::from_secs(20)),
        ..QueryRequest::default()
    };
    let whole = broker.run(request.clone()).await.unwrap();
    assert!(whole.cuts["sales"].missing.is_empty());
    drop(whole);
    nodes[1].table.restart_partition(filled(&nodes[1].table, 1, 100..120));
    let partial = broker.run(request.clone()).await.unwrap();
    let missing = &partial.cuts["sales"].missing;
    assert_eq!(missing, &["partition 1: offsets below 150 are wanted, below 120 are visible"]);
    assert_eq!(partial.cuts["sales"].offsets[&1], 120);
    drop(partial);
    assert_eq!(ask_with(&broker, request).await.unwrap(), ["270"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_never_ends_before_an_earlier_one_and_waits_for_wanted_offsets() {
    let (_store, broker, nodes) = three().await;
    ask(&broker, "SELECT count(*) FROM sales").await.unwrap();
    // The node starts again from what is sealed.
    nodes[0].table.restart_partition(filled(&nodes[0].table, 0, 100..120));
    let behind = nodes[0].table.clone();
    let catching_up = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        behind.restart_partition(filled(&behind, 0, 100..160));
    });
    let rows = ask(&broker, "SELECT count(*) FROM sales WHERE \"$partition\" = 0").await.unwrap();
    assert_eq!(rows, ["160"]);
    catching_up.await.unwrap();
    let wanted = QueryRequest {
        sql: "SELECT count(*) FROM sales".into(),
        deadline: Some(Duration::from_millis(300)),
        min_offsets: BTreeMap::from([("sales".into(), BTreeMap::from([(1, 151)]))]),
        ..QueryRequest::default()
    };
    let error = ask_with(&broker, wanted.clone()).await.unwrap_err();
    assert!(
        error.message.contains("partition 1: offsets below 151 are wanted, below 150 are visible"),
        "{error}"
    );
    nodes[1].table.open_segment(filled(&nodes[1].table, 1, 150..151));
    assert_eq!(ask_with(&broker, wanted).await.unwrap(), ["311"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_answer_comes_within_a_short_deadline() {
    let (_store, broker, nodes) = three().await;
    ask(&broker, "SELECT count(*) FROM sales").await.unwrap();
    nodes[1].table.restart_partition(filled(&nodes[1].table, 1, 100..120));
    let request = QueryRequest {
        sql: "SELECT count(*) FROM sales".into(),
        allow_partial: true,
        deadline: Some(Duration::from_millis(900)),
        ..QueryRequest::default()
    };
    assert_eq!(ask_with(&broker, request).await.unwrap(), ["270"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_table_that_is_not_there_are_an_error() {
    let (_store, broker, _nodes) = three().await;
    let request = QueryRequest {
        sql: "SELECT count(*) FROM sales".into(),
        min_offsets: BTreeMap::from([("sale".into(), BTreeMap::from([(0, 1)]))]),
        ..QueryRequest::default()
    };
    assert_eq!(ask_with(&broker, request).await.unwrap_err().kind, QueryErrorKind::UnknownTable);
}

/// A node that knows a newer spec refuses what was planned with the old one; the broker looks, and plans anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_ahead_with_a_column_is_followed() {
    let (_store, broker, nodes) = three().await;
    let all = ask(&broker, "SELECT * FROM sales WHERE id < 10").await.unwrap();
    let wider = SPEC
        .replace("{name: share, type: DOUBLE}]", "{name: share, type: DOUBLE}, {name: note, type: STRING}]");
    let table = &nodes[1].table;
    table.log().set_spec(&parse_spec(&wider).unwrap()).await.unwrap();
    table.follow_log().await.unwrap();
    let found = ask(&broker, "SELECT * FROM sales WHERE id < 10").await.unwrap();
    assert_eq!(found, all.iter().map(|line| format!("{line}|NULL")).collect::<Vec<_>>());
}
