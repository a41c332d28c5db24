//! The query engine as the endpoints see it.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{QueryRunner, TableFacts};
use crate::engine::QueryEngine;
use crate::error::QueryError;
use crate::request::{QueryAnswer, QueryProgress, QueryRequest, TableCut};

#[async_trait]
impl QueryRunner for QueryEngine {
    async fn run(&self, request: QueryRequest) -> Result<QueryAnswer, QueryError> {
        Self::run(self, request).await
    }

    async fn kill(&self, id: &str, only_of: Option<&str>) -> bool {
        Self::kill(self, id, only_of).await
    }

    async fn progress(&self, id: &str, only_of: Option<&str>, with_plan: bool) -> Option<QueryProgress> {
        Self::progress(self, id, only_of, with_plan).await
    }

    async fn other_rows(&self, cuts: &BTreeMap<String, TableCut>) {
        Self::other_rows(self, cuts).await;
    }

    fn table_names(&self) -> Vec<String> {
        self.tables().list().iter().map(|table| table.name().to_string()).collect()
    }

    fn table_facts(&self, name: &str) -> Option<TableFacts> {
        let read = self.tables().get(name)?.read();
        let sealed_rows = read.log.segments.rows();
        let open_rows: usize = read.open.iter().map(|slice| slice.rows.len()).sum();
        Some(TableFacts {
            schema: read.log.schema.clone(),
            segments: (read.log.segments.len() + read.open.len()) as u64,
            rows: sealed_rows + open_rows as u64,
            bytes: read.log.segments.size_bytes(),
        })
    }
}
