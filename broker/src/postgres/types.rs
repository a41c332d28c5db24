//! Which PostgreSQL type stands for which of ours.
//!
//! | ours | PostgreSQL |
//! |---|---|
//! | BOOLEAN, INT, LONG, FLOAT, DOUBLE | `bool`, `int4`, `int8`, `float4`, `float8` |
//! | DECIMAL(p,s) | `numeric(p,s)` |
//! | TIMESTAMP | `timestamptz`: ours are instants. Java's drivers would read a `timestamp` in the zone of their machine |
//! | DATE | `date` |
//! | STRING, BYTES, JSON, UUID | `text`, `bytea`, `json`, `uuid` |
//! | ARRAY of those | the array of it; an array of arrays or of structures is `json` |
//! | structures, maps, what the JSON functions return | `json` |
//!
//! Expressions may have types that columns cannot have: small and unsigned integers take the next wider type, but those of 64 bits
//! in answers, such as `row_number()`, are `int8`; instants without a zone are `timestamp`, times `time`, durations and intervals `interval`.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use arrow_pg::datatypes::{PG_OID_ALIAS_KEY, is_pg_char_field, pg_type_for_alias_kind};
use headwater_segment::schema::ColumnType;
use pgwire::api::Type;

use crate::render::types::{declared, is_compound, list_element};

/// A type as `RowDescription` names it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WireType {
    pub(super) base: Type,
    /// Bytes of a value; -1: they vary.
    pub(super) size: i16,
    /// Precision and scale of a `numeric`; -1: none.
    pub(super) modifier: i32,
}

/// The type of a column of an answer.
pub(super) fn of_field(field: &Field) -> WireType {
    let base = match declared(field) {
        Some(ColumnType::Json) => Type::JSON,
        Some(ColumnType::Uuid) => Type::UUID,
        Some(ColumnType::Array(element)) => match *element {
            ColumnType::Json => Type::JSON_ARRAY,
            ColumnType::Uuid => Type::UUID_ARRAY,
            _ => of_data_type(field.data_type()),
        },
        // What counts rows; no row has a number of more than 63 bits.
        None if *field.data_type() == DataType::UInt64 => Type::INT8,
        _ => of_catalog(field).unwrap_or_else(|| of_data_type(field.data_type())),
    };
    let modifier = match list_element(field.data_type()).unwrap_or(field.data_type()) {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            ((i32::from(*precision) << 16) | (i32::from(*scale) & 0xffff)) + 4
        }
        _ => -1,
    };
    WireType { size: size_of(&base), base, modifier }
}

/// Columns of the catalog that stand for objects.
fn of_catalog(field: &Field) -> Option<Type> {
    match field.metadata().get(PG_OID_ALIAS_KEY) {
        Some(kind) if *field.data_type() == DataType::Int32 => pg_type_for_alias_kind(kind),
        _ => is_pg_char_field(field).then_some(Type::CHAR),
    }
}

/// The type of an expression.
pub(super) fn of_data_type(data_type: &DataType) -> Type {
    if let Some(element) = list_element(data_type) {
        return match is_compound(element) {
            true => Type::JSON,
            false => array_of(&of_data_type(element)),
        };
    }
    match data_type {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => Type::INT2,
        DataType::UInt16 | DataType::Int32 => Type::INT4,
        DataType::UInt32 | DataType::Int64 => Type::INT8,
        DataType::UInt64
        | DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => Type::NUMERIC,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Duration(_) | DataType::Interval(_) => Type::INTERVAL,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Type::BYTEA
        }
        DataType::Dictionary(_, values) => of_data_type(values),
        DataType::RunEndEncoded(_, values) => of_data_type(values.data_type()),
        compound if is_compound(compound) => Type::JSON,
        _ => Type::TEXT,
    }
}

/// Types of elements, and of arrays of them.
static ARRAYS: [(Type, Type); 17] = [
    (Type::BOOL, Type::BOOL_ARRAY),
    (Type::INT2, Type::INT2_ARRAY),
    (Type::INT4, Type::INT4_ARRAY),
    (Type::INT8, Type::INT8_ARRAY),
    (Type::NUMERIC, Type::NUMERIC_ARRAY),
    (Type::FLOAT4, Type::FLOAT4_ARRAY),
    (Type::FLOAT8, Type::FLOAT8_ARRAY),
    (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
    (Type::TIMESTAMP, Type::TIMESTAMP_ARRAY),
    (Type::DATE, Type::DATE_ARRAY),
    (Type::TIME, Type::TIME_ARRAY),
    (Type::INTERVAL, Type::INTERVAL_ARRAY),
    (Type::BYTEA, Type::BYTEA_ARRAY),
    (Type::TEXT, Type::TEXT_ARRAY),
    (Type::VARCHAR, Type::VARCHAR_ARRAY),
    (Type::UUID, Type::UUID_ARRAY),
    (Type::OID, Type::OID_ARRAY),
];

fn array_of(element: &Type) -> Type {
    let found = ARRAYS.iter().find(|(known, _)| known == element);
    found.map_or(Type::TEXT_ARRAY, |(_, array)| array.clone())
}

/// The element type of an array type.
pub(super) fn element_of(array: &Type) -> Option<Type> {
    match *array {
        Type::JSON_ARRAY => Some(Type::JSON),
        _ => ARRAYS.iter().find(|(_, known)| known == array).map(|(element, _)| element.clone()),
    }
}

/// The types of PostgreSQL by their own names: `int8`, `_int8`, `timestamptz`.
static NAMED: LazyLock<HashMap<String, Type>> = LazyLock::new(|| {
    // None of them has a number of five digits.
    let known = (1..10_000).filter_map(Type::from_oid);
    known.map(|base| (base.name().to_owned(), base)).collect()
});

/// Names of SQL for some of them.
const SQL_NAMES: &[(&str, &str)] = &[
    ("bigint", "int8"),
    ("bit varying", "varbit"),
    ("boolean", "bool"),
    ("char", "bpchar"),
    ("character", "bpchar"),
    ("character varying", "varchar"),
    ("dec", "numeric"),
    ("decimal", "numeric"),
    ("numeric", "numeric"),
    ("double precision", "float8"),
    ("int", "int4"),
    ("integer", "int4"),
    ("real", "float4"),
    ("smallint", "int2"),
    ("time with time zone", "timetz"),
    ("time without time zone", "time"),
    ("timestamp with time zone", "timestamptz"),
    ("timestamp without time zone", "timestamp"),
];

/// The type that a name stands for, as a client writes it: `int8`, `BIGINT[]`, `pg_catalog.varchar`, `numeric(10,2)`.
pub(super) fn of_name(text: &str) -> Option<Type> {
    let lower = text.to_lowercase();
    let (name, is_array) = match lower.trim().strip_suffix("[]") {
        Some(element) => (element.trim_end(), true),
        None => (lower.trim(), false),
    };
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    // Digits and lengths stand in brackets, and before a zone: timestamp(3) with time zone.
    let name = match name.split_once('(') {
        Some((before, rest)) => format!("{}{}", before.trim_end(), rest.split_once(')')?.1),
        None => name.to_owned(),
    };
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = SQL_NAMES.iter().find(|(sql, _)| *sql == name).map_or(name.as_str(), |(_, own)| *own);
    match is_array {
        true => NAMED.get(&format!("_{name}")).cloned(),
        false => NAMED.get(name).cloned(),
    }
}

/// The name of a field's type as PostgreSQL writes it: `bigint`, `timestamp with time zone`, `text[]`.
pub(crate) fn type_name(field: &Field) -> String {
    let base = of_field(field).base;
    let element = element_of(&base);
    let name = element.as_ref().unwrap_or(&base).name();
    // Of several names PostgreSQL writes the longest one, which comes last.
    let written = SQL_NAMES.iter().rfind(|(_, own)| *own == name).map_or(name, |(sql, _)| *sql);
    if element.is_some() { format!("{written}[]") } else { written.to_owned() }
}

/// Bytes of a type's values (`pg_type.typlen`).
pub(super) fn size_of(base: &Type) -> i16 {
    match *base {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4
        | Type::FLOAT4
        | Type::DATE
        | Type::OID
        | Type::REGPROC
        | Type::REGCLASS
        | Type::REGTYPE => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::INTERVAL | Type::UUID => 16,
        Type::NAME => 64,
        _ => -1,
    }
}

/// The Arrow type of a parameter that a client declares; `None`: it leaves the type to us.
///
/// # Errors
/// With the number of a type that no parameter can have.
pub(super) fn of_parameter(oid: u32) -> Result<Option<DataType>, u32> {
    let base = match oid {
        0 => return Ok(None),
        _ => Type::from_oid(oid).ok_or(oid)?,
    };
    if let Some(element) = element_of(&base) {
        let element = scalar_of(&element).ok_or(oid)?;
        return Ok(Some(DataType::List(Field::new_list_field(element, true).into())));
    }
    match base {
        Type::UNKNOWN => Ok(None),
        _ => scalar_of(&base).map(Some).ok_or(oid),
    }
}

fn scalar_of(base: &Type) -> Option<DataType> {
    Some(match *base {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 | Type::REGPROC | Type::REGCLASS | Type::REGTYPE | Type::REGNAMESPACE => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        // The value says how many digits it has.
        Type::NUMERIC => DataType::Decimal128(38, 10),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::BYTEA => DataType::BinaryView,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::JSON | Type::JSONB => {
            DataType::Utf8View
        }
        Type::UUID => DataType::Utf8View,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_their_names() {
        for (name, expected) in [
            ("int8", Some(Type::INT8)),
            (" BIGINT ", Some(Type::INT8)),
            ("pg_catalog.varchar", Some(Type::VARCHAR)),
            ("character  varying(10)", Some(Type::VARCHAR)),
            ("timestamp(3) with time zone", Some(Type::TIMESTAMPTZ)),
            ("numeric(10,2)[]", Some(Type::NUMERIC_ARRAY)),
            ("text[]", Some(Type::TEXT_ARRAY)),
            ("_text", Some(Type::TEXT_ARRAY)),
            ("uuid", Some(Type::UUID)),
            ("regtype", Some(Type::REGTYPE)),
            ("hstore", None),
            ("numeric(", None),
            ("", None),
        ] {
            assert_eq!(of_name(name), expected, "{name}");
        }
    }
}
