//! PostgreSQL's static tables, as far as they are true here.
//!
//! `datafusion-pg-catalog` has them as a fresh PostgreSQL has: with the indexes, constraints and views of tables that are not
//! here, so those tables are [`EMPTY`]; and with arrays as texts, which become lists.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int16Builder, Int32Builder, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, CastKind, DataType as SqlType, Expr, Value};

use super::dialect::call;

/// Tables that have no rows: there are no aggregates of users, keys, indexes, defaults, sequences, triggers, rules, policies, extensions and grants.
pub(super) const EMPTY: &[&str] = &[
    "pg_aggregate",
    "pg_attrdef",
    "pg_auth_members",
    "pg_constraint",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_depend",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_index",
    "pg_inherits",
    "pg_init_privs",
    "pg_partitioned_table",
    "pg_policy",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_rewrite",
    "pg_sequence",
    "pg_shdepend",
    "pg_statistic",
    "pg_statistic_ext",
    "pg_statistic_ext_data",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_trigger",
    "pg_user_mapping",
];

/// Elements of arrays.
#[derive(Clone, Copy)]
enum Element {
    Int2,
    Oid,
    Text,
}

/// Columns that are arrays, by their names; each name has one type wherever it occurs.
const ARRAYS: &[(&str, Element)] = &[
    ("conexclop", Element::Oid),
    ("confdelsetcols", Element::Int2),
    ("conffeqop", Element::Oid),
    ("confkey", Element::Int2),
    ("conkey", Element::Int2),
    ("conpfeqop", Element::Oid),
    ("conppeqop", Element::Oid),
    ("defaclacl", Element::Text),
    ("evttags", Element::Text),
    ("extcondition", Element::Text),
    ("extconfig", Element::Oid),
    ("fdwacl", Element::Text),
    ("fdwoptions", Element::Text),
    ("ftoptions", Element::Text),
    ("indclass", Element::Oid),
    ("indcollation", Element::Oid),
    ("indkey", Element::Int2),
    ("indoption", Element::Int2),
    ("lanacl", Element::Text),
    ("partattrs", Element::Int2),
    ("polroles", Element::Oid),
    ("prattrs", Element::Int2),
    ("proacl", Element::Text),
    ("proallargtypes", Element::Oid),
    ("proargmodes", Element::Text),
    ("proargnames", Element::Text),
    ("proconfig", Element::Text),
    ("protrftypes", Element::Oid),
    ("setconfig", Element::Text),
    ("spcacl", Element::Text),
    ("spcoptions", Element::Text),
    ("srvacl", Element::Text),
    ("srvoptions", Element::Text),
    ("stxkeys", Element::Int2),
    ("stxkind", Element::Text),
    ("subpublications", Element::Text),
    ("typacl", Element::Text),
    ("umoptions", Element::Text),
];

/// The table with its rows and arrays as they are here.
pub(super) async fn corrected(name: &str, table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let Some(rows) = table.downcast_ref::<MemTable>() else { return Ok(table) };
    let mut batches = Vec::new();
    if !EMPTY.contains(&name) {
        for partition in &rows.batches {
            batches.extend(partition.read().await.iter().cloned());
        }
    }
    let schema = schema_of(&table.schema());
    let batches = batches.iter().map(|batch| with_lists(batch, &schema)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(MemTable::try_new(schema, vec![batches])?))
}

/// `{1,2}` as a list of the type that a column of this name has; `None`: it has no lists.
pub(super) fn list_literal(column: &str, text: &str) -> Option<Expr> {
    let element = element_of(column)?;
    let item = |item: &str| Expr::Value(Value::SingleQuotedString(item.to_owned()).into());
    let item_type = match element {
        Element::Int2 => SqlType::SmallInt(None),
        Element::Oid => SqlType::Int(None),
        Element::Text => SqlType::Text,
    };
    Some(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(call("make_array", items(text).map(item).collect())),
        data_type: SqlType::Array(ArrayElemTypeDef::SquareBracket(Box::new(item_type), None)),
        array: false,
        format: None,
    })
}

fn element_of(column: &str) -> Option<Element> {
    ARRAYS.iter().find(|(name, _)| *name == column).map(|(_, element)| *element)
}

fn schema_of(given: &SchemaRef) -> SchemaRef {
    let field = |field: &Arc<Field>| match element_of(field.name()) {
        Some(element) if *field.data_type() == DataType::Utf8 => {
            let item = match element {
                Element::Int2 => DataType::Int16,
                Element::Oid => DataType::Int32,
                Element::Text => DataType::Utf8,
            };
            Arc::new(Field::new_list(field.name(), Field::new_list_field(item, true), true))
        }
        // Its name in the version that clients are told.
        _ if field.name() == "colllocale" => Arc::new(field.as_ref().clone().with_name("colliculocale")),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(given.fields().iter().map(field).collect::<Vec<_>>()))
}

fn with_lists(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match (element_of(field.name()), field.data_type()) {
        (Some(element), DataType::List(_)) => lists_of(column, element),
        _ => Arc::clone(column),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

fn lists_of(texts: &ArrayRef, element: Element) -> ArrayRef {
    let texts = texts.as_string::<i32>();
    match element {
        Element::Int2 => {
            let mut lists = ListBuilder::new(Int16Builder::new());
            texts.iter().for_each(|text| {
                lists.append_option(text.map(|text| items(text).map(|item| item.parse().ok())))
            });
            Arc::new(lists.finish())
        }
        Element::Oid => {
            let mut lists = ListBuilder::new(Int32Builder::new());
            texts.iter().for_each(|text| {
                lists.append_option(text.map(|text| items(text).map(|item| item.parse().ok())))
            });
            Arc::new(lists.finish())
        }
        Element::Text => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            texts.iter().for_each(|text| lists.append_option(text.map(|text| items(text).map(Some))));
            Arc::new(lists.finish())
        }
    }
}

/// The elements of `{a,b}`, `['a', 'b']` or `1 2`.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim().trim_matches(['{', '}', '[', ']']);
    let items = text.split([',', ' ']).map(|item| item.trim_matches(['\'', '"']));
    items.filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, StringArray};

    use super::*;

    #[test]
    fn texts_become_lists() {
        let texts: ArrayRef =
            Arc::new(StringArray::from(vec![Some("1 2"), Some("[3, x]"), Some("{}"), None]));
        let numbers = lists_of(&texts, Element::Int2);
        let numbers = numbers.as_list::<i32>();
        assert_eq!(numbers.value(0).len(), 2);
        assert_eq!((numbers.value(1).len(), numbers.value(1).null_count()), (2, 1));
        assert_eq!((numbers.value(2).len(), numbers.is_null(3)), (0, true));
        let names = ["['a', 'b c']", "{a,b}"].map(|text| items(text).collect::<Vec<_>>());
        assert_eq!(names, [vec!["a", "b", "c"], vec!["a", "b"]]);
    }
}
