//! What a segment reads back equals the same rows built with ordinary Arrow builders.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;

use super::schema;
use crate::budget::MemoryBudget;
use crate::column::tests::decode_blocks;
use crate::column::{BLOCK_ROWS, CodeValues, SegmentColumns};
use crate::mutable::MutableSegment;
use crate::schema::{ColumnType, TableSchema};
use crate::value::{RowSink, Value};

/// A value that owns its bytes.
#[derive(Clone, Debug)]
enum Owned {
    Null,
    Bool(bool),
    I32(i32),
    I64(i64),
    F32(f32),
    F64(f64),
    I128(i128),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Owned>),
}

/// SplitMix64 (Steele et al. 2014): rows by the thousand, which proptest's own strategies are too slow for.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    fn text(&mut self) -> String {
        match self.below(400) {
            0 => "long ü".repeat(100_000 / 7),
            1..=40 => String::new(),
            41..=200 => format!("city {}", self.below(20)),
            201..=300 => "ü".repeat(self.below(9) as usize),
            _ => format!("quite a long text, number {}, \0 and so on", self.next()),
        }
    }

    fn value(&mut self, data_type: &ColumnType) -> Owned {
        let raw = self.next();
        match data_type {
            ColumnType::Boolean => Owned::Bool(raw.is_multiple_of(2)),
            ColumnType::Int | ColumnType::Date => Owned::I32(self.pick(&[i32::MIN, i32::MAX, 0, raw as i32])),
            ColumnType::Long | ColumnType::TimestampMillis | ColumnType::TimestampMicros => {
                Owned::I64(self.pick(&[i64::MIN, i64::MAX, 0, raw as i64]))
            }
            ColumnType::Float => Owned::F32(self.pick(&[f32::NAN, -0.0, f32::INFINITY, raw as f32])),
            ColumnType::Double => {
                Owned::F64(self.pick(&[f64::NAN, -0.0, f64::NEG_INFINITY, f64::from_bits(raw)]))
            }
            ColumnType::Decimal(..) => Owned::I128(self.pick(&[10_i128.pow(38) - 1, -1, i128::from(raw)])),
            ColumnType::String | ColumnType::Json | ColumnType::Uuid => Owned::Str(self.text()),
            ColumnType::Bytes => {
                Owned::Bytes(self.text().bytes().map(|byte| byte.wrapping_add(77)).collect())
            }
            ColumnType::Array(element) => {
                let count = self.pick(&[0, 1, 3, 40]);
                Owned::List((0..count).map(|_| self.nullable(element)).collect())
            }
        }
    }

    fn nullable(&mut self, data_type: &ColumnType) -> Owned {
        if self.below(4) == 0 { Owned::Null } else { self.value(data_type) }
    }
}

fn set(sink: &mut impl RowSink, column: usize, value: &Owned) {
    fn scalar(value: &Owned) -> Value<'_> {
        match value {
            Owned::Null => Value::Null,
            Owned::Bool(value) => Value::Bool(*value),
            Owned::I32(value) => Value::I32(*value),
            Owned::I64(value) => Value::I64(*value),
            Owned::F32(value) => Value::F32(*value),
            Owned::F64(value) => Value::F64(*value),
            Owned::I128(value) => Value::I128(*value),
            Owned::Str(value) => Value::Str(value),
            Owned::Bytes(value) => Value::Bytes(value),
            Owned::List(_) => unreachable!("arrays hold scalars"),
        }
    }
    match value {
        Owned::List(list) => sink.set(column, Value::List(&list.iter().map(scalar).collect::<Vec<_>>())),
        _ => sink.set(column, scalar(value)),
    }
}

/// The same values by Arrow's own builders.
fn build(data_type: &DataType, values: &[&Owned]) -> ArrayRef {
    macro_rules! built {
        ($array:ty, $variant:ident) => {{
            let options = values.iter().map(|value| match value {
                Owned::$variant(value) => Some(value.clone()),
                _ => None,
            });
            options.collect::<$array>()
        }};
    }
    match data_type {
        DataType::Boolean => Arc::new(built!(BooleanArray, Bool)),
        DataType::Int32 => Arc::new(built!(Int32Array, I32)),
        DataType::Date32 => Arc::new(built!(Date32Array, I32)),
        DataType::Int64 => Arc::new(built!(Int64Array, I64)),
        DataType::Timestamp(..) => {
            Arc::new(built!(TimestampMicrosecondArray, I64).with_data_type(data_type.clone()))
        }
        DataType::Float32 => Arc::new(built!(Float32Array, F32)),
        DataType::Float64 => Arc::new(built!(Float64Array, F64)),
        DataType::Decimal128(..) => Arc::new(built!(Decimal128Array, I128).with_data_type(data_type.clone())),
        DataType::Utf8View => Arc::new(built!(StringViewArray, Str)),
        DataType::BinaryView => Arc::new(built!(BinaryViewArray, Bytes)),
        DataType::List(field) => build_list(field, values),
        other => panic!("no column is {other}"),
    }
}

fn build_list(field: &Arc<Field>, values: &[&Owned]) -> ArrayRef {
    let lists: Vec<Option<&Vec<Owned>>> =
        values.iter().map(|value| if let Owned::List(list) = value { Some(list) } else { None }).collect();
    let elements: Vec<&Owned> = lists.iter().flatten().flat_map(|list| list.iter()).collect();
    let lengths = lists.iter().map(|list| list.map_or(0, Vec::len));
    let nulls = lists.iter().map(Option::is_some).collect();
    Arc::new(ListArray::new(
        Arc::clone(field),
        arrow::buffer::OffsetBuffer::from_lengths(lengths),
        build(field.data_type(), &elements),
        Some(nulls),
    ))
}

fn expected(schema: &TableSchema, rows: &[Vec<Owned>], projection: &[usize]) -> RecordBatch {
    let projected = Arc::new(schema.arrow().project(projection).unwrap());
    let arrays = (projection.iter().zip(projected.fields()))
        .map(|(column, field)| {
            build(field.data_type(), &rows.iter().map(|row| &row[*column]).collect::<Vec<_>>())
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(projected, arrays, &options).unwrap()
}

fn scalar_type() -> impl Strategy<Value = ColumnType> {
    prop::sample::select(vec![
        ColumnType::Boolean,
        ColumnType::Int,
        ColumnType::Long,
        ColumnType::Float,
        ColumnType::Double,
        ColumnType::Decimal(38, 9),
        ColumnType::TimestampMillis,
        ColumnType::TimestampMicros,
        ColumnType::Date,
        ColumnType::String,
        ColumnType::Bytes,
        ColumnType::Json,
        ColumnType::Uuid,
    ])
}

fn any_type() -> impl Strategy<Value = ColumnType> {
    prop_oneof![
        3 => scalar_type(),
        1 => scalar_type().prop_map(|element| ColumnType::Array(Box::new(element))),
    ]
}

/// The invariants of blocks and of codes.
fn check_columns(columns: &SegmentColumns) {
    let lengths: Vec<usize> = (0..columns.blocks()).map(|block| columns.block(block).len()).collect();
    assert!(lengths.iter().all(|length| (1..=BLOCK_ROWS).contains(length)));
    for coded in columns.columns().iter().filter_map(|column| column.coded()) {
        let CodeValues::Dictionary { values, sorted: false, .. } = &coded.values else {
            panic!("an open dictionary is not sorted")
        };
        values.to_data().validate_full().unwrap();
        assert!(values.is_null(0) && values.null_count() == 1);
        for (block, length) in lengths.iter().enumerate() {
            let codes = coded.codes(block);
            assert_eq!(codes.len(), *length);
            let mut codes = (0..codes.len()).map(|row| codes.get(row));
            assert!(codes.all(|code| code < coded.values.count() && (code > 0 || coded.has_null)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn batches_equal_arrow_builders(
        // More than 64 columns now and then: the bits of the set columns take a second word.
        columns in prop_oneof![
            7 => prop::collection::vec((any_type(), any::<bool>()), 0..8),
            1 => prop::collection::vec((any_type(), any::<bool>()), 60..70),
        ],
        seed: u64,
        steps in 0..2500usize,
    ) {
        let schema = schema(&columns);
        let steps = if columns.len() > 8 { steps / 10 } else { steps };
        let mut dice = Dice(seed);
        let (mut writer, segment) =
            MutableSegment::create(Arc::clone(&schema), 3, 100, MemoryBudget::new(1 << 40));
        let mut rows: Vec<Vec<Owned>> = Vec::new();
        let (mut offset, mut published) = (100, 0);
        // Batches taken on the way must keep their content.
        let mut held: Vec<(RecordBatch, RecordBatch)> = Vec::new();
        for _ in 0..steps {
            let mut row: Vec<Owned> = Vec::new();
            let finished = dice.below(10) > 0;
            for (index, (data_type, nullable)) in columns.iter().enumerate() {
                let value = if *nullable { dice.nullable(data_type) } else { dice.value(data_type) };
                if dice.below(20) == 0 {
                    set(&mut writer, index, &dice.value(data_type));
                    set(&mut writer, index, &value);
                } else if !matches!(value, Owned::Null) || dice.below(2) == 0 {
                    set(&mut writer, index, &value);
                }
                row.push(value);
                if !finished && dice.below(3) == 0 {
                    break;
                }
            }
            offset += dice.pick(&[0, 0, 0, 5]);
            if finished {
                let timestamp_ms = dice.pick(&[None, Some(1), Some(dice.0 as i32 as i64)]);
                let key = dice.text();
                writer.finish_row(offset, timestamp_ms, Some(key.as_bytes()), None);
                row.extend([
                    Owned::I32(3),
                    Owned::I64(offset),
                    timestamp_ms.map_or(Owned::Null, |ms| Owned::I64(ms * 1000)),
                    Owned::Str(key),
                    Owned::Null,
                ]);
                rows.push(row);
            } else {
                writer.abandon_row();
            }
            offset += 1;
            prop_assert_eq!(segment.visible_rows(), published);
            if dice.below(50) == 0 {
                writer.publish(offset);
                published = rows.len();
                prop_assert_eq!(segment.rows_below(segment.next_offset()), published);
                if published > 0 && held.len() < 5 {
                    let last = published - 1;
                    let projection: Vec<usize> = (0..schema.columns().len()).collect();
                    let batch = segment.batches(last..published, &projection).next().unwrap()?;
                    held.push((batch, expected(&schema, &rows[last..], &projection)));
                }
            }
        }
        writer.publish(offset);
        prop_assert!(segment.dead_letters().is_empty());
        for _ in 0..4 {
            let start = dice.below(rows.len() as u64 + 1) as usize;
            let end = start + dice.below((rows.len() - start) as u64 + 1) as usize;
            let projection: Vec<usize> =
                (0..schema.columns().len()).filter(|_| dice.below(3) > 0).collect();
            let batches: Vec<RecordBatch> =
                segment.batches(start..end, &projection).collect::<Result<_, _>>()?;
            for batch in &batches {
                for array in batch.columns() {
                    array.to_data().validate_full()?;
                }
            }
            let projected = Arc::new(schema.arrow().project(&projection)?);
            let expected = expected(&schema, &rows[start..end], &projection);
            prop_assert_eq!(&concat_batches(&projected, &batches)?, &expected);
            let columns = segment.columns(start..end, &projection)?;
            check_columns(&columns);
            prop_assert_eq!(columns.rows(), end - start);
            for (column, expected) in columns.columns().iter().zip(expected.columns()) {
                prop_assert_eq!(&decode_blocks(column, columns.blocks()), expected);
            }
        }
        drop((writer, segment));
        for (batch, expected) in held {
            prop_assert_eq!(batch, expected);
        }
    }
}
