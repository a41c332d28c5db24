//! Which indexes a column's sealed segments have: `index: none`, or `index: [inverted, bloom]`.
//!
//! Whether an index fits its column's type is decided here, when the spec is read; the writer relies on it.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::faults::{Faults, Section, kind, quoted, suggestion, text};
use crate::schema::ColumnType;

/// Most digits of a DECIMAL whose unscaled values an index can hold (as 64-bit integers).
const INDEXED_DECIMAL_DIGITS_MAX: u8 = 18;

const NAMES: [&str; 2] = ["inverted", "bloom"];

/// The indexes that a spec names for a column, instead of those that the rules would choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexSet {
    /// For each distinct value the rows that hold it.
    pub inverted: bool,
    /// Whether a value may be in a segment at all.
    pub bloom: bool,
}

impl IndexSet {
    fn flags(self) -> [(&'static str, bool); 2] {
        let [inverted, bloom] = NAMES;
        [(inverted, self.inverted), (bloom, self.bloom)]
    }

    fn flag(&mut self, name: &str) -> Result<&mut bool, String> {
        match name {
            "inverted" => Ok(&mut self.inverted),
            "bloom" => Ok(&mut self.bloom),
            // Specs of earlier versions name it.
            "range" => {
                Err("there is no range index any more: comparisons scan a column's codes faster than \
                            they read one; leave it out"
                    .into())
            }
            other => Err(format!("{}: {}", quoted(other), suggestion(other, &NAMES))),
        }
    }

    /// Why an index does not fit a type; `None` if all do.
    fn misfit(self, data_type: &ColumnType) -> Option<String> {
        let inverted = match data_type {
            ColumnType::Float | ColumnType::Double | ColumnType::Array(_) => false,
            ColumnType::Decimal(digits, _) => *digits <= INDEXED_DECIMAL_DIGITS_MAX,
            _ => true,
        };
        let bloom = match data_type {
            ColumnType::Int | ColumnType::Long | ColumnType::Date => true,
            ColumnType::TimestampMillis | ColumnType::TimestampMicros => true,
            other => other.is_bytes_like(),
        };
        let fits = [inverted, bloom];
        let (name, _) = self.flags().into_iter().zip(fits).find(|((_, on), fits)| *on && !fits)?.0;
        Some(format!("{data_type} has no {name} index"))
    }
}

impl Serialize for IndexSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::default() {
            return serializer.serialize_str("none");
        }
        let mut names = serializer.serialize_seq(None)?;
        for (name, on) in self.flags() {
            if on {
                names.serialize_element(name)?;
            }
        }
        names.end()
    }
}

/// Reads a column's `index`; the type is checked if it could be read.
pub(super) fn read_index(
    section: &Section<'_>,
    data_type: Option<&ColumnType>,
    faults: &mut Faults,
) -> Option<Option<IndexSet>> {
    let Some(value) = section.get("index") else {
        return Some(None);
    };
    let path = section.path_of("index");
    let read = read_names(value, &path, faults)?;
    if let Some(misfit) = data_type.and_then(|data_type| read.misfit(data_type)) {
        faults.add(path, misfit);
        return None;
    }
    Some(Some(read))
}

fn read_names(value: &Value, path: &str, faults: &mut Faults) -> Option<IndexSet> {
    let items = match value {
        Value::String(word) if word == "none" => return Some(IndexSet::default()),
        Value::Array(items) if !items.is_empty() => items,
        Value::Array(_) => {
            faults.add(path, "names no index; write none to have none");
            return None;
        }
        Value::String(word) => {
            faults.add(path, format!("must be none or a list such as [inverted], not {}", quoted(word)));
            return None;
        }
        other => {
            faults.add(path, format!("must be none or a list of inverted, bloom, not {}", kind(other)));
            return None;
        }
    };
    let mut set = IndexSet::default();
    let mut good = true;
    for (index, item) in items.iter().enumerate() {
        let read = text(item).and_then(|name| match std::mem::replace(set.flag(name)?, true) {
            true => Err(format!("{} is named twice", quoted(name))),
            false => Ok(()),
        });
        good &= faults.note(format!("{path}[{index}]"), read).is_some();
    }
    good.then_some(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SegmentError;
    use crate::spec::parse_spec;

    #[test]
    fn indexes_are_read_checked_and_written_back() {
        let spec = |index: &str| {
            parse_spec(&format!(
                "name: t\nstream: {{brokers: 'a:1', topic: t}}\ncolumns:\n  - {{name: n, type: LONG{index}}}\n  - {{name: f, type: DOUBLE}}\n"
            ))
        };
        let index = |text: &str| spec(text).unwrap().columns[0].index;
        assert_eq!(index(""), None);
        assert_eq!(index(", index: null"), None);
        assert_eq!(index(", index: none"), Some(IndexSet::default()));
        let two = IndexSet { inverted: true, bloom: true };
        assert_eq!(index(", index: [bloom, inverted]"), Some(two));
        for text in ["", ", index: none", ", index: [bloom]", ", index: [inverted, bloom]"] {
            let spec = spec(text).unwrap();
            assert_eq!(parse_spec(&spec.to_json()).unwrap(), spec);
            assert_eq!(parse_spec(&spec.to_yaml()).unwrap(), spec);
        }
        let fault = |text: &str| match spec(text) {
            Err(SegmentError::Spec(faults)) => {
                faults.iter().map(|fault| fault.to_string()).collect::<String>()
            }
            other => panic!("{other:?}"),
        };
        let cases = [
            (", index: inverted", "columns[0].index: must be none or a list"),
            (", index: []", "columns[0].index: names no index"),
            (", index: 7", "columns[0].index: must be none or a list"),
            (", index: [inverted, invertd]", "columns[0].index[1]: \"invertd\": did you mean inverted?"),
            (", index: [bloom, bloom]", "columns[0].index[1]: \"bloom\" is named twice"),
            (", index: [[]]", "columns[0].index[0]:"),
            (", index: [bloom, range]", "columns[0].index[1]: there is no range index any more"),
        ];
        for (text, expected) in cases {
            assert!(fault(text).starts_with(expected), "{}", fault(text));
        }
    }

    #[test]
    fn an_index_must_fit_its_type() {
        let misfits = [
            ("DOUBLE", "inverted"),
            ("FLOAT", "bloom"),
            ("BOOLEAN", "bloom"),
            ("'ARRAY<LONG>'", "inverted"),
            ("'DECIMAL(19,2)'", "inverted"),
            ("'DECIMAL(9,2)'", "bloom"),
        ];
        let parse = |data_type: &str, index: &str| {
            parse_spec(&format!(
                "name: t\nstream: {{brokers: 'a:1', topic: t}}\ncolumns: [{{name: c, type: {data_type}, index: [{index}]}}]\n"
            ))
        };
        for (data_type, index) in misfits {
            let error = parse(data_type, index).unwrap_err().to_string();
            assert!(
                error.contains("columns[0].index") && error.contains(&format!("has no {index} index")),
                "{error}"
            );
        }
        for (data_type, index) in
            [("BOOLEAN", "inverted"), ("BYTES", "bloom"), ("'DECIMAL(18,2)'", "inverted")]
        {
            assert!(parse(data_type, index).is_ok(), "{data_type} {index}");
        }
    }
}
