//! Whether the addresses on which the node listens are free, or a headwater has them already.

use std::net::SocketAddr;

use headwater_server::config::Config;
use tokio::net::{TcpListener, UdpSocket};

use super::report::{Area, Findings, Outcome, Place};

pub(super) async fn check(findings: &Findings, config: &Config) {
    let place = |check, address: SocketAddr| Place::new(Area::Listeners, check, address.to_string());
    let http = config.http.listen;
    let at = place("http", http);
    if let Some((outcome, _)) = findings.within(&at, "does something else listen there?", of_http(http)).await
    {
        findings.add(at.clone(), outcome);
    }
    if !config.access.anonymous.is_empty() && !http.ip().is_loopback() {
        findings.add(
            place("public", http),
            Outcome::warning(
                "other machines reach it, and nobody is asked who they are, as access.anonymous says",
                "whoever reaches it may do everything; keep it on a trusted network, or set access.users",
            ),
        );
    }
    let Some((nodes, gossip)) = config.cluster.listeners() else { return };
    let fix = "set another address, or stop what listens there (a running headwater does, too)";
    let of = |bound: std::io::Result<()>| match bound {
        Ok(()) => Outcome::ok("free"),
        Err(error) => Outcome::warning(error.to_string(), fix),
    };
    findings.add(place("cluster", nodes), of(TcpListener::bind(nodes).await.map(|_| ())));
    findings.add(place("gossip", gossip), of(UdpSocket::bind(gossip).await.map(|_| ())));
}

async fn of_http(address: SocketAddr) -> Outcome {
    let error = match TcpListener::bind(address).await {
        Ok(_) => return Outcome::ok("free"),
        Err(error) => error,
    };
    if error.kind() != std::io::ErrorKind::AddrInUse {
        let fix = "set http.listen to an address of this machine, and a port that the process may use";
        return Outcome::failure(error.to_string(), fix);
    }
    match is_headwater(address).await {
        true => Outcome::ok("a running headwater has it"),
        false => Outcome::failure(
            "something that is no headwater listens there",
            "stop it, or say --listen ADDR:PORT (http.listen)",
        ),
    }
}

/// Whether what listens there marks its answers as we do.
async fn is_headwater(address: SocketAddr) -> bool {
    let asked = async {
        let client = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).build().ok()?;
        for scheme in ["http", "https"] {
            if let Ok(answer) = client.get(format!("{scheme}://{address}/healthz")).send().await {
                return Some(answer.headers().contains_key("headwater-request-id"));
            }
        }
        None
    };
    asked.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::report::{Report, Verdict};
    use super::*;

    async fn report(listen: SocketAddr) -> Report {
        let findings = Findings::new(Duration::from_secs(2));
        let mut config = Config::default();
        config.http.listen = listen;
        check(&findings, &config).await;
        findings.into_report(Vec::new())
    }

    /// Answers every connection with this header.
    async fn serving(header: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = connection.read(&mut request).await;
                let answer = format!(
                    "HTTP/1.1 200 OK
{header}
content-length: 0
connection: close

"
                );
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_port_is_free_ours_or_taken() {
        let free = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        assert_eq!(report(free).await.of("http").0, Verdict::Ok);
        let ours = report(serving("headwater-request-id: 01J").await).await.of("http");
        assert_eq!(ours.0, Verdict::Ok);
        assert!(ours.1.contains("a running headwater"), "{}", ours.1);
        let taken = report(serving("server: another").await).await.of("http");
        assert_eq!(taken.0, Verdict::Failure);
        assert!(taken.1.contains("--listen"), "{}", taken.1);
        // No machine has this one (TEST-NET-1).
        let foreign = report("192.0.2.1:8099".parse().unwrap()).await.of("http");
        assert_eq!(foreign.0, Verdict::Failure);
    }
}
