//! The answer document of `/query/sql`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use headwater_segment::clock::now_ms;
use serde_json::{Map, Value, json};

use super::names::shown_names;
use crate::QueryError;
use crate::render::types::{pinot_placeholder, pinot_type};
use crate::render::value::{Dialect, RowEncoder};
use crate::render::{AnswerEncoder, AnswerFacts, write_json};
use crate::request::QueryStats;

/// `{"resultTable": {"dataSchema", "rows"}, "exceptions", …}`; the statistics follow the rows, because they are known then.
pub(super) struct PinotEncoder {
    schema: SchemaRef,
    /// Names in quotes that stand in the statement.
    quoted: BTreeSet<String>,
    /// What stands for NULL in each column; empty: NULL does.
    placeholders: Vec<&'static str>,
    facts: Arc<AnswerFacts>,
    rows: u64,
}

impl PinotEncoder {
    pub(super) fn new(schema: SchemaRef, quoted: BTreeSet<String>, facts: Arc<AnswerFacts>) -> Self {
        Self { schema, quoted, placeholders: Vec::new(), facts, rows: 0 }
    }

    /// The same for a client that knows no NULL: what Pinot has for a value that is missing stands there.
    pub(super) fn without_nulls(mut self) -> Self {
        let fields = self.schema.fields().iter();
        self.placeholders = fields.map(|field| pinot_placeholder(&pinot_type(field))).collect();
        self
    }

    fn end(&self, error: Option<&QueryError>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]},");
        let mut statistics = Vec::new();
        write_json(&mut statistics, &statistics_of(Some(&self.facts), error, self.rows, self.facts.started));
        // The statistics are an object that is never empty: its members go on where `resultTable` ended.
        out.extend_from_slice(&statistics[1..]);
        out.push(b'\n');
    }
}

impl AnswerEncoder for PinotEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let fields = self.schema.fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let names = shown_names(&names, &self.quoted);
        let types: Vec<String> = fields.iter().map(|field| pinot_type(field)).collect();
        out.extend_from_slice(b"{\"resultTable\":{\"dataSchema\":");
        write_json(out, &json!({"columnNames": names, "columnDataTypes": types}));
        out.extend_from_slice(b",\"rows\":[");
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut rows = RowEncoder::new(batch, Dialect::Pinot)?.with_placeholders(&self.placeholders);
        for row in 0..batch.num_rows() {
            if self.rows > 0 {
                out.push(b',');
            }
            rows.array(row, out);
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.end(None, out);
        Ok(())
    }

    fn fail(&mut self, error: &QueryError) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.end(Some(error), &mut out);
        Some(out)
    }
}

/// The document of a query that failed before any of its rows were sent.
pub(super) fn failure(error: &QueryError, facts: Option<&AnswerFacts>, started: Instant) -> String {
    Value::Object(statistics_of(facts, Some(error), 0, started)).to_string()
}

/// Everything but `resultTable`. One process answers, so one server was asked and one responded.
fn statistics_of(
    facts: Option<&AnswerFacts>,
    error: Option<&QueryError>,
    rows: u64,
    started: Instant,
) -> Map<String, Value> {
    let exceptions: Vec<Value> = error
        .map(|error| json!({"errorCode": error.kind.pinot_code(), "message": error.to_string()}))
        .into_iter()
        .collect();
    let default = QueryStats::default();
    let stats = facts.map_or(&default, |facts| &facts.stats);
    let segments_total = QueryStats::get(&stats.segments_total);
    let segments_scanned = QueryStats::get(&stats.segments_scanned);
    let tables: Vec<&String> = facts.map(|facts| facts.cuts.keys().collect()).unwrap_or_default();
    let document = json!({
        "exceptions": exceptions,
        "partialResult": error.is_some() && rows > 0,
        "timeUsedMs": started.elapsed().as_millis() as u64,
        "requestId": facts.map_or("", |facts| &facts.id),
        "brokerId": "Broker_headwater",
        "numDocsScanned": QueryStats::get(&stats.rows_scanned),
        "totalDocs": QueryStats::get(&stats.rows_total),
        "numEntriesScannedInFilter": 0,
        "numEntriesScannedPostFilter": 0,
        "numServersQueried": 1,
        "numServersResponded": 1,
        "numSegmentsQueried": segments_total,
        "numSegmentsProcessed": segments_scanned,
        "numSegmentsMatched": segments_scanned,
        "numConsumingSegmentsQueried": QueryStats::get(&stats.segments_open),
        "minConsumingFreshnessTimeMs": facts.map_or(0, newest_row_ms),
        "numSegmentsPrunedByBroker": segments_total.saturating_sub(segments_scanned),
        "numSegmentsPrunedByServer": 0,
        "numGroupsLimitReached": false,
        "numRowsResultSet": rows,
        "tablesQueried": tables,
        "traceInfo": {},
    });
    match document {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The time of the newest row of the stalest table, in milliseconds since the epoch; 0 if unknown.
fn newest_row_ms(facts: &AnswerFacts) -> i64 {
    facts.freshness_ms().map_or(0, |freshness_ms| now_ms() - freshness_ms)
}
