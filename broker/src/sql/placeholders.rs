//! Where a text names values that it does not hold (`$city`, `$time_from`), and which words it has.
//!
//! For texts that are templates, such as the SQL of a dashboard's panel: the values travel as parameters, and never become
//! part of the text.

use std::collections::BTreeSet;
use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use super::tokens::{is_stream_column, tokenize};
use crate::QueryError;

/// One `$name` of a text, stream columns (`$offset`, …) not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    /// Without the `$`.
    pub(crate) name: String,
    /// Where it stands, `$` included.
    pub(crate) bytes: Range<usize>,
    /// Line and column, both from 1.
    pub(crate) position: (u64, u64),
}

/// What a text mentions.
#[derive(Debug, Default)]
pub(crate) struct Mentioned {
    /// In the order of the text. What stands in strings and comments is text, and not here.
    pub(crate) placeholders: Vec<Placeholder>,
    /// Names and keywords, in lower case.
    pub(crate) words: BTreeSet<String>,
}

/// Takes a text apart; it need not be a whole statement. Fails with `Parse` if it cannot be split into tokens.
pub(crate) fn mentioned(sql: &str) -> Result<Mentioned, QueryError> {
    let lines = LineStarts::of(sql);
    let mut mentioned = Mentioned::default();
    for token in tokenize(sql)? {
        match &token.token {
            Token::Placeholder(text) if !is_stream_column(text) => {
                let from = lines.byte_of(sql, token.span.start);
                mentioned.placeholders.push(Placeholder {
                    name: text.trim_start_matches('$').to_string(),
                    bytes: from..from + text.len(),
                    position: (token.span.start.line, token.span.start.column),
                });
            }
            Token::Word(word) => {
                mentioned.words.insert(word.value.to_lowercase());
            }
            _ => {}
        }
    }
    Ok(mentioned)
}

/// The byte at which each line starts: the tokenizer counts lines and characters.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn of(text: &str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(after_breaks).collect())
    }

    fn byte_of(&self, text: &str, location: Location) -> usize {
        let line = (location.line as usize).saturating_sub(1).min(self.0.len() - 1);
        let start = self.0[line];
        let column = (location.column as usize).saturating_sub(1);
        text[start..].char_indices().nth(column).map_or(text.len(), |(at, _)| start + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_where_they_stand() {
        let sql = "SELECT 'ü $no', \"$no\", $offset -- $no\nFROM t /* $no */\n\tWHERE ü = $city AND a > $1 AND b=$city_2";
        let found = mentioned(sql).unwrap();
        let names: Vec<_> = found.placeholders.iter().map(|place| place.name.as_str()).collect();
        assert_eq!(names, ["city", "1", "city_2"]);
        for place in &found.placeholders {
            assert_eq!(sql[place.bytes.clone()], format!("${}", place.name));
        }
        assert_eq!(found.placeholders[0].position, (3, 12));
        assert!(found.words.contains("where") && found.words.contains("t"));
        assert!(!found.words.contains("no"));
    }

    #[test]
    fn texts_that_are_not_sql_do_no_harm() {
        for sql in ["", "$", "$$", "'", "$a$", "\u{feff}$a", "a\r\n$b", "\n\n\n$x"] {
            if let Ok(found) = mentioned(sql) {
                for place in found.placeholders {
                    assert!(
                        sql.is_char_boundary(place.bytes.start) && place.bytes.end <= sql.len(),
                        "{sql:?}"
                    );
                }
            }
        }
    }
}
