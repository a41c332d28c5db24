//! The machinery of system tables: a table is a name, columns, and a function that lists its rows.
//!
//! Rows are made anew for every scan, so a system table shows the moment of its scan and is not part of any cut. In a cluster
//! it shows all nodes, whichever is asked ([`system_across`](super::system_across)).

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::{ScalarValue, ToDFSchema};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::conjunction_opt;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

use super::CatalogSources;
use super::system_across::rows_of_all_nodes;
use super::system_rows::TABLES;
use crate::cluster::NodeId;

/// Rows of a batch. So many dead letters of the greatest length are 32 MiB.
const BATCH_ROWS: usize = 256;

/// One row, a value per column.
pub(super) type Row = Vec<ScalarValue>;

/// Lists rows of a system table that this process knows of.
pub(super) type Rows = fn(Arc<CatalogSources>, Listing) -> BoxFuture<'static, Result<Vec<Row>>>;

/// What is listed.
#[derive(Clone)]
pub(super) struct Listing {
    pub(super) wanted: Wanted,
    pub(super) part: Part,
    /// This node's name, for its own rows; `None`: it has none.
    pub(super) node: Option<NodeId>,
}

/// What a query looks for: a listing may leave out rows that do not pass, and the rest once it has enough that do.
#[derive(Clone, Default)]
pub(super) struct Wanted {
    /// `None`: all rows.
    pub(super) predicate: Option<Arc<PruningPredicate>>,
    /// Any so many rows will do; `None`: all are needed.
    pub(super) rows_max: Option<usize>,
}

impl Wanted {
    fn of(filters: &[Expr], limit: Option<usize>, schema: &SchemaRef, session: &dyn Session) -> Result<Self> {
        let named = schema.as_ref().clone().to_dfschema()?;
        let filters = filters.iter().map(|filter| session.create_physical_expr(filter.clone(), &named));
        let filters = filters.collect::<Result<Vec<_>>>()?;
        let rows_max = limit.filter(|_| filters.is_empty());
        let predicate = conjunction_opt(filters).and_then(|filter| {
            PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).build(filter)
        });
        Ok(Self { predicate, rows_max })
    }
}

/// Which rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Those of what all nodes share: the tables' logs and stores.
    Shared,
    /// Those that no other node knows.
    Own,
    /// Both, at one moment.
    All,
}

impl Part {
    pub(super) fn has_shared(self) -> bool {
        self != Self::Own
    }

    pub(super) fn has_own(self) -> bool {
        self != Self::Shared
    }
}

/// A table of which nodes have rows of their own. Its last column, `node`, names them; it is NULL in rows of what is shared.
pub(super) struct Spread {
    pub(super) holders: Holders,
    /// So many leading columns name a row, whichever node has it. 0: no two nodes have the same row.
    pub(super) named_by: usize,
}

/// Which nodes have rows of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holders {
    /// Those that hold data.
    Data,
    All,
}

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
    /// `None`: any node can list all rows.
    pub(super) spread: Option<Spread>,
}

impl SystemTable {
    pub(super) fn schema(&self) -> SchemaRef {
        let field = |(name, kind): &(&str, Kind)| Field::new(*name, kind.data_type(), true);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// The rows as columns: one batch at least.
    pub(super) fn batches(&self, rows: Vec<Row>) -> Result<Vec<RecordBatch>> {
        let schema = self.schema();
        let mut rows = rows.into_iter();
        let mut batches = Vec::new();
        loop {
            let some: Vec<Row> = rows.by_ref().take(BATCH_ROWS).collect();
            if some.is_empty() && !batches.is_empty() {
                return Ok(batches);
            }
            batches.push(batch(&schema, some)?);
        }
    }
}

fn batch(schema: &SchemaRef, rows: Vec<Row>) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let mut columns: Vec<Row> = schema.fields().iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    let array = |(values, field): (Row, &Arc<Field>)| match values.is_empty() {
        true => Ok(arrow::array::new_empty_array(field.data_type())),
        false => ScalarValue::iter_to_array(values),
    };
    let arrays = columns.into_iter().zip(schema.fields()).map(array).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

/// The system table of that name.
pub(super) fn find(name: &str) -> Option<&'static SystemTable> {
    TABLES.iter().find(|table| table.name == name)
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
        Ok(find(name).map(|table| SystemProvider::over(table, Arc::clone(&self.sources))))
    }

    fn table_exist(&self, name: &str) -> bool {
        find(name).is_some()
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
        Arc::new(Self { table, schema: table.schema(), sources })
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

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // They spare work, and are looked at again.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = Wanted::of(filters, limit, &self.schema, session)?;
        let batches = rows_of_all_nodes(self.table, &self.sources, wanted).await?;
        Ok(MemorySourceConfig::try_new_exec(&[batches], Arc::clone(&self.schema), projection.cloned())?)
    }
}
