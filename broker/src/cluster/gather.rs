//! What only other nodes have of a system table: asked of all of them at once, each for a bounded time.
//!
//! System tables are what an operator looks at when something is wrong, so a node that does not answer is no error here: its
//! rows are missing, and the log and `system.nodes` say so. An answer is a stream of Arrow of the table's columns.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::{Buf, Bytes};
use datafusion::error::Result;
use futures::future::join_all;
use url::Url;

use super::{ClusterAccess, NodeId};

/// Where a node is asked; the table's name follows.
pub(crate) const SYSTEM_PATH: &str = "/node/system/";
/// A node that has not answered within this time is done without.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// Bytes of an answer: 1,000 queries take at most 8 MiB, and so many dead letters are rarely in memory.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A node that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) node: NodeId,
    pub(crate) url: Url,
}

/// What each of the nodes has of the system table `table`, or why that is not known.
pub(crate) async fn gather(
    access: &ClusterAccess,
    asked: Vec<Asked>,
    table: &'static str,
    schema: &SchemaRef,
) -> Vec<(NodeId, Result<Vec<RecordBatch>, String>)> {
    let answers = asked.into_iter().map(|Asked { node, url }| {
        let (access, schema) = (access.clone(), schema.clone());
        // Where connections are served, and not among the queries: an answer is not to wait for those.
        let io = access.io().clone();
        let answer = io.spawn(async move {
            let path = format!("{SYSTEM_PATH}{table}");
            let asked = access.post(&url, &path, Bytes::new());
            let bytes = match tokio::time::timeout(ANSWER_WAIT, asked).await {
                Ok(answered) => answered?,
                Err(_) => return Err(format!("it did not answer within {} ms", ANSWER_WAIT.as_millis())),
            };
            decode(bytes, &schema)
        });
        async move {
            let answer = answer.await.unwrap_or_else(|error| Err(error.to_string()));
            if let Err(error) = &answer {
                tracing::warn!(%node, table, error, "a system table lacks the rows of a node");
            }
            (node, answer)
        }
    });
    join_all(answers).await
}

/// The answer with these rows, or with the first of them if they are too many.
pub(crate) fn encode(table: &str, schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    encode_within(table, schema, batches, ANSWER_BYTES_MAX)
}

fn encode_within(table: &str, schema: &Schema, batches: &[RecordBatch], bytes_max: usize) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        if writer.get_ref().len() + batch.get_array_memory_size() > bytes_max {
            tracing::warn!(
                table,
                bytes_max,
                "this node has more rows of a system table than fit in an answer"
            );
            break;
        }
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(writer.into_inner()?)
}

fn decode(bytes: Bytes, schema: &Schema) -> Result<Vec<RecordBatch>, String> {
    let unreadable = |error: ArrowError| format!("its answer cannot be read: {error}");
    let reader = StreamReader::try_new(bytes.reader(), None).map_err(unreadable)?;
    if reader.schema().fields() != schema.fields() {
        return Err("its table has other columns; do both nodes run the same version?".to_owned());
    }
    reader.collect::<Result<_, _>>().map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};

    use super::*;

    fn batch(column: &str, rows: usize) -> RecordBatch {
        let values: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100); rows]));
        RecordBatch::try_from_iter_with_nullable([(column, values, true)]).unwrap()
    }

    #[test]
    fn an_answer_is_bounded_and_its_columns_are_checked() {
        let batches = [batch("a", 1000), batch("a", 1000), batch("a", 1000)];
        let schema = batches[0].schema();
        let all = encode("t", &schema, &batches).unwrap();
        assert_eq!(decode(all.into(), &schema).unwrap(), batches);
        let some = encode_within("t", &schema, &batches, 300_000).unwrap();
        assert!(some.len() < 300_000);
        assert_eq!(decode(some.into(), &schema).unwrap(), batches[..2]);
        let none = encode("t", &schema, &[]).unwrap();
        assert!(decode(none.into(), &schema).unwrap().is_empty());

        let other = encode("t", &batch("b", 1).schema(), &[]).unwrap();
        assert!(decode(other.into(), &schema).unwrap_err().contains("other columns"));
        for garbage in [&b""[..], b"no arrow at all, but some text that is long enough"] {
            assert!(decode(Bytes::from_static(garbage), &schema).unwrap_err().contains("cannot be read"));
        }
    }
}
