//! Our JSON document, and newline-delimited JSON.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use serde_json::{Value, json};

use super::failure::Failure;
use super::types::sql_type;
use super::value::{Dialect, RowEncoder};
use super::{AnswerEncoder, AnswerFacts, write_json};
use crate::QueryError;

/// `{"query_id", "columns", "rows", "row_count", "cut", "stats"}`, and `"error"` at the end if the query failed half way.
pub(super) struct JsonEncoder {
    schema: SchemaRef,
    facts: Arc<AnswerFacts>,
    row_count: u64,
}

impl JsonEncoder {
    pub(super) fn new(schema: SchemaRef, facts: Arc<AnswerFacts>) -> Self {
        Self { schema, facts, row_count: 0 }
    }

    fn end(&self, out: &mut Vec<u8>, error: Option<&QueryError>) {
        out.extend_from_slice(b"],\"row_count\":");
        write_json(out, &self.row_count);
        out.extend_from_slice(b",\"cut\":");
        write_json(out, &self.facts.cut_json(true));
        out.extend_from_slice(b",\"stats\":");
        write_json(out, &self.facts.stats_json());
        if let Some(error) = error {
            out.extend_from_slice(b",\"error\":");
            write_json(out, &Failure::of(error));
        }
        out.extend_from_slice(b"}\n");
    }
}

impl AnswerEncoder for JsonEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        out.extend_from_slice(b"{\"query_id\":");
        write_json(out, &self.facts.id);
        let columns =
            self.schema.fields().iter().map(|field| json!({"name": field.name(), "type": sql_type(field)}));
        out.extend_from_slice(b",\"columns\":");
        write_json(out, &columns.collect::<Vec<Value>>());
        out.extend_from_slice(b",\"rows\":[");
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut rows = RowEncoder::new(batch, Dialect::Headwater)?;
        for row in 0..batch.num_rows() {
            if self.row_count > 0 {
                out.push(b',');
            }
            rows.array(row, out);
            self.row_count += 1;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.end(out, None);
        Ok(())
    }

    fn fail(&mut self, error: &QueryError) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.end(&mut out, Some(error));
        Some(out)
    }
}

/// One object per row and line; a failure half way is a last line `{"error": …}`.
pub(super) struct NdjsonEncoder {
    keys: Vec<Vec<u8>>,
}

impl NdjsonEncoder {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Self { keys: unique_keys(&names) }
    }
}

/// The names as JSON strings. A join may answer with two columns of one name, and a parser would keep only one of them: later
/// ones become `name_2`, `name_3`.
fn unique_keys(names: &[&str]) -> Vec<Vec<u8>> {
    let mut taken: HashSet<String> = names.iter().map(|name| name.to_string()).collect();
    let mut seen = HashSet::new();
    let unique = names.iter().map(|name| {
        if seen.insert(*name) {
            return name.to_string();
        }
        let mut number = 2;
        while !taken.insert(format!("{name}_{number}")) {
            number += 1;
        }
        format!("{name}_{number}")
    });
    unique
        .map(|name| {
            let mut key = Vec::new();
            write_json(&mut key, &name);
            key
        })
        .collect()
}

impl AnswerEncoder for NdjsonEncoder {
    fn begin(&mut self, _out: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut rows = RowEncoder::new(batch, Dialect::Headwater)?;
        for row in 0..batch.num_rows() {
            rows.object(row, &self.keys, out);
            out.push(b'\n');
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }

    fn fail(&mut self, error: &QueryError) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        write_json(&mut out, &json!({"error": Failure::of(error)}));
        out.push(b'\n');
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_numbered() {
        let keys = unique_keys(&["a", "b", "a", "a_2", "a", "a\"b"]);
        let text: Vec<&str> = keys.iter().map(|key| std::str::from_utf8(key).unwrap()).collect();
        assert_eq!(text, [r#""a""#, r#""b""#, r#""a_3""#, r#""a_2""#, r#""a_4""#, r#""a\"b""#]);
    }
}
