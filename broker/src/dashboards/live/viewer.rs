//! One connection that watches a dashboard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, SelectAll};
use futures::{Stream, StreamExt};
use headwater_segment::clock::now_ms;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::super::Revision;
use super::LiveLimits;
use super::follow::Followed;
use super::runner::{Newest, Runner};

/// A browser waits so long before it connects again.
const RETRY: Duration = Duration::from_secs(1);

/// Of how much longer than [`LiveLimits::stay`] a viewer may stay: those who came at once do not all come back at once.
const STAY_SPREAD: f64 = 0.2;

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client may come back for the same panels.
    MayReturn,
    /// Nobody comes back for them: the server ends, or there is another version.
    Final,
}

/// Somebody who watches. While it is there, its panels run.
pub struct Viewer {
    revision: Revision,
    runners: Vec<Arc<Runner>>,
    followed: Arc<Followed>,
    limits: LiveLimits,
    stay: Duration,
    closed: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        metrics::gauge!("headwater_dashboard_viewers").decrement(1.0);
    }
}

impl Viewer {
    pub(super) fn new(
        revision: Revision,
        runners: Vec<Arc<Runner>>,
        followed: Arc<Followed>,
        permit: OwnedSemaphorePermit,
        limits: LiveLimits,
        closed: CancellationToken,
    ) -> Self {
        metrics::gauge!("headwater_dashboard_viewers").increment(1.0);
        let stay = stay_of(limits.stay, rand::random());
        Self { revision, runners, followed, limits, stay, closed, _permit: permit }
    }

    /// Sends events until the client goes away, takes nothing for too long, has been there for [`LiveLimits::stay`], or the dashboard
    /// has a newer version, which is the last event then. The client comes back, through the doors that it came in by.
    ///
    /// `sender` should have room for one event only: what waits for a slow client is then the newest answer, and not a queue of old ones.
    pub async fn run(self, sender: mpsc::Sender<Bytes>) {
        let (runners, closed, linger) = (self.runners.clone(), self.closed.clone(), self.limits.linger);
        if self.serve(sender).await == End::MayReturn {
            // Its panels go on for a moment: coming back is not to cost more runs than staying.
            tokio::select! {
                () = tokio::time::sleep(linger) => {}
                () = closed.cancelled() => {}
            }
        }
        drop(runners);
    }

    async fn serve(self, sender: mpsc::Sender<Bytes>) -> End {
        let over = tokio::time::sleep(self.stay);
        tokio::pin!(over);
        let retry = format!("retry: {}\n", RETRY.as_millis());
        let hello = [retry.as_bytes(), &self.beat()].concat();
        if !self.send(&sender, hello.into()).await {
            return End::MayReturn;
        }
        let mut answers: SelectAll<_> =
            self.runners.iter().map(|runner| Box::pin(events(runner.subscribe()))).collect();
        let mut beats = tokio::time::interval_at(Instant::now() + self.limits.beat, self.limits.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The next answer is taken only when there is room for it.
            let event = tokio::select! {
                biased;
                () = sender.closed() => return End::MayReturn,
                () = self.closed.cancelled() => return End::Final,
                newer = self.followed.newer_than(&self.revision) => {
                    self.send(&sender, changed(newer.as_ref())).await;
                    return End::Final;
                }
                () = &mut over => return End::MayReturn,
                Some(event) = answers.next() => event,
                _ = beats.tick() => self.beat().into(),
            };
            if !self.send(&sender, event).await {
                return End::MayReturn;
            }
        }
    }

    /// Says that the server is there: a client that hears nothing for longer knows that it is lost. Tells how old the newest row of each
    /// panel is by now, which no answer tells as long as it stays the same.
    fn beat(&self) -> Vec<u8> {
        let now = now_ms();
        let ages = self.runners.iter().map(|runner| (runner.panel(), runner.freshness_ms(now)));
        let data = json!({
            "version": self.revision.version,
            "etag": *self.revision.tag,
            "freshness_ms": ages.collect::<BTreeMap<_, _>>(),
        });
        format!("event: beat\ndata: {data}\n\n").into_bytes()
    }

    async fn send(&self, sender: &mpsc::Sender<Bytes>, event: Bytes) -> bool {
        match tokio::time::timeout(self.limits.stall, sender.reserve()).await {
            Ok(Ok(place)) => {
                place.send(event);
                true
            }
            Ok(Err(_)) => false,
            Err(_) => {
                tracing::debug!("a viewer took nothing for too long, and is let go");
                false
            }
        }
    }
}

/// A panel's events: the newest, and then each that is newer. What was not taken in time is passed over.
fn events(receiver: watch::Receiver<Newest>) -> impl Stream<Item = Bytes> {
    stream::unfold(receiver, |mut receiver| async move {
        loop {
            receiver.changed().await.ok()?;
            let newest = receiver.borrow_and_update().clone();
            if let Some(event) = newest {
                return Some((event, receiver));
            }
        }
    })
}

fn changed(newer: Option<&Revision>) -> Bytes {
    let (version, tag) = (newer.map(|newer| newer.version), newer.map(|newer| &*newer.tag));
    format!("event: dashboard\ndata: {}\n\n", json!({"version": version, "etag": tag})).into()
}

/// `chance` is from 0 to 1.
fn stay_of(stay: Duration, chance: f64) -> Duration {
    stay.mul_f64(1.0 + STAY_SPREAD * chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_came_at_once_leave_at_different_times() {
        let stay = Duration::from_secs(600);
        assert_eq!([0.0, 0.5, 1.0].map(|chance| stay_of(stay, chance).as_secs()), [600, 660, 720]);
    }
}
