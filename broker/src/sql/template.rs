//! SQL that is written down with places for expressions (`$1`, `$2`, …), and what is asked of the calls that it replaces.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Query, SetExpr, TableFactor, TableWithJoins, Value, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// The aggregates of templates: they alone take over FILTER and OVER.
const AGGREGATES: [&str; 14] = [
    "approx_distinct",
    "approx_percentile_cont",
    "array_agg",
    "avg",
    "count",
    "first_value",
    "last_value",
    "max",
    "min",
    "mode",
    "mode_avg",
    "mode_max",
    "percentile_cont",
    "sum",
];

/// The template with its `$1`, `$2`, … replaced by `arguments`; its aggregates get the FILTER and OVER of `original`.
pub(super) fn fill(template: &str, arguments: &[&Expr], original: Option<&Function>) -> Expr {
    let parsed =
        Parser::new(&GenericDialect {}).try_with_sql(template).and_then(|mut parser| parser.parse_expr());
    let mut expr = parsed.expect("the templates of this module are SQL");
    // From the inside out: what stands in an argument is not looked at.
    let filled: ControlFlow<()> = visit_expressions_mut(&mut expr, |part| {
        match part {
            Expr::Value(value) => {
                if let Value::Placeholder(name) = &value.value
                    && let Some(argument) = place(name).and_then(|place| arguments.get(place))
                {
                    *part = (*argument).clone();
                }
            }
            Expr::Function(function) => {
                if let Some(original) = original
                    && plain_name(function).is_some_and(|name| AGGREGATES.contains(&name.value.as_str()))
                {
                    function.filter.clone_from(&original.filter);
                    function.over.clone_from(&original.over);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    match filled {
        ControlFlow::Continue(()) | ControlFlow::Break(()) => expr,
    }
}

fn place(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// The call with another name.
pub(super) fn renamed(function: &Function, name: &str) -> Expr {
    let mut function = function.clone();
    function.name = ObjectName::from(vec![Ident::new(name)]);
    Expr::Function(function)
}

/// The name of the function, if it stands alone and without quotes.
pub(super) fn plain_name(function: &Function) -> Option<&Ident> {
    match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] if name.quote_style.is_none() => Some(name),
        _ => None,
    }
}

/// The arguments, if each is a plain expression.
pub(super) fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    fn plain(argument: &FunctionArg) -> Option<&Expr> {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        }
    }
    list.args.iter().map(plain).collect()
}

/// `(SELECT column FROM (query) AS counted)`
pub(super) fn subquery_of(column: Expr, query: Query) -> Expr {
    let mut outer = fill("(SELECT $1 FROM (SELECT 1) AS counted)", &[&column], None);
    if let Expr::Subquery(outer) = &mut outer
        && let SetExpr::Select(select) = &mut *outer.body
        && let [TableWithJoins { relation: TableFactor::Derived { subquery, .. }, .. }] =
            select.from.as_mut_slice()
    {
        **subquery = query;
    }
    outer
}

/// The text, if the expression is one in quotes.
pub(super) fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// The number as it is written, without a sign.
pub(super) fn number_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => Some(number.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// A text as an expression.
pub(super) fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> Expr {
        Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap()
    }

    #[test]
    fn places_are_filled_from_the_inside_out() {
        let (a, b) = (parsed("a + $2"), parsed("'$1'"));
        assert_eq!(fill("f($1, $2, $1, $3)", &[&a, &b], None).to_string(), "f(a + $2, '$1', a + $2, $3)");
    }

    #[test]
    fn aggregates_take_over_what_the_call_had() {
        let Expr::Function(original) = parsed("x(a) FILTER (WHERE b) OVER (ORDER BY c)") else { panic!() };
        let argument = parsed("count(a)");
        let filled = fill("abs(sum($1) + abs(1))", &[&argument], Some(&original));
        assert_eq!(filled.to_string(), "abs(sum(count(a)) FILTER (WHERE b) OVER (ORDER BY c) + abs(1))");
    }
}
