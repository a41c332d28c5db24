//! Delta actions: how one log entry is built, written as NDJSON and read back.
//!
//! What Headwater adds to a plain Delta table, all of it ignored by other readers:
//!
//! | where | what |
//! |---|---|
//! | `metaData.configuration["headwater.spec"]` | the table spec as JSON |
//! | `metaData.configuration["headwater.dropped"]` | `true` once the table is dropped |
//! | `txn`, appId `<table>/<topic>/<partition>` | the committed offset of the partition |
//! | `domainMetadata`, domain `headwater.stream` | [`StreamState`] as JSON |
//! | `add.tags["headwater.epoch"]` | the stream epoch of the segment's offsets; absent: 0 |
//! | `commitInfo["headwater.commitId"]` | the ULID of the commit, by which a writer knows its own entry |
//! | `commitInfo["headwater.commitIds"]` | in its place the ULIDs of all commits, if the entry holds several |
//!
//! **Architecture Invariant:** equal arguments build equal actions. A commit that is tried twice at the same
//! version therefore writes the same entry.

use std::collections::HashMap;

use bytes::Bytes;
use deltalake_core::kernel::{
    Action, Add, ArrayType, CommitInfo, DataType, DomainMetadata, Metadata, Protocol, Remove, StructField,
    StructType, Transaction,
};
use ulid::Ulid;
use uuid::Uuid;

use super::stream::StreamState;
use crate::schema::{ColumnType, TableSchema};
use crate::spec::{TableSpec, parse_spec};
use crate::{Result, SegmentError};

const SPEC_KEY: &str = "headwater.spec";
const DROPPED_KEY: &str = "headwater.dropped";
const COMMIT_ID_KEY: &str = "headwater.commitId";
const COMMIT_IDS_KEY: &str = "headwater.commitIds";
const EPOCH_TAG: &str = "headwater.epoch";
const STREAM_DOMAIN: &str = "headwater.stream";
/// How long superseded log entries are kept before a checkpoint lets them go: far longer than any writer may stand still
/// and still believe in the version it knows.
const LOG_RETENTION: &str = "interval 7 days";

/// A log entry's actions as the bytes of its object.
pub(super) fn encode(table: &str, actions: &[Action]) -> Result<Bytes> {
    let mut text = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut text, action).map_err(|error| internal(table, error))?;
        text.push(b'\n');
    }
    Ok(text.into())
}

/// Reads NDJSON actions; `origin` names the object for the error.
pub(super) fn decode(origin: &str, bytes: &[u8]) -> Result<Vec<Action>> {
    let corrupt = |error: String| SegmentError::Corrupt(format!("{origin}: {error}"));
    let text = std::str::from_utf8(bytes).map_err(|error| corrupt(error.to_string()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !matches!(line.trim(), "" | "{}"));
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| corrupt(format!("action {}: {error}", number + 1)))
        })
        .collect()
}

/// The entry's author: which commits it holds and when the latest of them was made.
pub(super) fn commit_info(ids: &[Ulid], at_ms: i64, operation: &str) -> Action {
    let (key, value) = match ids {
        [id] => (COMMIT_ID_KEY, id.to_string().into()),
        _ => (COMMIT_IDS_KEY, ids.iter().map(Ulid::to_string).collect::<Vec<_>>().into()),
    };
    Action::CommitInfo(CommitInfo {
        timestamp: Some(at_ms),
        operation: Some(operation.into()),
        operation_parameters: Some(HashMap::new()),
        engine_info: Some(concat!("headwater/", env!("CARGO_PKG_VERSION")).into()),
        info: HashMap::from([(key.into(), value)]),
        ..CommitInfo::default()
    })
}

/// The ULIDs of the entry's commits; none if it is not ours.
pub(super) fn commit_ids(info: &CommitInfo) -> impl Iterator<Item = Ulid> {
    let several = info.info.get(COMMIT_IDS_KEY).and_then(|ids| ids.as_array()).into_iter().flatten();
    let ids = info.info.get(COMMIT_ID_KEY).into_iter().chain(several);
    ids.filter_map(|id| id.as_str()?.parse().ok())
}

/// Reader 1, writer 7 with `domainMetadata`: any Delta reader can read the table; writers must know domain metadata.
pub(super) fn protocol(table: &str) -> Result<Action> {
    let value = serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["domainMetadata"] });
    serde_json::from_value(value).map(Action::Protocol).map_err(|error| internal(table, error))
}

/// Refuses a table that a newer Headwater, or another engine, has given features that this version does not know.
pub(super) fn check_protocol(origin: &str, protocol: &Protocol) -> Result<()> {
    let value = serde_json::to_value(protocol).unwrap_or_default();
    let reader = value["minReaderVersion"].as_i64();
    let features = value["writerFeatures"].as_array().map(Vec::as_slice).unwrap_or_default();
    let unknown = features.iter().find(|feature| feature.as_str() != Some("domainMetadata"));
    if reader == Some(1) && unknown.is_none() {
        return Ok(());
    }
    Err(SegmentError::Refused(format!(
        "{origin}: the table needs Delta features that this version of Headwater does not know ({value}); \
         use the version that wrote it"
    )))
}

/// The metadata entry: the table's identity, schema, spec, and whether it is dropped.
pub(super) fn metadata(table_id: Uuid, spec: &TableSpec, dropped: bool, at_ms: i64) -> Result<Action> {
    let spec_json = spec.to_json();
    if parse_spec(&spec_json).as_ref().ok() != Some(spec) {
        return Err(SegmentError::Refused(format!(
            "table {}: the spec does not survive being stored; apply it from YAML or JSON",
            spec.name
        )));
    }
    let schema = delta_schema(&TableSchema::new(spec)).map_err(|error| {
        SegmentError::Refused(format!("table {}: the columns are not a Delta schema: {error}", spec.name))
    })?;
    let mut configuration =
        HashMap::from([(SPEC_KEY, spec_json.as_str()), ("delta.logRetentionDuration", LOG_RETENTION)]);
    if dropped {
        configuration.insert(DROPPED_KEY, "true");
    }
    let schema_string = serde_json::to_string(&schema).map_err(|error| internal(&spec.name, error))?;
    let value = serde_json::json!({
        "id": table_id, "name": spec.name, "format": { "provider": "parquet", "options": {} },
        "schemaString": schema_string, "partitionColumns": [], "configuration": configuration, "createdTime": at_ms,
    });
    serde_json::from_value(value).map(Action::Metadata).map_err(|error| internal(&spec.name, error))
}

/// What a metadata entry says: the spec, and whether the table is dropped.
pub(super) fn read_metadata(origin: &str, metadata: &Metadata) -> Result<(TableSpec, bool)> {
    let configuration = metadata.configuration();
    let Some(text) = configuration.get(SPEC_KEY) else {
        return Err(SegmentError::Corrupt(format!(
            "{origin}: the Delta table has no {SPEC_KEY} in its configuration; Headwater did not create it"
        )));
    };
    let spec = parse_spec(&without_range(text))
        .map_err(|error| SegmentError::Corrupt(format!("{origin}: {SPEC_KEY}: {error}")))?;
    Ok((spec, configuration.get(DROPPED_KEY).is_some_and(|dropped| dropped == "true")))
}

/// A stored spec without the range indexes that earlier versions had: a table that names one opens as before.
fn without_range(text: &str) -> String {
    let Ok(mut spec) = serde_json::from_str::<serde_json::Value>(text) else { return text.to_owned() };
    let columns = spec.get_mut("columns").and_then(serde_json::Value::as_array_mut);
    for column in columns.into_iter().flatten().filter_map(serde_json::Value::as_object_mut) {
        let Some(indexes) = column.get_mut("index").and_then(serde_json::Value::as_array_mut) else {
            continue;
        };
        indexes.retain(|index| index != "range");
        if indexes.is_empty() {
            // Then the data decide.
            column.remove("index");
        }
    }
    spec.to_string()
}

fn delta_schema(schema: &TableSchema) -> std::result::Result<StructType, String> {
    let fields = schema
        .columns()
        .iter()
        .map(|column| Ok(StructField::new(&column.name, delta_type(&column.data_type)?, column.nullable)))
        .collect::<std::result::Result<Vec<_>, String>>()?;
    StructType::try_new(fields).map_err(|error| error.to_string())
}

fn delta_type(column_type: &ColumnType) -> std::result::Result<DataType, String> {
    Ok(match column_type {
        ColumnType::Boolean => DataType::BOOLEAN,
        ColumnType::Int => DataType::INTEGER,
        ColumnType::Long => DataType::LONG,
        ColumnType::Float => DataType::FLOAT,
        ColumnType::Double => DataType::DOUBLE,
        ColumnType::Decimal(precision, scale) => {
            DataType::decimal(*precision, scale.unsigned_abs()).map_err(|error| error.to_string())?
        }
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => DataType::TIMESTAMP,
        ColumnType::Date => DataType::DATE,
        ColumnType::String | ColumnType::Json | ColumnType::Uuid => DataType::STRING,
        ColumnType::Bytes => DataType::BINARY,
        ColumnType::Array(element) => DataType::from(ArrayType::new(delta_type(element)?, true)),
    })
}

/// Moves a partition's committed offset.
pub(super) fn txn(spec: &TableSpec, partition: i32, committed: i64, at_ms: i64) -> Action {
    let app_id = format!("{}{partition}", app_id_prefix(spec));
    Action::Txn(Transaction::new_with_last_update(app_id, committed, Some(at_ms)))
}

/// The partition that a `txn` speaks of, if it is one of this table's topic.
pub(super) fn txn_partition(spec: &TableSpec, txn: &Transaction) -> Option<i32> {
    txn.app_id.strip_prefix(&app_id_prefix(spec))?.parse().ok()
}

fn app_id_prefix(spec: &TableSpec) -> String {
    format!("{}/{}/", spec.name, spec.stream.topic)
}

/// The stream state as a domain metadata entry.
pub(super) fn stream(table: &str, state: &StreamState) -> Result<Action> {
    let configuration = serde_json::to_string(state).map_err(|error| internal(table, error))?;
    Ok(Action::DomainMetadata(DomainMetadata { domain: STREAM_DOMAIN.into(), configuration, removed: false }))
}

/// The stream state of a domain metadata entry; `None` for a domain that is not ours.
pub(super) fn read_stream(origin: &str, domain: &DomainMetadata) -> Result<Option<StreamState>> {
    if domain.domain != STREAM_DOMAIN || domain.removed {
        return Ok(None);
    }
    serde_json::from_str(&domain.configuration)
        .map(Some)
        .map_err(|error| SegmentError::Corrupt(format!("{origin}: domain {STREAM_DOMAIN}: {error}")))
}

/// Marks an `add` as being of an epoch.
pub(super) fn set_epoch(add: &mut Add, epoch: u32) {
    if epoch != 0 {
        add.tags.get_or_insert_default().insert(EPOCH_TAG.into(), Some(epoch.to_string()));
    }
}

/// The epoch of an `add`.
pub(super) fn read_epoch(origin: &str, add: &Add) -> Result<u32> {
    let tag = add.tags.as_ref().and_then(|tags| tags.get(EPOCH_TAG)?.as_deref());
    tag.map_or(Ok(0), str::parse)
        .map_err(|error| SegmentError::Corrupt(format!("{origin}: {}: tag {EPOCH_TAG}: {error}", add.path)))
}

/// Takes a segment out of the table.
pub(super) fn remove(path: &str, size_bytes: u64, at_ms: i64) -> Action {
    Action::Remove(Remove {
        path: path.into(),
        data_change: true,
        deletion_timestamp: Some(at_ms),
        extended_file_metadata: Some(true),
        partition_values: Some(HashMap::new()),
        size: i64::try_from(size_bytes).ok(),
        ..Remove::default()
    })
}

fn internal(table: &str, error: serde_json::Error) -> SegmentError {
    SegmentError::Refused(format!("table {table}: a log entry could not be written as JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_range_index_is_left_out() {
        let stored = |index: &str| {
            format!(
                r#"{{"name":"t","columns":[{{"name":"a","type":"LONG"{index}}}],"stream":{{"brokers":["k:1"],"topic":"t"}}}}"#
            )
        };
        for (with, without) in [
            (r#","index":["range"]"#, ""),
            (r#","index":["range","bloom"]"#, r#","index":["bloom"]"#),
            (r#","index":["inverted"]"#, r#","index":["inverted"]"#),
        ] {
            let read = parse_spec(&without_range(&stored(with))).unwrap();
            assert_eq!(read, parse_spec(&stored(without)).unwrap());
        }
    }
}
