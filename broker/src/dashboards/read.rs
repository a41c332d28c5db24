//! From JSON to a dashboard; every fault is listed, with its path.
//!
//! A document is taken whole or refused whole, and what is not known is refused: a misspelt key would be lost without a word.

use std::collections::BTreeSet;
use std::time::Duration;

use headwater_segment::spec::faults::{Faults, Section, kind, quoted, suggestion, text};
use headwater_segment::spec::{SpecFault, parse_duration};
use serde_json::Value;

use super::document::*;
use super::statement::PanelStatement;
use super::{TIME_FROM, TIME_TO};

const REFRESH_MS_DEFAULT: u64 = 5_000;
const LAST_DEFAULT: Duration = Duration::from_secs(15 * 60);
const NAME_BYTES_MAX: usize = 32;
const PANEL_ID_BYTES_MAX: usize = 64;
/// Names that mean something else in SQL.
const RESERVED: [&str; 7] = [TIME_FROM, TIME_TO, "partition", "offset", "timestamp", "key", "headers"];

/// Reads a document.
///
/// # Errors
/// All faults, with their paths.
pub fn read_dashboard(document: &Value) -> Result<Dashboard, Vec<SpecFault>> {
    let mut faults = Faults::default();
    let dashboard = dashboard(document, &mut faults);
    if let Some(dashboard) = &dashboard {
        stored_size(dashboard, &mut faults);
    }
    match dashboard {
        Some(dashboard) if faults.is_empty() => Ok(dashboard),
        _ => Err(faults.into_list()),
    }
}

/// Reads the length of a time range.
///
/// # Errors
/// If it is no duration, or out of bounds.
pub fn read_last(text: &str) -> Result<Duration, String> {
    let last = parse_duration(text)?;
    match (Duration::from_secs(1)..=LAST_MAX).contains(&last) {
        true => Ok(last),
        false => Err(format!("{} is not between 1s and {} days", quoted(text), LAST_MAX.as_secs() / 86_400)),
    }
}

/// What is kept has the defaults filled in, and is read with the same bound: it must not be larger than what was sent may be.
fn stored_size(dashboard: &Dashboard, faults: &mut Faults) {
    match serde_json::to_vec(dashboard) {
        Ok(stored) if stored.len() <= DOCUMENT_BYTES_MAX => {}
        Ok(stored) => {
            let message = format!(
                "has {} bytes once its defaults are filled in, at most {DOCUMENT_BYTES_MAX} are allowed; split it",
                stored.len()
            );
            faults.add("dashboard", message);
        }
        Err(error) => faults.add("dashboard", format!("cannot be written: {error}")),
    }
}

fn dashboard(document: &Value, faults: &mut Faults) -> Option<Dashboard> {
    if document.to_string().len() > DOCUMENT_BYTES_MAX {
        faults.add("dashboard", format!("has more than {DOCUMENT_BYTES_MAX} bytes; split it"));
        return None;
    }
    if !document.is_object() {
        faults.add("dashboard", format!("must be an object, not {}", kind(document)));
        return None;
    }
    let fields = faults.section("", document, &["title", "refresh_ms", "time", "variables", "panels"])?;
    let title = fields.required("title", faults, |value| title(value, 1));
    let refresh_ms = fields.optional("refresh_ms", REFRESH_MS_DEFAULT, faults, |value| {
        whole(value, REFRESH_MS_MIN, REFRESH_MS_MAX)
    });
    let last = match fields.get("time") {
        None => Some(LAST_DEFAULT),
        Some(time) => faults
            .section("time", time, &["last"])
            .and_then(|time| time.required("last", faults, |value| read_last(text(value)?))),
    };
    let variables = each(&fields, "variables", VARIABLES_MAX, faults, variable);
    no_name_twice("variables", "name", variables.iter().flatten().map(|variable| &variable.name), faults);
    // A fault of a variable would make its panels faulty too.
    let names: Option<BTreeSet<String>> =
        variables.as_ref().map(|all| all.iter().map(|variable| variable.name.clone()).collect());
    let panels = each(&fields, "panels", PANELS_MAX, faults, |path, value, faults| {
        panel(path, value, names.as_ref(), faults)
    });
    no_name_twice("panels", "id", panels.iter().flatten().map(|panel| &panel.id), faults);
    Some(Dashboard {
        title: title?,
        refresh_ms: refresh_ms?,
        time: TimeRange { last: last? },
        variables: variables?,
        panels: panels?,
    })
}

fn variable(path: &str, value: &Value, faults: &mut Faults) -> Option<Variable> {
    let fields = faults.section(path, value, &["name", "label", "kind", "values", "sql", "default"])?;
    let name = fields.required("name", faults, variable_name);
    let label = fields.optional("label", String::new(), faults, |value| title(value, 0));
    let is_list = fields.required("kind", faults, |value| match text(value)? {
        "text" => Ok(false),
        "list" => Ok(true),
        other => Err(format!("{} is not a kind; {}", quoted(other), suggestion(other, &["text", "list"]))),
    });
    let default = fields.optional("default", String::new(), faults, variable_value);
    let choice = match (is_list?, fields.get("values"), fields.get("sql")) {
        (false, None, None) => Some(Choice::Text),
        (false, ..) => {
            faults.add(path, "a variable of kind text has neither values nor sql");
            None
        }
        (true, Some(_), None) => {
            let values = each(&fields, "values", VALUES_MAX, faults, |path, value, faults| {
                faults.note(path, variable_value(value))
            });
            values.map(|values| Choice::List(ListValues::Values(values)))
        }
        (true, None, Some(_)) => {
            let sql = fields.required("sql", faults, |value| sql(value, Some(&BTreeSet::new())));
            sql.map(|sql| Choice::List(ListValues::Sql(sql)))
        }
        (true, ..) => {
            faults.add(path, "a variable of kind list has either values or sql");
            None
        }
    };
    let name = name?;
    let label = label.filter(|label| !label.is_empty()).unwrap_or_else(|| name.clone());
    Some(Variable { name, label, choice: choice?, default: default? })
}

fn panel(path: &str, value: &Value, names: Option<&BTreeSet<String>>, faults: &mut Faults) -> Option<Panel> {
    let keys = ["id", "title", "sql", "kind", "x", "y", "by", "at"];
    let fields = faults.section(path, value, &keys)?;
    let id = fields.required("id", faults, panel_id);
    let panel_title = fields.optional("title", String::new(), faults, |value| title(value, 0));
    let sql = fields.required("sql", faults, |value| sql(value, names));
    let panel_kind = fields.required("kind", faults, |value| {
        let name = text(value)?;
        let names = PanelKind::ALL.map(|(name, _)| name);
        let found = PanelKind::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        found.ok_or_else(|| format!("{} is not a kind; {}", quoted(name), suggestion(name, &names)))
    });
    let x = fields.optional("x", None, faults, |value| column(value).map(Some));
    let y = each(&fields, "y", DRAWN_MAX, faults, |path, value, faults| faults.note(path, column(value)));
    let by = fields.optional("by", None, faults, |value| column(value).map(Some));
    let at = fields.present("at", faults).and_then(|value| place(&fields.path_of("at"), value, faults));
    Some(Panel { id: id?, title: panel_title?, sql: sql?, kind: panel_kind?, x: x?, y: y?, by: by?, at: at? })
}

fn place(path: &str, value: &Value, faults: &mut Faults) -> Option<Place> {
    let fields = faults.section(path, value, &["x", "y", "w", "h"])?;
    let mut cells = |key: &str, from: u32, to: u32| {
        let cells = fields.required(key, faults, |value| whole(value, u64::from(from), u64::from(to)));
        cells.and_then(|cells| u32::try_from(cells).ok())
    };
    let (x, y) = (cells("x", 0, GRID_COLUMNS - 1), cells("y", 0, GRID_ROWS_MAX));
    let (w, h) = (cells("w", 1, GRID_COLUMNS), cells("h", 1, PANEL_ROWS_MAX));
    let place = Place { x: x?, y: y?, w: w?, h: h? };
    if place.x + place.w > GRID_COLUMNS {
        faults.add(path, format!("x + w is {}: the grid has {GRID_COLUMNS} columns", place.x + place.w));
        return None;
    }
    Some(place)
}

/// A list under a key, empty if there is none; `None` if something of it was refused.
fn each<T>(
    fields: &Section<'_>,
    key: &str,
    length_max: usize,
    faults: &mut Faults,
    mut read: impl FnMut(&str, &Value, &mut Faults) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(value) = fields.get(key) else { return Some(Vec::new()) };
    let path = fields.path_of(key);
    let Value::Array(values) = value else {
        faults.add(path, format!("must be a list, not {}", kind(value)));
        return None;
    };
    if values.len() > length_max {
        faults.add(path, format!("has {} entries, at most {length_max} are allowed", values.len()));
        return None;
    }
    let read: Vec<Option<T>> = values
        .iter()
        .enumerate()
        .map(|(index, value)| read(&format!("{path}[{index}]"), value, faults))
        .collect();
    read.into_iter().collect()
}

fn no_name_twice<'a>(list: &str, key: &str, names: impl Iterator<Item = &'a String>, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            faults.add(format!("{list}[{index}].{key}"), format!("{} is there already", quoted(name)));
        }
    }
}

/// A title of at least so many characters.
fn title(value: &Value, chars_min: usize) -> Result<String, String> {
    let title = text(value)?.trim();
    match title.chars().count() {
        count if count < chars_min => Err("must not be empty".into()),
        count if count > TITLE_CHARS_MAX => {
            Err(format!("has {count} characters, at most {TITLE_CHARS_MAX} are allowed"))
        }
        _ if title.chars().any(char::is_control) => Err("has control characters".into()),
        _ => Ok(title.to_string()),
    }
}

fn column(value: &Value) -> Result<String, String> {
    title(value, 1)
}

/// A statement; its placeholders are all among `names`, where these are known.
fn sql(value: &Value, names: Option<&BTreeSet<String>>) -> Result<String, String> {
    let sql = text(value)?;
    if sql.trim().is_empty() {
        return Err("must not be empty".into());
    }
    if sql.len() > SQL_BYTES_MAX {
        return Err(format!("has {} bytes, at most {SQL_BYTES_MAX} are allowed", sql.len()));
    }
    if let Some(names) = names {
        PanelStatement::new(sql, names).map_err(|error| error.to_string())?;
    }
    Ok(sql.to_string())
}

fn variable_name(value: &Value) -> Result<String, String> {
    let name = text(value)?;
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(letters);
    if !is_name || name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "{} is not a name; use a lower-case letter, then lower-case letters, digits and _, at most {NAME_BYTES_MAX}",
            quoted(name)
        ));
    }
    if RESERVED.contains(&name) {
        return Err(format!("${name} has a meaning of its own; choose another name"));
    }
    Ok(name.to_string())
}

/// Reads the value of a variable.
fn variable_value(value: &Value) -> Result<String, String> {
    let value = text(value)?;
    match value.len() {
        bytes if bytes > VALUE_BYTES_MAX => {
            Err(format!("has {bytes} bytes, at most {VALUE_BYTES_MAX} are allowed"))
        }
        _ => Ok(value.to_string()),
    }
}

fn panel_id(value: &Value) -> Result<String, String> {
    let id = text(value)?;
    let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match is_id && id.len() <= PANEL_ID_BYTES_MAX {
        true => Ok(id.to_string()),
        false => Err(format!(
            "{} is not an id; use letters, digits, _ and -, at most {PANEL_ID_BYTES_MAX}",
            quoted(id)
        )),
    }
}

fn whole(value: &Value, from: u64, to: u64) -> Result<u64, String> {
    let number = value.as_u64().ok_or_else(|| format!("must be a whole number, not {}", kind(value)))?;
    match (from..=to).contains(&number) {
        true => Ok(number),
        false => Err(format!("is {number}, must be from {from} to {to}")),
    }
}

#[cfg(test)]
mod tests;
