//! From SQL text to one read-only statement.
//!
//! DataFusion's own parser does the work; around it stand the house rules: limits on length, nesting and operators, exactly
//! one statement, reads only, `$partition`-like stream columns without quotes, and camelCase columns without quotes.
//! Tokens are rewritten in place, so every position in an error is a position in the text that the user wrote.
//!
//! Nothing here knows a table's contents: planning and name errors are the engine's.

mod names;
mod read_only;
mod tokens;

use std::collections::BTreeSet;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;

pub use names::KnownNames;
pub(crate) use read_only::refused as not_read_only;
pub use tokens::parse_error;

use crate::{QueryError, QueryErrorKind};

/// Longest SQL text, in bytes.
pub const SQL_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting of parentheses and subqueries.
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
    if sql.len() > SQL_BYTES_MAX {
        return Err(QueryError::new(
            QueryErrorKind::BadRequest,
            format!(
                "the SQL text has {} bytes, at most {SQL_BYTES_MAX} are allowed; send long lists as parameters",
                sql.len()
            ),
        ));
    }
    let mut tokens = tokens::tokenize(sql)?;
    tokens::check_operators(&tokens)?;
    let mentions = tokens::quote_stream_columns(&mut tokens)?;
    names.quote_mixed_case(&mut tokens);

    let mut parser = DFParserBuilder::new(tokens.clone())
        .with_recursion_limit(NESTING_MAX)
        .build()
        .map_err(|error| parse_error_of(&error))?;
    let mut statements = parser.parse_statements().map_err(|error| parse_error_of(&error))?;
    let statement = match (statements.pop_front(), statements.is_empty()) {
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
    Ok(Prepared {
        statement,
        stream_columns: mentions.stream_columns,
        parameters: mentions.parameters,
        tokens,
    })
}

fn parse_error_of(error: &datafusion::error::DataFusionError) -> QueryError {
    match error.find_root() {
        datafusion::error::DataFusionError::SQL(parser, _) => parse_error(parser),
        other => QueryError::new(QueryErrorKind::Parse, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
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
    }
}
