//! Consuming: workers fetch, decode and append; sealers encode, upload and commit; the supervisor watches the topic.

mod dead_letters;
mod headers;
mod holdings;
mod partition;
mod provenance;
mod rebuild;
mod retention;
mod sealer;
mod starting;
mod supervisor;
mod worker;

pub(crate) use dead_letters::DeadLetterTopic;
pub(crate) use rebuild::idle_encoder;
pub use sealer::SealOutcome;
pub(crate) use sealer::put;
pub(crate) use supervisor::{Request, Supervisor, SupervisorParts};
