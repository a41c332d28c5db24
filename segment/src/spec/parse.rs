//! Reads a table spec from YAML or JSON: the whole tree is walked and every fault is listed, then all or nothing.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;

use super::document::read_document;
use super::faults::{Faults, Section, boolean, kind, quoted, suggestion, text};
use super::index::read_index;
use super::names::{NAME_BYTES_MAX, check_column_name, check_table_name};
use super::stream::{read_stream, read_topic};
use super::units::{parse_count, parse_duration, parse_size};
use super::{ColumnSpec, DeadLetterTarget, FieldPath, OnError, SealSpec, TableSpec};
use crate::schema::{self, ColumnType};
use crate::{Result, SegmentError};

/// How many columns a table may have.
pub const COLUMNS_MAX: usize = 2_000;
/// How many columns a sort key may have.
const SORT_COLUMNS_MAX: usize = 32;
/// How many rows an open segment may have at most.
const SEAL_ROWS_LIMIT: u64 = 1_000_000_000;
/// How many bytes an open segment may be allowed, at least and at most.
const SEAL_BYTES_LIMITS: (u64, u64) = (64 << 10, 1 << 40);
/// How old an open segment may be allowed to get, at least and at most.
const SEAL_AGE_LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(366 * 86_400));
/// How long rows may be kept, at least and at most (without `retention`: for ever).
const RETENTION_LIMITS: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(100 * 366 * 86_400));

/// On how many nodes the same rows may be.
const REPLICATION_MAX: u64 = 7;

const TABLE_KEYS: [&str; 9] = [
    "name",
    "columns",
    "time_column",
    "sort_key",
    "stream",
    "seal",
    "retention",
    "replication",
    "dead_letters",
];
const COLUMN_KEYS: [&str; 6] = ["name", "type", "nullable", "path", "on_error", "index"];
const SEAL_KEYS: [&str; 3] = ["rows_max", "bytes_max", "age_max"];

/// Reads a table spec from YAML or JSON text of at most 1 MiB.
///
/// # Errors
/// [`SegmentError::Spec`] with every fault and its path; a syntax error has its line and column for a path.
pub fn parse_spec(text: &str) -> Result<TableSpec> {
    let mut faults = Faults::default();
    let spec = read_document(text, &mut faults).and_then(|document| read_table(&document, &mut faults));
    match spec {
        Some(spec) if faults.is_empty() => Ok(spec),
        _ => Err(SegmentError::Spec(faults.into_list())),
    }
}

fn read_table(document: &Value, faults: &mut Faults) -> Option<TableSpec> {
    let root = faults.section("", document, &TABLE_KEYS)?;
    let name = root.required("name", faults, |value| {
        let name = text(value)?;
        check_table_name(name).map(|()| name.to_string())
    });
    let columns = root.present("columns", faults).and_then(|value| read_columns(value, faults));
    let known = columns.as_deref().map(known_columns);
    let time_column = root.optional("time_column", None, faults, |value| {
        let name = text(value)?;
        check_column_use(name, known.as_deref(), time_fits).map(|()| Some(name.to_string()))
    });
    let sort_key =
        root.get("sort_key").map_or(Some(Vec::new()), |value| read_sort_key(value, known.as_deref(), faults));
    let stream = root.present("stream", faults).and_then(|value| read_stream(value, faults));
    let seal = root.get("seal").map_or(Some(SealSpec::default()), |value| read_seal(value, faults));
    let retention =
        root.optional("retention", None, faults, |value| read_duration(value, RETENTION_LIMITS).map(Some));
    let replication =
        root.optional("replication", 1, faults, |value| read_replication(value).map(|nodes| nodes as usize));
    let dead_letters = root
        .get("dead_letters")
        .map_or(Some(DeadLetterTarget::default()), |value| read_dead_letters(value, faults));
    if let (Some(stream), Some(DeadLetterTarget::Topic(topic))) = (&stream, &dead_letters)
        && stream.topic == *topic
    {
        faults.add("dead_letters.topic", "must not be the topic that the table is read from");
    }
    let columns = columns?.into_iter().map(|draft| draft.column).collect::<Option<Vec<_>>>();
    Some(TableSpec {
        name: name?,
        columns: columns?,
        time_column: time_column?,
        sort_key: sort_key?,
        stream: stream?,
        seal: seal?,
        retention: retention?,
        replication: replication?,
        dead_letters: dead_letters?,
    })
}

/// A column as far as it could be read: time column and sort key are checked even if something else in it is wrong.
struct ColumnDraft {
    name: Option<String>,
    data_type: Option<ColumnType>,
    column: Option<ColumnSpec>,
}

fn read_columns(value: &Value, faults: &mut Faults) -> Option<Vec<ColumnDraft>> {
    let Value::Array(items) = value else {
        faults.add("columns", format!("must be a list of columns, not {}", kind(value)));
        return None;
    };
    if items.is_empty() || items.len() > COLUMNS_MAX {
        faults.add("columns", format!("a table has 1 to {COLUMNS_MAX} columns, not {}", items.len()));
        return None;
    }
    let mut names = HashSet::new();
    let mut drafts = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("columns[{index}]");
        let draft = read_column(&path, item, faults);
        if let Some(name) = &draft.name
            && !names.insert(name.to_lowercase())
        {
            let message =
                format!("the name {} is taken; names differ in more than upper and lower case", quoted(name));
            faults.add(format!("{path}.name"), message);
        }
        drafts.push(draft);
    }
    Some(drafts)
}

fn read_column(path: &str, value: &Value, faults: &mut Faults) -> ColumnDraft {
    let Some(section) = faults.section(path, value, &COLUMN_KEYS) else {
        return ColumnDraft { name: None, data_type: None, column: None };
    };
    let name = section.required("name", faults, |value| {
        let name = text(value)?;
        check_column_name(name).map(|()| name.to_string())
    });
    let data_type = section.required("type", faults, |value| read_type(text(value)?));
    let nullable = section.optional("nullable", true, faults, boolean);
    let field = section.optional("path", None, faults, |value| FieldPath::parse(text(value)?).map(Some));
    let on_error = read_on_error(&section, faults);
    let index = read_index(&section, data_type.as_ref(), faults);
    if nullable == Some(false) && on_error == Some(OnError::Null) {
        faults.add(
            section.path_of("on_error"),
            "can't be null where nullable is false; use dead_letter or make it nullable",
        );
    }
    let column = || {
        let name = name.clone()?;
        let path = field?.unwrap_or_else(|| FieldPath::field(&name));
        Some(ColumnSpec {
            name,
            data_type: data_type.clone()?,
            nullable: nullable?,
            path,
            on_error: on_error?,
            index: index?,
        })
    };
    ColumnDraft { column: column(), name, data_type }
}

fn read_type(name: &str) -> Result<ColumnType, String> {
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("{} is not a type", quoted(name)));
    }
    // Inside braces YAML ends a text at its comma: {type: DECIMAL(12,2)} has the type `DECIMAL(12` and a key `2)`.
    match name.contains('(') && !name.contains(')') {
        true => Err(format!("{} is cut off at its comma; put quotes around the type", quoted(name))),
        false => name.parse(),
    }
}

/// `on_error: null` is YAML's null as well as the word.
fn read_on_error(section: &Section<'_>, faults: &mut Faults) -> Option<OnError> {
    let read = match section.fields.get("on_error") {
        None => Ok(OnError::default()),
        Some(Value::Null) => Ok(OnError::Null),
        Some(value) => text(value).and_then(|word| match word {
            "null" => Ok(OnError::Null),
            "dead_letter" => Ok(OnError::DeadLetter),
            other => Err(format!("{}: {}", quoted(other), suggestion(other, &["dead_letter", "null"]))),
        }),
    };
    faults.note(section.path_of("on_error"), read)
}

/// The names that a time column or sort key may mean, each with its type as far as it is known.
fn known_columns(drafts: &[ColumnDraft]) -> Vec<(&str, Option<ColumnType>)> {
    let own =
        drafts.iter().filter_map(|draft| draft.name.as_deref().map(|name| (name, draft.data_type.clone())));
    let stream = [
        (schema::TIMESTAMP_COLUMN, ColumnType::TimestampMillis),
        (schema::OFFSET_COLUMN, ColumnType::Long),
        (schema::KEY_COLUMN, ColumnType::String),
    ];
    own.chain(stream.map(|(name, data_type)| (name, Some(data_type)))).collect()
}

/// Checks that `name` is a column and that its type fits. Without `known` (the columns could not be read) nothing is said.
fn check_column_use(
    name: &str,
    known: Option<&[(&str, Option<ColumnType>)]>,
    fits: impl Fn(&ColumnType) -> Result<(), String>,
) -> Result<(), String> {
    let Some(known) = known else { return Ok(()) };
    match known.iter().find(|(column, _)| *column == name) {
        Some((_, Some(data_type))) => fits(data_type),
        Some((_, None)) => Ok(()),
        None => {
            let names: Vec<&str> = known.iter().map(|(column, _)| *column).collect();
            Err(format!("there is no column {}; {}", quoted(name), suggestion(name, &names)))
        }
    }
}

fn time_fits(data_type: &ColumnType) -> Result<(), String> {
    match data_type {
        ColumnType::TimestampMillis | ColumnType::TimestampMicros | ColumnType::Date => Ok(()),
        other => Err(format!("the time column must be a TIMESTAMP or a DATE, not {other}")),
    }
}

fn sort_fits(data_type: &ColumnType) -> Result<(), String> {
    match data_type {
        ColumnType::Array(_) => Err(format!("can't sort by {data_type}; name a column that is no array")),
        _ => Ok(()),
    }
}

fn read_sort_key(
    value: &Value,
    known: Option<&[(&str, Option<ColumnType>)]>,
    faults: &mut Faults,
) -> Option<Vec<String>> {
    let Value::Array(items) = value else {
        faults.add("sort_key", format!("must be a list of column names, not {}", kind(value)));
        return None;
    };
    if items.len() > SORT_COLUMNS_MAX {
        faults.add("sort_key", format!("at most {SORT_COLUMNS_MAX} columns, not {}", items.len()));
        return None;
    }
    let mut seen = HashSet::new();
    let read = |(index, item)| {
        let name = text(item).and_then(|name| {
            check_column_use(name, known, sort_fits)?;
            match seen.insert(name) {
                true => Ok(name.to_string()),
                false => Err(format!("{} stands in the sort key twice", quoted(name))),
            }
        });
        faults.note(format!("sort_key[{index}]"), name)
    };
    // Every item is read before the first `None` can end the list.
    let names: Vec<Option<String>> = items.iter().enumerate().map(read).collect();
    names.into_iter().collect()
}

fn read_seal(value: &Value, faults: &mut Faults) -> Option<SealSpec> {
    let section = faults.section("seal", value, &SEAL_KEYS)?;
    let default = SealSpec::default();
    let rows_max = section.optional("rows_max", default.rows_max, faults, |value| {
        let rows = read_number(value, parse_count)?;
        match (1..=SEAL_ROWS_LIMIT).contains(&rows) {
            true => Ok(rows),
            false => Err(format!("must be between 1 and {SEAL_ROWS_LIMIT} rows, not {rows}")),
        }
    });
    let bytes_max = section.optional("bytes_max", default.bytes_max, faults, |value| {
        let bytes = read_number(value, parse_size)?;
        let (least, most) = SEAL_BYTES_LIMITS;
        match (least..=most).contains(&bytes) {
            true => Ok(bytes),
            false => Err(format!("must be between {least} and {most} bytes, not {bytes}")),
        }
    });
    let age_max =
        section.optional("age_max", default.age_max, faults, |value| read_duration(value, SEAL_AGE_LIMITS));
    Some(SealSpec { rows_max: rows_max?, bytes_max: bytes_max?, age_max: age_max? })
}

fn read_number(value: &Value, parse: impl Fn(&str) -> Result<u64, String>) -> Result<u64, String> {
    match value {
        Value::String(text) => parse(text),
        other => {
            other.as_u64().ok_or_else(|| format!("must be a whole number, not negative, not {}", kind(other)))
        }
    }
}

fn read_replication(value: &Value) -> Result<u64, String> {
    match value.as_u64() {
        Some(nodes) if (1..=REPLICATION_MAX).contains(&nodes) => Ok(nodes),
        _ => Err(format!("must be a whole number from 1 to {REPLICATION_MAX}")),
    }
}

fn read_duration(value: &Value, (least, most): (Duration, Duration)) -> Result<Duration, String> {
    let Value::String(text) = value else {
        return Err(format!("must be a duration like 10m, 1h or 30d, not {}", kind(value)));
    };
    let duration = parse_duration(text)?;
    match (least..=most).contains(&duration) {
        true => Ok(duration),
        false => {
            Err(format!("must be between {} seconds and {} days", least.as_secs(), most.as_secs() / 86_400))
        }
    }
}

fn read_dead_letters(value: &Value, faults: &mut Faults) -> Option<DeadLetterTarget> {
    match value {
        Value::String(text) if text == "table" => Some(DeadLetterTarget::Table),
        Value::Object(_) => {
            let section = faults.section("dead_letters", value, &["topic"])?;
            section.required("topic", faults, read_topic).map(DeadLetterTarget::Topic)
        }
        other => {
            faults.add("dead_letters", format!("must be table or {{topic: NAME}}, not {}", kind(other)));
            None
        }
    }
}
