//! What there is: catalogs, schemas, tables with their columns, keys (none). What the server is and which types it has: [`info`].

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder};
use arrow_flight::sql::{Command, CommandGetDbSchemas, CommandGetTables};
use futures::StreamExt;
use tonic::Status;

use super::schema::plain_schema;
use super::status::{status_of, status_of_flight, status_of_stream, unsendable};
use super::{Shared, info};
use crate::QueryErrorKind;
use crate::catalog::{CATALOG, PUBLIC, SYSTEM};
use crate::request::{ClientKind, QueryRequest};

const INFORMATION_SCHEMA: &str = "information_schema";
const TABLE: &str = "TABLE";
const SYSTEM_TABLE: &str = "SYSTEM TABLE";

/// The schema of what a metadata command answers with; `None` if it is no such command.
pub(super) fn schema_of(command: &Command) -> Option<Result<SchemaRef, Status>> {
    Some(match command {
        Command::CommandGetCatalogs(_) => Ok(GetCatalogsBuilder::new().schema()),
        Command::CommandGetDbSchemas(command) => Ok(command.clone().into_builder().schema()),
        Command::CommandGetTables(command) => Ok(command.clone().into_builder().schema()),
        Command::CommandGetTableTypes(_) => Ok(table_types_schema()),
        Command::CommandGetPrimaryKeys(_) => Ok(primary_keys_schema()),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => Ok(foreign_keys_schema()),
        Command::CommandGetSqlInfo(_) => info::server().map(|info| info.schema()).map_err(status_of_flight),
        Command::CommandGetXdbcTypeInfo(_) => {
            info::types().map(|types| types.schema()).map_err(status_of_flight)
        }
        _ => return None,
    })
}

/// The rows of a metadata command; `None` if it is no such command.
pub(super) async fn rows_of(shared: &Shared, command: Command) -> Option<Result<RecordBatch, Status>> {
    Some(match command {
        Command::CommandGetCatalogs(_) => {
            let mut builder = GetCatalogsBuilder::new();
            builder.append(CATALOG);
            builder.build().map_err(status_of_flight)
        }
        Command::CommandGetDbSchemas(command) => schemas(command),
        Command::CommandGetTables(command) => tables(shared, command).await,
        Command::CommandGetTableTypes(_) => table_types(),
        Command::CommandGetPrimaryKeys(_) => Ok(RecordBatch::new_empty(primary_keys_schema())),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => Ok(RecordBatch::new_empty(foreign_keys_schema())),
        Command::CommandGetSqlInfo(command) => {
            info::server().and_then(|info| info.record_batch(command.info)).map_err(status_of_flight)
        }
        Command::CommandGetXdbcTypeInfo(command) => {
            info::types().and_then(|types| types.record_batch(command.data_type)).map_err(status_of_flight)
        }
        _ => return None,
    })
}

fn schemas(command: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let mut builder: GetDbSchemasBuilder = command.into_builder();
    for schema in [INFORMATION_SCHEMA, PUBLIC, SYSTEM] {
        builder.append(CATALOG, schema);
    }
    builder.build().map_err(status_of_flight)
}

async fn tables(shared: &Shared, command: CommandGetTables) -> Result<RecordBatch, Status> {
    let found = find_tables(shared, &command).await?;
    let mut builder: GetTablesBuilder = command.into_builder();
    for (schema_name, table) in found {
        let columns = match builder.include_schema() {
            true => columns_of(shared, &schema_name, &table).await?,
            false => Some(Arc::new(Schema::empty())),
        };
        // A table that was dropped meanwhile is not there.
        let Some(columns) = columns else { continue };
        let kind = if schema_name == PUBLIC { TABLE } else { SYSTEM_TABLE };
        builder.append(CATALOG, &schema_name, &table, kind, &columns).map_err(status_of_flight)?;
    }
    builder.build().map_err(status_of_flight)
}

/// Schema and name of the tables that the patterns allow, in order.
async fn find_tables(shared: &Shared, command: &CommandGetTables) -> Result<Vec<(String, String)>, Status> {
    let pattern = |pattern: &Option<String>| pattern.clone().unwrap_or_else(|| "%".into()).into();
    let request = QueryRequest {
        client: ClientKind::Flight,
        sql: "SELECT table_schema, table_name FROM information_schema.tables \
              WHERE table_schema LIKE $1 AND table_name LIKE $2 ORDER BY 1, 2"
            .into(),
        parameters: vec![
            pattern(&command.db_schema_filter_pattern),
            pattern(&command.table_name_filter_pattern),
        ],
        ..QueryRequest::default()
    };
    let mut answer = shared.engine.run(request).await.map_err(|error| status_of(&error))?;
    let mut found = Vec::new();
    while let Some(batch) = answer.stream.next().await {
        let batch = batch.map_err(|error| status_of_stream(&error))?;
        let text = |column: usize| cast(batch.column(column), &DataType::Utf8).map_err(unsendable);
        let (schemas, tables) = (text(0)?, text(1)?);
        let (schemas, tables) = (schemas.as_string::<i32>(), tables.as_string::<i32>());
        let rows = 0..batch.num_rows();
        found.extend(rows.map(|row| (schemas.value(row).to_owned(), tables.value(row).to_owned())));
    }
    Ok(found)
}

/// The columns of a table; `None` if there is no such table.
async fn columns_of(shared: &Shared, schema: &str, table: &str) -> Result<Option<SchemaRef>, Status> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let statement = format!("SELECT * FROM {}.{}", quoted(schema), quoted(table));
    match shared.describe(&statement, &[]).await {
        Ok(description) => Ok(Some(plain_schema(&description.schema))),
        Err(error) if error.kind == QueryErrorKind::UnknownTable => Ok(None),
        Err(error) => Err(status_of(&error)),
    }
}

fn table_types() -> Result<RecordBatch, Status> {
    let names = arrow::array::StringArray::from(vec![SYSTEM_TABLE, TABLE]);
    RecordBatch::try_new(table_types_schema(), vec![Arc::new(names)]).map_err(unsendable)
}

fn table_types_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("table_type", DataType::Utf8, false)]))
}

/// There are no keys: a stream may bring the same one twice.
fn primary_keys_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

fn foreign_keys_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}
