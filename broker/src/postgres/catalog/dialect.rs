//! From the text of a catalog query to a statement that DataFusion plans.
//!
//! Tools write PostgreSQL's dialect at its widest. What DataFusion lacks of it is said here in its own terms, by one pass for each
//! of PostgreSQL's ideas: columns without a name ([`names`]), functions that give sets ([`sets`]), objects by name
//! ([`registers`]), subqueries in the place of values ([`subqueries`]); the small rest by rules of `datafusion-pg-catalog`.
//! No pass knows a tool, or the text of a query.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, SetExpr, Statement, Value,
    visit_expressions, visit_relations_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_pg_catalog::sql::rules::{
    AliasDuplicatedProjectionRewrite, CurrentUserVariableToSessionUserFunctionCall, FixArrayLiteral,
    ResolveUnqualifiedIdentifier, RewriteArrayAnyAllOperation, RewritePgCatalogOperator,
    SqlStatementRewriteRule, StripCallableQualifier, StripCollate,
};

use super::{PG_CATALOG, is_table, names, registers, sets, subqueries, tableoids};
use crate::{QueryError, QueryErrorKind, sql};

/// The rules that are not ours, in their order.
#[derive(Debug)]
pub(super) struct Dialect(Vec<Arc<dyn SqlStatementRewriteRule>>);

impl Dialect {
    pub(super) fn new() -> Self {
        Self(vec![
            Arc::new(AliasDuplicatedProjectionRewrite),
            Arc::new(ResolveUnqualifiedIdentifier),
            Arc::new(RewriteArrayAnyAllOperation),
            Arc::new(StripCallableQualifier),
            Arc::new(FixArrayLiteral),
            Arc::new(CurrentUserVariableToSessionUserFunctionCall),
            Arc::new(StripCollate),
            Arc::new(RewritePgCatalogOperator),
        ])
    }

    /// The one statement of a text.
    pub(super) fn parse(&self, text: &str) -> Result<Statement, QueryError> {
        let parsed =
            Parser::parse_sql(&PostgreSqlDialect {}, text).map_err(|error| sql::parse_error(&error))?;
        let [mut statement] = <[_; 1]>::try_from(parsed).map_err(|_| {
            QueryError::new(QueryErrorKind::BadRequest, "one statement at a time: this is none, or several")
        })?;
        let given = parameters_of(&statement);
        qualify(&mut statement);
        names::give_names(&mut statement);
        tableoids::number(&mut statement);
        sets::unnest(&mut statement);
        registers::resolve(&mut statement);
        subqueries::aggregate(&mut statement);
        let mut statement = self.0.iter().fold(statement, |statement, rule| rule.rewrite(statement));
        sql::rewrite_escapes(&mut statement);
        keep_parameters(given, &mut statement);
        Ok(statement)
    }
}

/// Says where PostgreSQL's own tables are, which nobody has to.
fn qualify(statement: &mut Statement) {
    let ControlFlow::Continue(()) = visit_relations_mut(statement, |name| {
        if name.0.len() == 1 && is_table(&last_of(name)) {
            name.0.insert(0, ObjectNamePart::Identifier(Ident::new(PG_CATALOG)));
        }
        ControlFlow::<Infallible>::Continue(())
    });
}

fn parameters_of(statement: &Statement) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let _: ControlFlow<()> = visit_expressions(statement, |expr| {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
        {
            found.insert(name.clone());
        }
        ControlFlow::Continue(())
    });
    found
}

/// A client gives a value for each parameter, also for those of subqueries that were found to be of nothing.
fn keep_parameters(given: BTreeSet<String>, statement: &mut Statement) {
    let kept = parameters_of(statement);
    let Statement::Query(query) = statement else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for name in given.difference(&kept) {
        let parameter = Expr::Value(Value::Placeholder(name.clone()).into());
        let is_null = Box::new(Expr::IsNull(Box::new(parameter)));
        let either = Expr::BinaryOp { left: is_null, op: BinaryOperator::Or, right: Box::new(yes()) };
        let both = |left| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(Box::new(either.clone()))),
        };
        select.selection = Some(match select.selection.take() {
            None => either,
            Some(condition) => both(Expr::Nested(Box::new(condition))),
        });
    }
}

fn yes() -> Expr {
    Expr::Value(Value::Boolean(true).into())
}

/// `name(args…)`
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    call_with(name, args, Vec::new())
}

/// `name(args… clauses…)`
pub(super) fn call_with(name: &str, args: Vec<Expr>, clauses: Vec<FunctionArgumentClause>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The last part of a name, as it is looked up.
pub(super) fn last_of(name: &ObjectName) -> String {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.map(|last| if last.quote_style.is_some() { last.value.clone() } else { last.value.to_lowercase() })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_is_lost() {
        let parsed = |text: &str| Dialect::new().parse(text).unwrap().to_string();
        let lost =
            parsed("SELECT (SELECT x FROM pg_attrdef WHERE adrelid = $1) AS x FROM pg_class WHERE oid = $2");
        assert_eq!(
            lost,
            "SELECT NULL AS x FROM pg_catalog.pg_class WHERE (oid = $2) AND ($1 IS NULL OR true)"
        );
        let kept = parsed("SELECT oid FROM pg_class WHERE oid = $1");
        assert_eq!(kept, "SELECT oid FROM pg_catalog.pg_class WHERE oid = $1");
    }
}
