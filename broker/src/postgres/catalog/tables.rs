//! The relations, columns and settings of `pg_catalog`, told from the tables as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_pg::datatypes::PG_CHAR_KEY;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion_pg_catalog::pg_catalog::oid_field::{kind::OID, oid_field};
use headwater_segment::live::Tables;
use pgwire::api::Type;
use sha2::{Digest, Sha256};

use super::super::settings::Settings;
use super::super::types::{WireType, element_of, of_field};
use super::{INFORMATION_SCHEMA, PG_CATALOG, memory};
use crate::catalog::{CATALOG, PUBLIC, SYSTEM, system_schemas};

/// Objects of users have numbers from here on.
const FIRST_OID: i32 = 16_384;
/// The namespace that PostgreSQL's static tables refer to.
const PG_CATALOG_OID: i32 = 11;
/// Whoever owns everything.
pub(super) const OWNER_OID: i32 = 10;
pub(super) const OWNER: &str = "headwater";
/// The number of the encoding.
pub(super) const UTF8: i32 = 6;
/// The collation `default`, of types that have one.
const COLLATION_OID: i32 = 100;

/// A table or a system table.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) schema: &'static str,
    pub(super) name: String,
    pub(super) oid: i32,
    pub(super) columns: Vec<Attribute>,
    pub(super) arrow: SchemaRef,
    /// -1: nobody counts them.
    pub(super) rows: f32,
    /// Of its sealed segments.
    pub(super) size_bytes: i64,
}

/// A column.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) wire: WireType,
    pub(super) is_nullable: bool,
}

impl Relation {
    pub(super) fn is_table(&self) -> bool {
        self.schema == PUBLIC
    }
}

/// All relations at one moment.
#[derive(Debug)]
pub(super) struct Relations(Vec<Relation>);

impl Relations {
    pub(super) fn of(tables: &Tables) -> Self {
        let mut oids = Oids::default();
        let mut relations: Vec<Relation> = Vec::new();
        for table in tables.list() {
            let schema = table.schema();
            let read = table.read();
            let open: usize = read.open.iter().map(|slice| slice.rows.len()).sum();
            let rows = (read.log.segments.rows() + open as u64) as f32;
            // The stream columns show only where they are asked for by name.
            let own = schema.arrow().fields()[..schema.spec_columns()].to_vec();
            let mut relation = relation(PUBLIC, table.name(), Arc::new(Schema::new(own)), &mut oids);
            relation.rows = rows;
            relation.size_bytes = i64::try_from(read.log.segments.size_bytes()).unwrap_or(i64::MAX);
            relations.push(relation);
        }
        for (name, schema) in system_schemas() {
            relations.push(relation(SYSTEM, name, schema, &mut oids));
        }
        Self(relations)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Relation> {
        self.0.iter()
    }

    pub(super) fn of_schema(&self, schema: &str) -> impl Iterator<Item = &Relation> {
        self.0.iter().filter(move |relation| relation.schema == schema)
    }
}

fn relation(schema: &'static str, name: &str, arrow: SchemaRef, oids: &mut Oids) -> Relation {
    let column = |field: &Arc<Field>| Attribute {
        name: field.name().clone(),
        wire: of_field(field),
        is_nullable: field.is_nullable(),
    };
    Relation {
        schema,
        name: name.to_owned(),
        oid: oids.of(&format!("{schema}.{name}")),
        columns: arrow.fields().iter().map(column).collect(),
        arrow,
        rows: -1.0,
        size_bytes: 0,
    }
}

/// Numbers by name: 31 bits of its hash, or the next that is free.
#[derive(Default)]
struct Oids(BTreeMap<i32, String>);

impl Oids {
    fn of(&mut self, name: &str) -> i32 {
        let mut oid = hashed(name);
        while self.0.contains_key(&oid) {
            oid = if oid == i32::MAX { FIRST_OID } else { oid + 1 };
        }
        self.0.insert(oid, name.to_owned());
        oid
    }
}

pub(super) fn hashed(name: &str) -> i32 {
    let digest = Sha256::digest(name.as_bytes());
    let bits = digest.iter().take(4).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    FIRST_OID + (bits % (i32::MAX - FIRST_OID).cast_unsigned()).cast_signed()
}

/// The namespaces by name and number.
pub(super) fn namespaces() -> [(&'static str, i32); 4] {
    [
        (PG_CATALOG, PG_CATALOG_OID),
        (INFORMATION_SCHEMA, hashed(INFORMATION_SCHEMA)),
        (PUBLIC, hashed(PUBLIC)),
        (SYSTEM, hashed(SYSTEM)),
    ]
}

fn namespace(schema: &str) -> i32 {
    namespaces().into_iter().find(|(name, _)| *name == schema).map_or(0, |(_, oid)| oid)
}

/// Types of columns here.
#[derive(Clone, Copy)]
pub(super) enum Cell {
    Oid,
    Text,
    Char,
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Instant,
    Texts,
}

impl Cell {
    fn field(self, name: &str) -> Field {
        match self {
            Self::Oid => oid_field(name, OID, true),
            Self::Text => Field::new(name, DataType::Utf8, true),
            Self::Char => Field::new(name, DataType::Utf8, true)
                .with_metadata([(PG_CHAR_KEY.to_owned(), "char".to_owned())].into()),
            Self::Bool => Field::new(name, DataType::Boolean, true),
            Self::Int2 => Field::new(name, DataType::Int16, true),
            Self::Int4 => Field::new(name, DataType::Int32, true),
            Self::Int8 => Field::new(name, DataType::Int64, true),
            Self::Float4 => Field::new(name, DataType::Float32, true),
            Self::Instant => {
                Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true)
            }
            Self::Texts => Field::new_list(name, Field::new_list_field(DataType::Utf8, true), true),
        }
    }
}

/// A batch of rows; a value that is missing at the end of a row is NULL.
pub(super) fn batch(columns: &[(&str, Cell)], rows: Vec<Vec<ScalarValue>>) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns.iter().map(|(name, cell)| cell.field(name)).collect();
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let mut arrays = Vec::with_capacity(columns.len());
    for (at, field) in schema.fields().iter().enumerate() {
        let null = ScalarValue::try_from(field.data_type())?;
        let value =
            |row: &Vec<ScalarValue>| row.get(at).filter(|value| !matches!(value, ScalarValue::Null)).cloned();
        let values: Vec<ScalarValue> =
            rows.iter().map(|row| value(row).unwrap_or_else(|| null.clone())).collect();
        arrays.push(match values.is_empty() {
            true => new_empty_array(field.data_type()),
            false => ScalarValue::iter_to_array(values)?,
        });
    }
    Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
}

pub(super) fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

pub(super) fn int(value: i32) -> ScalarValue {
    ScalarValue::Int32(Some(value))
}

fn small(value: i16) -> ScalarValue {
    ScalarValue::Int16(Some(value))
}

pub(super) fn yes(value: bool) -> ScalarValue {
    ScalarValue::Boolean(Some(value))
}

/// The table of this name, if it is one of ours; the others are static.
pub(super) fn build(
    name: &str,
    relations: &Relations,
    settings: &Settings,
) -> Result<Option<Arc<dyn TableProvider>>> {
    memory(match name {
        "pg_class" => batch(CLASS, relations.iter().map(class_row).collect())?,
        "pg_attribute" => batch(ATTRIBUTE, relations.iter().flat_map(attribute_rows).collect())?,
        "pg_namespace" => {
            let row = |(name, oid)| vec![int(oid), text(name), int(OWNER_OID)];
            batch(NAMESPACE, namespaces().into_iter().map(row).collect())?
        }
        "pg_database" => batch(DATABASE, vec![database_row()])?,
        "pg_tables" => {
            let row = |relation: &Relation| {
                let no = yes(false);
                let rest = [ScalarValue::Null, no.clone(), no.clone(), no.clone(), no];
                let names = [text(relation.schema), text(&relation.name), text(OWNER)];
                names.into_iter().chain(rest).collect()
            };
            batch(TABLES, relations.of_schema(PUBLIC).map(row).collect())?
        }
        "pg_views" => {
            let row = |relation: &Relation| vec![text(relation.schema), text(&relation.name), text(OWNER)];
            batch(VIEWS, relations.of_schema(SYSTEM).map(row).collect())?
        }
        "pg_settings" => {
            let row = |(name, value): (&str, &str)| vec![text(name), text(value)];
            batch(SETTINGS, settings.all().map(row).collect())?
        }
        _ => return Ok(None),
    })
}

const NAMESPACE: &[(&str, Cell)] =
    &[("oid", Cell::Oid), ("nspname", Cell::Text), ("nspowner", Cell::Oid), ("nspacl", Cell::Texts)];

const TABLES: &[(&str, Cell)] = &[
    ("schemaname", Cell::Text),
    ("tablename", Cell::Text),
    ("tableowner", Cell::Text),
    ("tablespace", Cell::Text),
    ("hasindexes", Cell::Bool),
    ("hasrules", Cell::Bool),
    ("hastriggers", Cell::Bool),
    ("rowsecurity", Cell::Bool),
];

const VIEWS: &[(&str, Cell)] = &[
    ("schemaname", Cell::Text),
    ("viewname", Cell::Text),
    ("viewowner", Cell::Text),
    ("definition", Cell::Text),
];

const SETTINGS: &[(&str, Cell)] = &[
    ("name", Cell::Text),
    ("setting", Cell::Text),
    ("unit", Cell::Text),
    ("category", Cell::Text),
    ("short_desc", Cell::Text),
    ("extra_desc", Cell::Text),
    ("context", Cell::Text),
    ("vartype", Cell::Text),
    ("source", Cell::Text),
    ("min_val", Cell::Text),
    ("max_val", Cell::Text),
    ("enumvals", Cell::Texts),
    ("boot_val", Cell::Text),
    ("reset_val", Cell::Text),
    ("sourcefile", Cell::Text),
    ("sourceline", Cell::Int4),
    ("pending_restart", Cell::Bool),
];

const DATABASE: &[(&str, Cell)] = &[
    ("oid", Cell::Oid),
    ("datname", Cell::Text),
    ("datdba", Cell::Oid),
    ("encoding", Cell::Int4),
    ("datlocprovider", Cell::Char),
    ("datistemplate", Cell::Bool),
    ("datallowconn", Cell::Bool),
    ("dathasloginevt", Cell::Bool),
    ("datconnlimit", Cell::Int4),
    ("datfrozenxid", Cell::Int4),
    ("datminmxid", Cell::Int4),
    ("dattablespace", Cell::Oid),
    ("datcollate", Cell::Text),
    ("datctype", Cell::Text),
    ("daticulocale", Cell::Text),
    ("daticurules", Cell::Text),
    ("datlocale", Cell::Text),
    ("datcollversion", Cell::Text),
    ("datacl", Cell::Texts),
];

fn database_row() -> Vec<ScalarValue> {
    let tablespace = 1663;
    vec![
        int(hashed(CATALOG)),
        text(CATALOG),
        int(OWNER_OID),
        int(UTF8),
        text("c"),
        yes(false),
        yes(true),
        yes(false),
        int(-1),
        int(0),
        int(0),
        int(tablespace),
        text("C"),
        text("C"),
    ]
}

const CLASS: &[(&str, Cell)] = &[
    ("oid", Cell::Oid),
    ("relname", Cell::Text),
    ("relnamespace", Cell::Oid),
    ("reltype", Cell::Oid),
    ("reloftype", Cell::Oid),
    ("relowner", Cell::Oid),
    ("relam", Cell::Oid),
    ("relfilenode", Cell::Oid),
    ("reltablespace", Cell::Oid),
    ("relpages", Cell::Int4),
    ("reltuples", Cell::Float4),
    ("relallvisible", Cell::Int4),
    ("reltoastrelid", Cell::Oid),
    ("relhasindex", Cell::Bool),
    ("relisshared", Cell::Bool),
    ("relpersistence", Cell::Char),
    ("relkind", Cell::Char),
    ("relnatts", Cell::Int2),
    ("relchecks", Cell::Int2),
    ("relhasrules", Cell::Bool),
    ("relhastriggers", Cell::Bool),
    ("relhassubclass", Cell::Bool),
    ("relrowsecurity", Cell::Bool),
    ("relforcerowsecurity", Cell::Bool),
    ("relispopulated", Cell::Bool),
    ("relreplident", Cell::Char),
    ("relispartition", Cell::Bool),
    ("relrewrite", Cell::Oid),
    ("relfrozenxid", Cell::Int4),
    ("relminmxid", Cell::Int4),
    ("relacl", Cell::Texts),
    ("reloptions", Cell::Texts),
    ("relpartbound", Cell::Text),
];

fn class_row(relation: &Relation) -> Vec<ScalarValue> {
    vec![
        int(relation.oid),
        text(&relation.name),
        int(namespace(relation.schema)),
        int(0),
        int(0),
        int(OWNER_OID),
        int(0),
        int(relation.oid),
        int(0),
        int(0),
        ScalarValue::Float32(Some(relation.rows)),
        int(0),
        int(0),
        yes(false),
        yes(false),
        text("p"),
        text(if relation.is_table() { "r" } else { "v" }),
        small(i16::try_from(relation.columns.len()).unwrap_or(i16::MAX)),
        small(0),
        yes(false),
        yes(false),
        yes(false),
        yes(false),
        yes(false),
        yes(true),
        text("n"),
        yes(false),
        int(0),
        int(0),
        int(0),
    ]
}

const ATTRIBUTE: &[(&str, Cell)] = &[
    ("attrelid", Cell::Oid),
    ("attname", Cell::Text),
    ("atttypid", Cell::Oid),
    ("attlen", Cell::Int2),
    ("attnum", Cell::Int2),
    ("attcacheoff", Cell::Int4),
    ("atttypmod", Cell::Int4),
    ("attndims", Cell::Int2),
    ("attbyval", Cell::Bool),
    ("attalign", Cell::Char),
    ("attstorage", Cell::Char),
    ("attcompression", Cell::Char),
    ("attnotnull", Cell::Bool),
    ("atthasdef", Cell::Bool),
    ("atthasmissing", Cell::Bool),
    ("attidentity", Cell::Text),
    ("attgenerated", Cell::Text),
    ("attisdropped", Cell::Bool),
    ("attislocal", Cell::Bool),
    ("attinhcount", Cell::Int2),
    ("attcollation", Cell::Oid),
    ("attstattarget", Cell::Int2),
    ("attacl", Cell::Texts),
    ("attoptions", Cell::Texts),
    ("attfdwoptions", Cell::Texts),
    ("attmissingval", Cell::Text),
];

fn attribute_rows(relation: &Relation) -> impl Iterator<Item = Vec<ScalarValue>> {
    (1..).zip(&relation.columns).map(move |(number, column)| {
        let base = &column.wire.base;
        let is_array = element_of(base).is_some();
        let is_text = matches!(*base, Type::TEXT | Type::TEXT_ARRAY);
        let is_long = column.wire.size < 0;
        vec![
            int(relation.oid),
            text(&column.name),
            int(base.oid().cast_signed()),
            small(column.wire.size),
            small(number),
            int(-1),
            int(column.wire.modifier),
            small(is_array.into()),
            yes(!is_long && column.wire.size <= 8),
            text(if is_long || column.wire.size == 4 { "i" } else { "d" }),
            text(if is_long { "x" } else { "p" }),
            text(""),
            yes(!column.is_nullable),
            yes(false),
            yes(false),
            text(""),
            text(""),
            yes(false),
            yes(true),
            small(0),
            int(if is_text { COLLATION_OID } else { 0 }),
        ]
    })
}
