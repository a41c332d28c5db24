//! The fault collector of documents that users write (table specs, dashboards): every reader adds what is wrong with its part
//! and the walk goes on, so that one answer lists all.
//!
//! A reader that yields `None` has added a fault. Paths and messages quote at most [`QUOTED_CHARS_MAX`] characters
//! of the user's text, and a list holds at most [`FAULTS_MAX`] faults.

use serde_json::{Map, Value};

use super::SpecFault;

/// After this many faults the rest is summed up in one line.
const FAULTS_MAX: usize = 1_000;
/// How much of a name or value is repeated in a fault.
const QUOTED_CHARS_MAX: usize = 80;
/// The nearest name is only sought for names up to this long (the search is quadratic in it).
const SUGGEST_BYTES_MAX: usize = 64;

/// The faults found so far.
#[derive(Default)]
pub struct Faults {
    list: Vec<SpecFault>,
}

impl Faults {
    /// Notes that `message` is wrong at `path`.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        match self.list.len() {
            len if len < FAULTS_MAX => {
                self.list.push(SpecFault { path: path.into(), message: message.into() });
            }
            FAULTS_MAX => self.list.push(SpecFault {
                path: "spec".into(),
                message: format!("more than {FAULTS_MAX} faults; the rest is not listed"),
            }),
            _ => {}
        }
    }

    /// Unwraps a reader's result, noting its error.
    pub fn note<T>(&mut self, path: impl Into<String>, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(path, message)).ok()
    }

    /// Opens a mapping and notes every key that is not one of `keys`.
    pub fn section<'a>(&mut self, path: &str, value: &'a Value, keys: &[&str]) -> Option<Section<'a>> {
        let Value::Object(fields) = value else {
            let keys = keys.join(", ");
            let place = if path.is_empty() { "spec" } else { path };
            self.add(place, format!("must be a mapping with the keys {keys}, not {}", kind(value)));
            return None;
        };
        let section = Section::new(path, fields);
        for key in fields.keys().filter(|key| !keys.contains(&key.as_str())) {
            self.add(section.path_of(key), format!("no such key; {}", suggestion(key, keys)));
        }
        Some(section)
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The faults in the order in which they were found.
    pub fn into_list(self) -> Vec<SpecFault> {
        self.list
    }
}

/// A mapping of the spec and its path. A key whose value is null counts as absent.
pub struct Section<'a> {
    path: String,
    /// Its keys and values.
    pub fields: &'a Map<String, Value>,
}

impl<'a> Section<'a> {
    /// A mapping whose keys are not fixed.
    pub fn new(path: &str, fields: &'a Map<String, Value>) -> Self {
        Self { path: path.to_string(), fields }
    }

    /// The path of one of this mapping's keys.
    pub fn path_of(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-$".contains(c));
        match (bare && key.len() <= QUOTED_CHARS_MAX, self.path.is_empty()) {
            (true, true) => key.to_string(),
            (true, false) => format!("{}.{key}", self.path),
            (false, _) => format!("{}[{}]", self.path, quoted(key)),
        }
    }

    /// The value of a key that may be there.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// The value of a key that must be there.
    pub fn present(&self, key: &str, faults: &mut Faults) -> Option<&'a Value> {
        let value = self.get(key);
        if value.is_none() {
            faults.add(self.path_of(key), "missing; this key is needed");
        }
        value
    }

    /// Reads a key that must be there.
    pub fn required<T>(
        &self,
        key: &str,
        faults: &mut Faults,
        read: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.present(key, faults)?;
        faults.note(self.path_of(key), read(value))
    }

    /// Reads a key that has a default.
    pub fn optional<T>(
        &self,
        key: &str,
        default: T,
        faults: &mut Faults,
        read: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Option<T> {
        match self.get(key) {
            Some(value) => faults.note(self.path_of(key), read(value)),
            None => Some(default),
        }
    }
}

/// Reads text.
pub fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Bool(_) => {
            Err(format!("must be text, not {}; put quotes around it", kind(value)))
        }
        _ => Err(format!("must be text, not {}", kind(value))),
    }
}

/// Reads `true` or `false`.
pub fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("must be true or false, not {}", kind(value)))
}

/// What a value is, in words.
pub fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
    }
}

/// The user's text in quotes, escaped and cut.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// `did you mean X?` where a name is near, else the list of what is allowed.
pub fn suggestion(name: &str, allowed: &[&str]) -> String {
    let folded = name.to_lowercase();
    let nearest = allowed
        .iter()
        .filter(|candidate| folded.len().max(candidate.len()) <= SUGGEST_BYTES_MAX)
        .map(|candidate| (edit_distance(&folded, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= 2.min(candidate.len() / 2))
        .min();
    match nearest {
        Some((_, candidate)) => format!("did you mean {candidate}?"),
        None if allowed.len() > 20 => format!("there are {} to choose from", allowed.len()),
        None => format!("allowed: {}", allowed.join(", ")),
    }
}

/// Levenshtein distance in characters.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(suggestion("colums", &["name", "columns"]), "did you mean columns?");
        assert_eq!(suggestion("Name", &["name", "columns"]), "did you mean name?");
        assert_eq!(suggestion("zzz", &["name", "columns"]), "allowed: name, columns");
    }

    #[test]
    fn the_list_of_faults_is_bounded() {
        let mut faults = Faults::default();
        for _ in 0..5_000 {
            faults.add("a", "b");
        }
        assert_eq!(faults.into_list().len(), FAULTS_MAX + 1);
        assert!(quoted(&"ü".repeat(1 << 20)).len() < 1_000);
    }
}
