//! One run of a panel's statement, and the text of its answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::StreamExt;
use headwater_segment::clock::now_ms;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::statement::{Interval, PanelStatement};
use super::LiveLimits;
use crate::engine::error_of;
use crate::http::QueryRunner;
use crate::render::types::sql_type;
use crate::render::value::{Dialect, RowEncoder};
use crate::render::{AnswerFacts, write_json};
use crate::request::{ClientKind, QueryRequest, TableCut};
use crate::{QueryError, QueryErrorKind};

/// Bytes of a [`Digest`]: by chance, two of 2^64 answers share one.
const DIGEST_BYTES: usize = 16;

/// Stands for what an answer shows: the rows themselves are kept once only, in the event that viewers get.
pub(super) type Digest = [u8; DIGEST_BYTES];

/// The answer of a panel.
#[derive(Debug)]
pub struct PanelAnswer {
    /// `"columns":[…],"rows":[…]`, without braces: what is compared with the answer before.
    pub(super) shown: Vec<u8>,
    /// The cut of each table that was read.
    pub(super) cuts: BTreeMap<String, TableCut>,
    cuts_json: Value,
    freshness_ms: Option<i64>,
    ran_at_ms: i64,
}

impl PanelAnswer {
    /// The answer as one JSON object.
    pub fn to_json(&self) -> Bytes {
        [b"{", self.shown.as_slice(), &self.facts(), b"}"].concat().into()
    }

    /// What stands behind the rows: `,"cuts":{…},"freshness_ms":…,"ran_at_ms":…`.
    pub(super) fn facts(&self) -> Vec<u8> {
        let mut out = b",\"cuts\":".to_vec();
        write_json(&mut out, &self.cuts_json);
        out.extend_from_slice(b",\"freshness_ms\":");
        write_json(&mut out, &self.freshness_ms);
        out.extend_from_slice(b",\"ran_at_ms\":");
        write_json(&mut out, &self.ran_at_ms);
        out
    }

    /// When the newest row was written, of the table whose newest row is the oldest; milliseconds since the epoch.
    pub(super) fn newest_row_ms(&self) -> Option<i64> {
        Some(self.ran_at_ms.saturating_sub(self.freshness_ms?))
    }

    pub(super) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        digest.copy_from_slice(&Sha256::digest(&self.shown)[..DIGEST_BYTES]);
        digest
    }
}

/// The range of length `last` that ends at `to_ms`.
pub(super) fn interval(to_ms: i64, last: Duration) -> Interval {
    let last_ms = i64::try_from(last.as_millis()).unwrap_or(i64::MAX);
    Interval { from_ms: to_ms.saturating_sub(last_ms), to_ms }
}

/// One run of a statement of a dashboard.
pub(super) fn request_of(
    statement: &PanelStatement,
    values: &BTreeMap<String, String>,
    interval: Interval,
    limits: &LiveLimits,
) -> QueryRequest {
    QueryRequest {
        sql: statement.sql().to_string(),
        client: ClientKind::Dashboard,
        parameters: statement.parameters(values, interval),
        deadline: Some(limits.deadline),
        ..QueryRequest::default()
    }
}

/// Runs a panel's statement for the range that ends now. `user`: the one for whom it runs; `None`: all who watch.
pub(super) async fn ask(
    queries: &dyn QueryRunner,
    statement: &PanelStatement,
    values: &BTreeMap<String, String>,
    last: Duration,
    user: Option<String>,
    limits: &LiveLimits,
) -> Result<PanelAnswer, QueryError> {
    let started = Instant::now();
    let ran_at_ms = now_ms();
    let request = QueryRequest {
        user,
        rows_max: Some(limits.rows_max),
        ..request_of(statement, values, interval(ran_at_ms, last), limits)
    };
    let outcome = read(queries, request, started, limits).await;
    let name = if outcome.is_ok() { "ok" } else { "error" };
    metrics::counter!("headwater_dashboard_panel_runs_total", "outcome" => name).increment(1);
    metrics::histogram!("headwater_dashboard_panel_run_seconds").record(started.elapsed().as_secs_f64());
    let (shown, facts) = outcome.map_err(|error| in_words_of_panels(error, limits))?;
    Ok(PanelAnswer {
        shown,
        cuts_json: facts.cut_json(true),
        freshness_ms: facts.freshness_ms(),
        cuts: facts.cuts.clone(),
        ran_at_ms,
    })
}

async fn read(
    queries: &dyn QueryRunner,
    request: QueryRequest,
    started: Instant,
    limits: &LiveLimits,
) -> Result<(Vec<u8>, std::sync::Arc<AnswerFacts>), QueryError> {
    let mut answer = queries.run(request).await?;
    let facts = AnswerFacts::of(&answer, started);
    let mut out = columns(&answer.schema);
    let mut rows = 0u64;
    while let Some(batch) = answer.stream.next().await {
        let batch = batch.map_err(|error| error_of(&error))?;
        let mut encoder = RowEncoder::new(&batch, Dialect::Headwater)
            .map_err(|error| QueryError::new(QueryErrorKind::Execution, error.to_string()))?;
        for row in 0..batch.num_rows() {
            if rows > 0 {
                out.push(b',');
            }
            encoder.array(row, &mut out);
            rows += 1;
            if out.len() > limits.answer_bytes_max {
                let message = format!(
                    "a panel's answer may have {} bytes, this one has more; select fewer columns or rows",
                    limits.answer_bytes_max
                );
                return Err(QueryError::new(QueryErrorKind::RowsExceeded, message));
            }
            if rows > limits.rows_max {
                return Err(QueryError::new(QueryErrorKind::RowsExceeded, String::new()));
            }
        }
    }
    out.push(b']');
    Ok((out, facts))
}

fn columns(schema: &SchemaRef) -> Vec<u8> {
    let columns = schema.fields().iter().map(|field| json!({"name": field.name(), "type": sql_type(field)}));
    let mut out = b"\"columns\":".to_vec();
    write_json(&mut out, &columns.collect::<Vec<Value>>());
    out.extend_from_slice(b",\"rows\":[");
    out
}

/// The engine would advise to raise a cap that a panel cannot raise.
fn in_words_of_panels(error: QueryError, limits: &LiveLimits) -> QueryError {
    let is_rows = error.kind == QueryErrorKind::RowsExceeded && !error.message.starts_with("a panel");
    match is_rows {
        true => QueryError {
            message: format!(
                "a panel shows at most {} rows, this answer has more; group, filter or add a LIMIT",
                limits.rows_max
            ),
            ..error
        },
        false => error,
    }
}

#[cfg(test)]
impl PanelAnswer {
    /// One that has read no table.
    pub(super) fn of_text(shown: &str, ran_at_ms: i64) -> Self {
        let cuts_json = json!({});
        Self { shown: shown.into(), cuts: BTreeMap::new(), cuts_json, freshness_ms: None, ran_at_ms }
    }
}
