//! From a few messages of a topic to a table spec that a person can correct and apply.
//!
//! Pure: samples in, text out. `observe` counts what the fields of the samples hold, this file decides columns, types,
//! time column and sort key, and `text` writes the commented spec. Whatever the messages hold, the text is a spec that
//! `parse_spec` accepts (the brokers and the topic must be ones that it accepts).
//!
//! Nested objects become columns `parent_child` down to [`DEPTH_MAX`] levels; what is deeper, mixed or unknown is JSON,
//! which takes any value. Columns stay nullable: a sample never proves that a field is always there.

mod observe;
#[cfg(test)]
mod tests;
mod text;

use std::cmp::Reverse;
use std::collections::HashSet;

use headwater_segment::schema::ColumnType;
use headwater_segment::spec::{FieldPath, NAME_BYTES_MAX, PathStep, check_column_name, check_table_name};
use serde_json::Value;

use observe::{Observed, Shape};

/// Levels of nesting that get columns of their own: `a`, `a.b` and `a.b.c`.
const DEPTH_MAX: usize = 3;
/// More columns than this are left out (and counted in the text).
const COLUMNS_MAX: usize = 500;
/// Longest path, as text in bytes, that gets a column.
const PATH_BYTES_MAX: usize = 200;
/// Most brackets in a path or an example: a spec may have only so many of them.
const BRACKETS_MAX: usize = 4;
/// Columns that are sorted by before the time column.
const SORT_COLUMNS: usize = 2;

/// A spec guessed from samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferredSpec {
    /// Commented YAML, accepted by `parse_spec` as it is.
    pub text: String,
    /// How many samples are not a JSON object and said nothing about the columns.
    pub undecodable: usize,
}

/// One column as it will be written.
struct Candidate<'a> {
    name: String,
    path: FieldPath,
    data_type: ColumnType,
    observed: &'a Observed,
}

/// Guesses the spec of table `table` from messages of `topic`.
///
/// `brokers` is comma-separated `host:port`. A `table` that can't be a table's name is turned into one that can.
pub fn infer_spec(table: &str, brokers: &str, topic: &str, samples: &[Vec<u8>]) -> InferredSpec {
    let mut root = Observed::default();
    let mut undecodable = 0;
    for sample in samples {
        match serde_json::from_slice(sample) {
            Ok(value @ Value::Object(_)) => root.add(&value, 0),
            _ => undecodable += 1,
        }
    }
    let mut left_out = root.untracked_fields();
    let mut candidates = Vec::new();
    collect(&root, &mut Vec::new(), &mut candidates, &mut left_out);
    left_out += candidates.len().saturating_sub(COLUMNS_MAX);
    candidates.truncate(COLUMNS_MAX);
    name_columns(&mut candidates);

    let time_column = choose_time_column(&candidates);
    let draft = text::Draft {
        table: &table_name(table),
        brokers,
        topic,
        messages: samples.len() - undecodable,
        undecodable,
        left_out,
        sort_key: choose_sort_key(&candidates, time_column),
        time_column,
        columns: &candidates,
    };
    InferredSpec { text: draft.write(), undecodable }
}

/// Adds a column for every field below `parent`, depth first, in the order in which the messages name them.
fn collect<'a>(
    parent: &'a Observed,
    steps: &mut Vec<PathStep>,
    candidates: &mut Vec<Candidate<'a>>,
    left_out: &mut usize,
) {
    for (name, observed) in parent.fields() {
        steps.push(PathStep::Field(name.to_string()));
        if steps.len() < DEPTH_MAX && observed.is_flat_object() {
            collect(observed, steps, candidates, left_out);
        } else {
            let path = FieldPath::Payload(steps.clone());
            let written = path.to_string();
            if written.len() <= PATH_BYTES_MAX && text::brackets(&written) <= BRACKETS_MAX {
                let data_type = column_type(name, observed);
                candidates.push(Candidate { name: String::new(), path, data_type, observed });
            } else {
                *left_out += 1;
            }
        }
        steps.pop();
    }
}

/// The type that holds every value seen, but for faulty times.
fn column_type(name: &str, observed: &Observed) -> ColumnType {
    match observed.shape() {
        Shape::Integers { millis: true, .. } if names_a_time(name) => ColumnType::TimestampMillis,
        Shape::Integers { micros: true, .. } if names_a_time(name) => ColumnType::TimestampMicros,
        // A time with a fault now and then is a time; other text may have its reasons.
        Shape::Strings if names_a_time(name) => {
            scalar_type(observed.nearly_instants().map_or(Shape::Strings, |(instants, _)| instants))
        }
        Shape::Array => match observed.element().map(Observed::shape) {
            None | Some(Shape::Array | Shape::Object | Shape::Unknown | Shape::Mixed) => ColumnType::Json,
            Some(element) => ColumnType::Array(Box::new(scalar_type(element))),
        },
        Shape::Object | Shape::Unknown | Shape::Mixed => ColumnType::Json,
        scalar => scalar_type(scalar),
    }
}

fn scalar_type(shape: Shape) -> ColumnType {
    match shape {
        Shape::Booleans => ColumnType::Boolean,
        Shape::Integers { beyond_long: false, .. } => ColumnType::Long,
        Shape::Integers { beyond_long: true, .. } => ColumnType::Decimal(20, 0),
        Shape::Numbers => ColumnType::Double,
        Shape::Uuids => ColumnType::Uuid,
        Shape::Instants { finer_than_millis: false } => ColumnType::TimestampMillis,
        Shape::Instants { finer_than_millis: true } => ColumnType::TimestampMicros,
        Shape::Days => ColumnType::Date,
        Shape::Strings => ColumnType::String,
        Shape::Array | Shape::Object | Shape::Unknown | Shape::Mixed => ColumnType::Json,
    }
}

/// Whether a field's name says that it holds a time: `ts`, `eventTime`, `created_at`, `order-date`.
fn names_a_time(name: &str) -> bool {
    const TIME_WORDS: [&str; 5] = ["ts", "time", "timestamp", "datetime", "date"];
    let words = words_of(name);
    words.iter().any(|word| TIME_WORDS.contains(&word.as_str()))
        || words.last().is_some_and(|word| word == "at")
}

/// The words of `snake_case`, `camelCase` and `kebab-case`, in lower case.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("the list begins with one word").extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase() || c.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Gives every column a name of its own. Top-level fields whose names are column names keep them, whatever comes first.
fn name_columns(candidates: &mut [Candidate<'_>]) {
    let mut taken = HashSet::new();
    for candidate in candidates.iter_mut() {
        if let FieldPath::Payload(steps) = &candidate.path
            && let [PathStep::Field(name)] = steps.as_slice()
            && check_column_name(name).is_ok()
            && taken.insert(name.to_lowercase())
        {
            candidate.name = name.clone();
        }
    }
    for candidate in candidates.iter_mut().filter(|candidate| candidate.name.is_empty()) {
        let name = column_name(&candidate.path);
        let numbered = (2..).map(|number| format!("{}_{number}", cut(&name, NAME_BYTES_MAX - 8)));
        let free =
            std::iter::once(name.clone()).chain(numbered).find(|name| taken.insert(name.to_lowercase()));
        candidate.name = free.expect("numbers do not end before 500 columns are named");
    }
}

/// The steps of a path joined by `_`, with everything replaced that a column name can't have.
fn column_name(path: &FieldPath) -> String {
    let FieldPath::Payload(steps) = path else { return "field".into() };
    let names: Vec<&str> = steps
        .iter()
        .map(|step| match step {
            PathStep::Field(name) => name.as_str(),
            PathStep::Index(_) => "",
        })
        .collect();
    sanitised(&names.join("_"), "field", char::is_alphabetic, char::is_alphanumeric)
}

fn table_name(table: &str) -> String {
    match check_table_name(table) {
        Ok(()) => table.to_string(),
        Err(_) => sanitised(table, "events", |c| c.is_ascii_alphabetic(), |c| c.is_ascii_alphanumeric()),
    }
}

fn sanitised(name: &str, fallback: &str, first: fn(char) -> bool, later: fn(char) -> bool) -> String {
    let replaced: String = name.chars().map(|c| if later(c) { c } else { '_' }).collect();
    let name = match replaced.trim_matches('_') {
        "" => fallback.to_string(),
        trimmed if trimmed.starts_with(first) => trimmed.to_string(),
        trimmed => format!("_{trimmed}"),
    };
    cut(&name, NAME_BYTES_MAX).to_string()
}

/// The longest prefix of at most `bytes` bytes that ends between two characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The column that most likely holds the time of the event: there most often, an instant rather than a day, named like
/// one, and first.
fn choose_time_column(candidates: &[Candidate<'_>]) -> Option<usize> {
    const EVENT_WORDS: [&str; 6] = ["event", "ts", "timestamp", "time", "occurred", "created"];
    let fits = |candidate: &&Candidate<'_>| {
        use ColumnType::{Date, TimestampMicros, TimestampMillis};
        matches!(candidate.data_type, TimestampMillis | TimestampMicros | Date)
    };
    let rank = |(index, candidate): &(usize, &Candidate<'_>)| {
        let is_instant = candidate.data_type != ColumnType::Date;
        let says_event = words_of(&candidate.name).iter().any(|word| EVENT_WORDS.contains(&word.as_str()));
        (candidate.observed.values(), is_instant, says_event, Reverse(*index))
    };
    let indexed = candidates.iter().enumerate().filter(|(_, candidate)| fits(candidate));
    indexed.max_by_key(rank).map(|(index, _)| index)
}

/// The strings with the fewest different values (rows that are alike lie together and compress), then the time.
fn choose_sort_key(candidates: &[Candidate<'_>], time_column: Option<usize>) -> Vec<usize> {
    let mut strings: Vec<(usize, usize)> = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.data_type == ColumnType::String)
        .filter_map(|(index, candidate)| Some((candidate.observed.distinct_strings()?, index)))
        .filter(|(distinct, index)| *distinct > 1 && distinct * 2 <= candidates[*index].observed.values())
        .collect();
    strings.sort_unstable();
    strings.into_iter().take(SORT_COLUMNS).map(|(_, index)| index).chain(time_column).collect()
}
