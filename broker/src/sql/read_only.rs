//! Only reads pass.
//!
//! An allow list on the syntax tree, so that a statement kind that a later parser learns is refused until somebody
//! decides. The engine checks the plan once more.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as SqlStatement};

use crate::{QueryError, QueryErrorKind};

pub(super) fn check(statement: &Statement) -> Result<(), QueryError> {
    let reads = match statement {
        Statement::Statement(statement) => reads_only(statement),
        Statement::Explain(explain) => return check(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    };
    if reads { Ok(()) } else { Err(refused()) }
}

/// The refusal, also for what only the plan shows.
pub(crate) fn refused() -> QueryError {
    QueryError::new(
        QueryErrorKind::NotReadOnly,
        "only SELECT, WITH, VALUES, EXPLAIN, SHOW and DESCRIBE are allowed; tables change through `headwater table` \
         and options travel with the request",
    )
}

fn reads_only(statement: &SqlStatement) -> bool {
    match statement {
        SqlStatement::Query(query) => query_reads_only(query),
        SqlStatement::Explain { statement, .. } => reads_only(statement),
        SqlStatement::ExplainTable { .. }
        | SqlStatement::ShowTables { .. }
        | SqlStatement::ShowColumns { .. }
        | SqlStatement::ShowFunctions { .. }
        | SqlStatement::ShowVariable { .. } => true,
        _ => false,
    }
}

fn query_reads_only(query: &Query) -> bool {
    let ctes_read =
        query.with.iter().flat_map(|with| &with.cte_tables).all(|cte| query_reads_only(&cte.query));
    ctes_read && body_reads_only(&query.body)
}

fn body_reads_only(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => query_reads_only(query),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        // Chains of UNION are left-deep: walk them, don't descend.
        SetExpr::SetOperation { .. } => {
            let mut next = body;
            while let SetExpr::SetOperation { left, right, .. } = next {
                if !body_reads_only(right) {
                    return false;
                }
                next = left;
            }
            body_reads_only(next)
        }
        _ => false,
    }
}
