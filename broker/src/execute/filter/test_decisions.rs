//! What filters decide: what becomes codes, what an index answers, which errors surface.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column as ColumnExpr, lit};
use datafusion::prelude::SessionContext;
use futures::executor::block_on;
use headwater_segment::column::{
    BLOCK_ROWS, CodeStore, CodeValues, CodedColumn, Codes, Column, SegmentColumns,
};

use super::test_columns::{Form, segment};
use super::{Filter, FilterScratch, SegmentFilter};
use crate::execute::options::{ExecuteOptions, Toggle};
use crate::execute::selection::Selection;

/// Four blocks: `key` has many values in no order, `day` ascends, `text` has many values, `few` has four, 0 among them.
fn columns(forms: [Form; 4]) -> (SchemaRef, SegmentColumns) {
    let rows = 4 * BLOCK_ROWS as i64;
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row * 7919 % 10_007))),
        Arc::new(Int32Array::from_iter_values((0..rows).map(|row| row as i32 / 10))),
        Arc::new(StringViewArray::from_iter_values((0..rows).map(|row| format!("word {}", row % 5000)))),
        Arc::new(Int32Array::from_iter_values((0..rows).map(|row| row as i32 % 4))),
    ];
    let fields = ["key", "day", "text", "few"].iter().zip(&arrays);
    let fields: Vec<Field> =
        fields.map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let ends: Vec<usize> = (1..=4).map(|block| block * BLOCK_ROWS).collect();
    (Arc::new(Schema::new(fields)), segment(&arrays, &forms, &ends, true))
}

fn physical(schema: &SchemaRef, sql: &str) -> Arc<dyn PhysicalExpr> {
    let context = SessionContext::new();
    let schema = DFSchema::try_from(schema.as_ref().clone()).unwrap();
    let logical = context.parse_sql_expr(sql, &schema).unwrap();
    context.create_physical_expr(logical, &schema).unwrap()
}

fn compile(schema: &SchemaRef, columns: &SegmentColumns, sql: &str, indexes: Toggle) -> SegmentFilter {
    let options = ExecuteOptions { indexes, ..ExecuteOptions::default() };
    let filter = Filter::new(Some(&physical(schema, sql)), schema, &options).unwrap();
    block_on(filter.compile(columns)).unwrap()
}

fn count(filter: &SegmentFilter, columns: &SegmentColumns) -> datafusion::error::Result<usize> {
    let (mut scratch, mut selection) = (FilterScratch::new(), Selection::new());
    let mut count = 0;
    for block in filter.candidates(columns, 0..columns.blocks()) {
        filter.select(columns, block, &mut scratch, &mut selection)?;
        count += selection.count();
    }
    Ok(count)
}

#[test]
fn one_column_becomes_codes_and_the_rest_rows() {
    let (schema, columns) = columns([Form::Sorted, Form::Linear, Form::Sorted, Form::Growing]);
    let plan = |sql| compile(&schema, &columns, sql, Toggle::Off).describe();
    assert_eq!(plan("key >= 5 AND key < 10 AND key <> 7"), "codes(2 ranges of column 0)");
    assert_eq!(plan("key = 5 OR key = 6"), "codes(1 ranges of column 0)");
    assert_eq!(plan("text LIKE 'word 12%'"), "codes(1 ranges of column 2)");
    assert_eq!(plan("key < 0"), "never");
    assert_eq!(plan("key >= 0"), "always");
    assert_eq!(plan("key IS NULL"), "never");
    assert_eq!(plan("day IN (1, 3, 5, 7, 9, 11) AND day > 3"), "codes(4 ranges of column 1)");
    assert_eq!(plan("few % 2 = 0"), "codes(2 ranges of column 3)");
    assert!(plan("key + day = 5").starts_with("rows("), "two columns");
    assert!(plan("random() < 2 AND few = 1").starts_with("(codes(1 ranges of column 3) AND rows("));
    assert!(plan("key = 5 AND text LIKE '%7_'").contains("AND rows("), "few rows, many values");
    assert!(plan("text LIKE '%7_'").starts_with("codes("), "all rows, fewer values");
}

#[test]
fn zones_leave_the_blocks_of_a_sorted_column() {
    let (schema, columns) = columns([Form::Sorted, Form::Linear, Form::Sorted, Form::Sorted]);
    let day = BLOCK_ROWS as i64 / 10 + 10;
    let filter = compile(&schema, &columns, &format!("day = {day}"), Toggle::Off);
    assert_eq!(filter.candidates(&columns, 0..4).collect::<Vec<_>>(), [1]);
    assert_eq!(count(&filter, &columns).unwrap(), 10);
}

#[test]
fn an_index_answers_rare_keys_only() {
    let (schema, columns) = columns([Form::Sorted, Form::Linear, Form::Sorted, Form::Sorted]);
    let auto = |sql| compile(&schema, &columns, sql, Toggle::Auto);
    let rare = auto("key = 70");
    assert!(rare.describe().starts_with("(index("), "{}", rare.describe());
    assert!(!rare.is_always());
    assert_eq!(
        count(&rare, &columns).unwrap(),
        count(&compile(&schema, &columns, "key = 70", Toggle::Off), &columns).unwrap()
    );
    assert!(auto("few = 1").describe().starts_with("codes("));
    assert!(auto("few = 1 AND key = 70").describe().ends_with("AND codes(1 ranges of column 3))"));
    assert!(compile(&schema, &columns, "few = 1", Toggle::On).describe().starts_with("(index("));
    assert!(compile(&schema, &columns, "few = 1 AND few = 2", Toggle::On).is_never());
}

#[test]
fn errors_surface_only_for_rows_that_are_asked() {
    for form in [Form::Sorted, Form::Growing, Form::Linear, Form::Plain] {
        let (schema, columns) = columns([form; 4]);
        let run = |sql| count(&compile(&schema, &columns, sql, Toggle::Auto), &columns);
        assert_eq!(run("few <> 0 AND 10 / few > 4").unwrap(), 2 * BLOCK_ROWS);
        assert_eq!(run("few = 0 OR 10 / few > 4").unwrap(), 3 * BLOCK_ROWS);
        assert!(run("10 / few > 4").is_err());
    }
}

#[test]
fn an_entry_of_no_row_raises_no_error() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, false)]));
    let values: ArrayRef = Arc::new(Int32Array::from(vec![0, 1, 2]));
    let columns = SegmentColumns::even(
        3,
        vec![Arc::new(Column::Coded(CodedColumn {
            data_type: DataType::Int32,
            values: CodeValues::Dictionary { values, sorted: false, fingerprint: None },
            has_null: false,
            codes: CodeStore::Whole(Codes::U32(vec![1, 2, 1].into())),
            zones: None,
            postings: None,
        }))],
    );
    assert_eq!(count(&compile(&schema, &columns, "10 / a > 5", Toggle::Auto), &columns).unwrap(), 2);
}

#[test]
fn values_far_apart_cost_no_memory() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let values = [Some(0), Some(1), None, Some(5), Some(1 << 50), Some(i64::MAX - 1)];
    let array: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    let columns = segment(&[array], &[Form::Linear], &[6], true);
    let run = |sql| count(&compile(&schema, &columns, sql, Toggle::Auto), &columns).unwrap();
    assert_eq!(run("a IN (1, 3, 5, 7, 9, 11) AND a > 1"), 1);
    assert_eq!(run("a IN (1, 3, 5, 7, 9, 11) OR a > 100"), 4);
    assert_eq!(run("a NOT IN (1, 3, 5, 7, 9, 11)"), 3);
    assert_eq!(run("a = 9223372036854775806"), 1);
    assert_eq!(run("a < 1.5"), 2);
}

/// Of 5,001 values a search looks at some 130.
#[test]
fn a_cast_that_only_the_greatest_value_fails_is_no_search() {
    let schema = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
    let array: ArrayRef = Arc::new(Int64Array::from_iter_values((0..5000).chain([1_000_000])));
    let columns = segment(&[array], &[Form::Sorted], &[5001], true);
    let run = |digits, operator| {
        let decimal = DataType::Decimal128(digits, 0);
        let cast = Arc::new(CastExpr::new(Arc::new(ColumnExpr::new("a", 0)), decimal, None));
        let seven = lit(ScalarValue::Decimal128(Some(7), digits, 0));
        let predicate: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(cast, operator, seven));
        let filter = Filter::new(Some(&predicate), &schema, &ExecuteOptions::default()).unwrap();
        count(&block_on(filter.compile(&columns)).unwrap(), &columns)
    };
    for (operator, expected) in
        [(Operator::Gt, 4993), (Operator::LtEq, 8), (Operator::Eq, 1), (Operator::NotEq, 5000)]
    {
        assert_eq!(run(7, operator).unwrap(), expected, "{operator}");
        assert!(run(5, operator).unwrap_err().to_string().contains("1000000"), "{operator}");
    }
}
