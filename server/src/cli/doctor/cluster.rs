//! The other nodes: whether they are found, share the secret, and run the same version.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use headwater_server::cluster::{BUILD_VERSION, secret_fault};
use headwater_server::config::Config;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use super::report::{Area, Findings, Outcome, Place};

/// A closed port on a machine that is there is told of within this time.
const REFUSAL_WAIT: Duration = Duration::from_millis(500);

pub(super) async fn check(findings: &Findings, config: &Config) {
    let place = |check, subject: &str| Place::new(Area::Cluster, check, subject);
    if config.cluster.listeners().is_none() {
        let alone = Outcome::ok("this node is alone: cluster.listen and cluster.gossip_listen are not set");
        findings.add(place("membership", ""), alone);
    } else {
        findings.add(place("secret", ""), secret(config));
        let seeds = config.cluster.seeds.iter().map(|seed| of_seed(findings, seed));
        futures::future::join_all(seeds).await;
        if config.cluster.seeds.is_empty() {
            let fix = "set cluster.seeds, unless the others have this node among theirs";
            findings.add(place("seeds", ""), Outcome::warning("none are set", fix));
        }
    }
    if let Some(outcome) = versions(config.http.listen).await {
        findings.add(place("versions", &config.http.listen.to_string()), outcome);
    }
}

fn secret(config: &Config) -> Outcome {
    let fix = "set cluster.secret to {env = …} or {file = …}, of 16 bytes or more, the same on all nodes";
    match secret_fault(&config.cluster.secret) {
        Ok(true) => Outcome::ok("is set"),
        Ok(false) => Outcome::warning("none is set, so only this machine's nodes can be let in", fix),
        Err(error) => Outcome::failure(error.to_string(), fix),
    }
}

async fn of_seed(findings: &Findings, seed: &str) {
    let place = Place::new(Area::Cluster, "seed", seed);
    let fix = "correct cluster.seeds, or the name service";
    let Some((found, _)) = findings.within(&place, fix, tokio::net::lookup_host(seed)).await else { return };
    let outcome = match found.map(|found| found.collect::<BTreeSet<SocketAddr>>()) {
        Err(error) => Outcome::warning(
            format!("has no address: {error}"),
            "right if that node was not started yet; otherwise correct cluster.seeds",
        ),
        Ok(addresses) => of_addresses(&addresses).await,
    };
    findings.add(place, outcome);
}

async fn of_addresses(addresses: &BTreeSet<SocketAddr>) -> Outcome {
    let asked = addresses.iter().map(|address| async move { (address, is_refused(*address).await) });
    let (mut refused, mut open) = (Vec::new(), Vec::new());
    for (address, is_refused) in futures::future::join_all(asked).await {
        if is_refused { refused.push(address.to_string()) } else { open.push(address.to_string()) }
    }
    match (open.is_empty(), refused.is_empty()) {
        (true, _) => Outcome::warning(
            format!("nobody listens on UDP at {}", refused.join(", ")),
            "right if that node was not started yet; otherwise correct its port (cluster.gossip_listen there)",
        ),
        (false, true) => Outcome::ok(format!("{}; UDP is not refused there", open.join(", "))),
        (false, false) => Outcome::ok(format!(
            "{}; UDP is not refused there, but at {}",
            open.join(", "),
            refused.join(", ")
        )),
    }
}

/// Whether the machine says that nobody listens at this UDP port. Silence says nothing: who listens does not answer strangers.
async fn is_refused(address: SocketAddr) -> bool {
    let local: SocketAddr = match address.is_ipv4() {
        true => SocketAddr::from(([0, 0, 0, 0], 0)),
        false => SocketAddr::from(([0; 16], 0)),
    };
    let asked = async {
        let socket = UdpSocket::bind(local).await?;
        socket.connect(address).await?;
        // No message of the gossip begins so: it is dropped unread.
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 1]).await
    };
    let answer = tokio::time::timeout(REFUSAL_WAIT, asked).await;
    matches!(answer, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

/// The members' versions and faults, if a node runs at this address that tells them.
async fn versions(http: SocketAddr) -> Option<Outcome> {
    let asked = async {
        let client = reqwest::Client::builder().no_proxy().build().ok()?;
        let sql = "SELECT node, version, error FROM system.nodes ORDER BY node";
        let request =
            client.post(format!("http://{http}/sql")).json(&json!({ "sql": sql, "format": "json" }));
        let answer: Value = request.send().await.ok()?.json().await.ok()?;
        answer["rows"].as_array().cloned()
    };
    let rows = tokio::time::timeout(Duration::from_secs(3), asked).await.ok()??;
    Some(of_members(&rows))
}

/// `rows` are node, version and error of each member.
fn of_members(rows: &[Value]) -> Outcome {
    let text = |value: &Value| value.as_str().map(str::to_string);
    let versions: BTreeSet<String> = rows.iter().filter_map(|row| text(&row[1])).collect();
    let faults: Vec<String> =
        rows.iter().filter_map(|row| Some(format!("{}: {}", text(&row[0])?, text(&row[2])?))).collect();
    let listed = versions.iter().cloned().collect::<Vec<_>>().join(", ");
    let seen = format!("{} nodes of version {listed}; this is {BUILD_VERSION}", rows.len());
    if !faults.is_empty() {
        let fix = "see the log of those nodes, and whether the network lets them through";
        return Outcome::warning(format!("{seen}; {}", faults.join("; ")), fix);
    }
    if versions.iter().any(|version| version != BUILD_VERSION) {
        return Outcome::warning(seen, "run the same version everywhere, once all are updated");
    }
    Outcome::ok(seen)
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;

    #[test]
    fn members_are_to_be_alike_and_to_answer() {
        let members = |rows: Value| of_members(rows.as_array().unwrap());
        assert_eq!(members(json!([["a", BUILD_VERSION, null]])).verdict, Verdict::Ok);
        let other = members(json!([["a", BUILD_VERSION, null], ["b", "0.0.9", null]]));
        assert_eq!(other.verdict, Verdict::Warning);
        assert!(other.seen.contains("0.0.9"));
        let silent = members(json!([["a", BUILD_VERSION, null], ["b", null, "it did not answer"]]));
        assert_eq!(silent.verdict, Verdict::Warning);
        assert!(silent.seen.contains("b: it did not answer"), "{}", silent.seen);
    }

    #[tokio::test]
    async fn seeds_are_looked_up_and_knocked_at() {
        let open = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let closed = {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.local_addr().unwrap()
        };
        let open = open.local_addr().map(|address| (address, open)).unwrap();
        let outcome = of_addresses(&BTreeSet::from([open.0])).await;
        assert_eq!(outcome.verdict, Verdict::Ok, "{}", outcome.seen);
        let outcome = of_addresses(&BTreeSet::from([closed])).await;
        assert_eq!(outcome.verdict, Verdict::Warning, "{}", outcome.seen);
        assert!(outcome.seen.contains("nobody listens"));

        let findings = Findings::new(Duration::from_secs(5));
        of_seed(&findings, "no-such-host.invalid:7102").await;
        let (verdict, text) = findings.into_report(Vec::new()).of("seed");
        assert_ne!(verdict, Verdict::Ok, "{text}");
    }

    #[tokio::test]
    async fn a_secret_is_missing_short_or_there() {
        let mut config = Config::default();
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(secret(&config).verdict, Verdict::Warning);
        config.cluster.secret.file = dir.path().join("secret");
        assert_eq!(secret(&config).verdict, Verdict::Failure);
        std::fs::write(dir.path().join("secret"), "too short").unwrap();
        let outcome = secret(&config);
        assert_eq!(outcome.verdict, Verdict::Failure);
        assert!(!outcome.seen.contains("too short"), "{}", outcome.seen);
        std::fs::write(dir.path().join("secret"), "0123456789abcdef").unwrap();
        assert_eq!(secret(&config).verdict, Verdict::Ok);
    }
}
