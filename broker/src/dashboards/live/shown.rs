//! What the viewers of a panel are shown: one event, made once for all of them, in memory that is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{Digest, PanelAnswer};
use crate::render::failure::Failure;
use crate::render::write_json;
use crate::request::TableCut;
use crate::{QueryError, QueryErrorKind};

const NOTHING: &[u8] = br#""columns":[],"rows":[],"cuts":{},"freshness_ms":null"#;
/// JSON text has no line break of its own, so the event is one line.
const END: &[u8] = b"}\n\n";

/// Room for the answers of all panels: an event counts until nobody holds it any more, be it a viewer who takes it slowly.
pub(super) struct AnswerRoom {
    free: Arc<Semaphore>,
    bytes_max: usize,
}

/// An event and its part of the room.
struct Held {
    event: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.event
    }
}

impl AnswerRoom {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(bytes_max.min(Semaphore::MAX_PERMITS))), bytes_max }
    }

    /// The parts as one event, in exactly the memory that it takes; `None`: there is no room for it.
    fn hold(&self, parts: &[&[u8]]) -> Option<Bytes> {
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        let room = Arc::clone(&self.free).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
        Some(Bytes::from_owner(Held { event: parts.concat(), _room: room }))
    }

    fn full(&self) -> QueryError {
        let message = format!(
            "there is no room for this panel's answer: those of all panels that are watched may have {} bytes together; watch \
             fewer panels, or select fewer columns or rows",
            self.bytes_max
        );
        QueryError::new(QueryErrorKind::MemoryExceeded, message)
    }
}

/// What viewers see of a panel.
pub(super) struct Shown {
    room: Arc<AnswerRoom>,
    /// What each event begins with.
    head: Vec<u8>,
    /// The newest event; empty if there is none.
    event: Bytes,
    /// Where in it the answer ends, and the error begins if there is one.
    answer_end: usize,
    /// Of the answer in it; `None`: there is none.
    digest: Option<Digest>,
    /// What the error in it says.
    error: Option<String>,
    /// What the last answer has read, be it in the event or the same as that.
    cuts: BTreeMap<String, TableCut>,
}

impl Shown {
    pub(super) fn new(panel: &str, version: u64, room: Arc<AnswerRoom>) -> Self {
        let mut head = b"event: panel\ndata: {\"panel\":".to_vec();
        write_json(&mut head, &panel);
        head.extend_from_slice(b",\"version\":");
        write_json(&mut head, &version);
        head.push(b',');
        let event = Bytes::new();
        Self { room, head, event, answer_end: 0, digest: None, error: None, cuts: BTreeMap::new() }
    }

    /// The cut of each table that the last answer has read.
    pub(super) fn cuts(&self) -> &BTreeMap<String, TableCut> {
        &self.cuts
    }

    /// Takes an answer. The event for the viewers, if they see anything else than before; fails if there is no room for it.
    pub(super) fn answered(&mut self, answer: PanelAnswer) -> Result<Option<Bytes>, QueryError> {
        let digest = answer.digest();
        if self.error.is_some() || self.digest != Some(digest) {
            let (shown, facts) = (answer.shown.as_slice(), answer.facts());
            let event = self.room.hold(&[&self.head, shown, &facts, END]);
            self.event = event.ok_or_else(|| self.room.full())?;
            self.answer_end = self.event.len() - END.len();
            (self.digest, self.error, self.cuts) = (Some(digest), None, answer.cuts);
            return Ok(Some(self.event.clone()));
        }
        self.cuts = answer.cuts;
        Ok(None)
    }

    /// Takes a failure, as [`answered`](Self::answered) takes an answer. What was shown before stays beside it, if there is room.
    pub(super) fn failed(&mut self, error: &QueryError) -> Option<Bytes> {
        if self.error.as_ref() == Some(&error.message) {
            return None;
        }
        let mut tail = b",\"error\":".to_vec();
        write_json(&mut tail, &Failure::of(error));
        tail.extend_from_slice(END);
        let beside = self.digest.and_then(|_| self.room.hold(&[&self.event[..self.answer_end], &tail]));
        self.event = beside.unwrap_or_else(|| {
            self.digest = None;
            [self.head.as_slice(), NOTHING, &tail].concat().into()
        });
        self.error = Some(error.message.clone());
        Some(self.event.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(rows: &str, ran_at_ms: i64) -> PanelAnswer {
        PanelAnswer::of_text(&format!(r#""columns":[],"rows":{rows}"#), ran_at_ms)
    }

    fn failure(message: &str) -> QueryError {
        QueryError::new(QueryErrorKind::Execution, message)
    }

    fn data(event: &Bytes) -> Value {
        let text = std::str::from_utf8(event).unwrap();
        serde_json::from_str(text.strip_prefix("event: panel\ndata: ").unwrap().strip_suffix("\n\n").unwrap())
            .unwrap()
    }

    #[test]
    fn viewers_get_what_differs_from_what_they_have() {
        let mut shown = Shown::new("p", 3, Arc::new(AnswerRoom::new(10_000)));
        let event = shown.answered(answer("[[1]]", 1)).unwrap().unwrap();
        let expected = json!({
            "panel": "p", "version": 3, "columns": [], "rows": [[1]], "cuts": {}, "freshness_ms": null, "ran_at_ms": 1,
        });
        assert_eq!(data(&event), expected);
        assert_eq!(shown.answered(answer("[[1]]", 2)).unwrap(), None);
        assert_eq!(data(&shown.answered(answer("[[2]]", 3)).unwrap().unwrap())["rows"], json!([[2]]));
        for message in ["first", "second"] {
            let event = data(&shown.failed(&failure(message)).unwrap());
            assert_eq!((&event["rows"], &event["error"]["message"]), (&json!([[2]]), &json!(message)));
            assert_eq!(shown.failed(&failure(message)), None);
        }
        // The rows are the same, but the error is gone.
        let event = data(&shown.answered(answer("[[2]]", 4)).unwrap().unwrap());
        assert_eq!((&event["rows"], event.get("error")), (&json!([[2]]), None));
    }

    #[test]
    fn a_panel_may_fail_before_it_has_answered() {
        let mut shown = Shown::new("p", 1, Arc::new(AnswerRoom::new(10_000)));
        let event = data(&shown.failed(&failure("no")).unwrap());
        assert_eq!((&event["rows"], &event["columns"], &event["cuts"]), (&json!([]), &json!([]), &json!({})));
    }

    #[test]
    fn events_count_until_nobody_holds_them() {
        let room = Arc::new(AnswerRoom::new(1_000));
        let (mut first, mut second) = (Shown::new("a", 1, room.clone()), Shown::new("b", 1, room.clone()));
        let long = format!("[[\"{}\"]]", "x".repeat(500));
        let held = first.answered(answer(&long, 1)).unwrap().unwrap();
        assert_eq!(room.free.available_permits(), 1_000 - held.len());
        let full = second.answered(answer(&long, 1)).unwrap_err();
        assert_eq!(full.kind, QueryErrorKind::MemoryExceeded);
        let event = data(&second.failed(&full).unwrap());
        assert!(event["error"]["message"].as_str().unwrap().contains("1000 bytes"), "{event}");
        // No room for the rows beside an error: the error is told without them, and they are let go.
        let event = data(&first.failed(&failure("no")).unwrap());
        assert_eq!((&event["rows"], &event["error"]["message"]), (&json!([]), &json!("no")));
        assert!(second.answered(answer(&long, 2)).is_err(), "a viewer still has the event before");
        drop(held);
        assert_eq!(room.free.available_permits(), 1_000);
        let event = second.answered(answer(&long, 3)).unwrap().unwrap();
        assert!(data(&event).get("error").is_none());
        drop((event, second));
        assert_eq!(room.free.available_permits(), 1_000);
    }
}
