//! Why a question may fail while something is done to a cluster. What has no reason here should not have failed.

/// Names of steps in the report, by what they take away.
const ONE_NODE: [&str; 4] = ["kill data node", "stun data node", "rolling restart", "node leaves"];
const CUT_OFF: [&str; 4] =
    ["cut off data node", "cut off, store too", "data node hears nobody", "nobody hears data node"];
const STORE: [&str; 3] = ["store errors", "store slow", "store away"];
const EVERYBODY: [&str; 2] = ["kill all replicas", "restart of all"];

/// The reason, or `None`: the failure is not to be expected. `kind` is that of the error.
pub(super) fn explain(step: &str, kind: &str, replication: u8) -> Option<&'static str> {
    if step == "start" {
        return Some("the cluster is not complete yet");
    }
    if step == "new table" && kind.contains("unknown_table") {
        return Some("a broker hears of a table that another one created a moment later");
    }
    let is_late = kind.contains("deadline") || kind == "timeout";
    let is_unavailable = kind.contains("segment_unavailable");
    if !is_late && !is_unavailable {
        return None;
    }
    if EVERYBODY.contains(&step) {
        return Some("all that held the open rows were lost; others read them from Kafka first");
    }
    if ONE_NODE.contains(&step) && replication == 1 {
        return Some("the only node that held the open rows was lost; others read them from Kafka first");
    }
    if step == "stun data node" {
        return Some("a node that is stopped answers nobody until the others give it up");
    }
    if CUT_OFF.contains(&step) {
        return Some("what is said to a node that is cut off hangs until the others give it up");
    }
    if STORE.contains(&step) {
        return Some("segments that no node holds are read from the store");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::gate::Isolation;
    use super::super::plan::Step;
    use super::super::weather::Weather;
    use super::*;

    const LATE: &str = "status 504 deadline";

    #[test]
    fn replicas_leave_fewer_excuses() {
        for step in ["kill data node", "rolling restart", "node leaves"] {
            assert!(explain(step, LATE, 1).is_some() && explain(step, LATE, 2).is_none(), "{step}");
        }
        assert!(explain("kill all replicas", "status 503 segment_unavailable", 3).is_some());
        let unknown = "status 400 unknown_table";
        assert!(explain("new table", unknown, 2).is_some() && explain("node leaves", unknown, 2).is_none());
        assert!(explain("node joins", LATE, 1).is_none() && explain("restart Kafka", LATE, 1).is_none());
    }

    #[test]
    fn a_wrong_kind_of_error_is_never_explained() {
        for step in ONE_NODE.iter().chain(&CUT_OFF).chain(&STORE).chain(&EVERYBODY) {
            assert_eq!(explain(step, "status 500 internal", 1), None, "{step}");
        }
    }

    #[test]
    fn the_names_are_those_of_steps() {
        let lasting = std::time::Duration::ZERO;
        for (isolation, store_too) in [
            (Isolation::Both, false),
            (Isolation::Both, true),
            (Isolation::Deaf, false),
            (Isolation::Mute, false),
        ] {
            let step = Step::CutOff { node: 0, isolation, store_too, lasting };
            assert!(explain(step.name(), LATE, 2).is_some(), "{step:?}");
        }
        let weathers = [
            Weather::Errors { per_mille: 1 },
            Weather::Slow { most: lasting },
            Weather::Away { hangs: true },
        ];
        for weather in weathers {
            assert!(explain(Step::Store { weather, lasting }.name(), LATE, 2).is_some(), "{weather:?}");
        }
        assert!(explain(Step::RollingRestart.name(), LATE, 1).is_some());
        assert!(explain(Step::Leave { node: 0 }.name(), LATE, 1).is_some());
        let (nodes, down) = (Vec::new(), lasting);
        assert!(explain(Step::KillReplicas { nodes, down }.name(), LATE, 2).is_some());
    }
}
