//! `tableoid`, a column that every table has without saying so: the number of the table itself.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Select, Statement, TableFactor, Value, VisitMut, VisitorMut, visit_expressions_mut,
};

use super::dialect::last_of;
use super::registers::SYSTEM_TABLES;

/// Puts the numbers where the column is named together with its table.
pub(super) fn number(statement: &mut Statement) {
    let ControlFlow::Continue(()) = statement.visit(&mut Numbers);
}

struct Numbers;

impl VisitorMut for Numbers {
    type Break = Infallible;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        let relations = select.from.iter().flat_map(|part| {
            std::iter::once(&part.relation).chain(part.joins.iter().map(|join| &join.relation))
        });
        let tables: Vec<(String, i32)> = relations.filter_map(named).collect();
        visit_expressions_mut(select, |expr| {
            if let Expr::CompoundIdentifier(parts) = expr
                && let [table, column] = parts.as_slice()
                && column.value.eq_ignore_ascii_case("tableoid")
                && let Some((_, oid)) =
                    tables.iter().find(|(name, _)| name.eq_ignore_ascii_case(&table.value))
            {
                *expr = Expr::Value(Value::Number(oid.to_string(), false).into());
            }
            ControlFlow::Continue(())
        })
    }
}

/// The name by which a table is called in a statement, and its number; 0 for one that nothing refers to.
fn named(table: &TableFactor) -> Option<(String, i32)> {
    let TableFactor::Table { name, alias, args: None, .. } = table else { return None };
    let own = last_of(name);
    let oid = SYSTEM_TABLES.iter().find(|(known, _)| *known == own).map_or(0, |(_, oid)| *oid);
    Some((alias.as_ref().map_or(own, |alias| alias.name.value.clone()), oid))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn only_tables_have_numbers() {
        let sql = "SELECT s.tableoid FROM (SELECT t.oid, t.tableoid AS tableoid FROM pg_type t JOIN x ON x.tableoid = 1) s";
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        number(&mut statements[0]);
        assert_eq!(
            statements[0].to_string(),
            "SELECT s.tableoid FROM (SELECT t.oid, 1247 AS tableoid FROM pg_type t JOIN x ON 0 = 1) s"
        );
    }
}
