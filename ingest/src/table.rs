//! The handle on one table's consumption: start, pause, resume, seal, stop.

use std::sync::Arc;

use headwater_segment::budget::MemoryBudget;
use headwater_segment::live::LiveTable;
use headwater_segment::resident::ResidentStore;
use headwater_segment::spec::{DeadLetterTarget, TableSpec};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, oneshot};

pub use crate::consume::SealOutcome;
use crate::consume::{DeadLetterTopic, Request, Supervisor, SupervisorParts};
use crate::error::{IngestError, Result};
use crate::kafka::topic::TopicClient;
use crate::ownership::Ownership;

/// What all tables of a node share on the path of a row.
#[derive(Clone)]
pub struct IngestContext {
    /// The node's budget for mutable segments.
    pub budget: Arc<MemoryBudget>,
    /// How many segments may be encoded at once.
    pub encode_permits: Arc<Semaphore>,
    /// Where queries find the columns of sealed segments: those that they use are put there at the seal.
    pub residents: Arc<ResidentStore>,
    /// Where uploads and commits run.
    pub runtime: Handle,
    /// Fetching threads per table.
    pub workers_per_table: usize,
    /// Which partitions are consumed here.
    pub ownership: Arc<dyn Ownership>,
}

/// Checks the stream's properties as [`TableIngest::start`] would; no broker is asked.
///
/// # Errors
/// `Config`, naming the property.
pub fn check_stream(spec: &TableSpec) -> Result<()> {
    TopicClient::connect(&spec.stream)?;
    if let DeadLetterTarget::Topic(topic) = &spec.dead_letters {
        DeadLetterTopic::connect(&spec.stream, topic)?;
    }
    Ok(())
}

/// A table that is being consumed. Dropping it stops consumption without sealing.
pub struct TableIngest {
    name: String,
    requests: UnboundedSender<Request>,
}

impl TableIngest {
    /// Begins to consume. Kafka need not be reachable yet; wrong properties are an error at once.
    pub fn start(live: Arc<LiveTable>, context: &IngestContext) -> Result<Self> {
        let name = live.name().to_string();
        let parts = SupervisorParts {
            live,
            budget: context.budget.clone(),
            encode_permits: context.encode_permits.clone(),
            residents: context.residents.clone(),
            runtime: context.runtime.clone(),
            workers: context.workers_per_table,
            ownership: context.ownership.clone(),
        };
        let (mut supervisor, requests) = Supervisor::new(parts);
        supervisor.connect()?;
        std::thread::Builder::new()
            .name(format!("hw-sup-{name}"))
            .spawn(move || supervisor.run())
            .map_err(|error| IngestError::kafka(format!("table {name}: start a thread"), error))?;
        Ok(Self { name, requests })
    }

    /// Stops fetching; open rows stay queryable.
    pub async fn pause(&self, partition: Option<i32>) -> Result<()> {
        self.ask(|reply| Request::Pause { partition, reply }).await?
    }

    /// Goes on fetching; a partition that failed is tried again.
    pub async fn resume(&self, partition: Option<i32>) -> Result<()> {
        self.ask(|reply| Request::Resume { partition, reply }).await?
    }

    /// Hands what is open now over to be sealed; [`Sealing::wait`] tells when it is committed.
    pub async fn begin_seal(&self, partition: Option<i32>) -> Result<Sealing> {
        let waiting = self.ask(|reply| Request::Seal { partition, reply }).await??;
        Ok(Sealing { name: self.name.clone(), waiting })
    }

    /// Stops consuming; with `seal`, first seals and commits everything that was consumed.
    pub async fn stop(self, seal: bool) {
        // An error means that it has stopped already.
        let _ = self.ask(|reply| Request::Stop { seal, reply }).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let stopped = || IngestError::Stopped(self.name.clone());
        self.requests.send(request(reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }
}

/// Seals under way.
pub struct Sealing {
    name: String,
    waiting: Vec<oneshot::Receiver<Result<SealOutcome>>>,
}

impl Sealing {
    /// Waits until everything is committed; one outcome per partition.
    pub async fn wait(self) -> Result<Vec<SealOutcome>> {
        let mut outcomes = Vec::with_capacity(self.waiting.len());
        for answer in self.waiting {
            outcomes.push(answer.await.map_err(|_| IngestError::Stopped(self.name.clone()))??);
        }
        Ok(outcomes)
    }
}

impl Drop for TableIngest {
    fn drop(&mut self) {
        // After `stop` nobody listens any more, which is fine.
        let _ = self.requests.send(Request::Stop { seal: false, reply: oneshot::channel().0 });
    }
}
