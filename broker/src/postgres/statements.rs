//! From the text of a message to statements: where each begins, and what kind it is.
//!
//! | it begins with, or mentions | kind |
//! |---|---|
//! | `BEGIN`, `SET`, `SHOW timezone`, `DECLARE`, `FETCH`, `COPY`, … | a [command](Command) of the session, answered here |
//! | `pg_catalog`, `information_schema`, a function or register of PostgreSQL | a query of the [catalog](super::catalog) |
//! | anything else | a query of the engine, its text unchanged |
//!
//! Only names and the first words decide; texts in quotes and comments are never looked into.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use self::copy::Copy;
use super::errors::{Failure, NOT_SUPPORTED};
use crate::sql::SQL_BYTES_MAX;

mod copy;

/// Statements of one message.
const STATEMENTS_MAX: usize = 1000;

/// One statement of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) sql: &'a str,
    /// How many characters of the message stand before it.
    pub(super) characters_before: usize,
}

/// What kind of statement it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing but spaces and comments.
    Empty,
    Command(Command),
    Catalog,
    Query,
}

/// A statement that concerns the session alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Begin,
    Commit,
    Rollback,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    Set {
        name: String,
        value: Option<String>,
        /// For the transaction alone.
        is_local: bool,
    },
    Show(String),
    ResetAll,
    Discard,
    /// The prepared statement, or all.
    Deallocate(Option<String>),
    /// A cursor over the query that stands at this byte of the text and behind; it outlives its transaction if it is held.
    Declare {
        name: String,
        is_held: bool,
        query_at: usize,
    },
    /// So many rows of a cursor; 0: all that are left.
    Fetch {
        name: String,
        rows_max: u32,
    },
    /// The cursor, or all.
    Close(Option<String>),
    Copy(Box<Copy>),
    /// Accepted, and nothing is to be done; with its tag.
    Nothing(&'static str),
}

/// The statements of a message.
///
/// # Errors
/// If there are too many, or the text is too long. A text that is no SQL is one statement, for which the engine says what is
/// wrong.
pub(super) fn split(text: &str) -> Result<Vec<Piece<'_>>, Failure> {
    if text.len() > SQL_BYTES_MAX {
        let message = format!("the SQL text has {} bytes, at most {SQL_BYTES_MAX} are allowed", text.len());
        return Err(Failure::new("54000", message));
    }
    let whole = || vec![Piece { sql: text, characters_before: 0 }];
    let Ok(tokens) = tokens_of(text) else { return Ok(whole()) };
    let mut places = Places::new(text);
    let mut pieces = Vec::new();
    let (mut start, mut characters_before) = (0, 0);
    let mut is_empty = true;
    for token in &tokens {
        match &token.token {
            Token::SemiColon => {
                let end = places.at(token.span.start);
                if !is_empty {
                    pieces.push(Piece { sql: &text[start..end.0], characters_before });
                }
                (start, characters_before) = (end.0 + 1, end.1 + 1);
                is_empty = true;
            }
            Token::Whitespace(_) => {}
            _ => is_empty = false,
        }
    }
    if !is_empty {
        pieces.push(Piece { sql: &text[start..], characters_before });
    }
    match pieces.len() <= STATEMENTS_MAX {
        true => Ok(pieces),
        false => Err(Failure::new("54000", format!("more than {STATEMENTS_MAX} statements in one message"))),
    }
}

fn tokens_of(text: &str) -> Result<Vec<TokenWithSpan>, ()> {
    Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(|_| ())
}

/// Finds the bytes and characters of locations that only grow.
struct Places<'a> {
    rest: std::str::CharIndices<'a>,
    length: usize,
    line: u64,
    column: u64,
    characters: usize,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.char_indices(), length: text.len(), line: 1, column: 1, characters: 0 }
    }

    /// Byte and character at a location.
    fn at(&mut self, location: Location) -> (usize, usize) {
        while (self.line, self.column) < (location.line, location.column) {
            match self.rest.next() {
                Some((_, '\n')) => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => break,
            }
            self.characters += 1;
        }
        (self.rest.clone().next().map_or(self.length, |(byte, _)| byte), self.characters)
    }
}

/// What kind of statement `sql` is.
///
/// # Errors
/// If it is a command with a form that is not supported.
pub(super) fn kind_of(sql: &str) -> Result<Kind, Failure> {
    let Ok(tokens) = tokens_of(sql) else { return Ok(Kind::Query) };
    let tokens: Vec<&TokenWithSpan> = tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::SemiColon))
        .collect();
    if tokens.is_empty() {
        return Ok(Kind::Empty);
    }
    let words = Words { sql, tokens: &tokens };
    if let Some(command) = words.command()? {
        return Ok(Kind::Command(command));
    }
    let is_catalog = tokens.iter().enumerate().any(|(at, token)| {
        let Token::Word(word) = &token.token else { return false };
        let next = tokens.get(at + 1).map(|token| &token.token);
        let before = at.checked_sub(1).and_then(|before| tokens.get(before)).map(|token| &token.token);
        let name = match word.quote_style {
            Some(_) => word.value.clone(),
            None => word.value.to_lowercase(),
        };
        super::catalog::is_of_catalog(&name, word.quote_style.is_some(), before, next)
    });
    match is_catalog {
        true => Ok(Kind::Catalog),
        false if tokens.iter().any(|token| token.token == Token::Caret) => {
            let message = "^ is power in PostgreSQL, and the exclusive or of bits here: write power(x, y)";
            Err(Failure::new(NOT_SUPPORTED, message))
        }
        false => Ok(Kind::Query),
    }
}

/// The tokens of one statement, by their place.
struct Words<'a> {
    sql: &'a str,
    tokens: &'a [&'a TokenWithSpan],
}

impl Words<'_> {
    /// The word at a place, in lower case; empty if there is none.
    fn word(&self, at: usize) -> String {
        match self.tokens.get(at).map(|token| &token.token) {
            Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_lowercase(),
            _ => String::new(),
        }
    }

    /// The name at a place, quoted or not.
    fn name(&self, at: usize) -> Result<String, Failure> {
        match self.tokens.get(at).map(|token| &token.token) {
            Some(Token::Word(word)) if word.quote_style.is_some() => Ok(word.value.clone()),
            Some(Token::Word(word)) => Ok(word.value.to_lowercase()),
            _ => Err(Failure::new("42601", format!("a name is missing in: {}", self.start()))),
        }
    }

    fn start(&self) -> String {
        self.sql.chars().take(100).collect()
    }

    /// The values from a place on, as one text without quotes.
    fn value(&self, at: usize) -> String {
        let texts = self.tokens[at.min(self.tokens.len())..].iter().map(|token| match &token.token {
            Token::SingleQuotedString(text) => text.clone(),
            Token::Word(word) => word.value.clone(),
            other => other.to_string(),
        });
        let text: Vec<String> = texts.collect();
        text.join(" ").replace(" , ", ", ").replace("- ", "-")
    }

    fn command(&self) -> Result<Option<Command>, Failure> {
        Ok(Some(match self.word(0).as_str() {
            "begin" => Command::Begin,
            "start" if self.word(1) == "transaction" => Command::Begin,
            "commit" | "end" => Command::Commit,
            "abort" => Command::Rollback,
            "rollback" => self.rollback()?,
            "savepoint" => Command::Savepoint(self.name(1)?),
            "release" => Command::Release(self.name(if self.word(1) == "savepoint" { 2 } else { 1 })?),
            "set" => self.set()?,
            "reset" if self.word(1) == "all" => Command::ResetAll,
            "reset" => Command::Set { name: self.setting(1)?.0, value: None, is_local: false },
            "show" => match self.word(1).as_str() {
                "tables" | "columns" | "functions" => return Ok(None),
                _ => Command::Show(self.setting(1)?.0),
            },
            "discard" => Command::Discard,
            "deallocate" => {
                let at = if self.word(1) == "prepare" { 2 } else { 1 };
                Command::Deallocate((self.word(at) != "all").then(|| self.name(at)).transpose()?)
            }
            "declare" => self.declare()?,
            "fetch" => self.fetch()?,
            "close" => Command::Close((self.word(1) != "all").then(|| self.name(1)).transpose()?),
            "unlisten" => Command::Nothing("UNLISTEN"),
            "copy" => Command::Copy(Box::new(self.copy()?)),
            "listen" | "notify" | "lock" | "move" => {
                return Err(Failure::new(
                    NOT_SUPPORTED,
                    format!("{} is not supported", self.word(0).to_uppercase()),
                ));
            }
            _ => return Ok(None),
        }))
    }

    fn rollback(&self) -> Result<Command, Failure> {
        let at = if matches!(self.word(1).as_str(), "work" | "transaction") { 2 } else { 1 };
        Ok(match self.word(at).as_str() {
            "to" => Command::RollbackTo(self.name(if self.word(at + 1) == "savepoint" {
                at + 2
            } else {
                at + 1
            })?),
            _ => Command::Rollback,
        })
    }

    /// The setting named at a place, and the place behind it.
    fn setting(&self, at: usize) -> Result<(String, usize), Failure> {
        match (self.word(at).as_str(), self.word(at + 1).as_str()) {
            ("time", "zone") => Ok(("timezone".into(), at + 2)),
            ("transaction", "isolation") => Ok(("transaction_isolation".into(), at + 3)),
            ("session", "authorization") => Ok(("session_authorization".into(), at + 2)),
            _ => {
                let (mut name, mut at) = (self.name(at)?.to_lowercase(), at + 1);
                while self.tokens.get(at).is_some_and(|token| token.token == Token::Period) {
                    name = format!("{name}.{}", self.name(at + 1)?);
                    at += 2;
                }
                Ok((name, at))
            }
        }
    }

    fn set(&self) -> Result<Command, Failure> {
        let scope = self.word(1);
        let is_scope = matches!(scope.as_str(), "session" | "local") && self.word(2) != "authorization";
        let at = if is_scope { 2 } else { 1 };
        // Every transaction reads one cut per query, and nothing is written: there is no other level or mode to go to.
        if matches!(self.word(at).as_str(), "transaction" | "characteristics" | "constraints" | "role") {
            return Ok(Command::Nothing("SET"));
        }
        let (name, behind) = self.setting(at)?;
        let is_sign = self.tokens.get(behind).is_some_and(|token| token.token == Token::Eq);
        let behind = if is_sign || self.word(behind) == "to" { behind + 1 } else { behind };
        let value = Some(self.value(behind)).filter(|value| !value.eq_ignore_ascii_case("default"));
        Ok(Command::Set { name, value, is_local: is_scope && scope == "local" })
    }

    fn declare(&self) -> Result<Command, Failure> {
        let name = self.name(1)?;
        let at = (2..self.tokens.len().min(12)).find(|at| self.word(*at) == "for");
        let query = at.and_then(|at| self.tokens.get(at + 1));
        let query = query.ok_or_else(|| {
            Failure::new("42601", "DECLARE needs a query: DECLARE name CURSOR FOR SELECT …")
        })?;
        let query_at = Places::new(self.sql).at(query.span.start).0;
        let is_held = (2..at.unwrap_or(2)).any(|at| self.word(at) == "with" && self.word(at + 1) == "hold");
        Ok(Command::Declare { name, is_held, query_at })
    }

    fn fetch(&self) -> Result<Command, Failure> {
        let (mut at, mut rows_max) = (1, 1);
        loop {
            match self.word(at).as_str() {
                "forward" | "next" | "from" | "in" => {}
                "all" => rows_max = 0,
                "backward" | "prior" | "first" | "last" | "absolute" | "relative" => {
                    let message = "a cursor only moves forward: FETCH FORWARD n FROM name";
                    return Err(Failure::new("55000", message));
                }
                "" if at < self.tokens.len() => match &self.tokens[at].token {
                    Token::Number(number, _) => {
                        rows_max =
                            number.parse().map_err(|_| Failure::new("42601", "no such count of rows"))?;
                        if rows_max == 0 {
                            return Err(Failure::new(NOT_SUPPORTED, "FETCH 0 is not supported"));
                        }
                    }
                    _ => return Ok(Command::Fetch { name: self.name(at)?, rows_max }),
                },
                _ => return Ok(Command::Fetch { name: self.name(at)?, rows_max }),
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(sql: &str) -> Command {
        match kind_of(sql).unwrap() {
            Kind::Command(command) => command,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn messages_are_split_at_semicolons_that_end_statements() {
        let text = "SELECT 'a;é', \"b;\" -- c;\n; /* ; */ SELECT 2 ;; ";
        let pieces = split(text).unwrap();
        let texts: Vec<&str> = pieces.iter().map(|piece| piece.sql.trim()).collect();
        assert_eq!(texts, ["SELECT 'a;é', \"b;\" -- c;", "/* ; */ SELECT 2"]);
        let before: String = text.chars().skip(pieces[1].characters_before).collect();
        assert!(before.starts_with(" /* ; */"), "{before}");
        assert!(split(" ; -- nothing").unwrap().is_empty());
        assert_eq!(split("SELECT 'open; SELECT 1").unwrap().len(), 1);
    }

    #[test]
    fn commands_of_the_session() {
        let set = |name: &str, value: Option<&str>| Command::Set {
            name: name.into(),
            value: value.map(Into::into),
            is_local: false,
        };
        let local = |name: &str, value: Option<&str>| Command::Set {
            name: name.into(),
            value: value.map(Into::into),
            is_local: true,
        };
        let cases = [
            ("begin", Command::Begin),
            ("START TRANSACTION READ ONLY", Command::Begin),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", Command::Begin),
            ("END", Command::Commit),
            ("ROLLBACK", Command::Rollback),
            ("ROLLBACK TO SAVEPOINT \"A\"", Command::RollbackTo("A".into())),
            ("RELEASE a", Command::Release("a".into())),
            ("SET extra_float_digits = 3", set("extra_float_digits", Some("3"))),
            ("SET application_name TO 'a b'", set("application_name", Some("a b"))),
            ("SET SESSION TIME ZONE 'UTC'", set("timezone", Some("UTC"))),
            ("SET LOCAL statement_timeout = DEFAULT", local("statement_timeout", None)),
            ("SET local TIME ZONE 'UTC'", local("timezone", Some("UTC"))),
            ("RESET statement_timeout", set("statement_timeout", None)),
            ("SET search_path TO public, pg_catalog", set("search_path", Some("public, pg_catalog"))),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Command::Nothing("SET")),
            ("RESET ALL", Command::ResetAll),
            ("SHOW TRANSACTION ISOLATION LEVEL", Command::Show("transaction_isolation".into())),
            ("show TimeZone", Command::Show("timezone".into())),
            ("DEALLOCATE ALL", Command::Deallocate(None)),
            ("DEALLOCATE \"p1\"", Command::Deallocate(Some("p1".into()))),
            ("FETCH FORWARD 100 FROM \"c\"", Command::Fetch { name: "c".into(), rows_max: 100 }),
            ("FETCH ALL IN c", Command::Fetch { name: "c".into(), rows_max: 0 }),
            ("FETCH c", Command::Fetch { name: "c".into(), rows_max: 1 }),
            ("CLOSE ALL", Command::Close(None)),
            ("UNLISTEN *", Command::Nothing("UNLISTEN")),
        ];
        for (sql, expected) in cases {
            assert_eq!(command(sql), expected, "{sql}");
        }
        let sql = "DECLARE \"é\" NO SCROLL CURSOR WITHOUT HOLD FOR SELECT 1";
        let Command::Declare { name, is_held, query_at } = command(sql) else { panic!() };
        assert_eq!((name.as_str(), is_held, &sql[query_at..]), ("é", false, "SELECT 1"));
        let sql = "DECLARE c CURSOR WITH HOLD FOR WITH hold AS (SELECT 1) SELECT * FROM hold";
        let Command::Declare { is_held: true, query_at, .. } = command(sql) else { panic!() };
        assert!(sql[query_at..].starts_with("WITH hold AS"));
        assert!(kind_of("FETCH BACKWARD 1 FROM c").is_err());
    }

    #[test]
    fn only_names_of_the_catalog_go_to_the_catalog() {
        for sql in [
            "SELECT * FROM pg_class",
            "SELECT n.nspname FROM \"pg_catalog\".\"pg_namespace\" AS n",
            "SELECT version()",
            "SELECT current_user",
            "SELECT CURRENT_SCHEMA()",
            "SELECT table_name FROM information_schema.tables",
            "SELECT 'orders'::regclass",
            "select pg_catalog.set_config('search_path', '', false)",
        ] {
            assert_eq!(kind_of(sql).unwrap(), Kind::Catalog, "{sql}");
        }
        for sql in [
            "SELECT 'pg_class' FROM orders",
            "SELECT version FROM orders -- pg_class",
            "SELECT o.user, \"user\", \"current_user\", role FROM orders o",
            "SELECT pg_type FROM orders",
            "SELECT t.pg_class FROM orders t WHERE name = 'information_schema'",
            "SHOW TABLES",
            "SELECT * FROM pg_orders",
            "WITH x AS (SELECT 1) SELECT * FROM x",
        ] {
            assert_eq!(kind_of(sql).unwrap(), Kind::Query, "{sql}");
        }
        assert_eq!(kind_of(" -- nothing").unwrap(), Kind::Empty);
        assert_eq!(kind_of("SELECT 2 ^ 3").unwrap_err().code, NOT_SUPPORTED);
        assert_eq!(kind_of("SELECT pg_typeof(city) FROM orders WHERE city ~ '^a'").unwrap(), Kind::Query);
    }
}
