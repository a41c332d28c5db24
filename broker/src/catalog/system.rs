//! The machinery of system tables: a table is a name, columns, and a function that lists its rows.
//!
//! Rows are made anew for every scan, so a system table shows the moment of its scan and is not part of any cut.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

use super::CatalogSources;
use super::system_rows::TABLES;

/// One row, a value per column.
pub(super) type Row = Vec<ScalarValue>;

/// Lists the rows of a system table.
pub(super) type Rows = fn(Arc<CatalogSources>) -> BoxFuture<'static, Result<Vec<Row>>>;

/// Types of system columns. All are nullable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Int,
    Long,
    Double,
    Bool,
    Bytes,
    Time,
}

impl Kind {
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Bytes => DataType::Binary,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

/// A system table.
pub(super) struct SystemTable {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
    pub(super) rows: Rows,
}

/// TEXT, or NULL.
pub(super) fn text(value: Option<impl Into<String>>) -> ScalarValue {
    ScalarValue::Utf8(value.map(Into::into))
}

/// TIMESTAMP from milliseconds since the epoch, or NULL.
pub(super) fn time_of_ms(value: Option<i64>) -> ScalarValue {
    time_of_us(value.and_then(|ms| ms.checked_mul(1000)))
}

/// TIMESTAMP from microseconds since the epoch, or NULL.
pub(super) fn time_of_us(value: Option<i64>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(value, Some("UTC".into()))
}

/// LONG from a count.
pub(super) fn count(value: u64) -> ScalarValue {
    ScalarValue::Int64(i64::try_from(value).ok())
}

/// The schema `system`.
#[derive(Debug)]
pub(super) struct SystemSchema {
    sources: Arc<CatalogSources>,
}

impl SystemSchema {
    pub(super) fn new(sources: Arc<CatalogSources>) -> Self {
        Self { sources }
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        TABLES.iter().map(|table| table.name.to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let table = TABLES.iter().find(|table| table.name == name);
        Ok(table.map(|table| SystemProvider::over(table, Arc::clone(&self.sources))))
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.iter().any(|table| table.name == name)
    }
}

struct SystemProvider {
    table: &'static SystemTable,
    schema: SchemaRef,
    sources: Arc<CatalogSources>,
}

impl fmt::Debug for SystemProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system.{}", self.table.name)
    }
}

impl SystemProvider {
    fn over(table: &'static SystemTable, sources: Arc<CatalogSources>) -> Arc<dyn TableProvider> {
        let field = |(name, kind): &(&str, Kind)| Field::new(*name, kind.data_type(), true);
        let schema = Arc::new(Schema::new(table.columns.iter().map(field).collect::<Vec<_>>()));
        Arc::new(Self { table, schema, sources })
    }

    fn batch(&self, rows: Vec<Row>) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let mut columns: Vec<Row> =
            self.schema.fields().iter().map(|_| Vec::with_capacity(rows.len())).collect();
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let array = |(values, field): (Row, &Arc<Field>)| match values.is_empty() {
            true => Ok(arrow::array::new_empty_array(field.data_type())),
            false => ScalarValue::iter_to_array(values),
        };
        let arrays = columns.into_iter().zip(self.schema.fields()).map(array).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }
}

#[async_trait]
impl TableProvider for SystemProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = (self.table.rows)(Arc::clone(&self.sources)).await?;
        let batch = self.batch(rows)?;
        Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], Arc::clone(&self.schema), projection.cloned())?)
    }
}
