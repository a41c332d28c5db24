//! Random JSON texts of values: ordinary ones from small sets (so that groups and joins have members), and the edges.

use headwater_segment::schema::ColumnType;
use headwater_segment::spec::ColumnSpec;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

const WORDS: [&str; 12] = [
    "",
    "Oslo",
    "Bergen",
    "oslo",
    "Å",
    "a%b_c",
    "it's",
    "quote\"back\\slash",
    "Os",
    "😀",
    "\u{0}nul",
    "true",
];

/// What the values of a column are like, beside what its type allows.
pub(crate) enum Profile {
    /// Anything.
    Mixed,
    /// NULL in every row.
    Nulls,
    /// One of a few texts.
    Few(Vec<String>),
    /// A value of its own for nearly every row.
    Unique,
    /// Long texts that differ at their ends only, beyond the prefix that Arrow's views compare first.
    Long,
}

impl Profile {
    pub(crate) fn new(random: &mut StdRng, column: &ColumnSpec) -> Self {
        let is_text = column.data_type == ColumnType::String;
        match random.random_range(0..10) {
            0 if column.nullable => Self::Nulls,
            1..=3 => {
                let count = random.random_range(1..5);
                Self::Few((0..count).map(|_| fitting_text(random, &column.data_type)).collect())
            }
            4 | 5 => Self::Unique,
            6 | 7 if is_text => Self::Long,
            _ => Self::Mixed,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Nulls)
    }

    /// The value of the row at `offset`. `None`: any that fits the type.
    pub(crate) fn text(&self, random: &mut StdRng, data_type: &ColumnType, offset: i64) -> Option<String> {
        let number = offset % 100_000;
        match (self, data_type) {
            (Self::Few(texts), _) => texts.choose(random).cloned(),
            (Self::Unique, ColumnType::String) => Some(string(&format!("user-{number}"))),
            (Self::Unique, ColumnType::Int) => Some((number * 7919 % 100_003).to_string()),
            (Self::Unique, ColumnType::Long) => Some((number * 1_000_003 - 5_000_000_000).to_string()),
            (Self::Unique, ColumnType::Double) => Some((number as f64 / 8.0).to_string()),
            (Self::Unique, ColumnType::TimestampMillis) => {
                Some((1_700_000_000_000 + number * 60_007).to_string())
            }
            (Self::Long, _) => {
                let prefix = "prefix/".repeat([2, 10][random.random_range(0..2)]);
                Some(string(&format!("{prefix}{}", random.random_range(0..30))))
            }
            _ => None,
        }
    }
}

fn pick<'t>(random: &mut StdRng, texts: &[&'t str]) -> &'t str {
    texts.choose(random).unwrap()
}

/// A text that fits the type, or nearly.
pub(crate) fn fitting_text(random: &mut StdRng, data_type: &ColumnType) -> String {
    match data_type {
        ColumnType::Boolean => pick(random, &["true", "false", "true", "\"true\"", "\"false\""]).into(),
        ColumnType::Int => match random.random_range(0..8) {
            0 => pick(random, &["2147483647", "-2147483648", "-0", "3.0", "1e2", "\"7\"", "20e-1"]).into(),
            _ => random.random_range(-3..9).to_string(),
        },
        ColumnType::Long => match random.random_range(0..8) {
            0 => pick(random, &["9223372036854775807", "-9223372036854775808", "9007199254740993"]).into(),
            1 => pick(
                random,
                &["-0", "3.0", "1e2", "\"7\"", "5000000000", "0.5e1", "\"-9223372036854775808\""],
            )
            .into(),
            _ => random.random_range(-3..9).to_string(),
        },
        ColumnType::Float | ColumnType::Double => floating(random),
        ColumnType::Decimal(precision, scale) => decimal(random, *precision, *scale as u8),
        ColumnType::TimestampMillis => instant(random, 1),
        ColumnType::TimestampMicros => instant(random, 1000),
        ColumnType::Date => match random.random_range(0..8) {
            0 => pick(
                random,
                &["\"0001-01-01\"", "\"9999-12-31\"", "\"2024-02-29\"", "-719162", "2932896", "0"],
            )
            .into(),
            1 => random.random_range(19_700..19_710).to_string(),
            _ => format!("\"2023-12-{:02}\"", random.random_range(8..20)),
        },
        ColumnType::String => match random.random_range(0..30) {
            0 => string(&"long ".repeat(random.random_range(200..2000))),
            1 => pick(random, &["12.50", "-0", "true", "1e5", "\"\\u00e5\\/\\n\"", "\"\\ud83d\\ude00\""])
                .into(),
            _ => string(pick(random, &WORDS)),
        },
        ColumnType::Bytes => {
            let texts =
                ["", "QQ==", "QQ", "QUI=", "QUJD", "AP/+", "////", "AAAAAAAAAAAAAAAAAAAAAAAA", "gICA"];
            string(pick(random, &texts))
        }
        ColumnType::Json => json(random),
        ColumnType::Uuid => string(pick(
            random,
            &[
                "00000000-0000-0000-0000-000000000000",
                "0123456789abcdef0123456789ABCDEF",
                "01234567-89AB-CDEF-0123-456789abcdef",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
            ],
        )),
        ColumnType::Array(element) => {
            let elements: Vec<String> = (0..random.random_range(0..4))
                .map(|_| match random.random_ratio(1, 6) {
                    true => "null".to_owned(),
                    false => fitting_text(random, element),
                })
                .collect();
            format!("[{}]", elements.join(pick(random, &[",", ", "])))
        }
    }
}

fn string(content: &str) -> String {
    serde_json::Value::from(content).to_string()
}

fn floating(random: &mut StdRng) -> String {
    let edges = [
        "\"NaN\"",
        "\"Infinity\"",
        "\"-Infinity\"",
        "-0.0",
        "0",
        "5e-324",
        "1.17549435e-38",
        "3.4028234e38",
        "1e-400",
        "0.1",
        "\"0.1\"",
        "16777217",
        "9007199254740993",
        "-1.5e-7",
    ];
    match random.random_range(0..3) {
        0 => pick(random, &edges).into(),
        _ => format!("{}", f64::from(random.random_range(-6..7)) / 4.0),
    }
}

fn decimal(random: &mut StdRng, precision: u8, scale: u8) -> String {
    let digits = match random.random_range(0..6) {
        0 => usize::from(precision),
        _ => usize::from(precision.min(scale + 2)),
    };
    let unscaled: String = match random.random_range(0..5) {
        0 => "9".repeat(digits),
        _ => (0..digits).map(|_| char::from(b'0' + random.random_range(0..3))).collect(),
    };
    let padded = format!("{unscaled:0>width$}", width = usize::from(scale) + 1);
    let (whole, fraction) = padded.split_at(padded.len() - usize::from(scale));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let sign = if random.random_ratio(1, 4) { "-" } else { "" };
    let text = match fraction {
        "" => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    };
    match random.random_range(0..8) {
        0 => format!("\"{text}\""),
        1 => format!("{text}e0"),
        2 if scale > 0 => format!("{text}00"),
        _ => text,
    }
}

/// `unit` is how many of the column's units are in a millisecond.
fn instant(random: &mut StdRng, unit: i64) -> String {
    let ms = 1_700_000_000_000 + random.random_range(0..8) * 3_600_000;
    match random.random_range(0..10) {
        0 => pick(
            random,
            &[
                "\"0001-01-01T00:00:00Z\"",
                "\"9999-12-31T23:59:59.999999Z\"",
                "0",
                "-1",
                "\"1969-12-31T23:59:59.9999999Z\"",
            ],
        )
        .into(),
        1 => format!("\"{}\"", ms * unit),
        2 => format!(
            "\"2023-11-14T{:02}:30:00.{}+0530\"",
            random.random_range(0..24),
            random.random_range(0..1000)
        ),
        3 => format!("\"2023-11-1{} 22:13\"", random.random_range(0..10)),
        4 => format!("\"2023-11-14t22:13:{:02}.123456789z\"", random.random_range(0..60)),
        _ => (ms * unit).to_string(),
    }
}

fn json(random: &mut StdRng) -> String {
    let texts = [
        "{\"a\": 1, \"b\":[1,2, 3]}",
        "[]",
        "{}",
        "\"text\"",
        "12.50",
        "true",
        "[null, {\"a\":\"\\u00e5\"}]",
        "1e999",
        "{\"a\":{\"a\":null}}",
    ];
    pick(random, &texts).into()
}

/// A text that fits some type.
pub(crate) fn any_text(random: &mut StdRng) -> String {
    let texts = [
        "{}",
        "[]",
        "\"x\"",
        "1.5",
        "99999999999999999999",
        "true",
        "\"2023-02-30\"",
        "1e999",
        "\"12:00\"",
        "[[1]]",
        "null",
        "-1",
        "\"\"",
        "\" 5\"",
        "\"5 \"",
        "\"+5\"",
        "\"nan\"",
        "\"inf\"",
        "\"2023-13-01T00:00:00Z\"",
        "\"2023-01-01T24:00:00Z\"",
        "\"QQ=\"",
        "\"QR==\"",
        "\"9999-12-31T23:59:59-01:00\"",
        "\"0000-01-01\"",
        "1e-1",
        "0.000000000000000000000000000000000000000000001",
        "123456789012345678901234567890123456789012345678901234567890",
        "{\"a\":[1,{\"b\":2}]}",
        "\"true \"",
        "\"TRUE\"",
        "1e38",
        "4e38",
        "\"01234567-89ab-cdef-0123-456789abcde\"",
        "[1,\"a\",null,true]",
        "2147483648",
        "-9223372036854775809",
        "9223372036854775808",
        "\"2023-01-01\"",
        "\"2023-01-01T00:00:60Z\"",
        "\"2023-01-01T00:00:00.1234567891Z\"",
        "0e999999999999999999999",
        "1.0000",
    ];
    pick(random, &texts).into()
}
