use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{Field, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};

use super::*;

const SMALL: Limits = Limits { batch: 1000, constant: 100 };

fn state() -> SessionState {
    SessionStateBuilder::new().with_default_features().build()
}

fn bounded(name: &str, size: Size) -> Bounded {
    Bounded { inner: state().udf(name).unwrap(), size, limits: SMALL }
}

fn called(function: &Bounded, args: Vec<ColumnarValue>, number_rows: usize) -> Result<ColumnarValue> {
    let fields: Vec<FieldRef> =
        args.iter().map(|value| Arc::new(Field::new("x", value.data_type(), true))).collect();
    let scalars = vec![None; args.len()];
    let return_field = function
        .return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars })?;
    let config_options = Arc::new(ConfigOptions::default());
    function.invoke_with_args(ScalarFunctionArgs {
        args,
        arg_fields: fields,
        number_rows,
        return_field,
        config_options,
    })
}

fn text(text: &str) -> ColumnarValue {
    ColumnarValue::Scalar(ScalarValue::from(text))
}

fn number(number: i64) -> ColumnarValue {
    ColumnarValue::Scalar(ScalarValue::from(number))
}

fn list(length: usize) -> ColumnarValue {
    let elements = vec![ScalarValue::from(1_i64); length];
    ColumnarValue::Scalar(ScalarValue::List(ScalarValue::new_list_nullable(&elements, &DataType::Int64)))
}

#[test]
fn each_makes_what_is_just_below_the_bound_and_nothing_above_it() {
    let x = |length: usize| text(&"x".repeat(length));
    let g = || text("g");
    let cases: [(&str, Size, Vec<ColumnarValue>, Vec<ColumnarValue>); 12] = [
        ("repeat", Size::Repeat, vec![x(10), number(10)], vec![x(10), number(11)]),
        ("lpad", Size::Pad, vec![x(1), number(100)], vec![x(1), number(101)]),
        ("rpad", Size::Pad, vec![x(1), number(25), text("å")], vec![x(1), number(26), text("å")]),
        ("replace", Size::Replace, vec![x(4), x(1), x(19)], vec![x(4), x(1), x(20)]),
        ("regexp_replace", Size::RegexpReplace, vec![x(4), x(1), x(19), g()], vec![x(4), x(1), x(20), g()]),
        ("regexp_replace", Size::RegexpReplace, vec![x(9), x(1), x(91)], vec![x(9), x(1), x(92)]),
        ("array_repeat", Size::ArrayRepeat, vec![number(1), number(12)], vec![number(1), number(13)]),
        ("array_resize", Size::ArrayResize, vec![list(1), number(12)], vec![list(1), number(13)]),
        ("array_to_string", Size::ArrayToString, vec![list(2), x(20)], vec![list(2), x(90)]),
        ("range", Size::Range, vec![number(11)], vec![number(12)]),
        ("generate_series", Size::Range, vec![number(1), number(12)], vec![number(1), number(13)]),
        (
            "range",
            Size::Range,
            vec![number(50), number(-50), number(-9)],
            vec![number(9), number(-9), number(-1)],
        ),
    ];
    for (name, size, below, above) in cases {
        let function = bounded(name, size);
        assert!(called(&function, below, 1).is_ok(), "{name}");
        let refused = called(&function, above, 1).unwrap_err();
        assert!(matches!(refused, DataFusionError::ResourcesExhausted(_)), "{name}: {refused}");
    }
}

#[test]
fn rows_of_a_batch_count_together() {
    let function = bounded("repeat", Size::Repeat);
    let counts =
        |counts: Vec<Option<i64>>| ColumnarValue::Array(Arc::new(Int64Array::from(counts)) as ArrayRef);
    let made = called(&function, vec![text("xx"), counts(vec![Some(200), None, Some(300), Some(-1)])], 4);
    assert_eq!(made.unwrap().into_array(4).unwrap().as_string::<i32>().value(2).len(), 600);
    let refused = called(&function, vec![text("xx"), counts(vec![Some(200), None, Some(301), Some(-1)])], 4);
    assert!(refused.unwrap_err().to_string().contains("repeat would make 1002 bytes"));
    // As is a constant that is repeated for each of them.
    let refused = called(&function, vec![text(&"x".repeat(300)), counts(vec![Some(0); 4])], 4);
    assert!(refused.is_err());
}

#[test]
fn what_may_be_too_large_is_made_in_parts() {
    let function = bounded("replace", Size::Replace);
    let texts = |text: &str| ColumnarValue::Array(Arc::new(StringArray::from(vec![text; 8])) as ArrayRef);
    let few = called(&function, vec![texts(&"b".repeat(20)), text("a"), text(&"c".repeat(20))], 8);
    let few = few.unwrap().into_array(8).unwrap();
    assert!(few.as_string::<i32>().iter().all(|text| text == Some("b".repeat(20).as_str())));
    let many = called(&function, vec![texts(&"a".repeat(20)), text("a"), text(&"c".repeat(20))], 8);
    assert!(matches!(many.unwrap_err(), DataFusionError::ResourcesExhausted(_)));
}

#[test]
fn what_is_registered_is_named_as_it_was() {
    let (plain, mut state) = (state(), state());
    register(&mut state).unwrap();
    for name in ["repeat", "list_repeat", "array_resize", "list_resize", "lpad", "generate_series"] {
        let (inner, outer) = (plain.udf(name).unwrap(), state.udf(name).unwrap());
        assert_ne!(inner, outer, "{name}");
        assert_eq!((inner.name(), inner.aliases()), (outer.name(), outer.aliases()));
        assert_eq!(inner.signature(), outer.signature());
        assert_eq!(inner.documentation(), outer.documentation());
    }
}

#[tokio::test]
async fn a_constant_is_refused_when_it_is_planned_or_run() {
    let mut state = state();
    register(&mut state).unwrap();
    let session = datafusion::prelude::SessionContext::new_with_state(state);
    let run = async |sql: &str| session.sql(sql).await?.collect().await;
    for sql in ["SELECT length(repeat('x', 400000000))", "SELECT unnest(range(1, 100000000000))"] {
        let refused = run(sql).await.unwrap_err();
        assert!(matches!(refused.find_root(), DataFusionError::ResourcesExhausted(_)), "{refused}");
    }
    let made = run("SELECT length(repeat('x', 1000000))::BIGINT").await.unwrap();
    assert_eq!(made[0].column(0).as_primitive::<Int64Type>().value(0), 1_000_000);
}
