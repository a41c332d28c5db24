//! One question to a broker, and what came of it in the books.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::fleet::Front;
use super::watch::{Outcome, Ticket, Watch};
use crate::chaos::client::{AskError, Client, NOT_LISTENING};

const DEADLINE: Duration = Duration::from_secs(15);

/// Asks brokers and counts what is no answer.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) watch: Arc<Watch>,
}

/// An answer that is not read yet.
pub(crate) struct Reply {
    pub(crate) document: Value,
    /// The broker's process; `None` if it was started again meanwhile, so that nobody knows which it was.
    pub(crate) process: Option<u32>,
    pub(crate) ticket: Ticket,
}

impl Caller {
    /// Asks about a table. `None` if there is no whole answer, which is counted unless the table is no longer wanted.
    pub(crate) async fn ask(
        &self,
        front: &Front,
        table: &str,
        sql: &str,
        is_wanted: impl Fn() -> bool,
    ) -> Option<Reply> {
        let ticket = self.watch.ticket();
        let before = front.process();
        let answer = self.client.sql_within(&front.url, sql, DEADLINE).await;
        let after = front.process();
        let outcome = match &answer {
            Ok(document) if is_partial(document, table) => Outcome::Partial,
            Ok(_) => {
                let process = after.filter(|_| before == after);
                return answer.ok().map(|document| Reply { document, process, ticket });
            }
            // A table that was dropped while it was asked about is no error.
            Err(_) if !is_wanted() => return None,
            Err(AskError::Connection(kind))
                if *kind == NOT_LISTENING || before.is_none() || before != after =>
            {
                Outcome::Away
            }
            Err(error) => Outcome::Failed(error),
        };
        self.watch.record(ticket, &outcome);
        None
    }

    /// The answer is something else than was asked for.
    pub(crate) fn unreadable(&self, reply: &Reply, fault: &str) {
        let error = AskError::Unreadable(format!("{fault}: {}", reply.document));
        self.watch.record(reply.ticket, &Outcome::Failed(&error));
    }
}

fn is_partial(document: &Value, table: &str) -> bool {
    document["cut"][table]["partial"].as_bool().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn partial_answers_are_told_by_their_mark() {
        let answer = |cut: Value| json!({"rows": [[1]], "cut": {"events": cut}});
        assert!(!is_partial(&answer(json!({"log_version": 7})), "events"));
        let partial = answer(json!({"log_version": 7, "partial": true, "missing": ["partition 3"]}));
        assert!(is_partial(&partial, "events") && !is_partial(&partial, "others"));
    }
}
