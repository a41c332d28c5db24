//! Tests of the decoder: tables of cases, and properties against an independent reference.

mod messages;
mod properties;
mod reference;
mod values;

use std::time::Duration;

use headwater_segment::schema::{ColumnType, TableSchema};
use headwater_segment::spec::{
    ColumnSpec, DeadLetterTarget, FieldPath, OnError, OnGap, PathStep, SealSpec, StartPosition, StreamSpec,
    TableSpec,
};
use headwater_segment::value::{RowSink, Value};

use super::{DecodeError, HeaderSource, JsonDecoder};

/// A [`Value`] that owns its contents; floats as bits, so that NaN equals itself and -0 differs from 0.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Bool(bool),
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    I128(i128),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Cell>),
}

impl Cell {
    fn f32(value: f32) -> Self {
        Self::F32(if value.is_nan() { f32::NAN } else { value }.to_bits())
    }

    fn f64(value: f64) -> Self {
        Self::F64(if value.is_nan() { f64::NAN } else { value }.to_bits())
    }

    fn text(text: &str) -> Self {
        Self::Str(text.to_string())
    }
}

impl From<&Value<'_>> for Cell {
    fn from(value: &Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::I32(value) => Self::I32(*value),
            Value::I64(value) => Self::I64(*value),
            Value::F32(value) => Self::f32(*value),
            Value::F64(value) => Self::f64(*value),
            Value::I128(value) => Self::I128(*value),
            Value::Str(value) => Self::text(value),
            Value::Bytes(value) => Self::Bytes(value.to_vec()),
            Value::List(values) => Self::List(values.iter().map(Self::from).collect()),
        }
    }
}

/// Collects one row; a column that was never set is `None`.
struct Row(Vec<Option<Cell>>);

impl RowSink for Row {
    fn set(&mut self, column: usize, value: Value<'_>) {
        self.0[column] = Some(Cell::from(&value));
    }
}

/// Headers in order; the last of a name counts.
struct Headers<'h>(&'h [(&'h str, &'h [u8])]);

impl HeaderSource for Headers<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

fn field_path(names: &[&str]) -> FieldPath {
    FieldPath::Payload(names.iter().map(|name| PathStep::Field(name.to_string())).collect())
}

/// A nullable column that fails the message when a value does not fit.
fn column(path: FieldPath, data_type: ColumnType) -> ColumnSpec {
    ColumnSpec {
        name: "c".into(),
        data_type,
        nullable: true,
        path,
        on_error: OnError::DeadLetter,
        index: None,
    }
}

fn column_type(text: &str) -> ColumnType {
    text.parse().unwrap()
}

fn decoder(columns: &[ColumnSpec]) -> JsonDecoder {
    let spec = TableSpec {
        name: "t".into(),
        columns: columns.to_vec(),
        time_column: None,
        sort_key: Vec::new(),
        stream: StreamSpec {
            brokers: Vec::new(),
            topic: "t".into(),
            start: StartPosition::Earliest,
            on_gap: OnGap::Fail,
            properties: Default::default(),
        },
        seal: SealSpec { rows_max: 1, bytes_max: 1, age_max: Duration::from_secs(1) },
        retention: None,
        replication: 1,
        dead_letters: DeadLetterTarget::Table,
    };
    JsonDecoder::new(&TableSchema::new(&spec), &spec)
}

/// Decodes into a fresh row, and asserts that a row that decodes has every column set.
fn decode_with(
    decoder: &mut JsonDecoder,
    payload: &[u8],
    key: Option<&[u8]>,
    headers: &dyn HeaderSource,
) -> Result<Vec<Cell>, DecodeError> {
    let mut row = Row(vec![None; decoder.plan.columns.len()]);
    decoder.decode(payload, key, headers, &mut row)?;
    Ok(row.0.into_iter().map(|cell| cell.expect("a decoded row has every column set")).collect())
}

/// Decodes one message into the given columns.
fn decode(columns: &[ColumnSpec], payload: &str) -> Result<Vec<Cell>, DecodeError> {
    decode_with(&mut decoder(columns), payload.as_bytes(), None, &())
}

/// Decodes `{"v": <value>}` into a column of one type.
fn decode_value(data_type: &str, value: &str) -> Result<Cell, DecodeError> {
    let payload = format!(r#"{{"v": {value} }}"#);
    decode(&[column(field_path(&["v"]), column_type(data_type))], &payload).map(|mut row| row.remove(0))
}
