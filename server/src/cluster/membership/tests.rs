//! Nodes of one process that gossip over loopback, with the timing of production.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::cluster::{BUILD_VERSION, WIRE_VERSION};

/// For everything that takes at most some seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn info(name: &str) -> NodeInfo {
    NodeInfo {
        id: id(name),
        role: Role::All,
        rpc: format!("{name}:7101"),
        http: format!("{name}:8099"),
        weight: 1,
        zone: None,
        build: BUILD_VERSION.into(),
        wire: WIRE_VERSION,
    }
}

fn settings(name: &str, seeds: &[SocketAddr]) -> GossipSettings {
    GossipSettings {
        cluster: "test".into(),
        info: info(name),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        seeds: seeds.iter().map(SocketAddr::to_string).collect(),
        secret: Some(Secret::new("a secret of the test").unwrap()),
    }
}

async fn start(name: &str, seeds: &[SocketAddr]) -> ChitchatMembership {
    ChitchatMembership::start(settings(name, seeds)).await.unwrap()
}

/// Nodes `n0`, `n1`, …; the first one is the seed of all.
async fn cluster(nodes: usize) -> Vec<ChitchatMembership> {
    let mut all = vec![start("n0", &[]).await];
    let seed = all[0].gossip_address();
    for number in 1..nodes {
        all.push(start(&format!("n{number}"), &[seed]).await);
    }
    for node in &all {
        until(node, |members| members.list.len() == nodes).await;
    }
    all
}

/// The first snapshot that is as wanted.
async fn until(node: &dyn Membership, wanted: impl Fn(&Members) -> bool) -> Arc<Members> {
    let mut members = node.watch();
    let found = tokio::time::timeout(PATIENCE, members.wait_for(|members| wanted(members))).await;
    match found {
        Ok(found) => found.unwrap().clone(),
        Err(_) => panic!("{} still sees {:#?}", node.this(), node.members()),
    }
}

fn state_of(members: &Members, name: &str) -> Option<MemberState> {
    members.get(&id(name)).map(|member| member.state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_find_each_other_and_hear_news() {
    let nodes = cluster(3).await;
    let names = |members: &Members| members.list.iter().map(|m| m.info.id.to_string()).collect::<Vec<_>>();
    for node in &nodes {
        assert!(node.peers_seen(PATIENCE).await);
        let members = node.members();
        assert_eq!(names(&members), ["n0", "n1", "n2"]);
        assert_eq!(members.get(&id("n2")).map(|member| &member.info), Some(&info("n2")));
        assert_eq!(state_of(&members, "n2"), Some(MemberState::Joining));
        assert_eq!(
            members.placement().owners(crate::cluster::placement::PlacementKey::job("t", "j"), 5).len(),
            3
        );
    }

    nodes[1].set_state(MemberState::Serving);
    nodes[1].announce("ready/orders", Some("17")).unwrap();
    let fact = |members: &Members| members.get(&id("n1")).and_then(|m| m.facts.get("ready/orders").cloned());
    for node in &nodes {
        let members = until(node, |members| fact(members).as_deref() == Some("17")).await;
        assert_eq!(state_of(&members, "n1"), Some(MemberState::Serving));
    }
    nodes[1].announce("ready/orders", Some("18")).unwrap();
    nodes[1].announce("ready/riders", Some("1")).unwrap();
    for node in &nodes {
        until(node, |members| members.get(&id("n1")).is_some_and(|member| member.facts.len() == 2)).await;
    }
    nodes[1].announce("ready/orders", None).unwrap();
    for node in &nodes {
        until(node, |members| fact(members).is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_is_seen_leaving_at_once_and_one_that_dies_is_missed() {
    let mut nodes = cluster(3).await;
    nodes.iter().for_each(|node| node.set_state(MemberState::Serving));
    for node in &nodes {
        let serving = |members: &Members| members.list.iter().all(|m| m.state == MemberState::Serving);
        until(node, serving).await;
    }

    let last = nodes.pop().unwrap();
    let began = Instant::now();
    let leaving = tokio::spawn(async move {
        last.leave().await;
        last.set_state(MemberState::Serving);
        last.leave().await;
        last
    });
    for node in &nodes {
        until(node, |members| state_of(members, "n2") == Some(MemberState::Leaving)).await;
    }
    // One round; the bound is for a machine that does other things.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let last = leaving.await.unwrap();
    for node in &nodes {
        until(node, |members| members.list.len() == 2).await;
    }
    drop(last);

    let began = Instant::now();
    drop(nodes.pop());
    until(&nodes[0], |members| members.list.len() == 1).await;
    let missed = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&missed), "{missed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_not_let_in() {
    let nodes = cluster(2).await;
    let seed = nodes[0].gossip_address();
    let other_secret = GossipSettings {
        secret: Some(Secret::new("another secret, as long").unwrap()),
        ..settings("s1", &[seed])
    };
    let no_secret = GossipSettings { secret: None, ..settings("s2", &[seed]) };
    let other_name = GossipSettings { cluster: "other".into(), ..settings("s3", &[seed]) };
    let mut strangers = Vec::new();
    for settings in [other_secret, no_secret, other_name] {
        strangers.push(ChitchatMembership::start(settings).await.unwrap());
    }
    // By when these two see each other, the strangers would have been seen, too: they started before.
    let late = start("late", &[seed]).await;
    until(&late, |members| members.list.len() == 3).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for stranger in &strangers {
        assert_eq!(stranger.members().list.len(), 1);
    }
    for node in nodes.iter().chain([&late]) {
        assert_eq!(node.members().list.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_wire_version_is_seen_and_given_nothing() {
    let nodes = cluster(1).await;
    let mut other = settings("next", &[nodes[0].gossip_address()]);
    other.info.wire = WIRE_VERSION + 1;
    let other = ChitchatMembership::start(other).await.unwrap();
    let members = until(&nodes[0], |members| members.list.len() == 2).await;
    assert!(members.get(&id("next")).unwrap().incompatible.is_some());
    assert_eq!(members.compatible().count(), 1);
    until(&other, |members| members.get(&id("n0")).is_some()).await;
}

/// The bounds hold whatever the number of nodes: news of a node comes the more often, the more of them there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detection_takes_as_long_in_a_large_cluster_as_in_a_small_one() {
    for count in [3, 10] {
        let nodes = cluster(count).await;
        let bounds = Duration::from_millis(1_200)..=Duration::from_millis(3_000);
        let begun = Instant::now();
        for node in &nodes {
            // The first intervals are those of the start, and of a machine that had other things to do.
            loop {
                tokio::time::sleep(Duration::from_secs(2)).await;
                let timeouts = node.detection_timeouts().await;
                let is_within = timeouts.iter().all(|(_, timeout)| bounds.contains(timeout));
                if timeouts.len() == count - 1 && is_within {
                    break;
                }
                assert!(begun.elapsed() < Duration::from_secs(30), "of {count}: {timeouts:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_takes_its_own_place() {
    let mut nodes = cluster(2).await;
    let before = nodes[0].members();
    let seed = nodes[0].gossip_address();
    drop(nodes.pop());
    let again = start("n1", &[seed]).await;
    let generation = |members: &Members| members.get(&id("n1")).map(|member| member.generation);
    let members = until(&nodes[0], |members| generation(members) > generation(&before)).await;
    assert_eq!((members.list.len(), members.epoch > before.epoch), (2, true));
    // The silence of its former self is no news.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let taken = generation(&members);
    until(&nodes[0], |members| members.list.len() == 2 && generation(members) == taken).await;
    until(&again, |members| members.list.len() == 2).await;
}

/// The library's task can end: with a broken socket, or here with a panic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gossip_comes_back_after_its_task_has_ended() {
    let nodes = cluster(2).await;
    nodes[1].announce("kept", Some("yes")).unwrap();
    let before = until(&nodes[0], |members| members.get(&id("n1")).is_some_and(|m| m.facts.len() == 1)).await;
    let before = before.get(&id("n1")).unwrap().generation;
    let mut own_view = nodes[1].watch();
    let alone =
        tokio::spawn(async move { own_view.wait_for(|members| members.list.len() < 2).await.is_ok() });
    nodes[1].break_gossip().await;
    nodes[0].announce("fatal", Some("news")).unwrap();
    let members =
        until(&nodes[0], |members| members.get(&id("n1")).is_some_and(|m| m.generation > before)).await;
    assert_eq!(members.get(&id("n1")).unwrap().facts["kept"], "yes");
    until(&nodes[1], |members| members.get(&id("n1")).is_some_and(|m| m.generation > before)).await;
    assert!(!alone.is_finished(), "it believed to be alone");
    alone.abort();
    nodes[1].announce("kept", Some("still")).unwrap();
    until(&nodes[0], |members| members.get(&id("n1")).is_some_and(|m| m.facts["kept"] == "still")).await;
}

#[tokio::test]
async fn what_cannot_be_announced() {
    let node = start("n0", &[]).await;
    let fits = "x".repeat(FACT_VALUE_BYTES_MAX);
    node.announce("key", Some(&fits)).unwrap();
    let key = "k".repeat(FACT_KEY_BYTES_MAX + 1);
    for (key, value) in [("key", format!("{fits}x")), (&key, String::new()), ("", String::new())] {
        assert!(matches!(node.announce(key, Some(&value)), Err(ClusterError::Fact { .. })));
    }
    node.announce("never announced", None).unwrap();
    let members = until(&node, |members| !members.list[0].facts.is_empty()).await;
    assert_eq!(members.list[0].facts["key"], fits);

    let mut nowhere = settings("n1", &[]);
    nowhere.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = ChitchatMembership::start(nowhere).await.err().unwrap().to_string();
    assert!(error.contains("cluster.gossip_advertise"), "{error}");
}

/// Seeds by name, one of which does not exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds_are_looked_up_by_name() {
    let first = start("n0", &[]).await;
    let mut second = settings("n1", &[]);
    second.seeds =
        vec!["no-such-host.invalid:1".into(), format!("localhost:{}", first.gossip_address().port())];
    let second = ChitchatMembership::start(second).await.unwrap();
    until(&second, |members| members.list.len() == 2).await;
}
