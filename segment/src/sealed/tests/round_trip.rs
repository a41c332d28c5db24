//! Rows come back as they went in, in sort order, through our reader and through any other.

use arrow::compute::{SortColumn, SortOptions, cast, lexsort_to_indices, take_record_batch};
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use super::*;

/// The oracle: one big batch, sorted by Arrow's own lexicographic sort.
fn expected(schema: &TableSchema, batches: &[RecordBatch]) -> RecordBatch {
    let all = concat_batches(schema.arrow(), batches).unwrap();
    let ascending = Some(SortOptions { descending: false, nulls_first: true });
    let keys: Vec<SortColumn> = schema
        .sort_key()
        .iter()
        .chain([&schema.offset_column()])
        .map(|column| SortColumn { values: all.column(*column).clone(), options: ascending })
        .collect();
    take_record_batch(&all, &lexsort_to_indices(&keys, None).unwrap()).unwrap()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

const SORT_KEYS: [&[&str]; 6] =
    [&[], &["city"], &["amount", "city"], &["flag", "doc.a b", "day"], &["ratio", "total"], &["raw", "at"]];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn rows_of_every_type_come_back_sorted(
        rows in prop::collection::vec(row(), 1..60),
        shuffle in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        sort_key in prop::sample::select(&SORT_KEYS[..]),
    ) {
        let schema = every_type(sort_key);
        let mut offsets: Vec<i64> = (0..rows.len() as i64).map(|nth| 100 + nth * 3).collect();
        offsets.rotate_left(shuffle.index(rows.len()));
        let whole = batch(&schema, &rows, &offsets);
        let cut = cut.index(rows.len());
        let batches = vec![whole.slice(0, cut), whole.slice(cut, rows.len() - cut)];
        let sealed = encode(request(&schema, batches.clone())).unwrap();
        prop_assert_eq!(sealed.meta.rows, rows.len() as u64);
        prop_assert_eq!(sealed.meta.size_bytes, sealed.bytes.len() as u64);
        let read = block_on(async {
            let factory = stored(&sealed.meta, sealed.bytes.clone()).await;
            read(&factory, &sealed.meta, &schema).await.unwrap()
        });
        prop_assert_eq!(&read, &expected(&schema, &batches));
    }
}

/// Many pages, reordered across many batches.
fn large(sort_key: &[&str]) -> (TableSchema, Vec<RecordBatch>) {
    let columns = [("city", ColumnType::String), ("amount", ColumnType::Double)];
    let schema = TableSchema::new(&spec(&columns, sort_key));
    let batches = (0..40).map(|nth: i64| {
        let numbers = (0..8192_i64).map(|row| nth * 8192 + row);
        let city = |number: i64| (number % 11 != 0).then(|| format!("city number {}", number * 7919 % 500));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(numbers.clone().map(city).collect::<StringViewArray>()),
            Arc::new(
                numbers.clone().map(|number| Some((number * 31 % 1000) as f64)).collect::<Float64Array>(),
            ),
            Arc::new(Int32Array::from(vec![2; 8192])),
            Arc::new(numbers.clone().map(|number| 100 + number).collect::<Int64Array>()),
            Arc::new(TimestampMicrosecondArray::from_iter_values(numbers).with_timezone("UTC")),
            Arc::new(StringViewArray::new_null(8192)),
            Arc::new(StringViewArray::new_null(8192)),
        ];
        RecordBatch::try_new(schema.arrow().clone(), columns).unwrap()
    });
    let batches = batches.collect();
    (schema, batches)
}

#[tokio::test]
async fn a_large_segment_is_one_sorted_row_group() {
    let (schema, batches) = large(&["city"]);
    let sealed = encode(request(&schema, batches.clone())).unwrap();
    let factory = stored(&sealed.meta, sealed.bytes).await;
    let metadata = factory.reader(Arc::new(sealed.meta.clone())).get_metadata(None).await.unwrap();
    assert_eq!(metadata.num_row_groups(), 1);
    let sorting = metadata.row_group(0).sorting_columns().unwrap();
    assert_eq!(sorting.iter().map(|column| column.column_idx).collect::<Vec<_>>(), [0, 3]);
    for column in &metadata.offset_index().unwrap()[0] {
        assert_eq!(column.page_locations().len(), (40 * 8192_usize).div_ceil(PAGE_ROWS));
    }
    assert_eq!(read(&factory, &sealed.meta, &schema).await.unwrap(), expected(&schema, &batches));
}

#[tokio::test]
async fn any_parquet_reader_reads_the_rows_and_ignores_the_index_block() {
    let schema = every_type(&["city"]);
    let rows = sample_rows(200);
    let batches = vec![batch(&schema, &rows, &(100..300).collect::<Vec<_>>())];
    let sealed = encode(request(&schema, batches.clone())).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(sealed.bytes.clone()).unwrap();
    assert_eq!(reader.metadata().file_metadata().created_by(), Some("headwater"));
    let city = reader.schema().field_with_name("city").unwrap().clone();
    assert_eq!((city.data_type(), city.metadata()["headwater.type"].as_str()), (&DataType::Utf8, "STRING"));
    let read: Vec<RecordBatch> = reader.build().unwrap().map(|batch| batch.unwrap()).collect();
    let expected = expected(&schema, &batches);
    for (nth, column) in concat_batches(&read[0].schema(), &read).unwrap().columns().iter().enumerate() {
        assert_eq!(&cast(column, expected.column(nth).data_type()).unwrap(), expected.column(nth));
    }
}

#[tokio::test]
async fn parquet_types_are_those_that_delta_names() {
    let schema = every_type(&[]);
    let sealed = encode(request(&schema, vec![batch(&schema, &sample_rows(3), &[100, 101, 102])])).unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&sealed.bytes).unwrap();
    let mut text = Vec::new();
    parquet::schema::printer::print_schema(&mut text, metadata.file_metadata().schema());
    let text = String::from_utf8(text).unwrap();
    for line in [
        "OPTIONAL INT64 at (TIMESTAMP(MICROS,true));",
        "OPTIONAL INT32 day (DATE);",
        "OPTIONAL BYTE_ARRAY city (STRING);",
        "OPTIONAL BYTE_ARRAY raw;",
        "OPTIONAL INT32 price (DECIMAL(9,2));",
        "OPTIONAL BYTE_ARRAY element (STRING);",
        "REQUIRED INT64 $offset;",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn columns_with_nan_have_no_bounds_to_prune_by() {
    let schema = TableSchema::new(&spec(&[("x", ColumnType::Double), ("y", ColumnType::Double)], &[]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![1.0, f64::NAN])),
        Arc::new(Float64Array::from(vec![1.0, 2.0])),
        Arc::new(Int32Array::from(vec![2, 2])),
        Arc::new(Int64Array::from(vec![100, 101])),
        Arc::new(TimestampMicrosecondArray::new_null(2).with_timezone("UTC")),
        Arc::new(StringViewArray::new_null(2)),
        Arc::new(StringViewArray::new_null(2)),
    ];
    let rows = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
    let sealed = encode(request(&schema, vec![rows])).unwrap();
    assert_eq!((&sealed.meta.columns[0].min, &sealed.meta.columns[0].max), (&None, &None));
    let factory = stored(&sealed.meta, sealed.bytes).await;
    let metadata = factory.reader(Arc::new(sealed.meta)).get_metadata(None).await.unwrap();
    assert!(metadata.row_group(0).column(0).statistics().is_none());
    assert!(metadata.row_group(0).column(1).statistics().is_some());
    let pages = &metadata.column_index().unwrap()[0];
    assert!(matches!(pages[0], ColumnIndexMetaData::NONE) && !matches!(pages[1], ColumnIndexMetaData::NONE));
}

#[tokio::test]
async fn partial_reads_return_exactly_the_bytes_asked_for() {
    let (schema, batches) = large(&[]);
    let sealed = encode(request(&schema, batches)).unwrap();
    let data_end = sealed.meta.index_offset;
    let factory = stored(&sealed.meta, sealed.bytes.clone()).await;
    let mut reader = factory.reader(Arc::new(sealed.meta));
    let ranges = vec![70_000..70_001, 4..131_073, data_end - 5..data_end, 9..9, 65_536..131_072, 5..10];
    let parts = reader.get_byte_ranges(ranges.clone()).await.unwrap();
    for (range, part) in ranges.into_iter().zip(parts) {
        assert_eq!(part, sealed.bytes.slice(range.start as usize..range.end as usize));
    }
    assert!(reader.get_bytes(data_end - 5..data_end + 1).await.is_err());
}

#[test]
fn what_cannot_be_sealed_is_refused() {
    let schema = every_type(&[]);
    let one = |offset| vec![batch(&schema, &sample_rows(1), &[offset])];
    let refusal = |request: SealRequest<'_>| match encode(request) {
        Err(SegmentError::Refused(message)) => message,
        Err(other) => panic!("another kind: {other}"),
        Ok(_) => panic!("not refused"),
    };
    assert!(refusal(request(&schema, Vec::new())).contains("no rows"));
    assert!(refusal(request(&schema, one(99))).contains("offset 99"));
    assert!(refusal(request(&schema, one(1_000_000))).contains("offset 1000000"));
    assert!(refusal(SealRequest { partition: 1, ..request(&schema, one(100)) }).contains("partition 2"));
    let other = TableSchema::new(&spec(&[("x", ColumnType::Int)], &[]));
    assert!(matches!(encode(request(&other, one(100))), Err(SegmentError::Arrow(_))));
}

#[test]
fn encoding_is_deterministic() {
    let schema = every_type(&["city", "amount"]);
    let rows = sample_rows(50);
    let offsets: Vec<i64> = (0..50).map(|nth| 100 + (nth * 7) % 50).collect();
    let once = encode(request(&schema, vec![batch(&schema, &rows, &offsets)])).unwrap();
    let again = encode(request(&schema, vec![batch(&schema, &rows, &offsets)])).unwrap();
    assert_eq!(once.bytes, again.bytes);
}
