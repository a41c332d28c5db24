//! Random expressions over the columns of a table: literals, filters, keys, aggregates.
//!
//! Two engines may evaluate in different orders, so nothing here depends on one: sums are of integers and decimals,
//! averages of values whose sums are exact, and no expression fails on some rows only.

use headwater_segment::schema::{ColumnType, TableSchema};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::reference::Datum;

/// A table as queries see it.
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) columns: Vec<ShapeColumn>,
}

pub(crate) struct ShapeColumn {
    pub(crate) name: String,
    pub(crate) data_type: ColumnType,
    /// Values that occur.
    samples: Vec<Datum>,
    /// Whether there are instants that `date_trunc`, which counts in nanoseconds, fails on.
    far_instants: bool,
}

impl Shape {
    pub(crate) fn new(random: &mut StdRng, name: &str, schema: &TableSchema, rows: &[Vec<Datum>]) -> Self {
        let columns = schema.columns().iter().enumerate().map(|(index, column)| ShapeColumn {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            far_instants: rows
                .iter()
                .any(|row| matches!(row[index], Datum::I64(micros) if micros.checked_mul(1000).is_none())),
            samples: (0..6)
                .filter_map(|_| rows.choose(random))
                .map(|row| row[index].clone())
                .filter(|value| *value != Datum::Null)
                .collect(),
        });
        Self { name: name.to_owned(), columns: columns.collect() }
    }

    pub(crate) fn any<'s>(&'s self, random: &mut StdRng) -> &'s ShapeColumn {
        self.columns.choose(random).unwrap()
    }

    /// A column that can be compared and grouped by.
    pub(crate) fn scalar<'s>(&'s self, random: &mut StdRng) -> &'s ShapeColumn {
        let scalars: Vec<&ShapeColumn> = self.columns.iter().filter(|column| !column.is_array()).collect();
        scalars.choose(random).unwrap()
    }
}

impl ShapeColumn {
    /// Whether equal values are equal in every plan: arrays have no order, and -0 = 0 depends on the plan.
    pub(crate) fn joins(&self) -> bool {
        !self.is_array() && !matches!(self.data_type, ColumnType::Float | ColumnType::Double)
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self.data_type, ColumnType::Array(_))
    }

    /// The column, by the table's alias.
    pub(crate) fn of(&self, alias: &str) -> String {
        format!("{alias}.\"{}\"", self.name)
    }

    /// A value to compare with: mostly one that occurs.
    fn literal(&self, random: &mut StdRng) -> String {
        match self.samples.choose(random) {
            Some(sample) if random.random_bool(0.75) => literal(sample, &self.data_type),
            _ => literal(&edge(random, &self.data_type), &self.data_type),
        }
    }
}

/// A value as SQL writes it, of exactly the column's type.
pub(crate) fn literal(value: &Datum, data_type: &ColumnType) -> String {
    match (value, data_type) {
        (Datum::Null, _) => "NULL".into(),
        (Datum::Bool(value), _) => value.to_string(),
        (Datum::I32(days), ColumnType::Date) => format!("arrow_cast({days}, 'Date32')"),
        (Datum::I32(value), _) => value.to_string(),
        (Datum::I64(value), ColumnType::Long) => format!("CAST('{value}' AS BIGINT)"),
        (Datum::I64(value), _) => {
            format!("arrow_cast(CAST('{value}' AS BIGINT), 'Timestamp(Microsecond, Some(\"UTC\"))')")
        }
        (Datum::F32(value), _) => format!("CAST('{value:?}' AS REAL)"),
        (Datum::F64(value), _) => format!("CAST('{value:?}' AS DOUBLE)"),
        (Datum::I128(value), ColumnType::Decimal(precision, scale)) => {
            let digits = format!("{:0>width$}", value.unsigned_abs(), width = *scale as usize + 1);
            let (whole, fraction) = digits.split_at(digits.len() - *scale as usize);
            let sign = if *value < 0 { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            format!("CAST('{sign}{whole}{point}{fraction}' AS DECIMAL({precision},{scale}))")
        }
        (Datum::Str(text), _) => quoted(text),
        (Datum::Bytes(bytes), _) => {
            format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
        (value, data_type) => panic!("no literal for {value:?} of {data_type}"),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value that may occur in no row.
fn edge(random: &mut StdRng, data_type: &ColumnType) -> Datum {
    let mut pick = |values: &[Datum]| values.choose(random).unwrap().clone();
    match data_type {
        ColumnType::Boolean => pick(&[Datum::Bool(true), Datum::Bool(false)]),
        ColumnType::Int => pick(&[Datum::I32(0), Datum::I32(i32::MAX), Datum::I32(4)]),
        ColumnType::Long => pick(&[Datum::I64(0), Datum::I64(i64::MIN), Datum::I64(i64::MAX), Datum::I64(5)]),
        ColumnType::Float => {
            pick(&[Datum::F32(0.0), Datum::F32(-0.0), Datum::F32(f32::NAN), Datum::F32(1.5)])
        }
        ColumnType::Double => pick(&[
            Datum::F64(0.0),
            Datum::F64(-0.0),
            Datum::F64(f64::NAN),
            Datum::F64(f64::INFINITY),
            Datum::F64(0.5),
        ]),
        ColumnType::Decimal(..) => pick(&[Datum::I128(0), Datum::I128(1), Datum::I128(-1)]),
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
            pick(&[Datum::I64(0), Datum::I64(1_700_003_600_000_000), Datum::I64(1_700_000_123_000_000)])
        }
        ColumnType::Date => pick(&[Datum::I32(0), Datum::I32(19_705), Datum::I32(2_932_896)]),
        ColumnType::Bytes => {
            pick(&[Datum::Bytes(vec![]), Datum::Bytes(vec![0x80]), Datum::Bytes(vec![0xFF; 70])])
        }
        ColumnType::Array(element) => edge(random, element),
        _ => pick(&[
            Datum::Str(String::new()),
            Datum::Str("Oslo".into()),
            Datum::Str("zz".into()),
            Datum::Str("P".into()),
        ]),
    }
}

/// A condition on the columns of `shape`.
pub(crate) fn filter(random: &mut StdRng, shape: &Shape, alias: &str) -> String {
    match random.random_range(0..8) {
        0 => format!("({} AND {})", atom(random, shape, alias), atom(random, shape, alias)),
        1 => format!("({} OR {})", atom(random, shape, alias), atom(random, shape, alias)),
        2 => format!("NOT ({})", atom(random, shape, alias)),
        3 => format!(
            "({} OR ({} AND {}))",
            atom(random, shape, alias),
            atom(random, shape, alias),
            atom(random, shape, alias)
        ),
        _ => atom(random, shape, alias),
    }
}

fn atom(random: &mut StdRng, shape: &Shape, alias: &str) -> String {
    let column = match random.random_range(0..4) {
        0 => shape.columns.iter().rev().take(5).collect::<Vec<_>>().choose(random).unwrap(),
        _ => shape.any(random),
    };
    let name = column.of(alias);
    if random.random_ratio(1, 7) {
        return format!("{name} IS {}NULL", ["", "NOT "].choose(random).unwrap());
    }
    if let ColumnType::Array(element) = &column.data_type {
        return array_atom(random, &name, element);
    }
    let not = *["", "", "NOT "].choose(random).unwrap();
    match (&column.data_type, random.random_range(0..6)) {
        (ColumnType::Boolean, 0) => name,
        (ColumnType::Boolean, 1) => format!("{name} IS {not}TRUE"),
        (ColumnType::String | ColumnType::Json | ColumnType::Uuid, 0 | 1) => text_atom(random, &name, not),
        (_, 2) => {
            let list: Vec<String> = (0..random.random_range(1..5)).map(|_| column.literal(random)).collect();
            format!("{name} {not}IN ({})", list.join(", "))
        }
        (_, 3) => format!("{name} {not}BETWEEN {} AND {}", column.literal(random), column.literal(random)),
        (ColumnType::Int | ColumnType::Long, 4) => {
            format!("({name} % 3 {} {})", comparison(random), random.random_range(-1..3))
        }
        (ColumnType::TimestampMillis | ColumnType::TimestampMicros, 4) if !column.far_instants => {
            format!("(date_trunc('hour', {name}) {} {})", comparison(random), column.literal(random))
        }
        (ColumnType::Date, 4) => format!("(extract(day FROM {name}) {} 12)", comparison(random)),
        (ColumnType::Bytes, 4) => format!("(length(encode({name}, 'hex')) {} 6)", comparison(random)),
        // In parentheses: what follows `IS DISTINCT FROM` is taken whole, with every AND.
        _ => format!("({name} {} {})", comparison(random), column.literal(random)),
    }
}

fn comparison(random: &mut StdRng) -> &'static str {
    ["=", "=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"].choose(random).unwrap()
}

fn text_atom(random: &mut StdRng, name: &str, not: &str) -> String {
    let patterns = ["Os%", "%r%", "_slo", "%", "", "a\\%b%", "%''%", "O_l%", "%{%", "012%", "long%", "Å"];
    match random.random_range(0..5) {
        0 => format!("{name} {not}ILIKE '{}'", patterns.choose(random).unwrap()),
        1 => format!("starts_with({name}, 'O')"),
        2 => format!("(length({name}) {} 4)", comparison(random)),
        3 => format!("upper({name}) {not}LIKE 'OS%'"),
        _ => format!("{name} {not}LIKE '{}'", patterns.choose(random).unwrap()),
    }
}

fn array_atom(random: &mut StdRng, name: &str, element: &ColumnType) -> String {
    let wanted = literal(&edge(random, element), element);
    match random.random_range(0..3) {
        0 => format!("(cardinality({name}) {} 2)", comparison(random)),
        1 => format!("({name}[1] {} {wanted})", comparison(random)),
        _ => format!("array_length({name}) IS NULL"),
    }
}

/// Something to group, sort or partition by.
pub(crate) fn key(random: &mut StdRng, shape: &Shape, alias: &str) -> String {
    let column = shape.scalar(random);
    let name = column.of(alias);
    match (&column.data_type, random.random_range(0..4)) {
        (ColumnType::TimestampMillis | ColumnType::TimestampMicros, 0 | 1) if !column.far_instants => {
            format!("date_trunc('hour', {name})")
        }
        // DataFusion takes -0 and 0 for one key or for two, as the plan has it.
        (ColumnType::Float | ColumnType::Double, _) => format!("{name} + 0.0"),
        (ColumnType::Date, 0) => format!("date_trunc('month', {name})"),
        (ColumnType::Int | ColumnType::Long, 0) => format!("{name} % 4"),
        (ColumnType::String, 0) => format!("upper(substr({name}, 1, 2))"),
        (ColumnType::Boolean, 0) => format!("coalesce({name}, false)"),
        (_, 0) if random.random_ratio(1, 3) => {
            format!("CASE WHEN {} THEN 'yes' ELSE 'no' END", atom(random, shape, alias))
        }
        _ => name,
    }
}

/// An aggregate; each is exact whatever the order of the rows.
pub(crate) fn aggregate(random: &mut StdRng, shape: &Shape, alias: &str) -> String {
    let column = shape.scalar(random);
    let name = column.of(alias);
    let is_small_decimal = matches!(column.data_type, ColumnType::Decimal(precision, _) if precision <= 28);
    // Over groups DataFusion's MIN and MAX of NaN and of zeros with and without sign depend on the order of the rows.
    let bounded = match column.data_type {
        ColumnType::Float | ColumnType::Double => format!("nullif({name} + 0.0, CAST('NaN' AS DOUBLE))"),
        _ => name.clone(),
    };
    let aggregate = match (&column.data_type, random.random_range(0..8)) {
        (_, 0) => "count(*)".into(),
        (_, 1) => format!("count({name})"),
        (_, 2) => format!("count(DISTINCT {name})"),
        (ColumnType::Boolean, _) => {
            format!("{}({name})", ["bool_and", "bool_or"].choose(random).unwrap())
        }
        (ColumnType::Int, 3) => format!("avg({name})"),
        (ColumnType::Long, 3) => format!("avg({name} % 1000)"),
        (ColumnType::Int | ColumnType::Long, 4 | 5) => format!("sum({name})"),
        (ColumnType::Decimal(..), 3) if is_small_decimal => format!("avg({name})"),
        (ColumnType::Decimal(..), 4 | 5) if is_small_decimal => format!("sum({name})"),
        (_, 6) => format!("min({bounded})"),
        _ => format!("max({bounded})"),
    };
    match random.random_ratio(1, 6) {
        true => format!("{aggregate} FILTER (WHERE {})", atom(random, shape, alias)),
        false => aggregate,
    }
}
