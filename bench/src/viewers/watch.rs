//! Viewers of a dashboard: each a connection and a list of what came over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::Result;
use crate::events::PARTITIONS;

/// So many connect at the same time.
const CONNECTING_MAX: usize = 64;
const END_OF_EVENT: &[u8] = b"\n\n";

/// One update of the panel that is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    /// Nanoseconds since the run's origin.
    pub(super) arrived_ns: u64,
    /// Milliseconds since the server began to run the panel.
    pub(super) push_ms: f64,
    /// The number that it shows.
    pub(super) count: i64,
    /// By partition, the offset up to which it contains everything.
    pub(super) ends: [i64; PARTITIONS as usize],
}

/// What one viewer has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) updates: Vec<Update>,
    /// Of all panels.
    pub(super) bytes: u64,
}

/// Viewers under way.
pub(super) struct Watching {
    viewers: Vec<JoinHandle<Result<Seen>>>,
    stop: Arc<AtomicBool>,
}

/// Makes the dashboard.
pub(super) async fn make(url: &str, id: &str, dashboard: &Value) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let request = http.put(format!("{url}/dashboards/{id}")).header("if-none-match", "*");
    let response =
        request.header("content-type", "application/json").body(dashboard.to_string()).send().await?;
    let status = response.status();
    match status.is_success() {
        true => Ok(()),
        false => Err(format!("the dashboard: {status}: {}", response.text().await?).into()),
    }
}

/// Connects all viewers; `panel` is the one that they follow.
pub(super) async fn start(url: &str, panel: &str, viewers: usize, origin: Instant) -> Result<Watching> {
    let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
    let responses: Vec<_> = futures::stream::iter((0..viewers).map(|_| http.get(url).send()))
        .buffer_unordered(CONNECTING_MAX)
        .collect()
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let marker: Arc<str> = format!("event: panel\ndata: {{\"panel\":\"{panel}\"").into();
    let mut watching = Watching { viewers: Vec::with_capacity(viewers), stop };
    for response in responses {
        let response = response?;
        if !response.status().is_success() {
            return Err(format!("a viewer is refused: {}", response.text().await?).into());
        }
        let (marker, stop) = (Arc::clone(&marker), Arc::clone(&watching.stop));
        watching.viewers.push(tokio::spawn(follow(response, marker, stop, origin)));
    }
    Ok(watching)
}

impl Watching {
    /// Ends all viewers, at the next event of each.
    pub(super) async fn finish(self) -> Result<Vec<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::with_capacity(self.viewers.len());
        for viewer in self.viewers {
            all.push(viewer.await??);
        }
        Ok(all)
    }
}

async fn follow(
    response: reqwest::Response,
    marker: Arc<str>,
    stop: Arc<AtomicBool>,
    origin: Instant,
) -> Result<Seen> {
    let mut stream = response.bytes_stream();
    let (mut seen, mut open) = (Seen::default(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let Some(chunk) = stream.next().await else { return Err("a viewer lost its connection".into()) };
        let chunk = chunk?;
        let arrived = (origin.elapsed(), SystemTime::now().duration_since(UNIX_EPOCH)?);
        seen.bytes += chunk.len() as u64;
        open.extend_from_slice(&chunk);
        while let Some(end) = open.windows(END_OF_EVENT.len()).position(|window| window == END_OF_EVENT) {
            let event: Vec<u8> = open.drain(..end + END_OF_EVENT.len()).collect();
            if event.starts_with(marker.as_bytes()) {
                seen.updates.push(update_of(&event, arrived)?);
            }
        }
    }
    Ok(seen)
}

fn update_of(event: &[u8], (since_origin, since_epoch): (Duration, Duration)) -> Result<Update> {
    let text = std::str::from_utf8(event)?;
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).ok_or("an event without data")?;
    let data: Value = serde_json::from_str(data)?;
    if !data["error"].is_null() {
        return Err(format!("the panel failed: {}", data["error"]).into());
    }
    let mut ends = [0; PARTITIONS as usize];
    let cut = data["cuts"].as_object().and_then(|cuts| cuts.values().next());
    for (partition, end) in cut.and_then(|cut| cut["offsets"].as_object()).into_iter().flatten() {
        let place = partition.parse::<usize>().ok().and_then(|partition| ends.get_mut(partition));
        *place.ok_or("a partition that is not there")? = end.as_i64().ok_or("an offset that is no number")?;
    }
    let ran_at_ms = data["ran_at_ms"].as_f64().ok_or("no time of the run")?;
    Ok(Update {
        arrived_ns: since_origin.as_nanos() as u64,
        push_ms: since_epoch.as_secs_f64() * 1e3 - ran_at_ms,
        count: data["rows"][0][0].as_i64().ok_or("no count")?,
        ends,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_read() {
        let event = b"event: panel\ndata: {\"panel\":\"count\",\"version\":1,\"columns\":[],\"rows\":[[7]],\
            \"cuts\":{\"events\":{\"log_version\":1,\"offsets\":{\"0\":3,\"3\":4}}},\"ran_at_ms\":1500}\n\n";
        let update = update_of(event, (Duration::from_nanos(9), Duration::from_millis(1_512))).unwrap();
        assert_eq!((update.arrived_ns, update.count, update.ends), (9, 7, [3, 0, 0, 4]));
        assert!((update.push_ms - 12.0).abs() < 0.001);
        let failed = b"event: panel\ndata: {\"error\":{\"kind\":\"deadline\"}}\n\n";
        assert!(update_of(failed, (Duration::ZERO, Duration::ZERO)).is_err());
    }
}
