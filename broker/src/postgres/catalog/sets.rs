//! Functions that give several values: `generate_subscripts` and `_pg_expandarray` become lists that DataFusion unnests, and any
//! function that stands where a table does becomes a subquery.
//!
//! A text beside a column of lists is a list: `polroles = '{0}'`.
//!
//! A table of one column without a name of its own has the name of its table, as in PostgreSQL; and `(value).field` is a
//! function.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, AsArray, GenericListArray, Int32Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, Ident, Query, SetExpr, Statement,
    TableAlias, TableAliasColumnDef, TableFactor, Value, VisitMut, VisitorMut,
};

use super::dialect::{call, last_of};
use super::fixed;
use super::subqueries::select_of;

const SUBSCRIPTS: &str = "generate_subscripts";
const EXPAND: &str = "_pg_expandarray";
/// Functions that are tables to DataFusion as well.
const SERIES: &[&str] = &["generate_series", "range"];
const TABLES: &[&str] = &["pg_get_keywords"];
/// Arrays of `pg_constraint` and `pg_index`: there are no keys and no indexes.
const OF_NO_ROW: &[&str] = &["confkey", "conkey", "indclass", "indkey", "indoption"];

/// Says functions that give sets in DataFusion's terms.
pub(super) fn unnest(statement: &mut Statement) {
    let ControlFlow::Continue(()) = statement.visit(&mut Sets);
}

struct Sets;

impl VisitorMut for Sets {
    type Break = Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        match expr {
            Expr::Function(function) if matches!(last_of(&function.name).as_str(), SUBSCRIPTS | EXPAND) => {
                *expr = call("unnest", vec![expr.clone()]);
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                if let ([AccessExpr::Dot(Expr::Identifier(field))], Expr::Nested(value)) =
                    (access_chain.as_slice(), root.as_ref())
                {
                    let field = Expr::Value(Value::SingleQuotedString(field.value.to_lowercase()).into());
                    *expr = call("get_field", vec![value.as_ref().clone(), field]);
                }
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right } => {
                if let Some(list) = list_beside(left, right) {
                    **right = list;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Infallible> {
        if let TableFactor::UNNEST { alias, array_exprs, .. } = table
            && let [array] = array_exprs.as_slice()
        {
            name_column(alias.as_mut());
            if is_of_no_row(array) {
                let name = alias.as_ref().map(|alias| alias.name.clone());
                let (subquery, alias) = (Box::new(no_row(name)), alias.clone());
                *table = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
            }
        }
        if let TableFactor::Table { name, alias, args: Some(args), .. } = table {
            let function = last_of(name);
            if SERIES.contains(&function.as_str()) {
                name_column(alias.as_mut());
            } else if !TABLES.contains(&function.as_str()) {
                let mut alias = alias.clone().unwrap_or_else(|| named(&function));
                name_column(Some(&mut alias));
                let value = call(&function, args.args.iter().filter_map(expr_of).cloned().collect());
                let subquery =
                    Box::new(select_of(value, alias.columns.first().map(|column| column.name.clone())));
                *table = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
            }
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT 0 AS name WHERE false`.
fn no_row(name: Option<Ident>) -> Query {
    let mut query = select_of(Expr::Value(Value::Number("0".into(), false).into()), name);
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.selection = Some(Expr::Value(Value::Boolean(false).into()));
    }
    query
}

/// Whether the array is a column of a table that has no rows here. DataFusion cannot take apart what another table of the same
/// FROM has; of this one it need not: there are no elements, also where an outer join puts a row of NULLs in its place.
fn is_of_no_row(array: &Expr) -> bool {
    let name = match array {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    name.is_some_and(|name| OF_NO_ROW.contains(&name.value.to_lowercase().as_str()))
}

/// The list that a text stands for beside a column of lists.
fn list_beside(column: &Expr, text: &Expr) -> Option<Expr> {
    let name = match column {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => parts.last()?,
        _ => return None,
    };
    let Expr::Value(value) = text else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    fixed::list_literal(&name.value.to_lowercase(), text)
}

fn named(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::new(name), columns: Vec::new(), at: None }
}

/// The one column has the name of its table.
fn name_column(alias: Option<&mut TableAlias>) {
    if let Some(alias) = alias.filter(|alias| alias.columns.is_empty()) {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

fn expr_of(arg: &FunctionArg) -> Option<&Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// The two functions.
pub(super) fn functions() -> [ScalarUDF; 2] {
    [SUBSCRIPTS, EXPAND].map(|name| {
        ScalarUDF::new_from_impl(Subscripts {
            name,
            signature: Signature::variadic_any(Volatility::Immutable),
        })
    })
}

/// `generate_subscripts(list, 1)`: 1, 2, … as often as the list has elements. `_pg_expandarray(list)`: each element `x` with its
/// subscript `n`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Subscripts {
    name: &'static str,
    signature: Signature,
}

impl Subscripts {
    fn element(&self, given: &DataType) -> Field {
        let fields = match (self.name, given) {
            (EXPAND, DataType::List(element)) => Fields::from(vec![
                Field::new("x", element.data_type().clone(), true),
                Field::new("n", DataType::Int32, true),
            ]),
            _ => return Field::new_list_field(DataType::Int32, true),
        };
        Field::new_list_field(DataType::Struct(fields), true)
    }
}

impl ScalarUDFImpl for Subscripts {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        let given = given.first().cloned().unwrap_or(DataType::Null);
        Ok(DataType::List(Arc::new(self.element(&given))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let Some(list) = args.args.into_iter().next() else { return exec_err!("{} needs a list", self.name) };
        let list = list.into_array(rows)?;
        let element = Arc::new(self.element(list.data_type()));
        let Some(list) = list.as_list_opt::<i32>() else {
            let none = ScalarValue::new_null_list(element.data_type().clone(), true, 1);
            return Ok(ColumnarValue::Scalar(none));
        };
        let lengths: Vec<usize> =
            (0..list.len()).map(|row| if list.is_null(row) { 0 } else { list.value(row).len() }).collect();
        let numbers: Int32Array = lengths.iter().flat_map(|length| (1_i32..).take(*length)).collect();
        let values: Arc<dyn Array> = match element.data_type() {
            DataType::Struct(fields) => {
                let values = values_of(list)?;
                Arc::new(StructArray::try_new(fields.clone(), vec![values, Arc::new(numbers)], None)?)
            }
            _ => Arc::new(numbers),
        };
        let lists =
            ListArray::try_new(element, OffsetBuffer::from_lengths(lengths), values, list.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}

/// The elements of all lists, one list after the other.
fn values_of(list: &GenericListArray<i32>) -> Result<Arc<dyn Array>> {
    let lists: Vec<_> =
        (0..list.len()).filter(|row| list.is_valid(*row)).map(|row| list.value(row)).collect();
    let lists: Vec<&dyn Array> = lists.iter().map(AsRef::as_ref).collect();
    Ok(match lists.is_empty() {
        true => arrow::array::new_empty_array(&list.value_type()),
        false => arrow::compute::concat(&lists)?,
    })
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[tokio::test]
    async fn lists_are_taken_apart() {
        let context = SessionContext::new();
        functions().into_iter().for_each(|function| context.register_udf(function));
        let sql = "SELECT k, unnest(v) AS x, generate_subscripts(v, 1) AS i, (_pg_expandarray(v)).x AS y, \
                   (information_schema._pg_expandarray(v)).n AS n \
                   FROM (VALUES ('a', make_array(7, 8)), ('b', NULL), ('c', make_array(9))) AS t(k, v) ORDER BY k, i";
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        unnest(&mut statements[0]);
        let text = statements[0].to_string().replace("information_schema.", "");
        let batches = context.sql(&text).await.unwrap().collect().await.unwrap();
        let shown = pretty_format_batches(&batches).unwrap().to_string();
        let rows: Vec<String> = shown.lines().skip(3).map(|line| line.replace([' ', '|'], "")).collect();
        assert_eq!(rows[..3], ["a7171", "a8282", "c9191"], "{shown}");
    }

    #[test]
    fn functions_stand_where_tables_do() {
        for (given, expected) in [
            ("SELECT i FROM generate_series(1, 2) AS i", "SELECT i FROM generate_series(1, 2) AS i (i)"),
            ("SELECT s FROM f(x) s", "SELECT s FROM (SELECT f(x) AS s) s (s)"),
            ("SELECT u FROM unnest(x) AS u", "SELECT u FROM UNNEST(x) AS u (u)"),
            (
                "SELECT k FROM c, unnest(c.conkey) AS k",
                "SELECT k FROM c, (SELECT 0 AS k WHERE false) AS k (k)",
            ),
            ("SELECT word FROM pg_get_keywords()", "SELECT word FROM pg_get_keywords()"),
        ] {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, given).unwrap();
            unnest(&mut statements[0]);
            assert_eq!(statements[0].to_string(), expected);
        }
    }
}
