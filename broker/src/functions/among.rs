//! `x IN (…)` and `x BETWEEN … AND …`: each item of a list and each bound is compared as it is behind an `=`.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::{compare, mixed};

/// What an item becomes beside what it is compared with; `None`: it stays.
type Read<'a> = &'a dyn Fn(&Expr, &Expr) -> Option<Expr>;

/// Numbers beside timestamps and dates, truths by their number or name, bytes by their hex: see [`mixed`] and [`compare`].
pub(super) fn read(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    replaced(expr, &|item, subject| {
        // What has no type here will be told so elsewhere.
        let (own, other) = (item.get_type(schema).ok()?, subject.get_type(schema).ok()?);
        compare::beside(item, &own, &other).or_else(|| mixed::beside(item, &own, &other))
    })
}

/// Puts what `read` makes of the items and bounds in their place; other expressions stay.
pub(super) fn replaced(expr: Expr, read: Read<'_>) -> Transformed<Expr> {
    let mut is_new = false;
    let mut replace = |item: &mut Expr, subject: &Expr| {
        if let Some(other) = read(item, subject) {
            *item = other;
            is_new = true;
        }
    };
    let expr = match expr {
        Expr::InList(InList { expr, mut list, negated }) => {
            list.iter_mut().for_each(|item| replace(item, &expr));
            Expr::InList(InList { expr, list, negated })
        }
        Expr::Between(Between { expr, negated, mut low, mut high }) => {
            replace(&mut low, &expr);
            replace(&mut high, &expr);
            Expr::Between(Between { expr, negated, low, high })
        }
        other => other,
    };
    Transformed::new_transformed(expr, is_new)
}
