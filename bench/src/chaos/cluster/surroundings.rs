//! What strikes a cluster from outside while all its processes run: the network, the store, Kafka.

use std::time::{Duration, Instant};

use super::gate::Isolation;
use super::nemesis::{AFTERMATH_OF_WAKING, FRESH_WITHIN, Loss, Nemesis, TakeOver};
use super::weather::Weather;
use crate::chaos::error::{ChaosError, Result};
use crate::chaos::producer::EventProducer;

/// How long Kafka may take to accept messages once it listens.
const WRITES_WITHIN: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

impl Nemesis<'_> {
    /// Keeps a data node from the others. It goes on to consume, and to commit if it reaches the store; when it is back, it
    /// believes to own what others own by now.
    pub(super) async fn cut_off(
        &mut self,
        node: usize,
        (isolation, store_too): (Isolation, bool),
        lasting: Duration,
        struck: Instant,
    ) -> String {
        let member = &self.fleet.data[node];
        member.isolate(isolation, if store_too { isolation } else { Isolation::None });
        let watch = self.watch.clone();
        let heal = async {
            tokio::time::sleep(lasting).await;
            member.isolate(Isolation::None, Isolation::None);
        };
        let (fresh, ()) = tokio::join!(watch.fresh(struck, FRESH_WITHIN), heal);
        tokio::time::sleep(AFTERMATH_OF_WAKING).await;
        if isolation == Isolation::Both {
            let take_over = |took| TakeOver { took, without_it: took < lasting, loss: Loss::CutOff };
            self.tally.take_overs.extend(fresh.map(take_over));
        }
        let after = fresh.map_or("long".into(), |took| format!("{} ms", took.as_millis()));
        format!("{} for {} ms, fresh after {after}", self.fleet.data[node].name, lasting.as_millis())
    }

    /// All nodes' ways to the store are bad for a while.
    pub(super) async fn bad_weather(&mut self, weather: Weather, lasting: Duration) -> String {
        self.fleet.set_weather(weather);
        tokio::time::sleep(lasting).await;
        self.fleet.set_weather(Weather::Clear);
        format!("{weather:?} for {} ms", lasting.as_millis())
    }

    /// Stops Kafka and starts it. Over once it accepts messages again.
    pub(super) async fn restart_kafka(&mut self, down: Duration, producer: &EventProducer) -> Result<String> {
        let Some(kafka) = &self.kafka else { return Ok("there is no script for it".into()) };
        let stopped = kafka.down().await?;
        tokio::time::sleep(down).await;
        let written = || producer.shared().model.lock().delivered_ends();
        let (before, started) = (written(), kafka.up().await?);
        let listens = Instant::now();
        while written() == before && !producer.has_ended() {
            if listens.elapsed() > WRITES_WITHIN {
                let text = format!("it accepts no message {WRITES_WITHIN:?} after its start");
                return Err(ChaosError::new("restart Kafka", text));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(format!(
            "stopped in {} ms, down for {} ms, started in {} ms, accepts messages {} ms later",
            stopped.as_millis(),
            down.as_millis(),
            started.as_millis(),
            listens.elapsed().as_millis()
        ))
    }
}
