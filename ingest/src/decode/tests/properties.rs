//! The decoder against the reference, on messages made to hit the table's edges, whole and damaged.

use headwater_segment::spec::{ColumnSpec, FieldPath, OnError, PathStep};
use proptest::prelude::*;
use proptest::sample::select;

use super::{Cell, column_type, decode_with, decoder, reference};

const TYPES: &[&str] = &[
    "BOOLEAN",
    "INT",
    "LONG",
    "FLOAT",
    "DOUBLE",
    "DECIMAL(9,2)",
    "DECIMAL(38,10)",
    "TIMESTAMP(3)",
    "TIMESTAMP(6)",
    "DATE",
    "STRING",
    "BYTES",
    "JSON",
    "UUID",
    "ARRAY<INT>",
    "ARRAY<STRING>",
    "ARRAY<JSON>",
    "ARRAY<UUID>",
    "ARRAY<BYTES>",
    "ARRAY<TIMESTAMP(3)>",
];

/// Field names as paths mean them, and one way to write each in a message.
const NAMES: &[(&str, &str)] = &[
    ("a", "a"),
    ("a", "\\u0061"),
    ("b", "b"),
    ("bb", "bb"),
    ("", ""),
    ("é\"", "é\\\""),
    ("a name of 16 b..", "a name of 16 b.."),
    ("and one with more", "and one with more"),
];

/// Values that some type takes in its own way.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "7.0",
    "1.5",
    "1e3",
    "12e-1",
    "1e999",
    "-1e-999",
    "0e9999",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "1760000000000",
    "253402300800000",
    "12345678901234567890.12",
    "0.1",
    "0.12000000000000000000000",
    "123456789012345678901234567890",
    "3.4028236e38",
    "1e23",
    r#""""#,
    r#""x""#,
    r#""true""#,
    r#""12""#,
    r#""-12.50""#,
    r#"" 1""#,
    r#""1e2""#,
    r#""+5""#,
    r#""007""#,
    r#""NaN""#,
    r#""-Infinity""#,
    r#""2024-02-29""#,
    r#""2024-02-30""#,
    r#""2024-02-29T12:34:56.7891234Z""#,
    r#""2024-02-29 12:34""#,
    r#""2024-02-29T12:34:56+05:30""#,
    r#""2024-02-29T12:34-0800""#,
    r#""2024-02-29T12:34:60Z""#,
    r#""1969-12-31T23:59:59.9999""#,
    r#""9999-12-31T23:59:59-00:01""#,
    r#""00112233445566778899AABBCCDDEEFF""#,
    r#""00112233-4455-6677-8899-aabbccddeeff""#,
    r#""AAEC""#,
    r#""AA==""#,
    r#""AA=""#,
    r#""A\/8""#,
    r#""\u0041\n\ud83d\ude00""#,
    r#""a \"quoted\" text that is longer than 16""#,
];

fn scalar() -> BoxedStrategy<String> {
    let chosen = || select(VALUES).prop_map(str::to_string);
    let instant = (
        0u32..10_000,
        0u32..14,
        0u32..33,
        0u32..25,
        0u32..61,
        0u32..61,
        0u32..1_000_000_000,
        select(&["", "Z", "+01:00", "-2359"][..]),
    );
    prop_oneof![
        6 => chosen(),
        1 => any::<i64>().prop_map(|value| value.to_string()),
        1 => any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:e}")),
        1 => (any::<i64>(), any::<u64>(), -30i32..30).prop_map(|(whole, fraction, e)| format!("{whole}.{fraction}e{e}")),
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => instant.prop_map(|(y, mo, d, h, mi, s, n, zone)| format!("\"{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{n:09}{zone}\"")),
    ]
    .boxed()
}

fn blank() -> impl Strategy<Value = &'static str> {
    select(&["", "", "", " ", "\n\t "][..])
}

fn object(inner: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let field = (select(NAMES), blank(), blank(), inner)
        .prop_map(|((_, name), before, after, value)| format!("\"{name}\"{before}:{after}{value}"));
    (prop::collection::vec(field, 0..7), blank(), blank())
        .prop_map(|(fields, open, comma)| {
            format!("{{{open}{}{open}}}", fields.join(&format!("{open},{comma}")))
        })
        .boxed()
}

fn value() -> BoxedStrategy<String> {
    let nested = scalar().prop_recursive(4, 40, 6, |inner| {
        let array = (prop::collection::vec(inner.clone(), 0..5), blank())
            .prop_map(|(items, blank)| format!("[{blank}{}{blank}]", items.join(&format!("{blank},"))));
        prop_oneof![2 => array, 3 => object(inner.boxed())]
    });
    prop_oneof![2 => scalar(), 1 => nested].boxed()
}

/// A message: mostly an object; one in four is then damaged in one place.
fn message() -> BoxedStrategy<Vec<u8>> {
    let whole = prop_oneof![12 => object(value()), 1 => value()];
    let damage = prop_oneof![
        6 => Just(None),
        2 => (any::<prop::sample::Index>(), select(&b"\"\\{}[],:0-.e nt\x00\xff\xc3u"[..])).prop_map(Some),
    ];
    (whole, damage, 0..4)
        .prop_map(|(whole, damage, kind)| {
            let mut bytes = whole.into_bytes();
            if let Some((at, byte)) = damage {
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at),
                }
            }
            bytes
        })
        .boxed()
}

fn path() -> BoxedStrategy<FieldPath> {
    let step = prop_oneof![
        4 => select(NAMES).prop_map(|(name, _)| PathStep::Field(name.to_string())),
        1 => (0usize..3).prop_map(PathStep::Index),
    ];
    let field = select(NAMES).prop_map(|(name, _)| PathStep::Field(name.to_string()));
    prop_oneof![
        12 => (field, prop::collection::vec(step.clone(), 0..3)).prop_map(|(first, mut rest)| {
            rest.insert(0, first);
            FieldPath::Payload(rest)
        }),
        1 => prop::collection::vec(step, 0..2).prop_map(FieldPath::Payload),
        1 => Just(FieldPath::Key),
    ]
    .boxed()
}

fn columns() -> impl Strategy<Value = Vec<ColumnSpec>> {
    let lenient = prop_oneof![1 => Just(OnError::DeadLetter), 4 => Just(OnError::Null)];
    let column = (select(TYPES), path(), prop::bool::weighted(0.95), lenient).prop_map(
        |(data_type, path, nullable, on_error)| ColumnSpec {
            name: "c".into(),
            data_type: column_type(data_type),
            nullable,
            path,
            on_error,
            index: None,
        },
    );
    prop::collection::vec(column, 1..9)
}

fn key() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop_oneof![
        select(VALUES).prop_map(|value| value.trim_matches('"').as_bytes().to_vec()),
        value().prop_map(String::into_bytes),
        any::<Vec<u8>>(),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_decoder_answers_as_the_reference_message_after_message(
        columns in columns(),
        messages in prop::collection::vec((message(), key()), 1..6),
    ) {
        let mut decoder = decoder(&columns);
        for (payload, key) in &messages {
            let expected = reference::decode(&columns, payload, key.as_deref());
            let decoded = decode_with(&mut decoder, payload, key.as_deref(), &());
            let shown = String::from_utf8_lossy(payload);
            prop_assert_eq!(decoded.map_err(|error| error.path), expected, "{}", shown);
        }
    }

    #[test]
    fn every_type_answers_as_the_reference(data_type in select(TYPES), value in value()) {
        let path = FieldPath::Payload(vec![]);
        let column = ColumnSpec {
            name: "c".into(),
            data_type: column_type(data_type),
            nullable: true,
            path,
            on_error: OnError::DeadLetter,
            index: None,
        };
        let columns = [column];
        let expected = reference::decode(&columns, value.as_bytes(), None);
        let decoded = decode_with(&mut decoder(&columns), value.as_bytes(), None, &());
        prop_assert_eq!(decoded.map_err(|error| error.path), expected, "{}", value);
    }

    #[test]
    fn arbitrary_bytes_never_panic(columns in columns(), payload: Vec<u8>, key: Option<Vec<u8>>) {
        let _ = decode_with(&mut decoder(&columns), &payload, key.as_deref(), &());
    }
}

#[test]
fn the_message_generator_makes_rows_of_every_type() {
    // Guards the properties against passing for want of anything that decodes.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut set = vec![0; TYPES.len()];
    for _ in 0..3000 {
        let value = proptest::strategy::ValueTree::current(&value().new_tree(&mut runner).unwrap());
        for (count, data_type) in set.iter_mut().zip(TYPES) {
            let row = super::decode_value(data_type, &value);
            *count += usize::from(row.is_ok_and(|cell| cell != Cell::Null));
        }
    }
    assert!(set.iter().all(|count| *count >= 10), "{set:?}");
}
