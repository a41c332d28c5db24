//! Which types the places of `$1`, `$2`, … want.
//!
//! | place | type |
//! |---|---|
//! | `LIMIT $1`, `OFFSET $1` | BIGINT |
//! | `$1::DATE`, `CAST($1 AS DATE)` | the type of the cast |
//! | `x = ANY($1)`, `$1 = ANY(list)` | a list of what `x` is, an element of the list |
//! | `f($1)`, where `f` takes one type at that place | that type |
//! | beside a column or another value: `x > $1`, `x IN ($1)`, … | the one that DataFusion infers: that of the other side |
//!
//! DataFusion's own walk knows the last kind only, and refuses a parameter that stands in two places of different types, such as
//! in `at >= $1 AND at < $1 + INTERVAL '1 day'`. Here the first place that knows a type decides, as in PostgreSQL; what the value
//! is cast to at the others is the plan's business.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, TryCast, TypeSignature};

use crate::render::types::list_element;

/// The parameters of a plan that is not bound yet, by number.
#[derive(Debug, Default)]
pub(crate) struct Places(BTreeMap<usize, Option<FieldRef>>);

impl Places {
    /// Looks at every place of the plan and of its subqueries.
    pub(crate) fn of(plan: &LogicalPlan) -> Result<Self> {
        let mut places = Self::default();
        plan.apply_with_subqueries(|plan| {
            if let LogicalPlan::Limit(limit) = plan {
                for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                    places.note(count, || Some(DataType::Int64));
                }
            }
            plan.apply_expressions(|expr| expr.apply(|part| Ok(places.look_at(part, plan))))
        })?;
        Ok(places)
    }

    /// The largest number.
    pub(crate) fn largest(&self) -> usize {
        self.0.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// What is wanted of the `number`th; `None`: no place says it.
    pub(crate) fn wanted(&self, number: usize) -> Option<&FieldRef> {
        self.0.get(&number)?.as_ref()
    }

    /// Looks at a part of one of `plan`'s expressions, before the parts of that.
    fn look_at(&mut self, part: &Expr, plan: &LogicalPlan) -> TreeNodeRecursion {
        match part {
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
                self.note(expr, || Some(field.data_type().clone()));
            }
            Expr::ScalarFunction(function) if function.args.iter().any(is_open) => {
                self.look_at_arguments(function, &merge_schema(&plan.inputs()));
            }
            Expr::Placeholder(Placeholder { id, field }) => {
                if let Some(number) = number_of(id) {
                    self.keep(number, field.clone());
                }
            }
            _ => {}
        }
        TreeNodeRecursion::Continue
    }

    fn look_at_arguments(&mut self, function: &ScalarFunction, schema: &DFSchema) {
        let type_of = |expr: &Expr| expr.get_type(schema).ok();
        if let ("array_has", [list, element]) = (function.func.name(), function.args.as_slice()) {
            let list_of = |element: DataType| DataType::List(Field::new_list_field(element, true).into());
            self.note(list, || type_of(element).filter(|known| !known.is_null()).map(list_of));
            self.note(element, || list_element(&type_of(list)?).cloned());
            return;
        }
        // One that takes a number or a text says nothing of the type.
        let takes_one = match &function.func.signature().type_signature {
            TypeSignature::Coercible(_) | TypeSignature::Exact(_) => true,
            TypeSignature::Uniform(_, types) => types.len() == 1,
            _ => false,
        };
        if !takes_one {
            return;
        }
        let given: Option<Vec<FieldRef>> =
            function.args.iter().map(|arg| Some(arg.to_field(schema).ok()?.1)).collect();
        let taken = given.and_then(|given| fields_with_udf(&given, function.func.as_ref()).ok());
        for (arg, field) in function.args.iter().zip(taken.into_iter().flatten()) {
            self.note(arg, || Some(field.data_type().clone()));
        }
    }

    /// Notes the type of `expr` if that is a parameter of which nothing is known at its place.
    fn note(&mut self, expr: &Expr, data_type: impl FnOnce() -> Option<DataType>) {
        if is_open(expr)
            && let Expr::Placeholder(Placeholder { id, .. }) = expr
            && let Some(number) = number_of(id)
        {
            self.keep(number, data_type().map(|data_type| Arc::new(Field::new(id, data_type, true))));
        }
    }

    fn keep(&mut self, number: usize, field: Option<FieldRef>) {
        let known = self.0.entry(number).or_default();
        if known.is_none() {
            *known = field.filter(|field| !field.data_type().is_null());
        }
    }
}

fn is_open(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(Placeholder { field: None, .. }))
}

fn number_of(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<u16>().ok().map(usize::from)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn types(sql: &str) -> Vec<String> {
        let context = SessionContext::new();
        let table = "CREATE TABLE t AS SELECT 1::BIGINT AS id, 'x' AS city, now() AS at, make_array('x') AS tags, 1.5::DOUBLE AS score";
        context.sql(table).await.unwrap().collect().await.unwrap();
        let state = context.state();
        let plan = state.create_logical_plan(sql).await.unwrap();
        let places = Places::of(&plan).unwrap();
        let shown = |number| match places.wanted(number).map(|field| field.data_type()) {
            None => "?".to_owned(),
            Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => "text".to_owned(),
            Some(DataType::Timestamp(_, _)) => "timestamp".to_owned(),
            Some(list @ DataType::List(_)) => format!("list of {}", list_element(list).unwrap()),
            Some(other) => other.to_string(),
        };
        (1..=places.largest()).map(shown).collect()
    }

    #[tokio::test]
    async fn every_place_says_what_it_wants() {
        let cases: [(&str, &[&str]); 12] = [
            ("SELECT $1::BIGINT, TRY_CAST($2 AS DATE), $3", &["Int64", "Date32", "?"]),
            ("SELECT id FROM t LIMIT $1 OFFSET $2", &["Int64", "Int64"]),
            ("SELECT id FROM t WHERE id = ANY($1)", &["list of Int64"]),
            ("SELECT id FROM t WHERE $1 = ANY(tags) AND array_has(tags, $2)", &["text", "text"]),
            ("SELECT id FROM t WHERE id = ANY($1::BIGINT[])", &["list of Int64"]),
            ("SELECT id FROM t WHERE id <> ALL($1)", &["list of Int64"]),
            ("SELECT repeat(city, $1), power($2, 2.0) FROM t", &["Int64", "Float64"]),
            // The same in two places of other types, and of other metadata.
            ("SELECT id FROM t WHERE at >= $1 AND at < $1 + INTERVAL '1 day'", &["timestamp"]),
            ("SELECT id FROM t WHERE city = $1 OR upper(city) = $1", &["text"]),
            // One that does not know leaves it to the others, on either side.
            ("SELECT $1 IS NULL OR id = $1 FROM t WHERE $1 IS NOT NULL", &["Int64"]),
            (
                "SELECT id FROM t WHERE id IN (SELECT id FROM t WHERE score > $2 LIMIT $1)",
                &["Int64", "Float64"],
            ),
            ("SELECT $3", &["?", "?", "?"]),
        ];
        for (sql, expected) in cases {
            assert_eq!(types(sql).await, expected, "{sql}");
        }
    }
}
