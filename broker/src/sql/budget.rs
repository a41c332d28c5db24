//! How large rewriting may make a statement: what a call repeats is repeated again by the calls around it, so that a kilobyte of
//! text could fill the memory before anything is planned.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, visit_expressions};

use crate::{QueryError, QueryErrorKind};

/// Largest number of expressions that come of repeating one.
const REPEATED_MAX: usize = 10_000;
/// Largest number of expressions that all rewritten calls of a statement have together.
const MADE_MAX: usize = 500_000;

/// What the rewrites of one statement may still make.
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(MADE_MAX)
    }
}

impl Budget {
    /// Takes a rewritten call from it.
    ///
    /// # Errors
    /// `Plan` if that is more than is left.
    pub(super) fn take(&mut self, made: &Expr) -> Result<(), QueryError> {
        let left = nodes(made, self.0).and_then(|nodes| self.0.checked_sub(nodes));
        self.0 = left.ok_or_else(|| {
            too_large("the statement's calls are nested too deep in each other; take it apart by WITH")
        })?;
        Ok(())
    }
}

/// Refuses to write an expression so many times.
///
/// # Errors
/// `Plan`, naming `what` it is.
pub(super) fn check_repeated(expr: &Expr, times: usize, what: &str) -> Result<(), QueryError> {
    if times <= 1 || nodes(expr, REPEATED_MAX / times).is_some() {
        return Ok(());
    }
    Err(too_large(&format!("{what} is too large to be repeated {times} times; name it in a subquery first")))
}

/// The number of expressions in one, itself among them; `None` if there are more than `most`.
fn nodes(expr: &Expr, most: usize) -> Option<usize> {
    let mut nodes = 0_usize;
    let counted = visit_expressions(expr, |_| {
        nodes += 1;
        if nodes > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    counted.is_continue().then_some(nodes)
}

fn too_large(message: &str) -> QueryError {
    QueryError::new(QueryErrorKind::Plan, message)
}
