//! Filters against DataFusion's own evaluation of the whole predicate.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use futures::executor::block_on;
use headwater_segment::column::{BLOCK_ROWS, SegmentColumns};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::test_columns::{Form, segment};
use super::{Filter, FilterScratch};
use crate::execute::options::{ExecuteOptions, Toggle};
use crate::execute::project::materialise;
use crate::execute::selection::{MASK_WORDS, Mask, Selection};

const NAMES: [&str; 8] = ["i", "l", "f", "s", "b", "t", "d", "m"];
const FORMS: [Form; 5] = [Form::Sorted, Form::Growing, Form::Linear, Form::Resident, Form::Plain];

/// Random columns of the types in `NAMES`; `spread` is about how many values each has.
fn arrays(rng: &mut SmallRng, rows: usize, spread: i64, null_share: f64) -> Vec<ArrayRef> {
    fn column<T>(
        rng: &mut SmallRng,
        rows: usize,
        nulls: f64,
        mut value: impl FnMut(&mut SmallRng) -> T,
    ) -> Vec<Option<T>> {
        (0..rows).map(|_| if rng.random_bool(nulls) { None } else { Some(value(rng)) }).collect()
    }
    let extreme = rng.random_bool(0.2);
    let odd_floats = [f64::NAN, -f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 0.5, 1.5];
    let small = |rng: &mut SmallRng| rng.random_range(-spread..=spread);
    let int = |rng: &mut SmallRng| match extreme && rng.random_bool(0.01) {
        true => *[i32::MIN, i32::MAX].choose(rng).unwrap(),
        false => small(rng) as i32,
    };
    let long = |rng: &mut SmallRng| match extreme && rng.random_bool(0.01) {
        true => *[i64::MIN, i64::MAX, i64::MAX - 1, 0].choose(rng).unwrap(),
        false => small(rng) * 1000,
    };
    let float = |rng: &mut SmallRng| match rng.random_bool(0.2) {
        true => *odd_floats.choose(rng).unwrap(),
        false => small(rng) as f64 / 2.0,
    };
    let text = |rng: &mut SmallRng| {
        let number = small(rng);
        let long = if rng.random_bool(0.3) { " a value that is too long to be held in a view" } else { "" };
        format!("{}{}{long}", ["", "a", "ab", "b", "é"].choose(rng).unwrap(), number / 3)
    };
    let time = |rng: &mut SmallRng| 1_580_000_000_000_000 + small(rng) * 86_400_000_000 / 4;
    let n = null_share;
    vec![
        Arc::new(Int32Array::from(column(rng, rows, n, int))),
        Arc::new(Int64Array::from(column(rng, rows, n, long))),
        Arc::new(Float64Array::from(column(rng, rows, n, float))),
        Arc::new(StringViewArray::from(column(rng, rows, n, text))),
        Arc::new(BooleanArray::from(column(rng, rows, n, |rng| rng.random_bool(0.7)))),
        Arc::new(TimestampMicrosecondArray::from(column(rng, rows, n, time)).with_timezone("UTC")),
        Arc::new(Date32Array::from(column(rng, rows, n, |rng| 18_300 + small(rng) as i32))),
        Arc::new(
            Decimal128Array::from(column(rng, rows, n, |rng| i128::from(small(rng)) * 25))
                .with_precision_and_scale(10, 2)
                .unwrap(),
        ),
    ]
}

/// A random predicate in SQL.
fn predicate(rng: &mut SmallRng, spread: i64, depth: u32) -> String {
    if depth > 0 && rng.random_bool(0.6) {
        let (left, right) = (predicate(rng, spread, depth - 1), predicate(rng, spread, depth - 1));
        return match rng.random_range(0..5) {
            0 => format!("NOT ({left})"),
            1 | 2 => format!("(({left}) AND ({right}))"),
            _ => format!("(({left}) OR ({right}))"),
        };
    }
    let small = rng.random_range(-spread..=spread);
    let other = rng.random_range(-spread..=spread);
    let op = ["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"].choose(rng).unwrap();
    let name = NAMES.choose(rng).unwrap();
    let prefix = ["", "a", "ab", "a1", "é", "b-"].choose(rng).unwrap();
    let odd = ["0.0", "-0.0", "'NaN'::double", "'-inf'::double", "0.5", "1e300"].choose(rng).unwrap();
    let unit = ["year", "month", "day", "hour"].choose(rng).unwrap();
    let date = format!("20{}-0{}-01", rng.random_range(15..25), rng.random_range(1..10));
    match rng.random_range(0..36) {
        0 => format!("i {op} {small}"),
        1 => format!("{small} {op} i"),
        2 => format!("i BETWEEN {small} AND {other}"),
        3 => format!("i IN ({small}, {other}, 3)"),
        4 => format!("i NOT IN ({small}, {other})"),
        5 => format!("i NOT IN ({small}, NULL)"),
        6 => format!("l {op} {}", small * 1000),
        7 => format!("l {op} {small}.5"),
        8 => format!("i {op} 2147483648"),
        9 => format!("l IN ({}, {}, -9223372036854775808, 1, 2, 3000, 4000)", small * 1000, other * 1000),
        10 => format!("l {op} 9223372036854775807"),
        11 => format!("f {op} {odd}"),
        12 => format!("f IN ({odd}, {small})"),
        13 => format!("s {op} '{prefix}{small}'"),
        14 => format!("s LIKE '{prefix}%'"),
        15 => format!("s NOT LIKE '{prefix}%'"),
        16 => format!("s LIKE '%{}_'", small % 10),
        17 => format!("s IN ('{prefix}', '{prefix}1', 'a{small}')"),
        18 => "b".into(),
        19 => format!("b {op} false"),
        20 => format!("t {op} TIMESTAMP '{date} 06:00:00'"),
        21 => format!("date_trunc('{unit}', t) {op} TIMESTAMP '{date}'"),
        22 => format!("extract({unit} FROM t) {op} {}", 2000 + small % 40),
        23 => format!("d {op} DATE '{date}'"),
        24 => format!("d {op} TIMESTAMP '{date} 12:00:00'"),
        25 => format!("m {op} {}", small as f64 / 4.0),
        26 => format!("m {op} 1.005"),
        27 => format!("m IN (0.25, 0.5, {small})"),
        28 => format!("{name} IS NULL"),
        29 => format!("{name} IS NOT NULL"),
        30 => format!("i * 1000 {op} l"),
        31 => format!("CASE WHEN b THEN i WHEN i > 0 THEN {small} END {op} {other}"),
        32 => format!("i % 3 {op} 1"),
        33 => format!("coalesce(s, 'a') {op} 'a'"),
        34 => "b IS NOT TRUE".into(),
        _ => format!("CAST(i AS DOUBLE) {op} f"),
    }
}

struct Case {
    schema: Arc<Schema>,
    batch: RecordBatch,
    columns: SegmentColumns,
}

impl Case {
    fn new(arrays: &[ArrayRef], forms: &[Form], ends: &[usize], whole: bool) -> Self {
        let fields: Vec<Field> = NAMES
            .iter()
            .zip(arrays)
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.to_vec()).unwrap();
        Self { schema, batch, columns: segment(arrays, forms, ends, whole) }
    }

    fn physical(&self, sql: &str) -> Arc<dyn PhysicalExpr> {
        let context = SessionContext::new();
        let schema = DFSchema::try_from(self.schema.as_ref().clone()).unwrap();
        let logical = context.parse_sql_expr(sql, &schema).unwrap();
        context.create_physical_expr(logical, &schema).unwrap()
    }

    /// The rows that DataFusion selects; `None` if it fails.
    fn expected(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Vec<usize>> {
        let truth = expr.evaluate(&self.batch).ok()?.into_array(self.batch.num_rows()).unwrap();
        let truth = truth.as_boolean();
        Some((0..truth.len()).filter(|row| truth.is_valid(*row) && truth.value(*row)).collect())
    }

    /// The rows that a filter selects.
    fn selected(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        indexes: Toggle,
    ) -> datafusion::error::Result<Vec<usize>> {
        let options = ExecuteOptions { indexes, ..ExecuteOptions::default() };
        let filter = Filter::new(Some(expr), &self.schema, &options)?;
        let compiled = block_on(filter.compile(&self.columns))?;
        let (mut scratch, mut selection) = (FilterScratch::new(), Selection::new());
        let mut rows = Vec::new();
        for block in compiled.candidates(&self.columns, 0..self.columns.blocks()) {
            compiled.select(&self.columns, block, &mut scratch, &mut selection)?;
            let start = self.columns.block(block).start;
            rows.extend(selection.indices().iter().map(|row| start + usize::from(*row)));
            let positions: Vec<usize> = (0..NAMES.len()).collect();
            let values = materialise(&self.columns, &positions, block, &mut selection, &self.schema)?;
            let length = self.columns.block(block).len();
            let taken = arrow::array::UInt32Array::from_iter_values(
                selection.indices().iter().map(|row| u32::from(*row)),
            );
            let wanted = arrow::compute::take_record_batch(&self.batch.slice(start, length), &taken)?;
            assert_eq!(format!("{values:?}"), format!("{wanted:?}"));
            assert!(!compiled.is_never());
            assert!(!compiled.is_always() || selection.is_all());
        }
        Ok(rows)
    }
}

fn ends(rng: &mut SmallRng, rows: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut end = 0;
    while end < rows {
        end = (end + rng.random_range(1..=rows.min(BLOCK_ROWS))).min(rows);
        ends.push(end);
    }
    ends
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn selects_what_datafusion_selects(
        seed: u64,
        rows in prop_oneof![0usize..300, 1000usize..4000, Just(BLOCK_ROWS), 8000usize..20_000],
        spread in prop_oneof![Just(3i64), Just(40), Just(3000), Just(1_000_000)],
        null_share in prop_oneof![Just(0.0), Just(0.1), Just(1.0)],
        whole: bool,
    ) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let arrays = arrays(&mut rng, rows, spread, null_share);
        let forms: Vec<Form> = NAMES.iter().map(|_| *FORMS.choose(&mut rng).unwrap()).collect();
        let ends = if whole {
            (0..rows.div_ceil(BLOCK_ROWS)).map(|block| ((block + 1) * BLOCK_ROWS).min(rows)).collect()
        } else {
            ends(&mut rng, rows)
        };
        let case = Case::new(&arrays, &forms, &ends, whole);
        for _ in 0..24 {
            let sql = predicate(&mut rng, spread, 3);
            let expr = case.physical(&sql);
            if let Some(expected) = case.expected(&expr) {
                for indexes in [Toggle::Auto, Toggle::On, Toggle::Off] {
                    let selected = case.selected(&expr, indexes);
                    let selected = selected.map_err(|error| format!("{sql}: {error}")).unwrap();
                    prop_assert_eq!(&selected, &expected, "{} with {:?} in {:?}", sql, indexes, forms);
                }
            }
        }
    }
}

/// Ten divided by a column fails where that is 0.
#[test]
fn narrowing_asks_no_row_that_was_dropped_before() {
    let rows = BLOCK_ROWS + 900;
    let threes: ArrayRef = Arc::new(Int32Array::from_iter_values((0..rows).map(|row| (row % 3) as i32)));
    let mut arrays = arrays(&mut SmallRng::seed_from_u64(7), rows, 3, 0.0);
    arrays[0] = threes;
    for form in FORMS {
        let case = Case::new(&arrays, &[form; NAMES.len()], &[BLOCK_ROWS, rows], true);
        for (sql, expected) in [
            ("10 / i > 4", [false, true, true]),
            ("10 / i > 7", [false, true, false]),
            ("l = 77 OR 10 / i > 7", [false, true, false]),
            ("i < 2 AND 10 / i > 4", [false, true, false]),
        ] {
            let options = ExecuteOptions::default();
            let filter = Filter::new(Some(&case.physical(sql)), &case.schema, &options).unwrap();
            let compiled = block_on(filter.compile(&case.columns)).unwrap();
            let mut scratch = FilterScratch::new();
            for block in 0..2 {
                let start = case.columns.block(block).start;
                let rest = |row: &u16| (start + usize::from(*row)) % 3;
                let mut selection = Selection::new();
                assert!(compiled.select(&case.columns, block, &mut scratch, &mut selection).is_err());

                let mut others: Mask = [0; MASK_WORDS];
                let kept = (0..case.columns.block(block).len() as u16).filter(|row| rest(row) != 0);
                kept.for_each(|row| others[usize::from(row) / 64] |= 1 << (row % 64));
                selection.select_all(case.columns.block(block).len());
                selection.keep(&others);
                let wanted: Vec<u16> =
                    selection.indices().iter().copied().filter(|row| expected[rest(row)]).collect();
                compiled.narrow(&case.columns, block, &mut scratch, &mut selection).unwrap();
                assert_eq!(selection.indices(), wanted, "{sql} in {form:?}");
            }
        }
    }
}
