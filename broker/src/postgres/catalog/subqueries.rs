//! Subqueries of the catalog that give one value for each row around them: PostgreSQL finds out while it runs that there is at most
//! one, and the planner wants to see it.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr,
    Ident, ObjectName, SelectItem, SetExpr, Statement, TableFactor, Value, Visit, visit_expressions,
    visit_expressions_mut,
};

/// Aggregates that the queries of tools have in such places.
const AGGREGATES: [&str; 9] =
    ["array_agg", "avg", "bool_and", "bool_or", "count", "max", "min", "string_agg", "sum"];

/// Tables that have no rows here: there are no defaults and no sequences.
const EMPTY: [&str; 2] = ["pg_attrdef", "pg_sequence"];

/// Makes `(SELECT x FROM …)` `(SELECT max(x) FROM …)`, which is the same where there is at most one row; and NULL
/// where there is none, as what such a subquery compares with may be more than the planner can take apart.
pub(super) fn aggregate_one_value(statement: &mut Statement) {
    let ControlFlow::Continue(()) = visit_expressions_mut(statement, |expr| {
        if let Expr::Subquery(query) = expr
            && query.limit_clause.is_none()
            && let SetExpr::Select(select) = query.body.as_mut()
            && !select.from.is_empty()
            && select.distinct.is_none()
            && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
            && let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
                select.projection.as_mut_slice()
            && !has_aggregate(value)
        {
            if select.from.iter().any(|table| is_empty(&table.relation)) {
                *expr = Expr::Value(Value::Null.into());
            } else {
                *value = max_of(value.clone());
                query.order_by = None;
            }
        }
        ControlFlow::<Infallible>::Continue(())
    });
}

fn is_empty(table: &TableFactor) -> bool {
    let TableFactor::Table { name, .. } = table else { return false };
    let last = name.to_string().to_lowercase();
    EMPTY.contains(&last.rsplit('.').next().unwrap_or_default())
}

fn has_aggregate(value: &impl Visit) -> bool {
    visit_expressions(value, |expr| match expr {
        Expr::Function(function)
            if AGGREGATES.contains(&function.name.to_string().to_lowercase().as_str()) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

fn max_of(value: Expr) -> Expr {
    let args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(value))];
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("max")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn only_plain_values_are_aggregated() {
        let rewritten = |sql: &str| {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            aggregate_one_value(&mut statements[0]);
            statements[0].to_string()
        };
        assert_eq!(
            rewritten("SELECT (SELECT b.x AS y FROM b WHERE b.i = a.i) FROM a"),
            "SELECT (SELECT max(b.x) AS y FROM b WHERE b.i = a.i) FROM a"
        );
        assert_eq!(
            rewritten("SELECT (SELECT d.x FROM pg_catalog.pg_attrdef AS d WHERE d.i <> a.i) FROM a"),
            "SELECT NULL FROM a"
        );
        for same in [
            "SELECT (SELECT count(*) FROM b WHERE b.i = a.i) FROM a",
            "SELECT (SELECT 1) FROM a",
            "SELECT (SELECT b.x FROM b LIMIT 1) FROM a",
            "SELECT x FROM a WHERE x IN (SELECT b.x FROM b)",
        ] {
            assert_eq!(rewritten(same), same);
        }
    }
}
