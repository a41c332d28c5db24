//! What stands in FROM, and how many rows are wanted.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, LimitClause, ObjectName, Query, TableAliasColumnDef, TableFactor,
    Value,
};

use super::{calls, fault, text_of};
use crate::QueryError;

/// The function that is a table of numbers or instants.
pub(super) const SERIES: &str = "generate_series";
/// The name that its column has.
pub(super) const VALUE: &str = "value";

/// `FETCH FIRST n ROWS ONLY` as a limit.
pub(super) fn limit(query: &mut Query) -> Result<(), QueryError> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.with_ties || fetch.percent {
        return Err(fault("FETCH counts rows: FETCH FIRST n ROWS ONLY"));
    }
    let one = || Expr::value(Value::Number("1".into(), false));
    let wanted = Some(fetch.quantity.unwrap_or_else(one));
    match &mut query.limit_clause {
        None => {
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: wanted, offset: None, limit_by: Vec::new() });
        }
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = wanted,
        Some(_) => return Err(fault("FETCH and LIMIT say the same: write one of them")),
    }
    Ok(())
}

/// Refuses a sample.
pub(super) fn check_sample(table: &TableFactor) -> Result<(), QueryError> {
    match table {
        TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
            Err(fault("not supported: TABLESAMPLE; filter by a hash or a column instead"))
        }
        _ => Ok(()),
    }
}

/// The one column of a series or of an array has the name of its table, if that has one.
pub(super) fn name_column(table: &mut TableFactor) {
    let alias =
        match table {
            TableFactor::Table { name, alias, args: Some(_), .. } if is_series(name) => alias.as_mut(),
            TableFactor::UNNEST {
                alias, array_exprs, with_offset: false, with_ordinality: false, ..
            } if array_exprs.len() == 1 => alias.as_mut(),
            _ => None,
        };
    if let Some(alias) = alias.filter(|alias| alias.columns.is_empty()) {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

fn is_series(name: &ObjectName) -> bool {
    match name.0.as_slice() {
        [part] => part.as_ident().is_some_and(|name| name.value.eq_ignore_ascii_case(SERIES)),
        _ => false,
    }
}

/// With texts for its later bounds a series is one of instants: `generate_series(x, '2024-01-02', '1 day')`.
pub(super) fn read_bounds(table: &mut TableFactor) {
    let TableFactor::Table { name, args: Some(args), .. } = table else { return };
    let is_text = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(bound)) => text_of(bound).is_some(),
        _ => false,
    };
    if !is_series(name) || args.args.len() != 3 || !args.args.iter().skip(1).any(is_text) {
        return;
    }
    for (arg, data_type) in args.args.iter_mut().zip(["TIMESTAMP", "TIMESTAMP", "INTERVAL"]) {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(bound)) = arg
            && text_of(bound).is_some()
        {
            *bound = calls::cast(bound, data_type);
        }
    }
}
