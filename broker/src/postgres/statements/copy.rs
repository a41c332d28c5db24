//! `COPY … TO STDOUT`: the query whose rows go out, and in which form.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Places, Words};
use crate::postgres::copy::CopyForm;
use crate::postgres::errors::{Failure, NOT_SUPPORTED};

/// A copy to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::postgres) struct Copy {
    pub(in crate::postgres) query: String,
    /// The byte of the statement at which the query stands; `None` if it is made from the name of a table.
    pub(in crate::postgres) query_at: Option<usize>,
    pub(in crate::postgres) form: CopyForm,
}

impl Copy {
    /// Bytes that it holds.
    pub(in crate::postgres) fn size(&self) -> usize {
        size_of::<Self>() + self.query.len() + self.form.size()
    }
}

impl Words<'_> {
    pub(super) fn copy(&self) -> Result<Copy, Failure> {
        let is_query = self.is_token(1, &Token::LParen);
        let end = match is_query {
            true => self.behind_brackets(1),
            // A name, and the columns that are wanted of it.
            false => (2..self.tokens.len()).find(|at| matches!(self.word(*at).as_str(), "to" | "from")),
        };
        let end = end.ok_or_else(|| self.no_copy("TO STDOUT is missing"))?;
        match (self.word(end).as_str(), self.word(end + 1).as_str()) {
            ("to", "stdout") => {}
            ("from", _) => return Err(Failure::new("25006", "COPY FROM is refused: this server only reads")),
            ("to", _) => {
                let message =
                    "COPY writes to the client only: COPY … TO STDOUT, or \\copy … TO 'file' in psql";
                return Err(Failure::new(NOT_SUPPORTED, message));
            }
            _ => return Err(self.no_copy("TO STDOUT is missing")),
        }
        let form = CopyForm::of(&self.options(end + 2)?)?;
        let (query, query_at) = self.query(is_query, end);
        Ok(Copy { query, query_at, form })
    }

    fn no_copy(&self, reason: &str) -> Failure {
        Failure::new("42601", format!("{reason}: COPY (SELECT …) TO STDOUT, in {}", self.start()))
    }

    fn is_token(&self, at: usize, token: &Token) -> bool {
        self.tokens.get(at).is_some_and(|found| found.token == *token)
    }

    /// The place behind the bracket that closes the one at `at`.
    fn behind_brackets(&self, at: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(at) {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return Some(at + 1);
            }
        }
        None
    }

    fn query(&self, is_query: bool, end: usize) -> (String, Option<usize>) {
        let mut places = Places::new(self.sql);
        let mut text = |from: usize, to: usize| {
            let start = places.at(self.tokens[from].span.start).0;
            (start, &self.sql[start..places.at(self.tokens[to - 1].span.end).0])
        };
        if is_query {
            let (start, query) = text(2, end - 1);
            return (query.to_owned(), Some(start));
        }
        let bracket = (2..end).find(|at| self.is_token(*at, &Token::LParen));
        let (_, table) = text(1, bracket.unwrap_or(end));
        let columns = match bracket {
            Some(bracket) if bracket + 2 < end => text(bracket + 1, end - 1).1,
            _ => "*",
        };
        (format!("SELECT {columns} FROM {table}"), None)
    }

    /// `WITH (FORMAT csv, HEADER)`, or `CSV HEADER` as it was written before there were brackets.
    fn options(&self, at: usize) -> Result<Vec<(String, String)>, Failure> {
        let mut at = if self.word(at) == "with" { at + 1 } else { at };
        let has_brackets = self.is_token(at, &Token::LParen);
        at += usize::from(has_brackets);
        let mut options = Vec::new();
        while at < self.tokens.len() && !self.is_token(at, &Token::RParen) {
            let name = self.word(at);
            at += 1;
            if matches!((has_brackets, name.as_str()), (false, "csv" | "binary")) {
                options.push(("format".to_owned(), name));
                continue;
            }
            // Without brackets HEADER has no value, and the others may have a word before theirs.
            let has_value = has_brackets || name != "header";
            at += usize::from(!has_brackets && self.word(at) == "as");
            let value = match self.option_value(at).filter(|_| has_value) {
                Some(value) => {
                    at += 1;
                    value
                }
                None => String::new(),
            };
            if name.is_empty() {
                return Err(self.no_copy("an option of COPY is not understood"));
            }
            options.push((name, value));
            at += usize::from(has_brackets && self.is_token(at, &Token::Comma));
        }
        let is_whole = match has_brackets {
            true => self.is_token(at, &Token::RParen) && at + 1 == self.tokens.len(),
            false => at == self.tokens.len(),
        };
        match is_whole {
            true => Ok(options),
            false => Err(self.no_copy("the options of COPY are not understood")),
        }
    }

    fn option_value(&self, at: usize) -> Option<String> {
        match &self.tokens.get(at)?.token {
            Token::Word(word) => Some(word.value.clone()),
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Some(text.clone()),
            Token::Number(number, _) => Some(number.clone()),
            Token::Mul => Some("*".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Kind, kind_of};
    use super::*;

    fn copy(sql: &str) -> Copy {
        match kind_of(sql) {
            Ok(Kind::Command(Command::Copy(copy))) => *copy,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn the_query_of_a_copy_is_found() {
        let cases = [
            ("COPY (SELECT 'é)', (1)) TO STDOUT", "SELECT 'é)', (1)", Some(6)),
            ("copy  ( select 1 ) to stdout with csv header", "select 1", Some(8)),
            ("COPY rides TO STDOUT", "SELECT * FROM rides", None),
            (
                "COPY public.\"Rides\" (id, \"at\") TO STDOUT;",
                "SELECT id, \"at\" FROM public.\"Rides\"",
                None,
            ),
        ];
        for (sql, query, at) in cases {
            let found = copy(sql);
            assert_eq!((found.query.as_str(), found.query_at), (query, at), "{sql}");
        }
    }

    #[test]
    fn options_are_read_in_both_spellings() {
        let form = |options: &[(&str, &str)]| {
            let owned: Vec<_> =
                options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            CopyForm::of(&owned).unwrap()
        };
        let csv = form(&[("format", "csv"), ("header", ""), ("delimiter", ";"), ("null", "-")]);
        for (options, expected) in [
            ("", form(&[])),
            ("(FORMAT binary)", form(&[("format", "binary")])),
            ("BINARY", form(&[("format", "binary")])),
            ("WITH (FORMAT csv, HEADER, DELIMITER ';', NULL '-')", csv.clone()),
            ("(format 'csv', header true, delimiter ';', null '-')", csv.clone()),
            ("WITH CSV HEADER DELIMITER AS ';' NULL AS '-'", csv.clone()),
            ("DELIMITER ';' NULL '-' CSV HEADER", csv),
            ("(DELIMITER E'\\t')", form(&[])),
            ("(FORMAT csv, FORCE_QUOTE *)", form(&[("format", "csv"), ("force_quote", "*")])),
        ] {
            assert_eq!(copy(&format!("COPY t TO STDOUT {options}")).form, expected, "{options}");
        }
    }

    #[test]
    fn what_is_no_copy_to_the_client_is_refused() {
        for (sql, code) in [
            ("COPY t FROM STDIN", "25006"),
            ("COPY t TO '/tmp/t'", NOT_SUPPORTED),
            ("COPY t TO PROGRAM 'cat'", NOT_SUPPORTED),
            ("COPY t", "42601"),
            ("COPY (SELECT 1 TO STDOUT", "42601"),
            ("COPY t TO STDOUT (FORMAT xml)", "22023"),
            ("COPY t TO STDOUT (FORMAT csv", "42601"),
            ("COPY t TO STDOUT (FORMAT csv) x", "42601"),
            ("COPY t TO STDOUT CSV) HEADER", "42601"),
            ("COPY t TO STDOUT )", "42601"),
            ("COPY t TO STDOUT (NOPE 1)", "42601"),
            ("COPY t TO STDOUT ('x')", "42601"),
            ("COPY t TO STDOUT (DELIMITER 'ab')", "22023"),
            ("COPY t TO STDOUT (DELIMITER 'a')", "22023"),
            ("COPY t TO STDOUT (QUOTE '-')", "22023"),
            ("COPY t TO STDOUT (FORMAT csv, QUOTE ',')", "22023"),
            ("COPY t TO STDOUT (FORMAT binary, HEADER)", "42601"),
            ("COPY t TO STDOUT (NULL ' \t')", "22023"),
            ("COPY t TO STDOUT (FORMAT csv, NULL '\"\"')", "22023"),
            ("COPY t TO STDOUT (FORMAT csv, NULL '--', QUOTE '-')", "22023"),
            ("COPY t TO STDOUT (ENCODING 'latin1')", NOT_SUPPORTED),
            ("COPY t TO STDOUT (FORMAT csv, FORCE_QUOTE (a))", "42601"),
        ] {
            assert_eq!(kind_of(sql).unwrap_err().code, code, "{sql}");
        }
    }
}
