//! What the tests of sealed segments share: tables with a column of every type, rows for them, and reading them back.

mod damage;
mod dictionaries;
mod indexes;
mod inspect;
mod meta;
mod round_trip;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int32Array, Int64Array, ListBuilder, RecordBatch, StringViewArray, StringViewBuilder,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::Field;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::errors::ParquetError;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use ulid::Ulid;

use super::*;
use crate::schema::{ColumnType, TableSchema};
use crate::spec::{
    ColumnSpec, DeadLetterTarget, FieldPath, OnError, OnGap, SealSpec, StartPosition, StreamSpec, TableSpec,
};
use crate::{Result, SegmentError};

/// A spec with the given columns (all nullable) and sort key.
pub(crate) fn spec(columns: &[(&str, ColumnType)], sort_key: &[&str]) -> TableSpec {
    let column = |(name, data_type): &(&str, ColumnType)| ColumnSpec {
        name: (*name).into(),
        data_type: data_type.clone(),
        nullable: true,
        path: FieldPath::Key,
        on_error: OnError::DeadLetter,
        index: None,
    };
    TableSpec {
        name: "events".into(),
        columns: columns.iter().map(column).collect(),
        time_column: None,
        sort_key: sort_key.iter().map(|name| (*name).into()).collect(),
        stream: StreamSpec {
            brokers: vec!["localhost:9092".into()],
            topic: "events".into(),
            start: StartPosition::Earliest,
            on_gap: OnGap::Fail,
            properties: [].into(),
        },
        seal: SealSpec { rows_max: 1, bytes_max: 1, age_max: Duration::from_secs(1) },
        retention: None,
        replication: 1,
        dead_letters: DeadLetterTarget::Table,
    }
}

/// A table with one column of every type.
fn every_type(sort_key: &[&str]) -> TableSchema {
    TableSchema::new(&every_type_spec(sort_key))
}

fn every_type_spec(sort_key: &[&str]) -> TableSpec {
    let columns = [
        ("flag", ColumnType::Boolean),
        ("small", ColumnType::Int),
        ("big", ColumnType::Long),
        ("ratio", ColumnType::Float),
        ("amount", ColumnType::Double),
        ("price", ColumnType::Decimal(9, 2)),
        ("total", ColumnType::Decimal(38, 10)),
        ("at", ColumnType::TimestampMillis),
        ("at_micros", ColumnType::TimestampMicros),
        ("day", ColumnType::Date),
        ("city", ColumnType::String),
        ("raw", ColumnType::Bytes),
        ("doc.a b", ColumnType::Json),
        ("uuid", ColumnType::Uuid),
        ("tags", ColumnType::Array(Box::new(ColumnType::String))),
        ("scores", ColumnType::Array(Box::new(ColumnType::Double))),
    ];
    spec(&columns, sort_key)
}

/// One row of [`every_type`], without the stream columns.
#[derive(Clone, Debug)]
struct Row {
    flag: Option<bool>,
    small: Option<i32>,
    big: Option<i64>,
    ratio: Option<f32>,
    amount: Option<f64>,
    price: Option<i128>,
    total: Option<i128>,
    times: (Option<i64>, Option<i64>, Option<i32>),
    texts: (Option<String>, Option<Vec<u8>>, Option<String>, Option<String>),
    tags: Option<Vec<Option<String>>>,
    scores: Option<Vec<Option<f64>>>,
    headers: Option<String>,
}

fn maybe<T: std::fmt::Debug + Clone + 'static>(
    some: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    prop_oneof![1 => Just(None), 3 => some.prop_map(Some)].boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        "[a-c]{1,3}",
        "\\PC{0,12}",
        (64_usize..5000).prop_map(|length| "long ".repeat(length / 5 + 1)),
        Just(char::MAX.to_string().repeat(30)),
    ]
    .boxed()
}

fn double() -> BoxedStrategy<f64> {
    prop_oneof![Just(f64::NAN), Just(-0.0), Just(f64::INFINITY), Just(f64::MIN), any::<f64>(), -9.0..9.0_f64]
        .boxed()
}

fn row() -> impl Strategy<Value = Row> {
    let extreme = |max: i128| prop_oneof![Just(-max), Just(max), -100_i128..100];
    let micros = prop_oneof![Just(i64::MIN), Just(i64::MAX), 0_i64..2_000_000_000_000_000];
    (
        (
            maybe(any::<bool>()),
            maybe(any::<i32>()),
            maybe(any::<i64>()),
            maybe(any::<f32>()),
            maybe(double()),
        ),
        maybe(extreme(999_999_999)),
        maybe(extreme(10_i128.pow(38) - 1)),
        (maybe(micros.clone()), maybe(micros), maybe(any::<i32>())),
        (maybe(text()), maybe(prop::collection::vec(any::<u8>(), 0..90)), maybe(text()), maybe(text())),
        maybe(prop::collection::vec(maybe(text()), 0..4)),
        maybe(prop::collection::vec(maybe(double()), 0..4)),
        maybe(text()),
    )
        .prop_map(
            |((flag, small, big, ratio, amount), price, total, times, texts, tags, scores, headers)| Row {
                flag,
                small,
                big,
                ratio,
                amount,
                price,
                total,
                times,
                texts,
                tags,
                scores,
                headers,
            },
        )
}

/// Rows as a batch of [`every_type`]; partition 2, offsets as given.
fn batch(schema: &TableSchema, rows: &[Row], offsets: &[i64]) -> RecordBatch {
    let decimal = |values: Vec<Option<i128>>, precision, scale| {
        Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap()
    };
    let instants = |values: Vec<Option<i64>>| TimestampMicrosecondArray::from(values).with_timezone("UTC");
    let element = |data_type: ColumnType| Field::new("element", data_type.arrow(), true);
    let mut tags = ListBuilder::new(StringViewBuilder::new()).with_field(element(ColumnType::String));
    let mut scores =
        ListBuilder::new(arrow::array::Float64Builder::new()).with_field(element(ColumnType::Double));
    for row in rows {
        tags.append_option(row.tags.clone());
        scores.append_option(row.scores.clone());
    }
    let text = |of: fn(&Row) -> &Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| of(row).as_deref()).collect::<StringViewArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.small).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.big).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.ratio).collect::<Float32Array>()),
        Arc::new(rows.iter().map(|row| row.amount).collect::<Float64Array>()),
        Arc::new(decimal(rows.iter().map(|row| row.price).collect(), 9, 2)),
        Arc::new(decimal(rows.iter().map(|row| row.total).collect(), 38, 10)),
        Arc::new(instants(rows.iter().map(|row| row.times.0).collect())),
        Arc::new(instants(rows.iter().map(|row| row.times.1).collect())),
        Arc::new(rows.iter().map(|row| row.times.2).collect::<Date32Array>()),
        text(|row| &row.texts.0),
        Arc::new(rows.iter().map(|row| row.texts.1.as_deref()).collect::<BinaryViewArray>()),
        text(|row| &row.texts.2),
        text(|row| &row.texts.3),
        Arc::new(tags.finish()),
        Arc::new(scores.finish()),
        Arc::new(Int32Array::from(vec![2; rows.len()])),
        Arc::new(Int64Array::from(offsets.to_vec())),
        Arc::new(instants(offsets.iter().map(|offset| (offset % 3 != 0).then_some(offset * 1000)).collect())),
        text(|row| &row.texts.0),
        text(|row| &row.headers),
    ];
    RecordBatch::try_new(schema.arrow().clone(), columns).unwrap()
}

/// `count` rows from a fixed seed, for tests that need size rather than variety.
fn sample_rows(count: usize) -> Vec<Row> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = prop::collection::vec(row(), count);
    strategy.new_tree(&mut runner).unwrap().current()
}

fn request<'a>(schema: &'a TableSchema, rows: Vec<RecordBatch>) -> SealRequest<'a> {
    let id = Ulid::from_parts(1_700_000_000_000, 7);
    SealRequest {
        schema,
        table: "events",
        partition: 2,
        from: 100,
        to: 1_000_000,
        id,
        dead_letters: 3,
        rows,
        keep: Vec::new(),
    }
}

/// Puts an object where its segment belongs, and returns a factory with an empty cache.
async fn stored(meta: &SegmentMeta, bytes: Bytes) -> SegmentReaderFactory {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let root = Path::from("lake/tables/events");
    store.put(&meta.location(&root), bytes.into()).await.unwrap();
    SegmentReaderFactory::new(store, root, FooterCache::new(1 << 20))
}

/// All rows of a segment through the verified reader, as one batch of the table's schema.
async fn read(
    factory: &SegmentReaderFactory,
    meta: &SegmentMeta,
    schema: &TableSchema,
) -> Result<RecordBatch> {
    let reader = factory.reader(Arc::new(meta.clone()));
    let options = ArrowReaderOptions::new().with_schema(schema.arrow().clone());
    let builder =
        ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await.map_err(unwrapped)?;
    let batches: Vec<RecordBatch> = builder.build()?.try_collect().await.map_err(unwrapped)?;
    Ok(concat_batches(schema.arrow(), &batches)?)
}

/// The segment error inside a Parquet error, as callers find it.
fn unwrapped(error: ParquetError) -> SegmentError {
    match error {
        ParquetError::External(source) => match source.downcast::<SegmentError>() {
            Ok(segment_error) => *segment_error,
            Err(other) => panic!("lost on the way: {other}"),
        },
        other => other.into(),
    }
}
