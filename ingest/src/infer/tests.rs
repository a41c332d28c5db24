//! Samples and the specs that come of them.

use headwater_segment::spec::{TableSpec, parse_spec};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn infer(samples: &[Value]) -> (InferredSpec, TableSpec) {
    let samples: Vec<Vec<u8>> = samples.iter().map(|value| value.to_string().into_bytes()).collect();
    infer_bytes(&samples)
}

fn infer_bytes(samples: &[Vec<u8>]) -> (InferredSpec, TableSpec) {
    let inferred = infer_spec("rides", "kafka-1:9092, kafka-2:9092", "rides.v1", samples);
    match parse_spec(&inferred.text) {
        Ok(spec) => (inferred, spec),
        Err(error) => panic!("{error}\n{}", inferred.text),
    }
}

/// Name, type and path of every column.
fn columns_of(spec: &TableSpec) -> Vec<(String, String, String)> {
    let column = |column: &headwater_segment::spec::ColumnSpec| {
        (column.name.clone(), column.data_type.to_string(), column.path.to_string())
    };
    spec.columns.iter().map(column).collect()
}

#[track_caller]
fn assert_columns(samples: &[Value], expected: &[(&str, &str, &str)]) {
    let (inferred, spec) = infer(samples);
    let columns = columns_of(&spec);
    let columns: Vec<(&str, &str, &str)> = columns
        .iter()
        .map(|(name, data_type, path)| (name.as_str(), data_type.as_str(), path.as_str()))
        .collect();
    assert_eq!(columns, expected, "{}", inferred.text);
}

#[test]
fn a_faulty_time_now_and_then_leaves_a_time() {
    let samples = |faults: usize| -> Vec<Value> {
        let time = |at| if at < faults { json!("about noon") } else { json!("2026-03-01T10:00:00Z") };
        (0..200).map(|at| json!({"event_time": time(at), "note": time(at)})).collect()
    };
    let typed = |faults, expected| {
        assert_columns(
            &samples(faults),
            &[("event_time", expected, "event_time"), ("note", "STRING", "note")],
        );
    };
    typed(1, "TIMESTAMP(3)");
    typed(3, "TIMESTAMP(3)");
    typed(4, "STRING");
    typed(200, "STRING");
    let (inferred, spec) = infer(&samples(3));
    assert!(
        inferred.text.contains("; 3 of them not a time: they would be dead letters"),
        "{}",
        inferred.text
    );
    assert_eq!(spec.time_column.as_deref(), Some("event_time"));
}

#[test]
fn every_kind_of_value_gets_its_type() {
    assert_columns(
        &[
            json!({
                "yes": true, "count": 1, "big": u64::MAX, "ratio": 0.5, "either": 1, "city": "Berlin",
                "id": "0191e2a4-0000-7000-8000-000000000001", "at": "2026-03-01T10:00:00.123Z",
                "fine_at": "2026-03-01T10:00:00.123456+01:00", "day": "2026-03-01", "ts": 1_767_225_600_000_i64,
                "eventTime": 1_767_225_600_000_000_i64, "price_cents": 1_767_225_600_000_i64, "nothing": null,
                "tags": ["a", "b"], "scores": [1, 2.5], "legs": [{"x": 1}], "empty": [], "mixed_list": [1, "a"],
                "times": ["2026-03-01T10:00:00Z"], "mixed": 1, "date": 1_767_225_600,
            }),
            json!({"either": 2.5, "city": "Paris", "mixed": "one", "yes": null}),
        ],
        &[
            ("yes", "BOOLEAN", "yes"),
            ("count", "LONG", "count"),
            ("big", "DECIMAL(20,0)", "big"),
            ("ratio", "DOUBLE", "ratio"),
            ("either", "DOUBLE", "either"),
            ("city", "STRING", "city"),
            ("id", "UUID", "id"),
            ("at", "TIMESTAMP(3)", "at"),
            ("fine_at", "TIMESTAMP(6)", "fine_at"),
            ("day", "DATE", "day"),
            ("ts", "TIMESTAMP(3)", "ts"),
            ("eventTime", "TIMESTAMP(6)", "eventTime"),
            ("price_cents", "LONG", "price_cents"),
            ("nothing", "JSON", "nothing"),
            ("tags", "ARRAY<STRING>", "tags"),
            ("scores", "ARRAY<DOUBLE>", "scores"),
            ("legs", "JSON", "legs"),
            ("empty", "JSON", "empty"),
            ("mixed_list", "JSON", "mixed_list"),
            ("times", "ARRAY<TIMESTAMP(3)>", "times"),
            ("mixed", "JSON", "mixed"),
            ("date", "LONG", "date"),
        ],
    );
}

#[test]
fn nested_objects_are_flattened_to_three_levels() {
    assert_columns(
        &[
            json!({"a": {"b": {"c": {"d": 1}, "e": 2}, "f": 3}, "g": {}, "h": {"i": 1}, "a_f": "own"}),
            json!({"h": 5}),
        ],
        &[
            ("a_b_c", "JSON", "a.b.c"),
            ("a_b_e", "LONG", "a.b.e"),
            ("a_f_2", "LONG", "a.f"),
            ("g", "JSON", "g"),
            ("h", "JSON", "h"),
            ("a_f", "STRING", "a_f"),
        ],
    );
    let map: Map<String, Value> = (0..100).map(|key| (format!("user-{key}"), json!(1))).collect();
    assert_columns(&[json!({"by_user": map})], &[("by_user", "JSON", "by_user")]);
}

#[test]
fn odd_names_become_column_names_with_a_path() {
    assert_columns(
        &[json!({
            "a.b": 1, "a b": 1, "\"": 1, "": 1, "x\ny": 1, "# no: comment": 1, "größe": 1, "9lives": 1, "$offset": 1,
            "City": 1, "city": 1, "null": 1, "\u{202e}\u{feff}": 1, "😀": 1, "[0]": 1, "{{ x }}": 1, "'": 1,
        })],
        &[
            ("a_b", "LONG", "$[\"a.b\"]"),
            ("a_b_2", "LONG", "$[\"a b\"]"),
            ("field", "LONG", "$[\"\\\"\"]"),
            ("field_2", "LONG", "$[\"\"]"),
            ("x_y", "LONG", "$[\"x\\ny\"]"),
            ("no__comment", "LONG", "$[\"# no: comment\"]"),
            ("größe", "LONG", "größe"),
            ("_9lives", "LONG", "9lives"),
            ("offset", "LONG", "$.$offset"),
            ("City", "LONG", "City"),
            ("city_2", "LONG", "city"),
            ("null", "LONG", "null"),
            ("field_3", "LONG", "\u{202e}\u{feff}"),
            ("field_4", "LONG", "😀"),
            ("_0", "LONG", "$[\"[0]\"]"),
            ("x", "LONG", "$[\"{{ x }}\"]"),
            ("field_5", "LONG", "'"),
        ],
    );
}

#[test]
fn time_column_and_sort_key_are_chosen() {
    let (cities, states) = (["Berlin", "Paris", "Rome"], ["open", "done"]);
    let message = |at: usize| {
        json!({
            "birth_date": "1990-01-01", "updated": "2026-01-01T00:00:00Z", "created": "2026-01-01T00:00:00Z",
            "user": format!("user {at}"), "city": cities[at % 3],
            "status": states[at % 2], "version": "v1", "note": "x".repeat(100),
        })
    };
    let (inferred, spec) = infer(&(0..200).map(message).collect::<Vec<_>>());
    assert_eq!(spec.time_column.as_deref(), Some("created"));
    assert_eq!(spec.sort_key, ["status", "city", "created"]);
    assert_eq!(spec.stream.brokers, ["kafka-1:9092", "kafka-2:9092"]);
    assert!(spec.columns.iter().all(|column| column.nullable));
    assert!(
        inferred.text.contains("type: STRING}  # in all 200 messages, such as \"Berlin\"\n"),
        "{}",
        inferred.text
    );

    let half: Vec<Value> =
        (0..4).map(|at| if at == 0 { json!({"a": 1}) } else { json!({"b": [1, 2]}) }).collect();
    let (inferred, _) = infer(&half);
    assert!(inferred.text.contains("# in 25.0 % of the messages, such as 1\n"), "{}", inferred.text);
    assert!(inferred.text.contains("# in 75.0 % of the messages, such as [1,2]\n"), "{}", inferred.text);
}

#[test]
fn without_objects_the_whole_message_is_the_column() {
    let no_objects: [Vec<u8>; 6] =
        [b"[1]".into(), b"7".into(), b"".into(), b"{".into(), b"\xff\xfe".into(), "[".repeat(10_000).into()];
    for samples in [&no_objects[..], &[], &[b"{}".to_vec()]] {
        let (inferred, spec) = infer_bytes(samples);
        assert_eq!(columns_of(&spec), [("message".into(), "JSON".into(), "$".into())]);
        assert_eq!(inferred.undecodable, if samples.len() == 6 { 6 } else { 0 });
    }
    let (inferred, spec) = infer_bytes(&[b"{\"a\": 1}".to_vec(), b"no".to_vec()]);
    assert_eq!((inferred.undecodable, spec.columns.len()), (1, 1));
}

#[test]
fn wide_and_hostile_messages_stay_within_a_spec() {
    let wide: Map<String, Value> = (0..3_000).map(|at| (format!("f{at}"), json!("[[[[".repeat(9)))).collect();
    let brackets: Map<String, Value> =
        (0..700).map(|at| (format!("{at:04}[{{[{}", "\u{7f}\\".repeat(20)), json!([[[["{{"]]]]))).collect();
    let long: Map<String, Value> =
        (0..700).map(|at| (format!("{at}{}", "ü".repeat(200)), json!(1))).collect();
    let near: Map<String, Value> =
        (0..700).map(|at| (format!("{at:03}{}", "ü".repeat(90)), json!(1))).collect();
    for (message, columns) in [(wide, 500), (brackets, 500), (long, 1), (near, 500)] {
        let (inferred, spec) = infer(&[Value::Object(message)]);
        assert_eq!(spec.columns.len(), columns);
        assert!(inferred.text.contains("more fields are left out"));
    }
}

#[test]
fn a_table_name_is_made_valid() {
    for (given, name) in
        [("rides.v1", "rides_v1"), ("größe", "gr__e"), ("7", "_7"), ("", "events"), ("null", "null")]
    {
        let inferred = infer_spec(given, "h:1", "topic", &[]);
        assert_eq!(parse_spec(&inferred.text).unwrap().name, name);
    }
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-c#:.\"'\\n\\r\\t\\[\\]{}&*!|>%@`$, _-]{0,8}", "(at|ts|null|true|~)"]
}

fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_name().prop_map(Value::from),
        Just(json!("2026-01-01")),
        Just(json!(1_767_225_600_000_i64)),
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any_name(), inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_messages_hold_the_spec_is_accepted(messages in vec(vec((any_name(), any_value()), 0..6), 0..5)) {
        let samples: Vec<Value> =
            messages.into_iter().map(|fields| Value::Object(fields.into_iter().collect())).collect();
        let (_, spec) = infer(&samples);
        // Every column's path leads to a field that some message has.
        for column in spec.columns.iter().filter(|column| column.path.to_string() != "$") {
            let FieldPath::Payload(steps) = &column.path else { return Err(TestCaseError::fail("no payload path")) };
            let follow = |value, step: &PathStep| match step {
                PathStep::Field(name) => Value::get(value, name),
                PathStep::Index(index) => Value::get(value, *index),
            };
            let leads = |sample| steps.iter().try_fold(sample, follow).is_some();
            prop_assert!(samples.iter().any(leads), "{}", column.path);
        }
    }
}
