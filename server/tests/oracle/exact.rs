//! Integer arithmetic as it is asked, and as it is expected: plain DataFusion wraps around where Headwater fails.
//!
//! A query writes `«…»` around arithmetic and `‹…›` around its operands. For Headwater the operands
//! are BIGINT; for the oracle they are DECIMAL(38,0), which holds every result here, and the result is BIGINT again, or an error.

/// What Headwater is asked.
pub(crate) fn asked(sql: &str) -> String {
    sql.replace('«', "(").replace('»', ")").replace('‹', "CAST(").replace('›', " AS BIGINT)")
}

/// What the oracle is asked.
pub(crate) fn expected(sql: &str) -> String {
    sql.replace('«', "CAST((")
        .replace('»', ") AS BIGINT)")
        .replace('‹', "CAST(")
        .replace('›', " AS DECIMAL(38,0))")
}

/// Whether a query sums integers. Parts of the rows are summed apart, and the sum of a part may overflow although
/// that of all would not.
pub(crate) fn sums(sql: &str) -> bool {
    sql.contains("«sum(")
}
