use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use ulid::Ulid;

use super::*;

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn member(index: usize, weight: u32, zone: Option<usize>) -> PlacementMember {
    PlacementMember {
        id: node(&format!("node-{index}")),
        weight,
        zone: zone.map(|zone| format!("zone-{zone}")),
        state: MemberState::Serving,
    }
}

fn keys(count: u64) -> Vec<PlacementKey> {
    (0..count)
        .map(|i| PlacementKey::segment(Ulid::from_parts(1_700_000_000_000 + i, u128::from(i))))
        .collect()
}

/// Members of any weight, in some of four zones or in none.
fn members(most: usize) -> impl Strategy<Value = Vec<PlacementMember>> {
    let one = (1_u32..=8, proptest::option::of(0_usize..4));
    vec(one, 1..=most).prop_map(|drawn| {
        drawn.into_iter().enumerate().map(|(index, (weight, zone))| member(index, weight, zone)).collect()
    })
}

fn owner_set(placement: &Placement, key: PlacementKey, replication: usize) -> BTreeSet<NodeId> {
    placement.owners(key, replication).into_iter().collect()
}

#[test]
fn owners_never_change_with_a_build() {
    let placement = Placement::new((0..5).map(|i| member(i, 1 + i as u32, Some(i % 2))));
    let table = "0b7a3c1e-6a57-4f0a-9d0e-3f5f3a1f7c11";
    let owners = |key| placement.owners(key, 3).iter().map(NodeId::to_string).collect::<Vec<_>>().join(" ");
    let found = [
        owners(PlacementKey::partition(table, 0)),
        owners(PlacementKey::partition(table, 1)),
        owners(PlacementKey::partition(table, -1)),
        owners(PlacementKey::segment(Ulid::from_parts(1_700_000_000_000, 42))),
        owners(PlacementKey::segment(Ulid::nil())),
        owners(PlacementKey::job(table, "retention")),
    ];
    let golden = [
        "node-4 node-3 node-0",
        "node-3 node-2 node-4",
        "node-3 node-2 node-1",
        "node-0 node-3 node-4",
        "node-2 node-3 node-4",
        "node-4 node-3 node-2",
    ];
    assert_eq!(found, golden);
}

#[test]
fn who_owns_nothing() {
    let mut leaving = member(1, 5, None);
    leaving.state = MemberState::Leaving;
    let mut joining = member(2, 1, None);
    joining.state = MemberState::Joining;
    let placement = Placement::new([leaving, joining, member(3, 0, None)]);
    for key in keys(100) {
        assert_eq!(placement.owners(key, 3), [node("node-2")]);
        assert_eq!(placement.rank(key, 3, &node("node-1")), None);
    }
    assert!(Placement::new([]).owners(keys(1)[0], 2).is_empty());
}

#[test]
fn zones_are_filled_evenly() {
    // Three zones of 1, 2 and 3 nodes: five owners are 1 + 2 + 2.
    let zones = [0, 1, 1, 2, 2, 2];
    let all: Vec<_> = zones.iter().enumerate().map(|(i, &zone)| member(i, 1, Some(zone))).collect();
    let placement = Placement::new(all.clone());
    for key in keys(200) {
        let mut per_zone = BTreeMap::new();
        for owner in placement.owners(key, 5) {
            let owner = all.iter().find(|member| member.id == owner).unwrap();
            *per_zone.entry(owner.zone.clone()).or_insert(0) += 1;
        }
        assert_eq!(per_zone.into_values().collect::<Vec<_>>(), [1, 2, 2]);
    }
}

/// Within five standard deviations of the share that weights promise, in counts.
fn near(count: usize, of: usize, share: f64) -> bool {
    let expected = of as f64 * share;
    (count as f64 - expected).abs() <= 5.0 * (expected * (1.0 - share)).sqrt() + 1.0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The first owner is drawn by weight: within 5 standard deviations, that is 10% for a share of a quarter of 10,000
    /// keys. With equal weights and no zones, so are all owners together.
    #[test]
    fn load_is_balanced(weights in vec(1_u32..=16, 1..=12), replication in 1_usize..=3) {
        const KEYS: usize = 10_000;
        let total: u32 = weights.iter().sum();
        let placement = Placement::new(weights.iter().enumerate().map(|(i, &weight)| member(i, weight, None)));
        let equal = Placement::new((0..weights.len()).map(|i| member(i, 1, None)));
        let (mut first, mut any) = (BTreeMap::new(), BTreeMap::new());
        for key in keys(KEYS as u64) {
            *first.entry(placement.owners(key, 1)[0].clone()).or_insert(0) += 1;
            for owner in equal.owners(key, replication) {
                *any.entry(owner).or_insert(0) += 1;
            }
        }
        let replicas = replication.min(weights.len());
        for (i, &weight) in weights.iter().enumerate() {
            let id = member(i, 1, None).id;
            let count = first.get(&id).copied().unwrap_or(0);
            prop_assert!(near(count, KEYS, f64::from(weight) / f64::from(total)), "{id}: {count} for {weight} of {total}");
            let count = any.get(&id).copied().unwrap_or(0);
            prop_assert!(near(count, KEYS, replicas as f64 / weights.len() as f64), "{id}: {count} of {replicas}");
        }
    }

    /// One that leaves, or joins, changes the owners of those keys only that it owns, and only one owner of each.
    #[test]
    fn only_what_must_move_moves(all in members(10), one in any::<Index>(), replication in 1_usize..=4) {
        let one = all[one.index(all.len())].clone();
        let with = Placement::new(all.clone());
        let without = Placement::new(all.iter().filter(|member| **member != one).cloned());
        let mut leaves = all.clone();
        leaves.iter_mut().filter(|member| member.id == one.id).for_each(|m| m.state = MemberState::Leaving);
        let leaves = Placement::new(leaves);
        for key in keys(300) {
            let (here, gone) = (owner_set(&with, key, replication), owner_set(&without, key, replication));
            let lost: Vec<_> = here.difference(&gone).collect();
            prop_assert!(lost.iter().all(|id| **id == one.id), "{lost:?}");
            prop_assert_eq!(lost.len(), usize::from(here.contains(&one.id)));
            prop_assert!(gone.difference(&here).count() <= 1);
            prop_assert_eq!(without.owners(key, replication), leaves.owners(key, replication));
        }
    }

    #[test]
    fn a_larger_weight_only_takes(all in members(8), one in any::<Index>()) {
        let index = one.index(all.len());
        let mut heavier = all.clone();
        heavier[index].weight += 3;
        let (before, after) = (Placement::new(all.clone()), Placement::new(heavier));
        for key in keys(300) {
            let (before, after) = (before.owners(key, 1), after.owners(key, 1));
            prop_assert!(before == after || after[0] == all[index].id);
        }
    }

    #[test]
    fn nodes_agree_whatever_the_order(all in members(10), seed in any::<u64>(), replication in 1_usize..=4) {
        let mut shuffled = all.clone();
        shuffled.sort_by_key(|member| score::mix(seed ^ key::node_seed(&member.id)));
        let (one, other) = (Placement::new(all), Placement::new(shuffled));
        for key in keys(200) {
            let owners = one.owners(key, replication);
            prop_assert_eq!(&owners, &other.owners(key, replication));
            for (rank, owner) in owners.iter().enumerate() {
                prop_assert_eq!(other.rank(key, replication, owner), Some(rank));
            }
        }
    }

    #[test]
    fn replicas_are_distinct_and_in_distinct_zones(all in members(10), replication in 1_usize..=5) {
        let placement = Placement::new(all.clone());
        let zones: BTreeSet<_> = all.iter().map(|member| member.zone.clone()).collect();
        for key in keys(200) {
            let owners = placement.owners(key, replication);
            prop_assert_eq!(owners.len(), replication.min(all.len()));
            prop_assert_eq!(owners.iter().collect::<BTreeSet<_>>().len(), owners.len());
            let used: BTreeSet<_> = owners.iter().map(|owner| {
                all.iter().find(|member| member.id == *owner).unwrap().zone.clone()
            }).collect();
            prop_assert_eq!(used.len(), owners.len().min(zones.len()));
        }
    }
}
