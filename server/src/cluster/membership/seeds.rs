//! Finding the first peers: seeds are looked up every second until another node is visible, and twice a minute after,
//! so that two halves of a cluster that started apart, or were cut apart, find each other again.
//!
//! Names are looked up anew each time. In Kubernetes the name of a headless service has no address until
//! the first node is up, and other addresses after each restart.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Members;

const ALONE_EVERY: Duration = Duration::from_secs(1);
const TOGETHER_EVERY: Duration = Duration::from_secs(30);
const LOOKUP_WAIT: Duration = Duration::from_secs(1);

/// Sends the addresses of `seeds`, without `own`, whenever they should be talked to; ends when nobody listens.
pub(super) async fn look(
    seeds: Vec<String>,
    own: SocketAddr,
    mut members: watch::Receiver<Arc<Members>>,
    found: mpsc::Sender<BTreeSet<SocketAddr>>,
) {
    let mut complaints = Vec::new();
    loop {
        let answers = futures::future::join_all(seeds.iter().map(|seed| lookup(seed))).await;
        let mut addresses = BTreeSet::new();
        let mut failures = Vec::new();
        for answer in answers {
            match answer {
                Ok(some) => addresses.extend(some),
                Err(failure) => failures.push(failure),
            }
        }
        addresses.remove(&own);
        if failures != complaints {
            failures.iter().for_each(|failure| tracing::warn!("seed {failure}; trying again"));
            complaints = failures;
        }
        if found.send(addresses).await.is_err() {
            return;
        }
        let alone = |members: &Arc<Members>| members.list.len() <= 1;
        if alone(&members.borrow()) {
            tokio::time::sleep(ALONE_EVERY).await;
        } else if let Ok(Err(_)) = tokio::time::timeout(TOGETHER_EVERY, members.wait_for(alone)).await {
            return;
        }
    }
}

async fn lookup(seed: &str) -> Result<Vec<SocketAddr>, String> {
    match tokio::time::timeout(LOOKUP_WAIT, tokio::net::lookup_host(seed)).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(format!("{seed}: {error}")),
        Err(_) => Err(format!("{seed}: no answer of the name service within {LOOKUP_WAIT:?}")),
    }
}
