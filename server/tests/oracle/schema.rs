//! Random table specs: every type, nullability, `on_error`, nested paths, key and headers, sort keys, time columns.

use headwater_segment::schema::ColumnType;
use headwater_segment::spec::{TableSpec, parse_spec};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use serde_json::{Value, json};

/// Names that SQL folds, keeps and has to quote.
const NAMES: [&str; 12] =
    ["city", "orderId", "Amount", "smørbrød", "_x", "price", "at", "select", "Тип", "c9", "tags", "Группа"];

/// A spec with the columns `k` (INT, many equal values, in every table) and 2 to 8 others.
pub(crate) fn spec(random: &mut StdRng, name: &str) -> TableSpec {
    let mut columns = vec![json!({"name": "k", "type": "INT", "on_error": "null"})];
    let count = random.random_range(2..9);
    for column in NAMES.iter().choose_multiple(random, count) {
        columns.push(column_spec(random, column));
    }
    let of_type = |fits: &dyn Fn(&str) -> bool| -> Vec<String> {
        let fitting = columns.iter().filter(|column| fits(column["type"].as_str().unwrap()));
        fitting.map(|column| column["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut sortable = of_type(&|name| !name.starts_with("ARRAY"));
    sortable.extend(["$timestamp", "$key", "$offset"].map(str::to_owned));
    let times = of_type(&|name| name.starts_with("TIMESTAMP") || name == "DATE");
    let sort_count = random.random_range(0..3);
    let mut spec = json!({
        "name": name,
        "sort_key": sortable.into_iter().choose_multiple(random, sort_count),
        "columns": columns,
        "stream": {"brokers": "localhost:9092", "topic": name},
    });
    if let Some(time) = times.choose(random) {
        spec["time_column"] = Value::from(time.as_str());
    }
    parse_spec(&spec.to_string()).unwrap_or_else(|error| panic!("{spec:#}: {error}"))
}

fn column_spec(random: &mut StdRng, name: &str) -> Value {
    let data_type = match random.random_ratio(1, 6) {
        true => ColumnType::Array(Box::new(scalar(random))),
        false => scalar(random),
    };
    let mut column = json!({"name": name, "type": data_type.to_string()});
    match random.random_range(0..5) {
        0 => column["nullable"] = false.into(),
        1 | 2 => column["on_error"] = "null".into(),
        _ => {}
    }
    let path = match random.random_range(0..24) {
        0..=2 => format!("nested.{name}"),
        3 => format!("nested.deep.{name}"),
        4 => format!("nested[\"odd name.{name}\"]"),
        5 => format!("list[{}]", random.random_range(0..3)),
        6 => format!("list[1].{name}"),
        7 => "$key".into(),
        8 => format!("$headers.h{}", random.random_range(0..2)),
        9 if data_type == ColumnType::Json => "$".into(),
        10 if data_type == ColumnType::Json => "nested".into(),
        _ => return column,
    };
    column["path"] = path.into();
    column
}

fn scalar(random: &mut StdRng) -> ColumnType {
    match random.random_range(0..16) {
        0 => ColumnType::Boolean,
        1 => ColumnType::Int,
        2 => ColumnType::Long,
        3 => ColumnType::Float,
        4 | 5 => ColumnType::Double,
        6 => {
            let precision = *[1, 5, 9, 18, 28, 38].choose(random).unwrap();
            ColumnType::Decimal(precision, random.random_range(0..=precision.min(10)) as i8)
        }
        7 => ColumnType::TimestampMillis,
        8 => ColumnType::TimestampMicros,
        9 => ColumnType::Date,
        10..=12 => ColumnType::String,
        13 => ColumnType::Bytes,
        14 => ColumnType::Json,
        _ => ColumnType::Uuid,
    }
}
