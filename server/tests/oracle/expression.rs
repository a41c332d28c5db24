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
    /// Whether there are days or instants that `date_trunc`, which counts in nanoseconds, may fail on.
    far_instants: bool,
}

impl Shape {
    pub(crate) fn new(random: &mut StdRng, name: &str, schema: &TableSchema, rows: &[Vec<Datum>]) -> Self {
        let columns = schema.columns().iter().enumerate().map(|(index, column)| ShapeColumn {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            far_instants: rows.iter().any(|row| is_far(&row[index])),
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

    /// An INT or LONG column.
    pub(crate) fn integer<'s>(&'s self, random: &mut StdRng) -> &'s ShapeColumn {
        let is_integer =
            |column: &&ShapeColumn| matches!(column.data_type, ColumnType::Int | ColumnType::Long);
        let integers: Vec<&ShapeColumn> = self.columns.iter().filter(is_integer).collect();
        integers.choose(random).unwrap()
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

fn is_far(value: &Datum) -> bool {
    match value {
        Datum::I64(micros) => micros.checked_mul(1000).is_none(),
        Datum::I32(days) => days.unsigned_abs() > 100_000,
        _ => false,
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
    match random.random_range(0..10) {
        8 => any_of(random, shape, alias),
        9 => {
            let atoms: Vec<String> =
                (0..random.random_range(3..6)).map(|_| atom(random, shape, alias)).collect();
            format!("({})", atoms.join(" AND "))
        }
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

/// Values of one column, in the ways that people write it.
fn any_of(random: &mut StdRng, shape: &Shape, alias: &str) -> String {
    let column = shape.scalar(random);
    let (name, count) = (column.of(alias), random.random_range(2..8));
    let values: Vec<String> = (0..count).map(|_| column.literal(random)).collect();
    match random.random_range(0..3) {
        0 => {
            let equal: Vec<String> = values.iter().map(|value| format!("{name} = {value}")).collect();
            format!("({})", equal.join(" OR "))
        }
        1 => {
            let unequal: Vec<String> = values.iter().map(|value| format!("{name} <> {value}")).collect();
            format!("({})", unequal.join(" AND "))
        }
        _ => format!("(coalesce({name}, {}) IN ({}))", values[0], values[1..].join(", ")),
    }
}

fn comparison(random: &mut StdRng) -> &'static str {
    ["=", "=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"].choose(random).unwrap()
}

fn text_atom(random: &mut StdRng, name: &str, not: &str) -> String {
    let patterns = [
        "Os%",
        "%r%",
        "_slo",
        "%",
        "",
        "a\\%b%",
        "%''%",
        "O_l%",
        "%{%",
        "012%",
        "long%",
        "Å",
        "%7%",
        "user-%9",
        "%prefix%/1_",
    ];
    let regexes = ["^O", "o$", "[0-9]{2}", "^$", "a.b", "^(Os|Berg)", "/1?5$", "(?i)OSLO", "."];
    match random.random_range(0..7) {
        5 => {
            format!("({name} {} '{}')", ["~", "!~"].choose(random).unwrap(), regexes.choose(random).unwrap())
        }
        6 => format!("({name} {} 'os')", ["~*", "!~*"].choose(random).unwrap()),
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
            time_key(random, &name)
        }
        // DataFusion takes -0 and 0 for one key or for two, as the plan has it.
        (ColumnType::Float | ColumnType::Double, _) => format!("{name} + 0.0"),
        (ColumnType::Date, 0) if !column.far_instants => format!("date_trunc('month', {name})"),
        (ColumnType::Date, 1) => format!("extract(dow FROM {name})"),
        (ColumnType::Int | ColumnType::Long, 0) => format!("{name} % 4"),
        (ColumnType::Int, 1) => format!("{name} * 2 + 1"),
        (ColumnType::String, 0) => format!("upper(substr({name}, 1, 2))"),
        (ColumnType::String, 1) => format!("length({name})"),
        (ColumnType::Boolean, 0) => format!("coalesce({name}, false)"),
        (_, 0) if random.random_ratio(1, 3) => {
            format!("CASE WHEN {} THEN 'yes' ELSE 'no' END", atom(random, shape, alias))
        }
        _ => name,
    }
}

fn time_key(random: &mut StdRng, name: &str) -> String {
    let units = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"];
    let fields = ["hour", "minute", "dow", "day", "month", "year"];
    match random.random_range(0..3) {
        0 => format!("date_trunc('{}', {name})", units.choose(random).unwrap()),
        1 => format!("extract({} FROM {name})", fields.choose(random).unwrap()),
        _ => format!("date_bin(INTERVAL '15 minutes', {name})"),
    }
}

/// Arithmetic over an integer column, now and then beyond its type.
pub(crate) fn arithmetic(random: &mut StdRng, shape: &Shape, alias: &str, name: &str) -> String {
    let k = shape.columns[0].of(alias);
    match random.random_range(0..4) {
        0 => format!("«‹{name}› * 3»"),
        1 => format!("«‹{name}› + ‹{k}›»"),
        2 => format!("«‹{k}› - ‹{name}›»"),
        _ => format!("«‹{name}› * ‹{k}›»"),
    }
}

/// An aggregate; each is exact whatever the order of the rows.
pub(crate) fn aggregate(random: &mut StdRng, shape: &Shape, alias: &str) -> String {
    let column = shape.scalar(random);
    let name = column.of(alias);
    let is_small_decimal = matches!(column.data_type, ColumnType::Decimal(precision, _) if precision <= 28);
    // Over groups DataFusion's MIN and MAX of NaN and of zeros with and without sign depend on the order of the rows, and
    // those of nothing but the infinity that they begin beyond are the last double before it.
    let bounded = match column.data_type {
        ColumnType::Float | ColumnType::Double => {
            ["NaN", "Infinity", "-Infinity"].iter().fold(format!("{name} + 0.0"), |value, left_out| {
                format!("nullif({value}, CAST('{left_out}' AS DOUBLE))")
            })
        }
        _ => name.clone(),
    };
    let is_integer = matches!(column.data_type, ColumnType::Int | ColumnType::Long);
    // Filtered, an engine may or may not compute what is filtered out.
    let filter = random.random_ratio(1, 6).then(|| format!(" FILTER (WHERE {})", atom(random, shape, alias)));
    let argument = match is_integer && filter.is_none() && random.random_ratio(1, 3) {
        true => arithmetic(random, shape, alias, &name),
        false => name.clone(),
    };
    let is_sum = is_integer && random.random_ratio(1, 3);
    let aggregate = match (&column.data_type, random.random_range(0..8)) {
        _ if is_sum => format!("sum(‹{argument}›)"),
        (_, 0) => "count(*)".into(),
        (_, 1) => format!("count({name})"),
        // -0 and 0 are one value or two, as the plan has it.
        (ColumnType::Float | ColumnType::Double, 2) => format!("count(DISTINCT {name} + 0.0)"),
        (_, 2) => format!("count(DISTINCT {name})"),
        (ColumnType::Boolean, _) => {
            format!("{}({name})", ["bool_and", "bool_or"].choose(random).unwrap())
        }
        (ColumnType::Int, 3) => format!("avg({name})"),
        (ColumnType::Long, 3) => format!("avg({name} % 1000)"),
        (ColumnType::Int | ColumnType::Long, 4) => format!("max({argument})"),
        (ColumnType::Int | ColumnType::Long, 5) => format!("min({argument})"),
        (ColumnType::Decimal(..), 3) if is_small_decimal => format!("avg({name})"),
        (ColumnType::Decimal(..), 4 | 5) if is_small_decimal => format!("sum({name})"),
        (_, 6) => format!("min({bounded})"),
        _ => format!("max({bounded})"),
    };
    let aggregate = aggregate + filter.as_deref().unwrap_or_default();
    if is_sum { format!("«{aggregate}»") } else { aggregate }
}
