//! Values of a statement's parameters, as clients send them: one row of an Arrow batch.
//!
//! The bytes are a stranger's: their number is bounded, compressed ones are refused before they are unpacked, and a panic of the
//! decoder is an error.

use std::panic::AssertUnwindSafe;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::ipc::root_as_message;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tonic::Status;

use super::{PARAMETER_BYTES_MAX, PARAMETERS_WAIT};

/// Reads the whole stream. No row at all means no values.
pub(super) async fn read(
    messages: impl Stream<Item = Result<FlightData, Status>> + Unpin + Send,
) -> Result<Vec<Value>, Status> {
    let messages = tokio::time::timeout(PARAMETERS_WAIT, gather(messages)).await;
    let messages =
        messages.map_err(|_| Status::deadline_exceeded("the parameters did not arrive in time"))??;
    let decoding = AssertUnwindSafe(decode(messages)).catch_unwind().await;
    decoding.unwrap_or_else(|_| Err(Status::invalid_argument("the parameters are not valid Arrow data")))
}

async fn gather(
    mut messages: impl Stream<Item = Result<FlightData, Status>> + Unpin + Send,
) -> Result<Vec<FlightData>, Status> {
    let (mut gathered, mut bytes) = (Vec::new(), 0);
    while let Some(message) = messages.next().await {
        let message = message?;
        // Empty messages count, too.
        bytes += 64 + message.data_header.len() + message.data_body.len();
        if bytes > PARAMETER_BYTES_MAX {
            let message = format!("the parameters have more than {PARAMETER_BYTES_MAX} bytes");
            return Err(Status::invalid_argument(message));
        }
        if is_compressed(&message) {
            return Err(Status::invalid_argument("send the parameters uncompressed"));
        }
        gathered.push(message);
    }
    Ok(gathered)
}

fn is_compressed(message: &FlightData) -> bool {
    // What cannot be read is refused by the decoder.
    let Ok(header) = root_as_message(&message.data_header) else { return false };
    let batch = header.header_as_record_batch();
    let batch =
        batch.or_else(|| header.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
    batch.is_some_and(|batch| batch.compression().is_some())
}

async fn decode(messages: Vec<FlightData>) -> Result<Vec<Value>, Status> {
    let messages = stream::iter(messages.into_iter().map(Ok));
    let batches = FlightRecordBatchStream::new_from_flight_data(messages).try_collect::<Vec<RecordBatch>>();
    let batches = batches.await;
    let batches = batches.map_err(|error| Status::invalid_argument(format!("the parameters: {error}")))?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    match batches.iter().find(|batch| batch.num_rows() > 0) {
        None => Ok(Vec::new()),
        Some(row) if rows == 1 => row_values(row),
        Some(_) => Err(Status::invalid_argument(format!(
            "there are {rows} sets of parameters; a query is run with one at a time"
        ))),
    }
}

fn row_values(row: &RecordBatch) -> Result<Vec<Value>, Status> {
    let values = row.columns().iter().enumerate().map(|(index, column)| {
        let fault = |reason| Status::invalid_argument(format!("parameter ${}: {reason}", index + 1));
        value(column.as_ref()).map_err(fault)
    });
    values.collect()
}

/// The first value of the array as a JSON scalar: numbers and booleans as such, the rest as the text that its type is read from.
fn value(array: &dyn Array) -> Result<Value, String> {
    if array.is_null(0) || *array.data_type() == DataType::Null {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(0).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(0).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(0).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(0).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(0).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(0).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(0).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(0).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(0).into(),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(0).into()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(0)),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let key = dictionary.normalized_keys().first().copied().unwrap_or_default();
            return value(dictionary.values().slice(key, 1).as_ref());
        }
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(_, _) => Value::String(text(array).map_err(|error| error.to_string())?),
        other => return Err(format!("a value of type {other} is not taken; send a number or a text")),
    })
}

/// JSON has no infinities; as texts they are read where a DOUBLE is expected.
fn float(value: f64) -> Value {
    match value.is_finite() {
        true => value.into(),
        false => value.to_string().into(),
    }
}

fn text(array: &dyn Array) -> Result<String, ArrowError> {
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default())?;
    formatter.value(0).try_to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int32Array,
        NullArray, StringArray, TimestampMillisecondArray, UInt64Array,
    };
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::IpcWriteOptions;
    use arrow_flight::encode::FlightDataEncoderBuilder;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    async fn messages(batch: RecordBatch) -> Vec<FlightData> {
        let rows = stream::iter([Ok(batch)]);
        FlightDataEncoderBuilder::new().build(rows).try_collect().await.unwrap()
    }

    async fn read_all(messages: Vec<FlightData>) -> Result<Vec<Value>, Status> {
        read(stream::iter(messages.into_iter().map(Ok))).await
    }

    fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
        let names = (1..).map(|number| format!("${number}"));
        RecordBatch::try_from_iter_with_nullable(
            names.zip(columns).map(|(name, column)| (name, column, true)),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn values_keep_their_meaning() {
        let codes: DictionaryArray<Int32Type> = vec!["x"].into_iter().collect();
        let row = batch(vec![
            Arc::new(Int32Array::from(vec![-1])),
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            Arc::new(Float64Array::from(vec![2.0])),
            Arc::new(Float64Array::from(vec![f64::INFINITY])),
            Arc::new(BooleanArray::from(vec![true])),
            Arc::new(StringArray::from(vec!["it's"])),
            Arc::new(StringArray::from(vec![None::<&str>])),
            Arc::new(NullArray::new(1)),
            Arc::new(Decimal128Array::from(vec![-12_345]).with_precision_and_scale(12, 2).unwrap()),
            Arc::new(TimestampMillisecondArray::from(vec![1_709_287_200_250]).with_timezone("UTC")),
            Arc::new(codes),
        ]);
        let values = read_all(messages(row).await).await.unwrap();
        let expected = json!([
            -1,
            u64::MAX,
            2.0,
            "inf",
            true,
            "it's",
            null,
            null,
            "-123.45",
            "2024-03-01T10:00:00.250Z",
            "x"
        ]);
        assert_eq!(Value::Array(values), expected);
    }

    #[tokio::test]
    async fn what_is_refused() {
        let refusal = |messages| async { read_all(messages).await.unwrap_err().message().to_owned() };
        let two = batch(vec![Arc::new(Int32Array::from(vec![1, 2]))]);
        assert!(refusal(messages(two).await).await.contains("2 sets"));
        let bytes = batch(vec![Arc::new(BinaryArray::from(vec![&b"\xff"[..]]))]);
        assert!(refusal(messages(bytes).await).await.starts_with("parameter $1"));
        let long = batch(vec![Arc::new(StringArray::from(vec!["x".repeat(PARAMETER_BYTES_MAX)]))]);
        assert!(refusal(messages(long).await).await.contains("more than"));
        assert_eq!(read_all(Vec::new()).await.unwrap(), Vec::<Value>::new());
        assert!(read_all(vec![FlightData::default(); 20_000]).await.is_err());
    }

    #[tokio::test]
    async fn compressed_values_are_not_unpacked() {
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
        let mut sent = messages(batch(vec![Arc::new(StringArray::from(vec!["x".repeat(1000)]))])).await;
        assert!(read_all(sent.clone()).await.is_ok());
        // The body need not be compressed: the header says so.
        let row = batch(vec![Arc::new(StringArray::from(vec!["x".repeat(1000)]))]);
        let rows = stream::iter([Ok(row)]);
        let encoded: Result<Vec<FlightData>, _> =
            FlightDataEncoderBuilder::new().with_options(options).build(rows).try_collect().await;
        // Without the codec compiled in, nothing of the kind can be made, and none be read.
        if let Ok(encoded) = encoded {
            sent = encoded;
            assert!(read_all(sent).await.unwrap_err().message().contains("uncompressed"));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0_usize..400, value: u8, message in 0_usize..2) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let row = batch(vec![Arc::new(StringArray::from(vec!["text"])), Arc::new(Int32Array::from(vec![1]))]);
            runtime.block_on(async {
                let mut sent = messages(row).await;
                let header = &mut sent[message].data_header;
                let mut bytes = header.to_vec();
                let at = at % bytes.len();
                bytes[at] ^= value;
                *header = bytes.into();
                // Whatever comes of it, it comes as an answer.
                drop(read_all(sent).await);
            });
        }
    }
}
