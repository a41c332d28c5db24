//! What is said of a call that cannot be planned. DataFusion names the function and the types in the words of Arrow, after every
//! signature that did not fit, and prints syntax as its tree.

use std::fmt::{self, Write};
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::visit_expressions;

use crate::render::types::sql_type;

/// What DataFusion says of a call whose arguments fit no signature: the call, then the signatures.
const NO_MATCH: &str = "No function matches the given name and argument types '";
const CANDIDATES: &str = "Candidate functions:\n";
/// What it says before a function's own words.
const OWN_WORDS: &str = "user-defined coercion failed with: Error during planning: ";
/// What every tree of syntax has.
const TREE: &str = "Span(Location(";
/// What it says of `substr(x)`, before a tree that is none of the statement's, and after the text in it.
const NO_START: (&str, &str) =
    ("Substring without for/from is not valid Substring { expr: ", ", substring_from: None");

/// `sum does not take a STRING`; `None`: the error is another one.
pub(super) fn refused_call(text: &str) -> Option<String> {
    let (before, call) = text.split_once(NO_MATCH)?;
    if let Some((_, words)) = before.split_once(OWN_WORDS) {
        let words = words.lines().next().unwrap_or(words).trim_end();
        return Some(words.trim_end_matches('.').to_owned());
    }
    let (name, types) = call.split_once("'. You might")?.0.split_once('(')?;
    let types = parts(types.strip_suffix(')')?);
    let candidates = call.split_once(CANDIDATES).map_or("", |(_, candidates)| candidates);
    if let Some(wanted) = counts(candidates).filter(|counts| !counts.contains(&types.len())) {
        let wanted: Vec<String> = wanted.iter().map(usize::to_string).collect();
        let noun = if wanted == ["1"] { "argument" } else { "arguments" };
        return Some(format!("{name} takes {} {noun}, not {}", wanted.join(" or "), types.len()));
    }
    let types: Vec<String> = types.into_iter().map(type_of).collect();
    Some(match types.as_slice() {
        [] => format!("{name} does not go without arguments"),
        [one] if one.starts_with(['A', 'I', 'U']) => format!("{name} does not take an {one}"),
        [one] => format!("{name} does not take a {one}"),
        several => format!("{name} does not take ({})", several.join(", ")),
    })
}

/// How many arguments the signatures have, in order; `None`: any number.
fn counts(candidates: &str) -> Option<Vec<usize>> {
    let mut counts = Vec::new();
    for candidate in candidates.lines().filter(|line| !line.trim().is_empty()) {
        let arguments = candidate.trim().split_once('(')?.1.strip_suffix(')')?;
        if ["..", "UserDefined", "CoercibleT"].iter().any(|open| arguments.contains(open)) {
            return None;
        }
        counts.push(parts(arguments).len());
    }
    counts.sort_unstable();
    counts.dedup();
    (!counts.is_empty()).then_some(counts)
}

/// What commas part, those in brackets and quotes aside.
fn parts(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (place, letter) in list.char_indices() {
        match letter {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(list[start..place].trim());
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(list[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// The name of Arrow's type in SQL.
fn type_of(arrow: &str) -> String {
    match arrow.parse::<DataType>() {
        Ok(data_type) => sql_type(&Field::new("", data_type, true)),
        Err(_) => arrow.to_owned(),
    }
}

/// `Cannot cast string 'Oslo' to a LONG`, with what may have asked for that; `None`: the error is another one.
pub(super) fn refused_cast(text: &str) -> Option<String> {
    let (value, target) = text.strip_prefix("Cannot cast string ")?.rsplit_once(" to value of ")?;
    let target = type_of(target.strip_suffix(" type")?);
    Some(format!(
        "Cannot cast string {value} to {target}: a STRING is cast to {target}, or stands beside one that it is compared or \
         calculated with; write TRY_CAST to get NULL, or quotes around the constant to compare texts"
    ))
}

/// The message with SQL in the place of the tree of a part of the statement.
pub(super) fn as_sql(message: &str, statement: &Statement) -> Option<String> {
    let Statement::Statement(statement) = statement else { return None };
    if !message.contains(TREE) {
        return None;
    }
    let mut written = None;
    let _: ControlFlow<()> = visit_expressions(statement.as_ref(), |expr| {
        // Trees that are larger than the message are not in it. An expression that is the whole of a larger one comes later.
        let mut tree = AtMost { text: String::new(), bytes_max: message.len() };
        if write!(tree, "{expr:?}").is_ok() && message.contains(&tree.text) {
            written = Some(message.replace(&tree.text, &expr.to_string()));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    written.map(|written| substr_of(&written).unwrap_or(written))
}

fn substr_of(message: &str) -> Option<String> {
    let (text, _) = message.strip_prefix(NO_START.0)?.rsplit_once(NO_START.1)?;
    Some(format!("substr({text}) does not say where to begin: write substr({text}, 1)"))
}

/// A text that ends being written once it is too long.
struct AtMost {
    text: String,
    bytes_max: usize,
}

impl Write for AtMost {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.text.len() + part.len() > self.bytes_max {
            return Err(fmt::Error);
        }
        self.text.push_str(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(before: &str, call: &str, candidates: &[&str]) -> Option<String> {
        let candidates: Vec<String> = candidates.iter().map(|one| format!("\t{one}")).collect();
        let candidates = candidates.join("\n");
        refused_call(&format!(
            "{before}. {NO_MATCH}{call}'. You might need to add explicit type casts.\n\t{CANDIDATES}{candidates}"
        ))
    }

    #[test]
    fn a_call_is_refused_by_its_types_or_their_number() {
        let internal =
            "Internal error: Function 'sum' failed to match any signature, errors: a,b.\nThis issue";
        let numbers = ["sum(Decimal)", "sum(Float64)"];
        let cases: [(&str, &str, &[&str], &str); 8] = [
            (internal, "sum(Utf8View)", &numbers, "sum does not take a STRING"),
            (internal, "sum(Int32)", &numbers, "sum does not take an INT"),
            (
                internal,
                "sum(List(Utf8View, field: 'element'))",
                &numbers,
                "sum does not take an ARRAY<STRING>",
            ),
            (internal, "sum(Int64, Int64)", &numbers, "sum takes 1 argument, not 2"),
            ("", "f(Int64)", &["f(Utf8, Int64)", "f(Utf8, Int64, Utf8)"], "f takes 2 or 3 arguments, not 1"),
            ("", "f(Utf8, Boolean)", &["f(Utf8, Int64)"], "f does not take (STRING, BOOLEAN)"),
            ("", "round()", &["round(Any, ..)"], "round does not go without arguments"),
            (
                "Execution error: Function 'mode' user-defined coercion failed with: Error during planning: mode wants x",
                "mode(Utf8)",
                &["mode(UserDefined)"],
                "mode wants x",
            ),
        ];
        for (before, call, candidates, expected) in cases {
            assert_eq!(said(before, call, candidates).as_deref(), Some(expected), "{call}");
        }
        assert_eq!(refused_call("there is no such thing"), None);
    }

    #[test]
    fn a_part_of_a_text_begins_somewhere() {
        let (before, after) = NO_START;
        let said = substr_of(&format!("{before}lower(city){after}, substring_for: None }}")).unwrap();
        assert_eq!(said, "substr(lower(city)) does not say where to begin: write substr(lower(city), 1)");
    }

    #[test]
    fn a_text_that_is_no_number() {
        let said = refused_cast("Cannot cast string 'a to value of b' to value of Int64 type").unwrap();
        assert!(said.starts_with("Cannot cast string 'a to value of b' to LONG: "), "{said}");
        assert_eq!(refused_cast("Cannot cast to Int32"), None);
    }
}
