//! `information_schema` with PostgreSQL's names of types, from which tools choose columns of time and numbers.
//!
//! Our own, which other front doors show, names types as the engine calls them.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use pgwire::api::Type;

use super::super::types::element_of;
use super::memory;
use super::tables::{Attribute, Cell, Relation, Relations, batch, int, namespaces, text};
use crate::catalog::CATALOG;

/// The tables there are.
pub(super) const NAMES: &[&str] = &[
    "check_constraints",
    "column_privileges",
    "columns",
    "constraint_column_usage",
    "constraint_table_usage",
    "domains",
    "foreign_tables",
    "key_column_usage",
    "parameters",
    "referential_constraints",
    "role_table_grants",
    "routine_privileges",
    "routines",
    "schemata",
    "sequences",
    "table_constraints",
    "table_privileges",
    "tables",
    "triggers",
    "views",
];

/// The table of this name.
pub(super) fn build(name: &str, relations: &Relations) -> Result<Option<Arc<dyn TableProvider>>> {
    let rows = |row: fn(&Relation) -> Vec<ScalarValue>| relations.iter().map(row).collect();
    memory(match name {
        "tables" => batch(TABLES, rows(table_row))?,
        "columns" => batch(COLUMNS, relations.iter().flat_map(column_rows).collect())?,
        "schemata" => {
            let row = |(name, _)| vec![text(CATALOG), text(name), text(CATALOG)];
            batch(SCHEMATA, namespaces().into_iter().map(row).collect())?
        }
        "views" => {
            let views = relations.iter().filter(|relation| !relation.is_table());
            let row = |view: &Relation| {
                let no = [text("NONE"), text("NO"), text("NO"), text("NO"), text("NO"), text("NO")];
                names(view).into_iter().chain([ScalarValue::Null]).chain(no).collect()
            };
            batch(VIEWS, views.map(row).collect())?
        }
        // There are no keys, constraints, domains, routines, sequences and triggers; privileges are the same for all tables.
        "check_constraints" => batch(CHECK_CONSTRAINTS, Vec::new())?,
        "column_privileges" => {
            batch(COLUMN_PRIVILEGES, relations.iter().flat_map(column_privilege_rows).collect())?
        }
        "constraint_column_usage" => batch(CONSTRAINT_COLUMN_USAGE, Vec::new())?,
        "constraint_table_usage" => batch(CONSTRAINT_TABLE_USAGE, Vec::new())?,
        "domains" => batch(DOMAINS, Vec::new())?,
        "foreign_tables" => batch(FOREIGN_TABLES, Vec::new())?,
        "key_column_usage" => batch(KEY_COLUMN_USAGE, Vec::new())?,
        "referential_constraints" => batch(REFERENTIAL_CONSTRAINTS, Vec::new())?,
        "parameters" => batch(PARAMETERS, Vec::new())?,
        "routine_privileges" => batch(ROUTINE_PRIVILEGES, Vec::new())?,
        "routines" => batch(ROUTINES, Vec::new())?,
        "sequences" => batch(SEQUENCES, Vec::new())?,
        "table_constraints" => batch(TABLE_CONSTRAINTS, Vec::new())?,
        "table_privileges" | "role_table_grants" => batch(TABLE_PRIVILEGES, rows(privilege_row))?,
        "triggers" => batch(TRIGGERS, Vec::new())?,
        _ => return Ok(None),
    })
}

fn names(relation: &Relation) -> [ScalarValue; 3] {
    [text(CATALOG), text(relation.schema), text(&relation.name)]
}

const TABLES: &[(&str, Cell)] = &[
    ("table_catalog", Cell::Text),
    ("table_schema", Cell::Text),
    ("table_name", Cell::Text),
    ("table_type", Cell::Text),
    ("is_insertable_into", Cell::Text),
    ("is_typed", Cell::Text),
    ("self_referencing_column_name", Cell::Text),
    ("reference_generation", Cell::Text),
    ("user_defined_type_catalog", Cell::Text),
    ("user_defined_type_schema", Cell::Text),
    ("user_defined_type_name", Cell::Text),
    ("commit_action", Cell::Text),
];

fn table_row(relation: &Relation) -> Vec<ScalarValue> {
    let kind = if relation.is_table() { "BASE TABLE" } else { "VIEW" };
    names(relation).into_iter().chain([text(kind), text("NO"), text("NO")]).collect()
}

const COLUMNS: &[(&str, Cell)] = &[
    ("table_catalog", Cell::Text),
    ("table_schema", Cell::Text),
    ("table_name", Cell::Text),
    ("column_name", Cell::Text),
    ("ordinal_position", Cell::Int4),
    ("is_nullable", Cell::Text),
    ("data_type", Cell::Text),
    ("udt_catalog", Cell::Text),
    ("udt_schema", Cell::Text),
    ("udt_name", Cell::Text),
    ("is_identity", Cell::Text),
    ("is_generated", Cell::Text),
    ("is_updatable", Cell::Text),
    ("numeric_precision", Cell::Int4),
    ("numeric_precision_radix", Cell::Int4),
    ("numeric_scale", Cell::Int4),
    ("datetime_precision", Cell::Int4),
    ("column_default", Cell::Text),
    ("character_maximum_length", Cell::Int4),
    ("character_octet_length", Cell::Int4),
    ("interval_type", Cell::Text),
    ("interval_precision", Cell::Int4),
    ("character_set_name", Cell::Text),
    ("collation_name", Cell::Text),
    ("domain_name", Cell::Text),
    ("identity_generation", Cell::Text),
    ("generation_expression", Cell::Text),
];

fn column_rows(relation: &Relation) -> impl Iterator<Item = Vec<ScalarValue>> {
    (1..).zip(&relation.columns).map(move |(position, column)| {
        let base = &column.wire.base;
        let of_column = [
            text(&column.name),
            int(position),
            text(if column.is_nullable { "YES" } else { "NO" }),
            text(type_name(base)),
            text(CATALOG),
            text(super::PG_CATALOG),
            text(base.name()),
            text("NO"),
            text("NEVER"),
            text("NO"),
        ];
        names(relation).into_iter().chain(of_column).chain(precisions(column)).collect()
    })
}

/// Precision, radix and scale of numbers, and digits of a second's fraction.
fn precisions(column: &Attribute) -> [ScalarValue; 4] {
    let null = || ScalarValue::Null;
    let number = |bits, scale: Option<i32>| [int(bits), int(2), scale.map_or_else(null, int), null()];
    match column.wire.base {
        Type::INT2 => number(16, Some(0)),
        Type::INT4 => number(32, Some(0)),
        Type::INT8 => number(64, Some(0)),
        Type::FLOAT4 => number(24, None),
        Type::FLOAT8 => number(53, None),
        Type::NUMERIC if column.wire.modifier >= 4 => {
            let packed = column.wire.modifier - 4;
            [int(packed >> 16), int(10), int(packed & 0xffff), null()]
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => [null(), null(), null(), int(6)],
        Type::DATE => [null(), null(), null(), int(0)],
        _ => [null(), null(), null(), null()],
    }
}

/// The SQL standard's name of a type.
fn type_name(base: &Type) -> &str {
    match *base {
        Type::BOOL => "boolean",
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::TIMESTAMP => "timestamp without time zone",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        Type::TIME => "time without time zone",
        _ if element_of(base).is_some() => "ARRAY",
        _ => base.name(),
    }
}

const SCHEMATA: &[(&str, Cell)] = &[
    ("catalog_name", Cell::Text),
    ("schema_name", Cell::Text),
    ("schema_owner", Cell::Text),
    ("default_character_set_catalog", Cell::Text),
    ("default_character_set_schema", Cell::Text),
    ("default_character_set_name", Cell::Text),
    ("sql_path", Cell::Text),
];

const VIEWS: &[(&str, Cell)] = &[
    ("table_catalog", Cell::Text),
    ("table_schema", Cell::Text),
    ("table_name", Cell::Text),
    ("view_definition", Cell::Text),
    ("check_option", Cell::Text),
    ("is_updatable", Cell::Text),
    ("is_insertable_into", Cell::Text),
    ("is_trigger_updatable", Cell::Text),
    ("is_trigger_deletable", Cell::Text),
    ("is_trigger_insertable_into", Cell::Text),
];

const CONSTRAINT_COLUMN_USAGE: &[(&str, Cell)] = &[
    ("table_catalog", Cell::Text),
    ("table_schema", Cell::Text),
    ("table_name", Cell::Text),
    ("column_name", Cell::Text),
    ("constraint_catalog", Cell::Text),
    ("constraint_schema", Cell::Text),
    ("constraint_name", Cell::Text),
];

const KEY_COLUMN_USAGE: &[(&str, Cell)] = &[
    ("constraint_catalog", Cell::Text),
    ("constraint_schema", Cell::Text),
    ("constraint_name", Cell::Text),
    ("table_catalog", Cell::Text),
    ("table_schema", Cell::Text),
    ("table_name", Cell::Text),
    ("column_name", Cell::Text),
    ("ordinal_position", Cell::Int4),
    ("position_in_unique_constraint", Cell::Int4),
];

const REFERENTIAL_CONSTRAINTS: &[(&str, Cell)] = &[
    ("constraint_catalog", Cell::Text),
    ("constraint_schema", Cell::Text),
    ("constraint_name", Cell::Text),
    ("unique_constraint_catalog", Cell::Text),
    ("unique_constraint_schema", Cell::Text),
    ("unique_constraint_name", Cell::Text),
    ("match_option", Cell::Text),
    ("update_rule", Cell::Text),
    ("delete_rule", Cell::Text),
];

const ROUTINES: &[(&str, Cell)] = &[
    ("specific_catalog", Cell::Text),
    ("specific_schema", Cell::Text),
    ("specific_name", Cell::Text),
    ("routine_catalog", Cell::Text),
    ("routine_schema", Cell::Text),
    ("routine_name", Cell::Text),
    ("routine_type", Cell::Text),
    ("data_type", Cell::Text),
    ("routine_definition", Cell::Text),
];

const SEQUENCES: &[(&str, Cell)] = &[
    ("sequence_catalog", Cell::Text),
    ("sequence_schema", Cell::Text),
    ("sequence_name", Cell::Text),
    ("data_type", Cell::Text),
];

const TABLE_CONSTRAINTS: &[(&str, Cell)] = &[
    ("constraint_catalog", Cell::Text),
    ("constraint_schema", Cell::Text),
    ("constraint_name", Cell::Text),
    ("table_catalog", Cell::Text),
    ("table_schema", Cell::Text),
    ("table_name", Cell::Text),
    ("constraint_type", Cell::Text),
    ("is_deferrable", Cell::Text),
    ("initially_deferred", Cell::Text),
    ("enforced", Cell::Text),
];

const TABLE_PRIVILEGES: &[(&str, Cell)] = &[
    ("grantor", Cell::Text),
    ("grantee", Cell::Text),
    ("table_catalog", Cell::Text),
    ("table_schema", Cell::Text),
    ("table_name", Cell::Text),
    ("privilege_type", Cell::Text),
    ("is_grantable", Cell::Text),
    ("with_hierarchy", Cell::Text),
];

fn privilege_row(relation: &Relation) -> Vec<ScalarValue> {
    let grant = [text(CATALOG), text("PUBLIC")];
    grant.into_iter().chain(names(relation)).chain([text("SELECT"), text("NO"), text("YES")]).collect()
}

const COLUMN_PRIVILEGES: &[(&str, Cell)] = &[
    ("grantor", Cell::Text),
    ("grantee", Cell::Text),
    ("table_catalog", Cell::Text),
    ("table_schema", Cell::Text),
    ("table_name", Cell::Text),
    ("column_name", Cell::Text),
    ("privilege_type", Cell::Text),
    ("is_grantable", Cell::Text),
];

fn column_privilege_rows(relation: &Relation) -> impl Iterator<Item = Vec<ScalarValue>> {
    relation.columns.iter().map(|column| {
        let of_column = [text(&column.name), text("SELECT"), text("NO")];
        [text(CATALOG), text("PUBLIC")].into_iter().chain(names(relation)).chain(of_column).collect()
    })
}

const CHECK_CONSTRAINTS: &[(&str, Cell)] = &[
    ("constraint_catalog", Cell::Text),
    ("constraint_schema", Cell::Text),
    ("constraint_name", Cell::Text),
    ("check_clause", Cell::Text),
];

const CONSTRAINT_TABLE_USAGE: &[(&str, Cell)] = &[
    ("table_catalog", Cell::Text),
    ("table_schema", Cell::Text),
    ("table_name", Cell::Text),
    ("constraint_catalog", Cell::Text),
    ("constraint_schema", Cell::Text),
    ("constraint_name", Cell::Text),
];

const DOMAINS: &[(&str, Cell)] = &[
    ("domain_catalog", Cell::Text),
    ("domain_schema", Cell::Text),
    ("domain_name", Cell::Text),
    ("data_type", Cell::Text),
    ("domain_default", Cell::Text),
];

const FOREIGN_TABLES: &[(&str, Cell)] = &[
    ("foreign_table_catalog", Cell::Text),
    ("foreign_table_schema", Cell::Text),
    ("foreign_table_name", Cell::Text),
    ("foreign_server_catalog", Cell::Text),
    ("foreign_server_name", Cell::Text),
];

const PARAMETERS: &[(&str, Cell)] = &[
    ("specific_catalog", Cell::Text),
    ("specific_schema", Cell::Text),
    ("specific_name", Cell::Text),
    ("ordinal_position", Cell::Int4),
    ("parameter_mode", Cell::Text),
    ("parameter_name", Cell::Text),
    ("data_type", Cell::Text),
    ("udt_name", Cell::Text),
];

const ROUTINE_PRIVILEGES: &[(&str, Cell)] = &[
    ("grantor", Cell::Text),
    ("grantee", Cell::Text),
    ("specific_catalog", Cell::Text),
    ("specific_schema", Cell::Text),
    ("specific_name", Cell::Text),
    ("routine_catalog", Cell::Text),
    ("routine_schema", Cell::Text),
    ("routine_name", Cell::Text),
    ("privilege_type", Cell::Text),
    ("is_grantable", Cell::Text),
];

const TRIGGERS: &[(&str, Cell)] = &[
    ("trigger_catalog", Cell::Text),
    ("trigger_schema", Cell::Text),
    ("trigger_name", Cell::Text),
    ("event_object_schema", Cell::Text),
    ("event_object_table", Cell::Text),
];
