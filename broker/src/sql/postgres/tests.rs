use super::*;
use crate::sql::{KnownNames, prepare};

fn rewritten_text(sql: &str) -> Result<String, QueryError> {
    prepare(sql, &KnownNames::default()).map(|prepared| prepared.statement.to_string())
}

#[test]
fn what_postgres_has_becomes_what_is_there() {
    for (written, expected) in [
        ("SELECT a SIMILAR TO 'x%' FROM t", "SELECT (a ~ '^(?s:x.*)$') FROM t"),
        ("SELECT a NOT SIMILAR TO 'x!%' ESCAPE '!' FROM t", "SELECT (a !~ '^(?s:x\\%)$') FROM t"),
        ("SELECT a = ANY('{x,NULL}') FROM t", "SELECT a IN ('x', NULL) FROM t"),
        ("SELECT a <> ALL('{1,2}') FROM t", "SELECT a NOT IN ('1', '2') FROM t"),
        ("SELECT a = ANY('{}'), a <> ALL('{}') FROM t", "SELECT false, true FROM t"),
        ("SELECT a = ANY(b) FROM t", "SELECT a = ANY(b) FROM t"),
        ("SELECT a LIKE ANY (ARRAY['x%', 'y']) FROM t", "SELECT (a LIKE 'x%' OR a LIKE 'y') FROM t"),
        ("SELECT a NOT ILIKE ANY ('{x%}') FROM t", "SELECT (a NOT ILIKE 'x%') FROM t"),
        ("SELECT d #>> '{a,0,-1}' FROM t", "SELECT (d -> 'a' -> 0 ->> -1) FROM t"),
        ("SELECT d #> '{a}' FROM t", "SELECT (d -> 'a') FROM t"),
        ("SELECT 1 FROM t WHERE a = '6F96'::uuid", "SELECT 1 FROM t WHERE a = to_uuid('6F96')"),
        ("SELECT 1 FROM t WHERE CAST(a AS UUID) = b", "SELECT 1 FROM t WHERE to_uuid(a) = b"),
        (
            "SELECT json_agg(DISTINCT a ORDER BY b) FILTER (WHERE c) FROM t",
            "SELECT json_array_of(array_agg(DISTINCT to_json(a) ORDER BY b) FILTER (WHERE c)) FROM t",
        ),
        ("SELECT mode() WITHIN GROUP (ORDER BY a) FROM t", "SELECT mode(a) FROM t"),
        ("SELECT mode() WITHIN GROUP (ORDER BY a DESC) FROM t", "SELECT mode_max(a) FROM t"),
        (
            "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY a DESC) FROM t",
            "SELECT array_element(array_agg(a ORDER BY a DESC) FILTER (WHERE a IS NOT NULL), \
             greatest(CAST(CEIL(0.5 * count(a)) AS BIGINT), 1)) FROM t",
        ),
        (
            "SELECT percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY a) FROM t",
            "SELECT make_array(percentile_cont(0.5) WITHIN GROUP (ORDER BY a), \
             percentile_cont(0.9) WITHIN GROUP (ORDER BY a)) FROM t",
        ),
        ("SELECT Variance(a), every(b) FROM t", "SELECT var_samp(a), bool_and(b) FROM t"),
        ("SELECT age(a) FROM t", "SELECT age(CAST(current_date() AS TIMESTAMP), a) FROM t"),
        ("SELECT LOCALTIMESTAMP", "SELECT CAST(now() AS TIMESTAMP)"),
        ("SELECT a FROM t FETCH FIRST ROW ONLY", "SELECT a FROM t LIMIT 1"),
        ("SELECT a FROM t OFFSET 2 ROWS FETCH NEXT 3 ROWS ONLY", "SELECT a FROM t LIMIT 3 OFFSET 2 ROWS"),
        ("SELECT n FROM generate_series(1, 3) n", "SELECT n FROM generate_series(1, 3) n (n)"),
        (
            "SELECT * FROM generate_series(a, '2024-01-02', '1 day')",
            "SELECT * FROM generate_series(a, CAST('2024-01-02' AS TIMESTAMP), CAST('1 day' AS INTERVAL))",
        ),
        ("SELECT n.value FROM generate_series(1, 3) n", "SELECT n.value FROM generate_series(1, 3) n"),
        ("SELECT u FROM unnest(ARRAY[1]) AS u", "SELECT u FROM UNNEST(ARRAY[1]) AS u (u)"),
    ] {
        assert_eq!(rewritten_text(written).unwrap(), expected, "{written}");
    }
}

#[test]
fn what_would_be_overlooked_is_refused() {
    for sql in [
        "SELECT * FROM t TABLESAMPLE SYSTEM (10)",
        "SELECT * FROM (SELECT 1) t TABLESAMPLE BERNOULLI (10)",
        "SELECT a SIMILAR TO b FROM t",
        "SELECT a SIMILAR TO '[' FROM t",
        "SELECT a FROM t FETCH FIRST 10 PERCENT ROWS ONLY",
        "SELECT a FROM t FETCH FIRST 2 ROWS WITH TIES",
    ] {
        assert_eq!(rewritten_text(sql).unwrap_err().kind, QueryErrorKind::Plan, "{sql}");
    }
}
