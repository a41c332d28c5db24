//! Names of column types: ours (as a table spec spells them) and the ones that Pinot's clients know.

use arrow::datatypes::{DataType, Field, TimeUnit};
use headwater_segment::schema::ColumnType;

/// The declared type of a table's column, if `field` still is one.
///
/// Field metadata survives casts and aggregates in the plan, so the declaration counts only while its Arrow type is the field's.
pub(crate) fn declared(field: &Field) -> Option<ColumnType> {
    let declared: ColumnType = field.metadata().get("headwater.type")?.parse().ok()?;
    (declared.arrow() == *field.data_type()).then_some(declared)
}

/// The name of a result column's type in `POST /sql`.
pub(crate) fn sql_type(field: &Field) -> String {
    match declared(field) {
        Some(declared) => declared.to_string(),
        None => sql_type_of(field.data_type()),
    }
}

fn sql_type_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "NULL".into(),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            "INT".into()
        }
        DataType::Int64 | DataType::UInt32 => "LONG".into(),
        DataType::UInt64 => "UNSIGNED LONG".into(),
        DataType::Float16 | DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => format!("DECIMAL({p},{s})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "BYTES".into()
        }
        DataType::Timestamp(unit, _) => format!("TIMESTAMP({})", fraction_digits(*unit)),
        DataType::Date32 | DataType::Date64 => "DATE".into(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".into(),
        DataType::Duration(_) => "DURATION".into(),
        DataType::Interval(_) => "INTERVAL".into(),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => format!("ARRAY<{}>", sql_type_of(element.data_type())),
        DataType::Struct(_) => "STRUCT".into(),
        DataType::Map(_, _) => "MAP".into(),
        DataType::Union(_, _) => "JSON".into(),
        DataType::Dictionary(_, values) => sql_type_of(values),
        DataType::RunEndEncoded(_, values) => sql_type_of(values.data_type()),
    }
}

fn fraction_digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// The name of a result column's type in `POST /query/sql`.
///
/// Decimals are `DOUBLE`, with all their digits, unless they are [whole numbers of a table](is_big_decimal): Pinot's own
/// aggregates of a BIG_DECIMAL are DOUBLE, and its clients draw charts of numbers, not of texts. A date is the instant at which
/// it begins, because Pinot's clients take nothing but a TIMESTAMP for an axis of time.
pub(crate) fn pinot_type(field: &Field) -> String {
    match declared(field) {
        Some(ColumnType::Json) => "JSON".into(),
        _ if is_big_decimal(field) => "BIG_DECIMAL".into(),
        _ => pinot_type_of(field.data_type()),
    }
}

/// What stands for NULL in a column of the type [`pinot_type`], as JSON: what Pinot has in the place of a value that is missing, but that
/// whole numbers are 0 as fractional ones are, and arrays are empty.
pub(crate) fn pinot_placeholder(pinot_type: &str) -> &'static str {
    match pinot_type {
        "INT" | "LONG" | "FLOAT" | "DOUBLE" => "0",
        "BIG_DECIMAL" => "\"0\"",
        "BOOLEAN" => "false",
        "TIMESTAMP" => "\"1970-01-01 00:00:00.0\"",
        "BYTES" => "\"\"",
        array if array.ends_with("_ARRAY") => "[]",
        _ => "\"null\"",
    }
}

/// Whether Pinot's clients get a column as BIG_DECIMAL, which is a text: only a table's DECIMAL(p,0), which Grafana reads as an
/// integer of any size.
pub(crate) fn is_big_decimal(field: &Field) -> bool {
    matches!(declared(field), Some(ColumnType::Decimal(_, 0)))
}

fn pinot_type_of(data_type: &DataType) -> String {
    if let Some(element) = list_element(data_type) {
        // Pinot has arrays of scalars only; anything deeper travels as the text of its JSON.
        return match is_compound(element) {
            true => "JSON".into(),
            // Its clients take an instant of a result apart, and a list for one instant.
            false if pinot_type_of(element) == "TIMESTAMP" => "STRING_ARRAY".into(),
            false => format!("{}_ARRAY", pinot_type_of(element)),
        };
    }
    match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => "INT",
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "LONG",
        DataType::Float16 | DataType::Float32 => "FLOAT",
        DataType::Float64
        | DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => "DOUBLE",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "BYTES"
        }
        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 => "TIMESTAMP",
        DataType::Struct(_) | DataType::Map(_, _) | DataType::Union(_, _) => "JSON",
        DataType::Dictionary(_, values) => return pinot_type_of(values),
        DataType::RunEndEncoded(_, values) => return pinot_type_of(values.data_type()),
        _ => "STRING",
    }
    .into()
}

/// The element type of any of Arrow's list types.
pub(crate) fn list_element(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => Some(element.data_type()),
        _ => None,
    }
}

/// Whether a value of the type is rendered as a JSON array or object, or may be.
pub(crate) fn is_compound(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) | DataType::Map(_, _) | DataType::Union(_, _) => true,
        DataType::Dictionary(_, values) => is_compound(values),
        DataType::RunEndEncoded(_, values) => is_compound(values.data_type()),
        other => list_element(other).is_some(),
    }
}

/// The name of a table column's type in Pinot's schema documents: its scalar type, and whether it is an array. The same as
/// [`pinot_type`] of a result that has the column.
pub(crate) fn pinot_column_type(column_type: &ColumnType) -> (&'static str, bool) {
    let name = match column_type {
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Int => "INT",
        ColumnType::Long => "LONG",
        ColumnType::Float => "FLOAT",
        ColumnType::Decimal(_, 0) => "BIG_DECIMAL",
        ColumnType::Double | ColumnType::Decimal(_, _) => "DOUBLE",
        ColumnType::TimestampMillis | ColumnType::TimestampMicros | ColumnType::Date => "TIMESTAMP",
        ColumnType::String | ColumnType::Uuid => "STRING",
        ColumnType::Bytes => "BYTES",
        ColumnType::Json => "JSON",
        ColumnType::Array(element) => {
            return match element.as_ref() {
                ColumnType::Decimal(_, _) => ("DOUBLE", true),
                element => (pinot_column_type(element).0, true),
            };
        }
    };
    (name, false)
}
