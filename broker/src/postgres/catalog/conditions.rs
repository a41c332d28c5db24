//! The conditions of a subquery that stands for a value, by which of them DataFusion makes a join.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Select, TableFactor, Visit, visit_expressions};

use super::dialect::last_of;

/// What a subquery asks of its rows and of those around it.
pub(super) struct Conditions {
    /// What it asks of its own rows, and which of them belong to a row around.
    pub(super) within: Option<Expr>,
    /// What it asks of the row around alone.
    pub(super) around: Option<Expr>,
    /// Whether it names the row around at all.
    pub(super) is_correlated: bool,
    /// Whether rows belong together by equal columns alone.
    pub(super) make_a_join: bool,
}

/// Whose columns an expression names.
#[derive(Clone, Copy, Default)]
struct Named {
    own: bool,
    around: bool,
}

impl Conditions {
    pub(super) fn of(select: &Select) -> Self {
        let own = names_of(select);
        let elsewhere = named(&select.from, &own).around || named(&select.projection, &own).around;
        let mut found =
            Self { within: None, around: None, is_correlated: elsewhere, make_a_join: !elsewhere };
        for condition in select.selection.iter().flat_map(conjuncts) {
            let names = named(condition, &own);
            found.is_correlated |= names.around;
            match names {
                Named { around: false, .. } => add(&mut found.within, condition),
                Named { own: false, .. } => add(&mut found.around, condition),
                _ => {
                    found.make_a_join &= is_equality(condition, &own);
                    add(&mut found.within, condition);
                }
            }
        }
        found
    }
}

fn add(to: &mut Option<Expr>, condition: &Expr) {
    let right = Box::new(condition.clone());
    *to = Some(match to.take() {
        None => *right,
        Some(left) => Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right },
    });
}

fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    let (mut found, mut open) = (Vec::new(), vec![condition]);
    while let Some(next) = open.pop() {
        match next {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                open.extend([right.as_ref(), left.as_ref()])
            }
            other => found.push(other),
        }
    }
    found
}

/// Whether it is a column of the subquery's that equals something of the row around.
fn is_equality(condition: &Expr, own: &HashSet<String>) -> bool {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return false };
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let (of_left, of_right) = (named(left.as_ref(), own), named(right.as_ref(), own));
    (is_column(left) && !of_left.around && !of_right.own)
        || (is_column(right) && !of_right.around && !of_left.own)
}

/// The names of the tables of a subquery.
fn names_of(select: &Select) -> HashSet<String> {
    let tables = select
        .from
        .iter()
        .flat_map(|part| std::iter::once(&part.relation).chain(part.joins.iter().map(|join| &join.relation)));
    tables.filter_map(name_of).collect()
}

fn name_of(table: &TableFactor) -> Option<String> {
    let (alias, name) = match table {
        TableFactor::Table { name, alias, .. } => (alias, last_of(name)),
        TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => (alias, String::new()),
        _ => return None,
    };
    Some(alias.as_ref().map_or(name, |alias| alias.name.value.to_lowercase()))
}

/// A column without a table is taken for one of the subquery's.
fn named(within: &impl Visit, own: &HashSet<String>) -> Named {
    let mut found = Named::default();
    let _: ControlFlow<()> = visit_expressions(within, |expr| {
        match expr {
            Expr::Identifier(_) => found.own = true,
            Expr::CompoundIdentifier(parts) => {
                let table = parts.len().checked_sub(2).and_then(|at| parts.get(at));
                match table.is_some_and(|table| own.contains(&table.value.to_lowercase())) {
                    true => found.own = true,
                    false => found.around = true,
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    found
}
