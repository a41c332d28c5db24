//! Specs that are read and written back, and specs that are refused with all their faults.

use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::SegmentError;

const RIDES: &str = r#"
# Ride orders
name: rides
columns:
  - { name: order_id, type: uuid, nullable: false }
  - { name: city, type: STRING }
  - { name: fare, type: "decimal(12, 2)", path: fare.amount, on_error: null }
  - name: tags
    type: array<string>
    path: 'meta["tags.v2"][0]'
    on_error: "null"
  - { name: at, type: TIMESTAMP(6), on_error: dead_letter }
  - { name: who, type: STRING, path: $key }
time_column: at
sort_key: [city, at, $offset]
stream:
  brokers: "kafka-1:9092, [::1]:9093"
  topic: rides.v1
  start: { timestamp: 2026-01-01T00:00:00Z }
  on_gap: skip
  properties:
    fetch.min.bytes: 1_000
    socket.keepalive.enable: true
    client.id: headwater
    session.timeout.ms: 6000
    sasl.password: { env: KAFKA_PASSWORD }
    ssl.key.pem: { file: /run/secrets/key.pem }
seal:
  rows_max: 1_000_000
  bytes_max: 256 MiB
retention: 30d
dead_letters: { topic: rides.dead }
"#;

fn faults_of(text: &str) -> Vec<SpecFault> {
    match parse_spec(text) {
        Err(SegmentError::Spec(faults)) => faults,
        Err(other) => panic!("{other}"),
        Ok(spec) => panic!("accepted: {}", spec.to_yaml()),
    }
}

/// Checks the paths of all faults, in order, and a word of each message.
#[track_caller]
fn assert_faults(text: &str, expected: &[(&str, &str)]) {
    let faults = faults_of(text);
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    let expected_paths: Vec<&str> = expected.iter().map(|(path, _)| *path).collect();
    assert_eq!(paths, expected_paths, "{faults:#?}");
    for (fault, (_, word)) in faults.iter().zip(expected) {
        assert!(fault.message.contains(word), "{word:?} is not in {fault}");
    }
}

/// A spec that is right but for the line that replaces (or follows) `marker`.
fn with(replaced: &str, by: &str) -> String {
    let base = "name: t\ncolumns:\n  - {name: a, type: INT}\nstream: {brokers: [h:1], topic: x}\nseal: {}\n";
    assert!(base.contains(replaced), "{replaced}");
    base.replace(replaced, by)
}

#[test]
fn a_full_spec_is_read() {
    let spec = parse_spec(RIDES).unwrap();
    let literal = |text: &str| PropertyValue::Literal(text.into());
    assert_eq!(spec.name, "rides");
    assert_eq!(spec.columns.len(), 6);
    assert_eq!(spec.columns[0].data_type, ColumnType::Uuid);
    assert!(!spec.columns[0].nullable && spec.columns[1].nullable);
    assert_eq!(spec.columns[1].path, FieldPath::field("city"));
    assert_eq!(spec.columns[2].data_type, ColumnType::Decimal(12, 2));
    assert_eq!(spec.columns[2].path.to_string(), "fare.amount");
    assert_eq!(spec.columns[3].path.to_string(), "meta[\"tags.v2\"][0]");
    let on_error: Vec<OnError> = spec.columns.iter().map(|column| column.on_error).collect();
    use OnError::{DeadLetter, Null};
    assert_eq!(on_error, [DeadLetter, DeadLetter, Null, Null, DeadLetter, DeadLetter]);
    assert_eq!(spec.columns[5].path, FieldPath::Key);
    assert_eq!(spec.time_column.as_deref(), Some("at"));
    assert_eq!(spec.sort_key, ["city", "at", "$offset"]);
    assert_eq!(spec.stream.brokers, ["kafka-1:9092", "[::1]:9093"]);
    assert_eq!(spec.stream.start, StartPosition::Timestamp(1_767_225_600_000));
    assert_eq!(spec.stream.on_gap, OnGap::Skip);
    assert_eq!(spec.stream.properties["fetch.min.bytes"], literal("1_000"));
    assert_eq!(spec.stream.properties["socket.keepalive.enable"], literal("true"));
    assert_eq!(spec.stream.properties["session.timeout.ms"], literal("6000"));
    assert_eq!(spec.stream.properties["sasl.password"], PropertyValue::Env { env: "KAFKA_PASSWORD".into() });
    assert_eq!(spec.seal.rows_max, 1_000_000);
    assert_eq!(spec.seal.bytes_max, 256 << 20);
    assert_eq!(spec.seal.age_max, Duration::from_secs(3_600));
    assert_eq!(spec.retention, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(spec.dead_letters, DeadLetterTarget::Topic("rides.dead".into()));
}

#[test]
fn defaults_fill_what_is_left_out() {
    let spec = parse_spec(&with("seal: {}", "seal:\nretention: 1h")).unwrap();
    assert_eq!(spec.seal, SealSpec::default());
    assert_eq!(spec.stream.start, StartPosition::Earliest);
    assert_eq!(spec.stream.on_gap, OnGap::Fail);
    assert_eq!(spec.dead_letters, DeadLetterTarget::Table);
    assert_eq!((spec.time_column, spec.sort_key), (None, vec![]));
}

#[test]
fn json_is_read_with_its_surrogate_pairs() {
    let text = r#" {"name": "t", "columns": [{"name": "a", "type": "INT", "path": "[\"\ud83d\ude00\"]"}],
                   "stream": {"brokers": ["h:1"], "topic": "x"}}"#;
    let spec = parse_spec(text).unwrap();
    assert_eq!(spec.columns[0].path, FieldPath::field("😀"));
}

#[test]
fn every_fault_is_listed_at_once() {
    let text = r#"
nmae: rides
columns:
  - { name: $offset, type: INT }
  - { name: a, type: INTEGER, nullable: maybe }
  - { name: A, type: STRING, nullabel: true }
  - { name: b, type: 'DECIMAL(40,2)', nullable: false, on_error: null, path: "a..b" }
  - { type: STRING, on_error: drop }
  - 7
  - { name: c d, type: ARRAY<ARRAY<INT>> }
  - { name: 12, type: null }
  - { name: list, type: ARRAY<INT> }
time_column: list
sort_key: [lsit, list, a, a, 3]
stream:
  brokers: [kafka, "tcp://h:1", "h:0", 5]
  topic: "a b"
  start: yesterday
  on_gap: fial
  properties:
    enable.auto.commit: false
    sasl.password: hunter2
    Foo Bar: x
    client.id: [1]
    ssl.key.pem: { env: A, file: B }
    x.ms: 1.5
seal: { rows_max: 0, bytes_max: 1, age_max: 10ms, rows: 3 }
retention: 5
dead_letters: trash
"#;
    assert_faults(
        text,
        &[
            ("nmae", "did you mean name?"),
            ("name", "missing"),
            ("columns[0].name", "begin with `$`"),
            ("columns[1].type", "\"INTEGER\" is not a type"),
            ("columns[1].nullable", "true or false, not the text \"maybe\""),
            ("columns[2].nullabel", "did you mean nullable?"),
            ("columns[2].name", "\"A\" is taken"),
            ("columns[3].type", "precision of 1 to 38"),
            ("columns[3].path", "a field name is missing"),
            ("columns[3].on_error", "can't be null"),
            ("columns[4].name", "missing"),
            ("columns[4].on_error", "allowed: dead_letter, null"),
            ("columns[5]", "must be a mapping"),
            ("columns[6].name", "is no column name"),
            ("columns[6].type", "not another ARRAY"),
            ("columns[7].name", "put quotes around it"),
            ("columns[7].type", "missing"),
            ("time_column", "TIMESTAMP or a DATE, not ARRAY<INT>"),
            ("sort_key[0]", "did you mean list?"),
            ("sort_key[1]", "can't sort by ARRAY<INT>"),
            ("sort_key[3]", "twice"),
            ("sort_key[4]", "must be text"),
            ("stream.brokers[0]", "is not host:port"),
            ("stream.brokers[1]", "security.protocol"),
            ("stream.brokers[2]", "is not host:port"),
            ("stream.brokers[3]", "must be text"),
            ("stream.topic", "is no topic name"),
            ("stream.start", "earliest, latest or"),
            ("stream.on_gap", "did you mean fail?"),
            ("stream.properties.enable.auto.commit", "table log"),
            ("stream.properties.sasl.password", "is a secret"),
            ("stream.properties[\"Foo Bar\"]", "no librdkafka property"),
            ("stream.properties.client.id", "not a list"),
            ("stream.properties.ssl.key.pem", "one of the two"),
            ("stream.properties.x.ms", "not the number 1.5"),
            ("seal.rows", "no such key"),
            ("seal.rows_max", "between 1 and"),
            ("seal.bytes_max", "between 65536 and"),
            ("seal.age_max", "between 1 seconds and"),
            ("retention", "must be a duration"),
            ("dead_letters", "must be table or"),
        ],
    );
}

#[test]
fn a_decimal_that_yaml_cut_is_explained() {
    assert_faults(
        &with("type: INT", "type: DECIMAL(9,2)"),
        &[("columns[0][\"2)\"]", "no such key"), ("columns[0].type", "put quotes around the type")],
    );
}

#[test]
fn single_faults() {
    let name = |name: &str| with("name: t\n", &format!("name: {name}\n"));
    let start = |start: &str| with("topic: x}", &format!("topic: x, start: {start}}}"));
    for (text, path, word) in [
        ("", "spec", "must be a mapping with the keys name, columns"),
        ("[]", "spec", "not a list"),
        ("just text", "spec", "not the text"),
        (&name("1t"), "name", "ASCII letter"),
        (&name("größe"), "name", "ASCII letter"),
        (&name("../../etc"), "name", "ASCII letter"),
        (&name(&"x".repeat(129)), "name", "128"),
        (&name("true"), "name", "put quotes around it"),
        (
            &with(
                "{name: a, type: INT}",
                "{name: größe, type: INT}\n  - {name: GRÖSSE, type: INT}\n  - {name: GRÖßE, type: INT}",
            ),
            "columns[2].name",
            "taken",
        ),
        (&with("columns:\n  - {name: a, type: INT}", "columns: []"), "columns", "1 to 2000"),
        (&with("columns:\n  - {name: a, type: INT}", "columns: {a: INT}"), "columns", "list of columns"),
        (&with("columns:\n  - {name: a, type: INT}\n", ""), "columns", "missing"),
        (&with("seal: {}", "time_column: a"), "time_column", "not INT"),
        (&with("seal: {}", "time_column: ts"), "time_column", "no column \"ts\""),
        (&with("seal: {}", "sort_key: a"), "sort_key", "list of column names"),
        (&with("seal: {}", "seal: 5"), "seal", "must be a mapping"),
        (&with("seal: {}", "seal: {bytes_max: -5}"), "seal.bytes_max", "not negative"),
        (&with("seal: {}", "retention: 1s"), "retention", "between 60 seconds"),
        (&with("seal: {}", "replication: 0"), "replication", "from 1 to 7"),
        (&with("seal: {}", "replication: two"), "replication", "from 1 to 7"),
        (&with("seal: {}", "dead_letters: {topic: x}"), "dead_letters.topic", "must not be the topic"),
        (&with("[h:1]", "[]"), "stream.brokers", "at least one"),
        (&with("[h:1]", "'h:1,'"), "stream.brokers", "host:port"),
        (&with("[h:1]", "'a:b:1'"), "stream.brokers", "host:port"),
        (&with("[h:1]", "{h: 1}"), "stream.brokers", "list of host:port"),
        (&with("topic: x", "topic: .."), "stream.topic", "no topic name"),
        (&with("stream: {brokers: [h:1], topic: x}\n", ""), "stream", "missing"),
        (&start("{timestamp: -1}"), "stream.start.timestamp", "1970"),
        (&start("{timestamp: soon}"), "stream.start.timestamp", "is not an instant"),
        (&start("{}"), "stream.start.timestamp", "missing"),
        (&with("topic: x}", "topic: x, properties: [a]}"), "stream.properties", "mapping"),
        (&with("seal: {}", "? [a]\n: 1"), "spec", ""),
    ] {
        let faults = faults_of(text);
        assert_eq!(faults.len(), 1, "{text}: {faults:#?}");
        if !word.is_empty() {
            assert_eq!(faults[0].path, path, "{text}: {faults:#?}");
        }
        assert!(faults[0].message.contains(word), "{text}: {faults:#?}");
    }
}

#[test]
fn syntax_errors_carry_line_and_column() {
    for (text, place) in [
        ("name: t\ncolumns: [\n  {name: a, type: INT\n", "line 4, column 1"),
        ("name: t\n  columns: 3\n", "line 2, column 10"),
        ("{\"name\": \"t\",\n \"columns\" 5}", "line 2, column 12"),
        ("name: t\nname: u\n", "line"),
        ("{\"name\": \"t\", \"name\": \"u\"}", "line"),
        ("name: !secret t", "line"),
    ] {
        let faults = faults_of(text);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].path.starts_with(place), "{text}: {faults:#?}");
    }
    assert!(faults_of("a: 1\n---\nb: 1")[0].message.contains("more than one document"));
}

#[test]
fn hostile_texts_end_soon_in_few_faults() {
    let bomb = (0..9).fold("a0: &a0 [x, x]\n".to_string(), |text, level| {
        let alias = format!("*a{level}, ").repeat(20);
        format!("{text}a{}: &a{} [{alias}]\n", level + 1, level + 1)
    });
    let long = format!("a: &a {}\nb: [{}]", "x".repeat(900_000), "*a, ".repeat(1_000));
    let keys = (0..100_000).map(|key| format!("k{key}: 1\n")).collect::<String>();
    for text in [
        bomb,
        long,
        keys,
        "[".repeat(1 << 20),
        "{\"a\":".repeat(200_000),
        "- ".repeat(1 << 19),
        "a: &a [*a]".to_string(),
        " ".repeat((1 << 20) + 1),
        format!("name: {}", "x".repeat(1 << 19)),
        "\u{0}".to_string(),
    ] {
        let faults = faults_of(&text);
        let listed: usize = faults.iter().map(|fault| fault.to_string().len()).sum();
        assert!(faults.len() <= 1_001 && listed < 300_000, "{} faults, {listed} bytes", faults.len());
    }
}

#[test]
fn the_widest_table_is_read_in_either_style() {
    let flow: String = (0..COLUMNS_MAX).map(|at| format!("  - {{name: c{at}, type: STRING}}\n")).collect();
    let spec = parse_spec(&with("  - {name: a, type: INT}\n", &flow)).unwrap();
    assert_eq!(spec.columns.len(), COLUMNS_MAX);
    assert_eq!(parse_spec(&spec.to_json()).unwrap(), spec);
    assert_eq!(parse_spec(&spec.to_yaml()).unwrap(), spec);
    let wider = flow + "  - {name: d, type: STRING}\n";
    assert_faults(&with("  - {name: a, type: INT}\n", &wider), &[("columns", "not 2001")]);
}

#[test]
fn secrets_are_not_shown() {
    let properties = BTreeMap::from([("a", PropertyValue::Literal("hunter2".into()))]);
    assert!(!format!("{properties:?}").contains("hunter2"));
}

pub(super) fn any_path() -> impl Strategy<Value = FieldPath> {
    let step = prop_oneof![
        3 => any::<String>().prop_map(PathStep::Field),
        3 => "[$a-c.\"\\[\\]]{0,4}".prop_map(PathStep::Field),
        1 => any::<usize>().prop_map(PathStep::Index),
    ];
    prop_oneof![
        4 => vec(step, 0..5).prop_map(FieldPath::Payload),
        1 => Just(FieldPath::Key),
        1 => any::<String>().prop_map(FieldPath::Header),
    ]
}

fn any_type() -> impl Strategy<Value = ColumnType> {
    let names = "BOOLEAN INT LONG FLOAT DOUBLE DECIMAL(38,38) TIMESTAMP(3) TIMESTAMP(6) DATE STRING BYTES JSON UUID \
                 ARRAY<STRING> ARRAY<DECIMAL(9,2)>";
    let names: Vec<&str> = names.split_whitespace().collect();
    select(names).prop_map(|name| name.parse().unwrap())
}

fn any_column() -> impl Strategy<Value = ColumnSpec> {
    let name = prop_oneof!["[a-zA-Z_][a-z0-9_]{0,9}", "(null|true|no|on|_1|e5|größe|列)"];
    (name, any_type(), any::<bool>(), option::of(any_path()), any::<bool>()).prop_map(
        |(name, data_type, nullable, path, null_on_error)| ColumnSpec {
            path: path.unwrap_or_else(|| FieldPath::field(&name)),
            name,
            data_type,
            nullable,
            on_error: if nullable && null_on_error { OnError::Null } else { OnError::DeadLetter },
            index: None,
        },
    )
}

fn any_property() -> impl Strategy<Value = PropertyValue> {
    prop_oneof![
        any::<String>().prop_map(PropertyValue::Literal),
        select(vec!["1", "true", "null", "~", "1.5", "0x1f", ".nan", ""])
            .prop_map(|text| PropertyValue::Literal(text.into())),
        ".{1,9}".prop_map(|env| PropertyValue::Env { env }),
        ".{1,9}".prop_map(|file| PropertyValue::File { file }),
    ]
}

fn any_stream() -> impl Strategy<Value = StreamSpec> {
    let start = prop_oneof![
        Just(StartPosition::Earliest),
        Just(StartPosition::Latest),
        (0..253_402_300_799_999_i64).prop_map(StartPosition::Timestamp),
    ];
    let on_gap = select(vec![OnGap::Fail, OnGap::Skip]);
    let properties = btree_map("x\\.[a-z][a-z.]{0,9}ms", any_property(), 0..4);
    (vec("[a-z0-9.-]{1,9}:[1-9]", 1..3), "[0-9a-z_.-]{3,9}", start, on_gap, properties).prop_map(
        |(brokers, topic, start, on_gap, properties)| StreamSpec {
            brokers,
            topic,
            start,
            on_gap,
            properties,
        },
    )
}

fn any_spec() -> impl Strategy<Value = TableSpec> {
    let seal = (1..=1_000_000_000_u64, (64 << 10)..=(1_u64 << 40), 1_000..10_000_000_u64);
    let dead_letters = option::of("[A-Z][a-z.]{0,5}");
    (
        "[a-zA-Z_][a-z0-9_]{0,9}",
        vec(any_column(), 1..9),
        any::<(Index, bool)>(),
        vec(any::<Index>(), 0..4),
        any_stream(),
        (seal, option::of(60_000..1_000_000_000_000_u64), 1..=7_usize, dead_letters),
    )
        .prop_map(
            |(
                name,
                mut columns,
                (time, has_time),
                sort,
                stream,
                (seal, retention, replication, dead_letters),
            )| {
                let mut seen = std::collections::HashSet::new();
                columns.retain(|column| seen.insert(column.name.to_lowercase()));
                let time_column = has_time.then(|| {
                    let column = time.index(columns.len());
                    columns[column].data_type = ColumnType::Date;
                    columns[column].name.clone()
                });
                let mut sort_key: Vec<String> = Vec::new();
                for column in sort.iter().map(|index| index.get(&columns)) {
                    if !matches!(column.data_type, ColumnType::Array(_)) && !sort_key.contains(&column.name) {
                        sort_key.push(column.name.clone());
                    }
                }
                let (rows_max, bytes_max, age_ms) = seal;
                TableSpec {
                    name,
                    columns,
                    time_column,
                    sort_key,
                    stream,
                    seal: SealSpec { rows_max, bytes_max, age_max: Duration::from_millis(age_ms) },
                    retention: retention.map(Duration::from_millis),
                    replication,
                    dead_letters: dead_letters.map_or(DeadLetterTarget::Table, DeadLetterTarget::Topic),
                }
            },
        )
}

proptest! {
    #[test]
    fn a_written_spec_is_read_back(spec in any_spec()) {
        let json = spec.to_json();
        prop_assert_eq!(&parse_spec(&json).map_err(|error| TestCaseError::fail(format!("{json}\n{error}")))?, &spec);
        let yaml = spec.to_yaml();
        prop_assert_eq!(&parse_spec(&yaml).map_err(|error| TestCaseError::fail(format!("{yaml}\n{error}")))?, &spec);
    }

    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), "[a-z: \\n\\[\\]{}\"'#&*!|>-]{0,60}"]) {
        let _ = parse_spec(&text);
    }

    #[test]
    fn no_damage_to_a_spec_panics(at in any::<Index>(), cut in 0..9_usize, put in "[a-z0-9:\\n\\[{\"'&*\\-]{0,3}") {
        let mut text: Vec<char> = RIDES.chars().collect();
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, put.chars());
        if let Ok(spec) = parse_spec(&text.into_iter().collect::<String>()) {
            prop_assert_eq!(parse_spec(&spec.to_json()).unwrap(), spec);
        }
    }
}
