//! Which indexes a column's sealed segments have: `index: none`, or `index: [inverted, bloom, range]`.
//!
//! Whether an index fits its column's type is decided here, when the spec is read; the writer relies on it.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::faults::{Faults, Section, kind, quoted, suggestion, text};
use crate::schema::ColumnType;

/// Most digits of a DECIMAL whose unscaled values an index can hold (as 64-bit integers).
pub const RANGE_DECIMAL_DIGITS_MAX: u8 = 18;

const NAMES: [&str; 3] = ["inverted", "bloom", "range"];

/// The indexes that a spec names for a column, instead of those that the rules would choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexSet {
    /// For each distinct value the rows that hold it.
    pub inverted: bool,
    /// Whether a value may be in a segment at all.
    pub bloom: bool,
    /// The rows of ranges of values.
    pub range: bool,
}

impl IndexSet {
    fn flags(self) -> [(&'static str, bool); 3] {
        let [inverted, bloom, range] = NAMES;
        [(inverted, self.inverted), (bloom, self.bloom), (range, self.range)]
    }

    fn flag(&mut self, name: &str) -> Result<&mut bool, String> {
        match name {
            "inverted" => Ok(&mut self.inverted),
            "bloom" => Ok(&mut self.bloom),
            "range" => Ok(&mut self.range),
            other => Err(format!("{}: {}", quoted(other), suggestion(other, &NAMES))),
        }
    }

    /// Why an index does not fit a type; `None` if all do.
    fn misfit(self, data_type: &ColumnType) -> Option<String> {
        let short_decimal = |digits: &u8| *digits <= RANGE_DECIMAL_DIGITS_MAX;
        let inverted = match data_type {
            ColumnType::Float | ColumnType::Double | ColumnType::Array(_) => false,
            ColumnType::Decimal(digits, _) => short_decimal(digits),
            _ => true,
        };
        let bloom = match data_type {
            ColumnType::Int | ColumnType::Long | ColumnType::Date => true,
            ColumnType::TimestampMillis | ColumnType::TimestampMicros => true,
            other => other.is_bytes_like(),
        };
        let range = match data_type {
            ColumnType::Boolean | ColumnType::Array(_) => false,
            ColumnType::Decimal(digits, _) => short_decimal(digits),
            other => !other.is_bytes_like(),
        };
        let fits = [inverted, bloom, range];
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
            faults
                .add(path, format!("must be none or a list of inverted, bloom, range, not {}", kind(other)));
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
