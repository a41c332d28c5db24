//! From the key-values that nodes gossip to members, and from one snapshot to the next. Pure.
//!
//! A node is visible once all keys of the table below have arrived; `wire` is set last, and a node's keys arrive in the
//! order in which they were set. Of a node that speaks another wire version nothing else is relied upon.
//!
//! | key | value |
//! |---|---|
//! | `role` | `broker`, `data`, `all` |
//! | `rpc`, `http` | `host:port` |
//! | `weight` | number |
//! | `zone` | text, empty for none |
//! | `build` | version of the build |
//! | `state` | `joining`, `serving`, `leaving` |
//! | `wire` | number |
//! | `f/<key>` | a fact |

use std::collections::BTreeMap;

use super::{Announced, Member, Members, NodeInfo};
use crate::cluster::placement::MemberState;
use crate::cluster::{BUILD_VERSION, NodeId, WIRE_VERSION};
use crate::config::Role;

pub(super) const STATE: &str = "state";
pub(super) const FACT_PREFIX: &str = "f/";

pub(in crate::cluster) fn state_text(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joining",
        MemberState::Serving => "serving",
        MemberState::Leaving => "leaving",
    }
}

fn state_of(text: &str) -> Option<MemberState> {
    [MemberState::Joining, MemberState::Serving, MemberState::Leaving]
        .into_iter()
        .find(|state| state_text(*state) == text)
}

pub(in crate::cluster) fn role_text(role: Role) -> &'static str {
    match role {
        Role::Broker => "broker",
        Role::Data => "data",
        Role::All => "all",
    }
}

fn role_of(text: &str) -> Option<Role> {
    [Role::Broker, Role::Data, Role::All].into_iter().find(|role| role_text(*role) == text)
}

/// What a node sets when it starts to gossip, in this order.
pub(super) fn key_values(info: &NodeInfo, announced: &Announced) -> Vec<(String, String)> {
    let own = [
        ("role", role_text(info.role).to_string()),
        ("rpc", info.rpc.clone()),
        ("http", info.http.clone()),
        ("weight", info.weight.to_string()),
        ("zone", info.zone.clone().unwrap_or_default()),
        ("build", info.build.clone()),
        (STATE, state_text(announced.state).to_string()),
        ("wire", info.wire.to_string()),
    ];
    let facts = announced.facts.iter().map(|(key, value)| (format!("{FACT_PREFIX}{key}"), value.clone()));
    own.into_iter().map(|(key, value)| (key.to_string(), value)).chain(facts).collect()
}

/// The member that gossips these key-values; `None` if not all have arrived.
pub(super) fn member<'a>(
    id: &str,
    generation: u64,
    key_values: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<Member> {
    let id = NodeId::new(id).ok()?;
    let mut keys = BTreeMap::new();
    let mut facts = BTreeMap::new();
    for (key, value) in key_values {
        match key.strip_prefix(FACT_PREFIX) {
            Some(fact) => {
                facts.insert(fact.to_string(), value.to_string());
            }
            None => {
                keys.insert(key, value);
            }
        }
    }
    let text = |key: &str| keys.get(key).map(|value| (*value).to_string());
    let wire: u32 = text("wire")?.parse().unwrap_or(0);
    let build = text("build").unwrap_or_default();
    let role = keys.get("role").copied().and_then(role_of);
    let weight = keys.get("weight").and_then(|weight| weight.parse().ok());
    let state = keys.get(STATE).copied().and_then(state_of);
    let understood = role.is_some() && weight.is_some() && state.is_some();
    let incompatible = if wire != WIRE_VERSION {
        Some(format!(
            "{id} (headwater {build}) speaks wire version {wire}, this node (headwater {BUILD_VERSION}) speaks \
             {WIRE_VERSION}; until both run the same version, neither gives work to the other"
        ))
    } else if !understood {
        Some(format!("{id} (headwater {build}) says things about itself that this node does not understand"))
    } else {
        None
    };
    let info = NodeInfo {
        id,
        role: role.unwrap_or_default(),
        rpc: text("rpc").unwrap_or_default(),
        http: text("http").unwrap_or_default(),
        weight: weight.unwrap_or(0),
        zone: text("zone").filter(|zone| !zone.is_empty()),
        build,
        wire,
    };
    Some(Member { info, generation, state: state.unwrap_or(MemberState::Joining), incompatible, facts })
}

/// The snapshot after `previous` with these members, of which the newest of one id counts; `None` if nothing is different.
pub(super) fn next(previous: &Members, members: impl IntoIterator<Item = Member>) -> Option<Members> {
    let mut newest: BTreeMap<NodeId, Member> = BTreeMap::new();
    for member in members {
        let known = newest.get(&member.info.id);
        if known.is_none_or(|known| known.generation < member.generation) {
            newest.insert(member.info.id.clone(), member);
        }
    }
    let list: Vec<Member> = newest.into_values().collect();
    if list == previous.list {
        return None;
    }
    let but_facts = |list: &[Member]| -> Vec<Member> {
        list.iter().map(|member| Member { facts: BTreeMap::new(), ..member.clone() }).collect()
    };
    let same = but_facts(&list) == but_facts(&previous.list);
    Some(Members { epoch: previous.epoch + u64::from(!same), list })
}

/// One line in the log per member that came, changed its life or its compatibility, or went.
pub(super) fn log_changes(previous: &Members, now: &Members, this: &NodeId) {
    for member in now.list.iter().filter(|member| &member.info.id != this) {
        let (id, rpc) = (&member.info.id, &member.info.rpc);
        let before = previous.get(id);
        let same_process = before.filter(|before| before.generation == member.generation);
        let complaint = member.incompatible.as_ref();
        if let Some(reason) = complaint
            && same_process.and_then(|before| before.incompatible.as_ref()) != complaint
        {
            tracing::warn!(node = %id, rpc, "incompatible member: {reason}");
        }
        let state = state_text(member.state);
        match (before, same_process) {
            (None, _) => tracing::info!(node = %id, rpc, state, "a member joined"),
            (Some(_), None) => tracing::info!(node = %id, rpc, state, "a member restarted"),
            (_, Some(before)) if before.state != member.state => {
                tracing::info!(node = %id, rpc, state, "a member changed its state");
            }
            _ => {}
        }
    }
    for gone in previous.list.iter().filter(|member| now.get(&member.info.id).is_none()) {
        match gone.state {
            MemberState::Leaving => tracing::info!(node = %gone.info.id, "a member left"),
            _ => {
                tracing::warn!(node = %gone.info.id, rpc = gone.info.rpc, "a member is gone: not heard from any more")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> NodeInfo {
        NodeInfo {
            id: NodeId::new("n").unwrap(),
            role: Role::Data,
            rpc: "h:1".into(),
            http: "h:2".into(),
            weight: 7,
            zone: Some("z".into()),
            build: BUILD_VERSION.into(),
            wire: WIRE_VERSION,
        }
    }

    fn read(values: &[(String, String)]) -> Option<Member> {
        member("n", 1, values.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }

    #[test]
    fn key_values_round_trip_and_a_part_of_them_is_nobody() {
        for (zone, state) in
            [(Some("z"), MemberState::Joining), (None, MemberState::Leaving), (None, MemberState::Serving)]
        {
            let info = NodeInfo { zone: zone.map(String::from), ..info() };
            let facts = BTreeMap::from([("ready/t".to_string(), "3".to_string())]);
            let announced = Announced { state, facts: facts.clone() };
            let values = key_values(&info, &announced);
            let expected = Member { info, generation: 1, state, incompatible: None, facts };
            assert_eq!(read(&values), Some(expected));
            // Keys arrive in order: without the last one of its own, a node is not there yet.
            for count in 0..8 {
                assert_eq!(read(&values[..count]), None, "{count}");
            }
        }
        assert_eq!(member("not an id", 1, [("wire", "1")].into_iter()), None);
    }

    #[test]
    fn another_wire_version_is_visible_and_placed_nowhere() {
        let other = NodeInfo { wire: WIRE_VERSION + 1, build: "9.9.9".into(), ..info() };
        let other = read(&key_values(&other, &Announced::new())).unwrap();
        let reason = other.incompatible.clone().unwrap();
        assert!(reason.contains("9.9.9") && reason.contains(BUILD_VERSION), "{reason}");
        // What a later version says in another way is not relied upon.
        let strange = read(&[("wire".into(), "soon".into()), ("weight".into(), "much".into())]).unwrap();
        assert!(strange.incompatible.is_some());
        let unclear = read(&[("wire".into(), WIRE_VERSION.to_string())]).unwrap();
        assert!(unclear.incompatible.unwrap().contains("does not understand"));

        let members = next(&Members::default(), [other]).unwrap();
        assert_eq!(members.compatible().count(), 0);
        let key = crate::cluster::placement::PlacementKey::job("t", "j");
        assert!(members.placement().owners(key, 1).is_empty());
    }

    #[test]
    fn the_epoch_goes_up_with_what_matters_only() {
        let member = |generation, state, fact: &str| Member {
            info: info(),
            generation,
            state,
            incompatible: None,
            facts: BTreeMap::from([("f".to_string(), fact.to_string())]),
        };
        let one = next(&Members::default(), [member(1, MemberState::Serving, "a")]).unwrap();
        assert_eq!(one.epoch, 1);
        assert_eq!(next(&one, [member(1, MemberState::Serving, "a")]), None);
        let fact = next(&one, [member(1, MemberState::Serving, "b")]).unwrap();
        assert_eq!((fact.epoch, fact.list[0].facts["f"].as_str()), (1, "b"));
        let leaving = next(&fact, [member(1, MemberState::Leaving, "b")]).unwrap();
        assert_eq!(leaving.epoch, 2);
        // A restarted node gossips beside its former self for a while.
        let both = [member(1, MemberState::Leaving, "b"), member(2, MemberState::Joining, "c")];
        for order in [both.clone(), [both[1].clone(), both[0].clone()]] {
            let restarted = next(&leaving, order).unwrap();
            assert_eq!((restarted.epoch, restarted.list.len(), restarted.list[0].generation), (3, 1, 2));
        }
        let gone = next(&leaving, []).unwrap();
        assert_eq!((gone.epoch, gone.list.len()), (3, 0));
    }
}
