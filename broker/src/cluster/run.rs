//! One run of a query over several nodes, as its requests to them say it in their headers.
//!
//! | header | what |
//! |---|---|
//! | `headwater-query` | the query's identity, whose first part is when it began |
//! | `headwater-run` | which of its runs: a query that fails, or takes long, is run again |
//! | `headwater-deadline-ms` | the time that it has left, so that clocks need not agree |

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use ulid::Ulid;

const QUERY: HeaderName = HeaderName::from_static("headwater-query");
const RUN: HeaderName = HeaderName::from_static("headwater-run");
const DEADLINE_MS: HeaderName = HeaderName::from_static("headwater-deadline-ms");

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The query.
    pub(crate) query: Ulid,
    /// Which of its runs, from 1.
    pub(crate) number: u32,
    /// When nobody waits for it any more.
    pub(crate) deadline: Instant,
}

impl Run {
    /// Says so in the headers of a request that leaves now.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        let left = self.deadline.saturating_duration_since(Instant::now()).as_millis();
        let left = u64::try_from(left).unwrap_or(u64::MAX);
        let query = HeaderValue::try_from(self.query.to_string());
        headers.insert(QUERY, query.expect("a ULID is letters and digits"));
        headers.insert(RUN, HeaderValue::from(self.number));
        headers.insert(DEADLINE_MS, HeaderValue::from(left));
    }

    /// What a request says that arrived now; `None` if it says nothing, or nothing that can be understood.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name)?.to_str().ok();
        let left = Duration::from_millis(text(DEADLINE_MS)?.parse().ok()?);
        Some(Self {
            query: Ulid::from_string(text(QUERY)?).ok()?,
            number: text(RUN)?.parse().ok()?,
            deadline: Instant::now().checked_add(left)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_what_time_it_has_left() {
        let deadline = Instant::now() + Duration::from_secs(30);
        let run = Run { query: Ulid::from_parts(7, 9), number: 2, deadline };
        let mut headers = HeaderMap::new();
        run.put(&mut headers);
        let left: u64 = headers[DEADLINE_MS].to_str().unwrap().parse().unwrap();
        assert!((29_000..30_000).contains(&left), "{left}");
        let found = Run::of(&headers).unwrap();
        assert_eq!((found.query, found.number), (run.query, run.number));
        assert!(found.deadline <= Instant::now() + Duration::from_secs(30));
        for (name, value) in [(QUERY, "x"), (RUN, "-1"), (DEADLINE_MS, "soon"), (DEADLINE_MS, "-1")] {
            let mut other = headers.clone();
            other.insert(name, HeaderValue::from_static(value));
            assert_eq!(Run::of(&other), None, "{value}");
        }
        assert_eq!(Run::of(&HeaderMap::new()), None);
    }
}
