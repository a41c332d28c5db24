//! From SQL text to one read-only statement.
//!
//! DataFusion's own parser does the work; around it stand the house rules: limits on length, nesting and operators, exactly
//! one statement, reads only, `$partition`-like stream columns without quotes, camelCase columns without quotes, and Pinot's names
//! of functions ([`dialect`]), and PostgreSQL's ([`postgres`]).
//! Tokens are rewritten in place, so every position in an error is a position in the text that the user wrote.
//!
//! Nothing here knows a table's contents: planning and name errors are the engine's.

mod arrows;
mod budget;
mod casts;
mod dialect;
mod distinct;
mod exists;
mod json_path;
mod like;
mod multisets;
mod names;
mod placeholders;
mod postgres;
mod read_only;
mod template;
mod tokens;
mod twins;

use std::collections::BTreeSet;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::tokenizer::{TokenWithSpan, Tokenizer};

pub(crate) use json_path::{Step, steps_of};
pub(crate) use like::rewrite_escapes;
pub use names::KnownNames;
pub(crate) use placeholders::{Mentioned, mentioned};
pub(crate) use read_only::refused as not_read_only;
pub use tokens::parse_error;
pub(crate) use twins::told_apart;

use crate::{QueryError, QueryErrorKind};

/// Longest SQL text, in bytes.
pub const SQL_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting of brackets and subqueries.
const NESTING_MAX: usize = 100;

/// A statement that passed every rule, and what planning must know about its text.
#[derive(Debug)]
pub struct Prepared {
    /// The statement, positions as in the text.
    pub statement: Statement,
    /// The stream columns (`$offset`, …) that the text mentions; only these become visible.
    pub stream_columns: BTreeSet<String>,
    /// How many values the statement wants: the largest n of its `$n`.
    pub parameters: usize,
    tokens: Vec<TokenWithSpan>,
}

impl Prepared {
    /// Line and column of the first token that spells `name`, for errors that come without a place.
    pub fn position_of(&self, name: &str) -> Option<(u64, u64)> {
        tokens::position_of(&self.tokens, name)
    }
}

/// Checks and parses one statement.
///
/// `names` is asked for the tables' columns so that unquoted camelCase names resolve. Fails with `BadRequest` (a limit),
/// `Parse` or `NotReadOnly`.
pub fn prepare(sql: &str, names: &KnownNames) -> Result<Prepared, QueryError> {
    check_length(sql)?;
    let mut tokens = tokens::tokenize(sql)?;
    tokens::number_parameters(&mut tokens)?;
    tokens::check_operators(&tokens)?;
    tokens::check_nesting(&tokens, NESTING_MAX)?;
    let mentions = tokens::quote_stream_columns(&mut tokens)?;
    names.quote_mixed_case(&mut tokens);

    let mut parser = DFParserBuilder::new(tokens.clone())
        .with_dialect(&arrows::HeadwaterDialect)
        .with_recursion_limit(NESTING_MAX)
        .build()
        .map_err(|error| parse_error_of(&error))?;
    let mut statements = parser.parse_statements().map_err(|error| parse_error_of(&error))?;
    let mut statement = match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => statement,
        (None, _) => return Err(QueryError::new(QueryErrorKind::Parse, "the SQL text is empty")),
        (Some(_), false) => {
            return Err(QueryError::new(
                QueryErrorKind::BadRequest,
                "the SQL text holds more than one statement; send them one by one",
            ));
        }
    };
    read_only::check(&statement)?;
    casts::name(&mut statement);
    dialect::rewrite(&mut statement, &tokens)?;
    postgres::rewrite(&mut statement, &tokens)?;
    if like::has_escapes(&tokens)
        && let Some(statement) = statement_of(&mut statement)
    {
        rewrite_escapes(statement);
    }
    multisets::number_rows(&mut statement, &tokens)?;
    exists::count_rows(&mut statement, &tokens);
    distinct::number_order(&mut statement, &tokens);
    Ok(Prepared {
        statement,
        stream_columns: mentions.stream_columns,
        parameters: mentions.parameters,
        tokens,
    })
}

/// The statement that is planned, or explained.
fn statement_of(statement: &mut Statement) -> Option<&mut ast::Statement> {
    match statement {
        Statement::Statement(statement) => Some(statement),
        Statement::Explain(explain) => statement_of(&mut explain.statement),
        _ => None,
    }
}

/// Checks the bounds on a statement that another parser than ours will read. They are checked on the tokens of its `dialect`:
/// what is a string to one is a hundred brackets to another.
pub(crate) fn check_bounds(sql: &str, dialect: &dyn Dialect) -> Result<(), QueryError> {
    check_length(sql)?;
    let tokens = Tokenizer::new(dialect, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| parse_error(&error.into()))?;
    tokens::check_operators(&tokens)?;
    if dialect.supports_named_fn_args_with_expr_name() {
        tokens::check_calls(&tokens)?;
    }
    tokens::check_nesting(&tokens, NESTING_MAX)
}

/// Whether a statement that another parser has read only reads.
pub(crate) fn check_reads(statement: &Statement) -> Result<(), QueryError> {
    read_only::check(statement)
}

fn check_length(sql: &str) -> Result<(), QueryError> {
    if sql.len() <= SQL_BYTES_MAX {
        return Ok(());
    }
    Err(QueryError::new(
        QueryErrorKind::BadRequest,
        format!(
            "the SQL text has {} bytes, at most {SQL_BYTES_MAX} are allowed; send long lists as parameters",
            sql.len()
        ),
    ))
}

fn parse_error_of(error: &datafusion::error::DataFusionError) -> QueryError {
    match error.find_root() {
        datafusion::error::DataFusionError::SQL(parser, _) => parse_error(parser),
        other => QueryError::new(QueryErrorKind::Parse, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn names() -> KnownNames {
        KnownNames::new(vec![
            ("orders".into(), vec!["orderId".into(), "city".into(), "Count".into()]),
            ("Rides".into(), vec!["driverName".into(), "orderid".into(), "Name".into()]),
        ])
    }

    fn text_of(sql: &str) -> String {
        prepare(sql, &names()).unwrap().statement.to_string()
    }

    fn error_of(sql: &str) -> QueryError {
        prepare(sql, &names()).unwrap_err()
    }

    #[test]
    fn rewrites_names_but_keeps_the_rest() {
        let cases = [
            ("SELECT $offset FROM orders", "SELECT \"$offset\" FROM orders"),
            ("select $Partition, $1 from orders", "SELECT \"$partition\", $1 FROM orders"),
            ("SELECT orderid FROM orders", "SELECT \"orderId\" FROM orders"),
            ("SELECT ORDERID, CITY FROM orders", "SELECT \"orderId\", CITY FROM orders"),
            ("SELECT count(*) FROM orders", "SELECT count(*) FROM orders"),
            ("SELECT 'orderid' FROM orders", "SELECT 'orderid' FROM orders"),
            ("SELECT \"orderid\" FROM orders", "SELECT \"orderid\" FROM orders"),
            ("SELECT drivername FROM RIDES", "SELECT \"driverName\" FROM \"Rides\""),
            ("SELECT r.name FROM rides r", "SELECT r.\"Name\" FROM \"Rides\" r"),
            // A column of a table that the statement does not mention stays as it is.
            ("SELECT drivername FROM orders", "SELECT drivername FROM orders"),
            // Two names differ in case only: the user must quote.
            ("SELECT orderid FROM orders, rides", "SELECT orderid FROM orders, \"Rides\""),
        ];
        for (sql, expected) in cases {
            assert_eq!(text_of(sql), expected, "{sql}");
        }
    }

    #[test]
    fn names_the_stream_columns_and_parameters_mentioned() {
        let prepared = prepare("SELECT $offset, \"$key\", $3 FROM orders -- $headers", &names()).unwrap();
        assert_eq!(prepared.stream_columns.into_iter().collect::<Vec<_>>(), ["$key", "$offset"]);
        assert_eq!(prepared.parameters, 3);
    }

    #[test]
    fn question_marks_are_parameters_where_a_value_belongs() {
        let cases = [
            ("SELECT ?", "SELECT $1"),
            (
                "SELECT * FROM orders WHERE city = ? AND orderid IN (?, ?)",
                "SELECT * FROM orders WHERE city = $1 AND \"orderId\" IN ($2, $3)",
            ),
            ("SELECT 1 FROM orders LIMIT ? OFFSET ?", "SELECT 1 FROM orders LIMIT $1 OFFSET $2"),
            ("SELECT '?' || ? FROM orders", "SELECT '?' || $1 FROM orders"),
        ];
        for (sql, expected) in cases {
            assert_eq!(text_of(sql), expected, "{sql}");
        }
        assert_eq!(prepare("SELECT ?, -?, ? + ?", &names()).unwrap().parameters, 4);
        let mixed = error_of("SELECT ?, $1");
        assert_eq!((mixed.kind, mixed.position), (QueryErrorKind::Parse, Some((1, 11))));
    }

    #[test]
    fn refuses_with_a_position() {
        let cases = [
            ("SELECT 1 +", QueryErrorKind::Parse, None),
            ("SELECT 1\n  FROM t WHERE )", QueryErrorKind::Parse, Some(2)),
            ("SELECT 'abc", QueryErrorKind::Parse, Some(1)),
            ("SELECT $nope FROM orders", QueryErrorKind::Parse, Some(1)),
            ("SELECT $0", QueryErrorKind::Parse, Some(1)),
            ("", QueryErrorKind::Parse, None),
            ("SELECT 1; SELECT 2", QueryErrorKind::BadRequest, None),
        ];
        for (sql, kind, line) in cases {
            let error = error_of(sql);
            assert_eq!(error.kind, kind, "{sql}: {error}");
            if line.is_some() {
                assert_eq!(error.position.map(|(line, _)| line), line, "{sql}: {error:?}");
            }
        }
        assert_eq!(error_of("SELECT a b c FROM t").position, Some((1, 12)));
    }

    #[test]
    fn only_reads_pass() {
        for sql in [
            "SELECT 1;",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "VALUES (1), (2)",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE VERBOSE SELECT 1",
            "SHOW TABLES",
            "SHOW COLUMNS FROM orders",
            "DESCRIBE orders",
            "(SELECT 1) UNION ALL (SELECT 2)",
        ] {
            prepare(sql, &names()).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        for sql in [
            "CREATE TABLE x (a INT)",
            "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
            "INSERT INTO orders VALUES (1)",
            "EXPLAIN INSERT INTO orders VALUES (1)",
            "WITH a AS (INSERT INTO orders VALUES (1)) SELECT 1",
            "DELETE FROM orders",
            "UPDATE orders SET city = 'x'",
            "DROP TABLE orders",
            "COPY orders TO '/tmp/x.csv'",
            "EXPLAIN COPY orders TO '/tmp/x.csv'",
            "SET datafusion.execution.batch_size = 1",
            "RESET datafusion.execution.batch_size",
            "BEGIN",
            "PREPARE p AS SELECT 1",
            "TRUNCATE TABLE orders",
        ] {
            let error = error_of(sql);
            assert_eq!(error.kind, QueryErrorKind::NotReadOnly, "{sql}: {error}");
        }
    }

    #[test]
    fn limits_length_nesting_and_operators() {
        let nested = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
        assert_eq!(error_of(&nested).kind, QueryErrorKind::Parse);
        let chained = format!("SELECT 1{}", "+1".repeat(100_000));
        assert_eq!(error_of(&chained).kind, QueryErrorKind::BadRequest);
        let long = format!("SELECT '{}'", "x".repeat(SQL_BYTES_MAX));
        assert_eq!(error_of(&long).kind, QueryErrorKind::BadRequest);
        let list = format!("SELECT 1 IN (0{})", ", 1".repeat(50_000));
        assert!(prepare(&list, &names()).is_ok());
        for (text, kind) in [(&nested, QueryErrorKind::Parse), (&chained, QueryErrorKind::BadRequest)] {
            assert_eq!(check_bounds(text, &PostgreSqlDialect {}).unwrap_err().kind, kind);
        }
        assert!(check_bounds(&list, &PostgreSqlDialect {}).is_ok());
    }

    #[test]
    fn bounds_count_what_the_other_parser_sees() {
        // Backticks are quotes to our own tokenizer only.
        let hidden = format!("SELECT `{}`", "(".repeat(5000));
        assert!(tokens::check_nesting(&tokens::tokenize(&hidden).unwrap(), NESTING_MAX).is_ok());
        // Only that one reads arguments twice.
        let calls = |depth| format!("SELECT {}1{}", "abs(".repeat(depth), ")".repeat(depth));
        assert!(prepare(&calls(40), &names()).is_ok());
        assert!(check_bounds(&calls(12), &PostgreSqlDialect {}).is_ok());
        assert_eq!(check_bounds(&calls(13), &PostgreSqlDialect {}).unwrap_err().kind, QueryErrorKind::Parse);
        let error = check_bounds(&hidden, &PostgreSqlDialect {}).unwrap_err();
        assert_eq!((error.kind, error.position), (QueryErrorKind::Parse, Some((1, 109))));
    }

    /// On a thread with the stack of a query thread, each of these is refused, or read, and nothing overflows: neither while it
    /// is parsed, by our parser or by that of the catalog, nor while it is rewritten, copied or dropped; and nothing grows beyond
    /// all bounds.
    #[test]
    fn no_text_overflows_the_stack() {
        let many = |text: &str| text.repeat(SQL_BYTES_MAX / 2 / text.len());
        let between = |open: &str, middle: &str, close: &str| {
            let times = SQL_BYTES_MAX / 2 / (open.len() + close.len());
            format!("{}{middle}{}", open.repeat(times), close.repeat(times))
        };
        let nested = |open: &str, middle: &str, close: &str, times: usize| {
            format!("{}{middle}{}", open.repeat(times), close.repeat(times))
        };
        let texts = [
            format!("SELECT {}", between("(", "1", ")")),
            format!("SELECT {}", many("(")),
            format!("SELECT {}", between("[", "1", "]")),
            format!("SELECT {}", between("{'a': ", "1", "}")),
            format!("SELECT {}", between("abs(", "1", ")")),
            format!("SELECT {}", between("CAST(", "1", " AS INT)")),
            format!("SELECT CAST(1 AS {})", between("Nullable(", "INT", ")")),
            format!("SELECT CAST(1 AS {})", between("ARRAY<", "INT", ">")),
            format!("SELECT CAST(1 AS {})", between("STRUCT<a ", "INT", ">")),
            format!("SELECT CAST(1 AS INT{})", many("[]")),
            format!("SELECT {}", between("CASE WHEN TRUE THEN ", "1", " END")),
            format!("SELECT {}", between("EXISTS (SELECT ", "1", ")")),
            format!("SELECT * FROM {}", between("(", "t", ")")),
            format!("SELECT * FROM {}", between("(SELECT * FROM ", "t", ") a")),
            between("(", "SELECT 1", ")"),
            between("WITH a AS (", "SELECT 1", ") SELECT 1"),
            format!("SELECT {}1", many("NOT ")),
            format!("SELECT {}1", many("- ")),
            format!("SELECT {}1", many("~ ")),
            format!("SELECT {}'1 day'", many("INTERVAL ")),
            format!("SELECT {}1", many("PRIOR ")),
            format!("SELECT {}'x'", many("BINARY ")),
            format!("SELECT {}'x'", many("DATE ")),
            format!("SELECT a{}", many(" COLLATE b")),
            format!("SELECT a{}", many("::INT")),
            format!("SELECT a{}", many("[1]")),
            format!("SELECT a{}", many(".a")),
            format!("SELECT a{}", many(" IS NULL")),
            format!("SELECT a{}", many(" ISNULL")),
            format!("SELECT a{}", many(" NOTNULL")),
            format!("SELECT a{}", many(" XOR a")),
            format!("SELECT a{}", many(" DIV a")),
            format!("SELECT a{}", many(" SIMILAR TO a")),
            format!("SELECT a{}", many(" AT TIME ZONE 'x'")),
            format!("SELECT a{}", many(" OR a")),
            format!("SELECT 1{}", many(" UNION SELECT 1")),
            format!("SELECT 1{}", many(" EXCEPT ALL SELECT 1")),
            format!("SELECT * FROM t{}", many(" JOIN t")),
            format!("SELECT * FROM t{}", many(", t")),
            format!("SELECT * FROM t{}", many(" CROSS APPLY t")),
            format!("SELECT * FROM t{}", many(" PIVOT(sum(a) FOR b IN (1))")),
            format!("SELECT * FROM t{}", many(" LATERAL VIEW explode(a) b")),
            format!("SELECT 'a' {}", many("'a' ")),
            format!("{}SELECT 1", many("EXPLAIN ")),
            format!("{}SELECT 1", many("EXPLAIN ANALYZE ")),
            format!("{}SELECT 1", many("DESCRIBE ")),
            format!("{}SELECT 1", many("ANALYZE ")),
            format!("SELECT {}1", between("/*", "", "*/")),
            format!("SELECT pg_backend_pid() FROM JSON_TABLE('','' COLUMNS({}", many("NESTED''COLUMNS(")),
            format!("SELECT a LIKE ANY ('{{{}a}}')", many("a,")),
            format!("SELECT a #> '{{{}a}}'", many("a,")),
            format!("SELECT ADD(1{})", many(",1")),
            format!("SELECT TEXT_MATCH(a, '{}')", many("a ")),
            format!("SELECT TEXT_MATCH(a, '{}a{}')", many("("), ")"),
            format!("SELECT {}", nested("percentile_disc(0.5) WITHIN GROUP (ORDER BY ", "a", ")", 60)),
            format!("SELECT {}", nested("TEXT_MATCH(", "a", &format!(", '{}')", "a ".repeat(100)), 40)),
            format!("SELECT {}", nested("JSON_MATCH(", "a", ", '\"$.a\" = 1 AND \"$.b\" = 2')", 90)),
            format!("SELECT {} LIKE ANY ('{{a,b,c}}')", nested("(", "a", " LIKE ANY ('{a,b,c}'))", 90)),
            format!("SELECT {}", nested("INDEX_OF(", "a", ", 1)", 90)),
            many(";"),
            many("SELECT 1;"),
            many("\""),
            many("$a$"),
        ];
        let checked = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
            for text in texts {
                let start = std::time::Instant::now();
                // The engine copies it.
                drop(prepare(&text, &names()).map(|prepared| prepared.statement.clone()));
                if check_bounds(&text, &PostgreSqlDialect {}).is_ok() {
                    let _ = Parser::parse_sql(&PostgreSqlDialect {}, &text);
                }
                let start_of_text = &text[..text.floor_char_boundary(40)];
                assert!(start.elapsed().as_secs() < 60, "{start_of_text}");
            }
        });
        checked.unwrap().join().unwrap();
    }
}
