//! The fused aggregate against DataFusion's, over the same rows in segments of every form.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as ColumnExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use headwater_segment::column::{Column, PlainColumn, PlainStore, SegmentColumns, build_column};
use headwater_segment::schema::ColumnType;
use proptest::prelude::*;

use super::distinct::Numbered;
use super::fragment::{Call, Fragment, KeyOutput, Kind};
use super::key_values::KeyValues;
use super::keys::Key;
use super::merge::{Merge, Output};
use super::state::PartitionState;
use crate::execute::filter::Filter;
use crate::execute::options::ExecuteOptions;

const COLUMNS: [(&str, ColumnType); 10] = [
    ("city", ColumnType::String),
    ("brand", ColumnType::String),
    ("url", ColumnType::String),
    ("year", ColumnType::Int),
    ("user", ColumnType::Long),
    ("amount", ColumnType::Long),
    ("price", ColumnType::Double),
    ("at", ColumnType::TimestampMicros),
    ("paid", ColumnType::Boolean),
    ("fee", ColumnType::Decimal(10, 2)),
];

#[derive(Clone, Debug)]
struct Row {
    text: (Option<u8>, Option<u8>, Option<u16>),
    integers: (Option<i32>, Option<i64>, Option<i64>, Option<i64>),
    rest: (Option<i16>, Option<bool>, Option<i16>),
}

fn row() -> impl Strategy<Value = Row> {
    let some = |few| prop::option::weighted(0.9, 0..few);
    let user = prop_oneof![Just(i64::MIN), Just(i64::MAX), -3..3i64, any::<i64>()];
    let texts = (some(5u8), some(40u8), prop::option::weighted(0.9, any::<u16>()));
    let integers = (
        prop::option::weighted(0.9, prop_oneof![1990..2000i32, any::<i32>()]),
        prop::option::weighted(0.9, user),
        prop::option::weighted(0.9, -1_000_000_000_000..1_000_000_000_000i64),
        prop::option::weighted(
            0.9,
            prop_oneof![Just(0i64), -4_000_000_000_000_000..4_000_000_000_000_000i64],
        ),
    );
    let rest = (
        prop::option::weighted(0.9, 0..9i16),
        prop::option::weighted(0.9, any::<bool>()),
        prop::option::weighted(0.9, 0..500i16),
    );
    (texts, integers, rest).prop_map(|(text, integers, rest)| Row { text, integers, rest })
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(
        COLUMNS.iter().map(|(name, kind)| Field::new(*name, kind.arrow(), true)).collect::<Vec<_>>(),
    ))
}

fn batch(rows: &[Row]) -> RecordBatch {
    fn text<T: ToString>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
        Arc::new(
            values
                .map(|value| value.map(|value| format!("text {}", value.to_string())))
                .collect::<StringViewArray>(),
        )
    }
    let rows = || rows.iter();
    let price = |part: i16| if part == 8 { f64::NAN } else { f64::from(part) / 4.0 - 1.0 };
    let DataType::Timestamp(_, zone) = ColumnType::TimestampMicros.arrow() else { unreachable!() };
    let at: TimestampMicrosecondArray = rows().map(|row| row.integers.3).collect();
    let fee: Decimal128Array = rows().map(|row| row.rest.2.map(i128::from)).collect();
    let arrays: Vec<ArrayRef> = vec![
        text(rows().map(|row| row.text.0)),
        text(rows().map(|row| row.text.1)),
        text(rows().map(|row| row.text.2)),
        Arc::new(rows().map(|row| row.integers.0).collect::<Int32Array>()),
        Arc::new(rows().map(|row| row.integers.1).collect::<Int64Array>()),
        Arc::new(rows().map(|row| row.integers.2).collect::<Int64Array>()),
        Arc::new(rows().map(|row| row.rest.0.map(price)).collect::<Float64Array>()),
        Arc::new(at.with_timezone_opt(zone)),
        Arc::new(rows().map(|row| row.rest.1).collect::<BooleanArray>()),
        Arc::new(fee.with_precision_and_scale(10, 2).unwrap()),
    ];
    RecordBatch::try_new(schema(), arrays).unwrap()
}

/// A segment of some rows, in codes where they pay or wholly in arrays.
fn segment(batch: &RecordBatch, is_plain: bool) -> SegmentColumns {
    let columns = COLUMNS.iter().zip(batch.columns()).map(|((_, kind), array)| {
        Arc::new(if is_plain {
            let values = PlainStore::Whole(Arc::clone(array));
            Column::Plain(PlainColumn { data_type: array.data_type().clone(), values })
        } else {
            build_column(kind, &[Arc::clone(array)]).unwrap()
        })
    });
    SegmentColumns::even(batch.num_rows(), columns.collect())
}

fn context(batches: &[RecordBatch]) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let table = MemTable::try_new(schema(), vec![batches.to_vec()]).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    context
}

fn partial(plan: &Arc<dyn ExecutionPlan>) -> Option<(AggregateExec, usize)> {
    let (mut found, mut count) = (None, 0);
    plan.apply(|node| {
        if let Some(aggregate) = node.downcast_ref::<AggregateExec>()
            && !matches!(aggregate.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned)
        {
            found = Some(aggregate.clone());
            count += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    // Statistics may have answered it.
    let found = found?;
    let aggregate = AggregateExec::try_new(
        AggregateMode::Partial,
        found.group_expr().clone(),
        found.aggr_expr().to_vec(),
        found.filter_expr().to_vec(),
        Arc::clone(found.input()),
        found.input_schema(),
    )
    .unwrap();
    Some((aggregate, count))
}

/// The expression over the rows of `input` as one over the table.
fn placed(expr: &Arc<dyn PhysicalExpr>, input: &Arc<dyn ExecutionPlan>) -> Arc<dyn PhysicalExpr> {
    let projection = input.downcast_ref::<ProjectionExec>();
    let children = input.children();
    let placed = Arc::clone(expr).transform_up(|part| {
        let Some(column) = part.downcast_ref::<ColumnExpr>() else { return Ok(Transformed::no(part)) };
        Ok(Transformed::yes(match (projection, children.is_empty()) {
            (Some(projection), _) => Arc::clone(&projection.expr()[column.index()].expr),
            (None, true) => Arc::new(ColumnExpr::new(column.name(), schema().index_of(column.name())?)),
            (None, false) => part,
        }))
    });
    let placed = placed.data().unwrap();
    children.first().map_or_else(|| Arc::clone(&placed), |child| self::placed(&placed, child))
}

fn fragment(
    context: &SessionContext,
    aggregate: &AggregateExec,
    condition: Option<&str>,
) -> Result<Fragment> {
    let options = ExecuteOptions::default();
    let predicate = condition.map(|condition| {
        let frame = DFSchema::try_from(schema().as_ref().clone()).unwrap();
        let state = context.state();
        state.create_physical_expr(state.create_logical_expr(condition, &frame).unwrap(), &frame).unwrap()
    });
    let calls = aggregate.aggr_expr().iter().zip(aggregate.filter_expr()).map(|(function, filter)| {
        let arguments: Vec<_> =
            function.expressions().iter().map(|expr| placed(expr, aggregate.input())).collect();
        let kind = Kind::of(function, &arguments, &schema())?;
        let numbered = (kind == Kind::DistinctNumbers).then(|| {
            let key = Key::of_argument(&arguments[0], &schema()).unwrap();
            let values = Arc::new(KeyValues::new(&key.field).unwrap());
            Arc::new(Numbered { key, values })
        });
        Ok(Call {
            kind,
            numbered,
            function: Arc::clone(function),
            arguments,
            filter: filter
                .as_ref()
                .map(|filter| Filter::new(Some(&placed(filter, aggregate.input())), &schema(), &options))
                .transpose()?,
        })
    });
    let output = aggregate.schema();
    let keys = aggregate.group_expr().expr().iter().zip(output.fields());
    Ok(Fragment {
        schema: schema(),
        filter: Filter::new(predicate.as_ref(), &schema(), &options)?,
        outputs: (0..keys.len()).map(KeyOutput::Key).collect(),
        keys: keys
            .map(|((expr, _), field)| Key { expr: placed(expr, aggregate.input()), field: Arc::clone(field) })
            .collect(),
        calls: calls.collect::<Result<_>>()?,
        output,
    })
}

/// The rows as text, in order.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let mut line = String::new();
            for (column, array) in columns.iter().zip(batch.columns()) {
                // Sums of doubles depend on the order of the rows.
                line += &match array.as_primitive_opt::<arrow::datatypes::Float64Type>() {
                    Some(floats) if floats.is_valid(row) => format!("{:.6e}|", floats.value(row) + 0.0),
                    _ => format!("{}|", column.value(row)),
                };
            }
            lines.push(line);
        }
    }
    lines.sort();
    lines
}

/// How the groups of the partitions come together.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// By DataFusion's final aggregate, from partial states.
    States,
    /// By themselves, if all segments have keys of the same forms.
    Merged,
}

/// The answer of the fused aggregate; partitions put rows aside once they have more than `spread_after` groups.
async fn fused(
    context: &SessionContext,
    sql: &str,
    condition: Option<&str>,
    segments: &[SegmentColumns],
    (partitions, way, spread_after): (usize, Way, usize),
) -> Result<Vec<RecordBatch>> {
    let plan = context.sql(sql).await?.create_physical_plan().await?;
    let fields = plan.schema().fields().len();
    let is_direct = |(aggregate, count): &(AggregateExec, usize)| {
        *count == 1 && aggregate.group_expr().expr().len() + aggregate.aggr_expr().len() == fields
    };
    let Some((aggregate, _)) = partial(&plan).filter(is_direct) else {
        // Statistics answer it, or a key is computed from another one above the aggregate, or distinct values beneath it.
        let filter = condition.map_or(String::new(), |condition| format!(" WHERE {condition}"));
        return context.sql(&sql.replace(" FROM t", &format!(" FROM t{filter}"))).await?.collect().await;
    };
    let fragment = Arc::new(fragment(context, &aggregate, condition)?);
    let keys: Vec<_> =
        fragment.keys.iter().map(|key| Arc::new(KeyValues::new(&key.field).unwrap())).collect();
    let mut at_work = Vec::new();
    for partition in 0..partitions {
        let mut state = PartitionState::new(Arc::clone(&fragment), keys.clone(), spread_after)?;
        for (index, segment) in
            segments.iter().enumerate().filter(|(index, _)| index % partitions == partition)
        {
            if let Some(prepared) = fragment.prepare(segment).await? {
                state.consume(segment, &prepared, index, 0..segment.blocks())?;
            }
        }
        at_work.push(state);
    }
    let mut shapes: Vec<_> = at_work.iter().filter_map(PartitionState::shapes).collect();
    shapes.dedup();
    let is_merged = matches!(way, Way::Merged) && (shapes.len() == 1 || fragment.keys.is_empty());
    let final_aggregate = |states| {
        AggregateExec::try_new(
            AggregateMode::Final,
            aggregate.group_expr().as_final(),
            aggregate.aggr_expr().to_vec(),
            vec![None; aggregate.aggr_expr().len()],
            states,
            aggregate.input_schema(),
        )
    };
    if is_merged && !at_work.iter().any(PartitionState::has_emitted) {
        let parts = at_work.iter_mut().map(PartitionState::take_groups).collect::<Result<Vec<_>>>()?;
        let parts = parts.into_iter().flatten().collect();
        let schema = final_aggregate(Arc::new(EmptyExec::new(aggregate.schema())))?.schema();
        let merge = Merge::new(fragment, keys, parts, Vec::new());
        let jobs = std::iter::from_fn(|| merge.next_job());
        let batches = jobs.map(|job| merge.run(job, &Output::Values(Arc::clone(&schema), None)));
        return batches.filter_map(Result::transpose).collect();
    }
    let mut states = Vec::new();
    for mut state in at_work {
        state.emit()?;
        states.extend(std::iter::from_fn(|| state.next_batch()));
    }
    let output = aggregate.schema();
    let states = concat_batches(&output, &states)?;
    let table = MemTable::try_new(output, vec![vec![states]])?;
    let states = context.read_table(Arc::new(table))?.create_physical_plan().await?;
    collect(Arc::new(final_aggregate(states)?), context.task_ctx()).await
}

const KEYS: [&str; 14] = [
    "city",
    "brand",
    "url",
    "year",
    "user",
    "at",
    "paid",
    "fee",
    "upper(city)",
    "extract(year FROM at)",
    "date_trunc('month', at)",
    "CASE WHEN year > 1995 THEN 'new' ELSE city END",
    "user % 3",
    "price",
];

const FUNCTIONS: [&str; 27] = [
    "count(*)",
    "count(amount)",
    "count(city)",
    "sum(amount)",
    "sum(year)",
    "sum(amount * 3 - CAST(year AS BIGINT))",
    "sum(price) FILTER (WHERE price < 0.5)",
    "avg(amount)",
    "avg(year)",
    "min(amount)",
    "max(user)",
    "max(at)",
    "min(year) FILTER (WHERE paid)",
    "max(city)",
    "sum(fee)",
    "count(*) FILTER (WHERE city = 'text 1' OR year > 1995)",
    "sum(amount) FILTER (WHERE NOT paid AND brand > 'text 2')",
    "count(DISTINCT brand)",
    "count(DISTINCT city) FILTER (WHERE user > 0)",
    "count(DISTINCT user)",
    "count(DISTINCT amount) FILTER (WHERE paid)",
    "count(DISTINCT year), count(DISTINCT at)",
    "count(DISTINCT url), count(DISTINCT paid)",
    "count(DISTINCT fee)",
    "count(DISTINCT price)",
    "count(DISTINCT upper(brand))",
    "sum(extract(month FROM at))",
];

const CONDITIONS: [&str; 6] = [
    "city = 'text 1'",
    "year BETWEEN 1992 AND 1997 AND brand <> 'text 7'",
    "paid",
    "user IS NULL OR amount > 0",
    "amount + 1 > CAST(year AS BIGINT) * 100000000",
    "city = 'nobody'",
];

fn run(
    rows: Vec<Vec<Row>>,
    plain: [bool; 3],
    keys: &[&str],
    functions: &[&str],
    condition: Option<&str>,
) -> std::result::Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches: Vec<RecordBatch> = rows.iter().map(|rows| batch(rows)).collect();
    let segments: Vec<SegmentColumns> =
        batches.iter().zip(plain).map(|(batch, plain)| segment(batch, plain)).collect();
    let context = context(&batches);
    let group_by = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
    let columns = [keys, functions].concat().join(", ");
    let sql = format!("SELECT {columns} FROM t");
    let filter = condition.map_or(String::new(), |condition| format!(" WHERE {condition}"));
    let expected =
        runtime.block_on(async { context.sql(&format!("{sql}{filter}{group_by}")).await?.collect().await });
    for way in [(2, Way::States, 9), (2, Way::Merged, 9), (2, Way::Merged, usize::MAX)] {
        let grouped = format!("{sql}{group_by}");
        let found = fused(&context, &grouped, condition, &segments, way);
        match (&expected, runtime.block_on(found)) {
            (Ok(expected), Ok(found)) => {
                prop_assert_eq!(lines(expected), lines(&found), "{}{}{} {:?}", sql, filter, group_by, way);
            }
            (Err(_), _) => {}
            (Ok(_), Err(error)) => prop_assert!(false, "{sql}{filter}{group_by} {way:?}: {error}"),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn answers_equal_those_of_datafusion(
        rows in prop::collection::vec(prop::collection::vec(row(), 1..120), 1..4),
        plain: [bool; 3],
        keys in prop::sample::subsequence(KEYS.to_vec(), 0..=4),
        functions in prop::sample::subsequence(FUNCTIONS.to_vec(), 1..=5),
        condition in prop::option::of(prop::sample::select(CONDITIONS.to_vec())),
    ) {
        run(rows, plain, &keys, &functions, condition)?;
    }
}

/// Rows of which every field is a function of its number.
fn many(count: u32) -> Vec<Row> {
    let row = |number: u32| Row {
        text: (Some((number % 5) as u8), Some((number % 40) as u8), Some((number % 60_000) as u16)),
        integers: (
            Some((number % 7) as i32 + 1992),
            Some(i64::from(number.wrapping_mul(2_654_435_761))),
            Some(i64::from(number) * 3),
            Some(i64::from(number) * 1_000_000_000),
        ),
        rest: (Some((number % 8) as i16), Some(number.is_multiple_of(2)), Some((number % 500) as i16)),
    };
    (0..count).map(row).collect()
}

#[test]
fn segments_of_many_blocks_in_every_mode() {
    for keys in [&[][..], &["city"], &["year", "brand"], &["url"], &["user"], &["url", "user", "at", "city"]]
    {
        for condition in [None, Some("city = 'text 1'")] {
            let functions = [
                "count(*)",
                "sum(amount)",
                "avg(price)",
                "max(user)",
                "count(DISTINCT year)",
                "count(DISTINCT amount)",
                "count(DISTINCT url)",
            ];
            let rows = vec![many(70_000), many(20_000)];
            run(rows, [false, keys.len() == 1, false], keys, &functions, condition).unwrap();
        }
    }
}

#[test]
fn a_sum_that_does_not_fit_is_an_error_and_one_that_does_is_none() {
    let with = |amounts: &[i64]| -> Result<Vec<String>, DataFusionError> {
        let mut rows = many(amounts.len() as u32);
        rows.iter_mut().zip(amounts).for_each(|(row, amount)| row.integers.2 = Some(*amount));
        let batch = batch(&rows);
        let context = context(std::slice::from_ref(&batch));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut all = Vec::new();
        for sql in ["SELECT sum(amount) FROM t", "SELECT paid, sum(amount) FROM t GROUP BY paid"] {
            for is_plain in [false, true] {
                let segments = [segment(&batch, is_plain)];
                all.extend(lines(&runtime.block_on(fused(
                    &context,
                    sql,
                    None,
                    &segments,
                    (1, Way::States, 9),
                ))?));
            }
        }
        Ok(all)
    };
    let error = with(&[i64::MAX, 0, 1]).unwrap_err();
    assert!(error.to_string().contains("sum overflows BIGINT"), "{error}");
    assert_eq!(with(&[i64::MAX, 0, 1, 0, -1]).unwrap()[0], format!("{}|", i64::MAX));
}

#[test]
fn an_expression_overflows_only_in_rows_that_count() {
    let mut rows = many(10);
    rows[3].integers.2 = Some(i64::MAX);
    let batch = batch(&rows);
    let context = context(std::slice::from_ref(&batch));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let sql = "SELECT sum(amount * 2) FROM t";
    for is_plain in [false, true] {
        let segments = [segment(&batch, is_plain)];
        let all = runtime.block_on(fused(&context, sql, None, &segments, (1, Way::States, 9)));
        assert!(all.unwrap_err().to_string().contains("overflow"));
        let other =
            runtime.block_on(fused(&context, sql, Some("year <> 1995"), &segments, (1, Way::States, 9)));
        assert_eq!(lines(&other.unwrap()), ["252|"]);
    }
}
