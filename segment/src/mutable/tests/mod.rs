//! Tests of the mutable segment as a whole: `cases` one decision each, `oracle` against ordinary Arrow builders,
//! `threads` with readers beside the writer.

use std::sync::Arc;

use crate::schema::{ColumnType, TableSchema};
use crate::spec::{
    ColumnSpec, DeadLetterTarget, FieldPath, OnError, OnGap, SealSpec, StartPosition, StreamSpec, TableSpec,
};

mod cases;
mod oracle;
mod threads;

/// A schema of columns `c0`, `c1`, ... of these types and nullabilities.
fn schema(columns: &[(ColumnType, bool)]) -> Arc<TableSchema> {
    let columns = (columns.iter().enumerate())
        .map(|(index, (data_type, nullable))| ColumnSpec {
            name: format!("c{index}"),
            data_type: data_type.clone(),
            nullable: *nullable,
            path: FieldPath::Payload(Vec::new()),
            on_error: OnError::default(),
            index: None,
        })
        .collect();
    let stream = StreamSpec {
        brokers: vec!["localhost:9092".into()],
        topic: "t".into(),
        start: StartPosition::default(),
        on_gap: OnGap::default(),
        properties: Default::default(),
    };
    Arc::new(TableSchema::new(&TableSpec {
        name: "t".into(),
        columns,
        time_column: None,
        sort_key: Vec::new(),
        stream,
        seal: SealSpec::default(),
        retention: None,
        replication: 1,
        dead_letters: DeadLetterTarget::default(),
    }))
}
