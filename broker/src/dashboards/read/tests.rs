//! Documents that are taken as they are, and what is said about those that are not.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn full() -> Value {
    json!({
        "title": "Rides",
        "refresh_ms": 1000,
        "time": {"last": "15m"},
        "variables": [
            {"name": "city", "label": "City", "kind": "list", "sql": "SELECT DISTINCT city FROM rides ORDER BY 1", "default": ""},
            {"name": "status", "label": "Status", "kind": "list", "values": ["completed", "cancelled"], "default": "completed"},
            {"name": "rider", "label": "rider", "kind": "text", "default": "7"},
        ],
        "panels": [
            {
                "id": "per_minute", "title": "Per minute", "kind": "line", "x": "minute", "y": ["events"], "by": "status",
                "sql": "SELECT date_trunc('minute', event_time) AS minute, status, count(*) AS events FROM rides \
                        WHERE event_time >= $time_from AND ($city = '' OR city = $city) GROUP BY 1, 2 ORDER BY 1",
                "at": {"x": 0, "y": 0, "w": 8, "h": 4},
            },
            {"id": "all", "title": "", "kind": "number", "sql": "SELECT count(*) FROM rides", "at": {"x": 8, "y": 0, "w": 4, "h": 2}},
        ],
    })
}

fn faults_of(document: &Value) -> Vec<String> {
    read_dashboard(document).unwrap_err().into_iter().map(|fault| fault.path).collect()
}

#[test]
fn what_is_written_out_is_what_was_read() {
    let dashboard = read_dashboard(&full()).unwrap();
    let written = serde_json::to_value(&dashboard).unwrap();
    assert_eq!(written, full());
    assert_eq!(read_dashboard(&written).unwrap(), dashboard);
}

#[test]
fn little_is_needed() {
    let dashboard = read_dashboard(&json!({"title": " a "})).unwrap();
    assert_eq!((dashboard.title.as_str(), dashboard.refresh_ms), ("a", 5_000));
    assert_eq!(dashboard.time.last, Duration::from_secs(900));
    let written = serde_json::to_value(&dashboard).unwrap();
    assert_eq!(written["time"], json!({"last": "15m"}));
}

#[test]
fn every_fault_is_listed_with_its_path() {
    let bad = json!({
        "titel": "x",
        "refresh_ms": 999,
        "time": {"last": "soon", "first": 1},
        "variables": [
            {"name": "City", "kind": "list"},
            {"name": "offset", "kind": "text", "values": ["a"]},
            {"name": "a", "kind": "choice"},
            {"name": "b", "kind": "text"},
            {"name": "b", "kind": "text", "default": 7},
        ],
        "panels": [
            {"id": "p", "kind": "pie", "sql": "", "at": {"x": 8, "y": -1, "w": 5, "h": 0}},
            {"id": "p q", "kind": "table", "sql": "SELECT 1", "x": 5, "y": "a", "at": {"x": 8, "y": 0, "w": 5, "h": 1}},
            7,
        ],
    });
    let expected = [
        "titel",
        "title",
        "refresh_ms",
        "time.first",
        "time.last",
        "variables[0].name",
        "variables[0]",
        "variables[1].name",
        "variables[1]",
        "variables[2].kind",
        "variables[4].default",
        "panels[0].sql",
        "panels[0].kind",
        "panels[0].at.y",
        "panels[0].at.h",
        "panels[1].id",
        "panels[1].x",
        "panels[1].y",
        "panels[1].at",
        "panels[2]",
    ];
    let mut found = faults_of(&bad);
    found.sort();
    let mut expected = expected.map(str::to_string).to_vec();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn names_stand_once() {
    let mut twice = full();
    twice["panels"][1]["id"] = json!("per_minute");
    twice["variables"][2]["name"] = json!("city");
    assert_eq!(faults_of(&twice), ["variables[2].name", "panels[1].id"]);
}

#[test]
fn a_statement_names_only_variables_that_are_there() {
    let cases = [
        ("SELECT $nowhere", "$nowhere"),
        ("SELECT $1", "$1"),
        ("SELECT 'a", "Unterminated"),
        ("SELECT ?", "?"),
        ("SELECT\n  $citi", "did you mean city?"),
    ];
    for (sql, says) in cases {
        let mut document = full();
        document["panels"][1]["sql"] = json!(sql);
        let faults = read_dashboard(&document).unwrap_err();
        assert_eq!((faults.len(), faults[0].path.as_str()), (1, "panels[1].sql"), "{sql}");
        assert!(faults[0].message.contains(says), "{sql}: {}", faults[0]);
    }
    // The list of a variable knows no other variable.
    let mut document = full();
    document["variables"][0]["sql"] = json!("SELECT $rider");
    assert_eq!(faults_of(&document), ["variables[0].sql"]);
    let mut document = full();
    document["panels"][1]["sql"] =
        json!("SELECT $offset, '$nowhere', $rider, $time_to FROM rides -- $nowhere");
    read_dashboard(&document).unwrap();
}

#[test]
fn everything_has_a_bound() {
    let with = |path: &str, value: Value| {
        let mut document = full();
        *document.pointer_mut(path).unwrap() = value;
        document
    };
    let panel = full()["panels"][1].clone();
    let cases = [
        (with("/title", json!("x".repeat(201))), "title"),
        (with("/title", json!("a\nb")), "title"),
        (with("/refresh_ms", json!(86_400_001)), "refresh_ms"),
        (with("/refresh_ms", json!(1000.5)), "refresh_ms"),
        (with("/time/last", json!("0s")), "time.last"),
        (with("/time/last", json!("9999999d")), "time.last"),
        (with("/panels", json!(vec![panel; 51])), "panels"),
        (with("/panels/0/sql", json!("x".repeat(16_385))), "panels[0].sql"),
        (with("/panels/0/y", json!(vec!["a"; 21])), "panels[0].y"),
        (with("/panels/0/at/y", json!(1_001)), "panels[0].at.y"),
        (with("/variables/1/values", json!(vec!["a"; 1_001])), "variables[1].values"),
        (with("/variables/1/default", json!("x".repeat(1_001))), "variables[1].default"),
        (with("/title", json!("x".repeat(300_000))), "dashboard"),
        (json!([]), "dashboard"),
    ];
    for (document, path) in cases {
        assert!(faults_of(&document).iter().any(|found| found == path), "{path}: {:?}", faults_of(&document));
    }
}

#[test]
fn what_is_taken_can_be_read_back_once_its_defaults_are_filled_in() {
    let panel = |index: usize, sql: String| json!({"id": format!("p{index}"), "sql": sql, "kind": "table", "at": {"x": 0, "y": 0, "w": 1, "h": 1}});
    let of_bytes = |bytes: usize| {
        let mut panels: Vec<Value> = (0..15).map(|index| panel(index, "x".repeat(16 << 10))).collect();
        let rest = json!({"title": "t", "panels": panels}).to_string().len();
        let frame = panel(15, String::new()).to_string().len() + ",".len();
        panels.push(panel(15, "x".repeat(bytes - rest - frame)));
        let document = json!({"title": "t", "panels": panels});
        assert_eq!(document.to_string().len(), bytes);
        document
    };
    // 16 titles, the time range and the rest that was left out.
    let filled_in =
        serde_json::to_vec(&read_dashboard(&of_bytes(DOCUMENT_BYTES_MAX - 1_000)).unwrap()).unwrap().len()
            - (DOCUMENT_BYTES_MAX - 1_000);
    assert_eq!(faults_of(&of_bytes(DOCUMENT_BYTES_MAX)), ["dashboard"]);
    assert_eq!(faults_of(&of_bytes(DOCUMENT_BYTES_MAX - filled_in + 1)), ["dashboard"]);
    let dashboard = read_dashboard(&of_bytes(DOCUMENT_BYTES_MAX - filled_in)).unwrap();
    let written = serde_json::to_value(&dashboard).unwrap();
    assert_eq!(written.to_string().len(), DOCUMENT_BYTES_MAX);
    assert_eq!(read_dashboard(&written).unwrap(), dashboard);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z$'\"]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let key = prop_oneof![
            Just("title"),
            Just("panels"),
            Just("variables"),
            Just("sql"),
            Just("at"),
            Just("name"),
            Just("kind"),
            Just("time"),
            Just("id"),
            Just("x"),
            Just("values"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..6).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(k, v)| (k.to_string(), v)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_is_taken_or_refused_with_a_reason(document in any_json()) {
        match read_dashboard(&document) {
            Ok(dashboard) => {
                let written = serde_json::to_value(&dashboard).unwrap();
                prop_assert_eq!(read_dashboard(&written).unwrap(), dashboard);
            }
            Err(faults) => prop_assert!(!faults.is_empty()),
        }
    }
}
