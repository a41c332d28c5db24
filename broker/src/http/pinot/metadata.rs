//! Metadata reads: schema, sizes, brokers, health.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use headwater_segment::schema::{Column, ColumnType};
use serde_json::{Map, Value, json};

use super::super::body::Name;
use super::super::error::ApiError;
use super::super::openapi::NotFound;
use super::super::{HttpState, TableFacts};
use super::statement;
use crate::render::types::pinot_column_type;

/// The process lives
#[utoipa::path(get, path = "/health", tag = "pinot",
    responses((status = 200, description = "OK", content_type = "text/plain", body = String)))]
pub(super) async fn health() -> &'static str {
    "OK"
}

/// The databases
///
/// There is one, which every table is in: `default.trips` is the table `trips`.
#[utoipa::path(get, path = "/databases", tag = "pinot",
    responses((status = 200, description = "Their names", body = Vec<String>)))]
pub(super) async fn databases() -> Json<[&'static str; 1]> {
    Json(["default"])
}

/// The value under `REALTIME` in `GET /tables/{t}`.
pub(in super::super) fn table_config(state: &HttpState, table: &str) -> Value {
    let facts = state.runner.table_facts(table);
    let time_column = facts
        .as_ref()
        .and_then(|facts| facts.schema.time_column().map(|index| facts.schema.columns()[index].name.clone()));
    json!({
        "tableName": format!("{table}_REALTIME"),
        "tableType": "REALTIME",
        "segmentsConfig": {"schemaName": table, "timeColumnName": time_column, "replication": "1"},
        "tenants": {},
        "tableIndexConfig": {},
        "metadata": {},
    })
}

/// The table that a client of Pinot means: `trips` by `trips_REALTIME`, unless there is a table of that very name.
pub(in super::super) fn logical_name(state: &HttpState, table: String) -> String {
    match statement::logical_name(&table, |name| state.runner.table_facts(name).is_some()) {
        Some(logical) => logical.to_string(),
        None => table,
    }
}

fn facts_of(state: &HttpState, table: String) -> Result<(String, TableFacts), ApiError> {
    let table = logical_name(state, table);
    match state.runner.table_facts(&table) {
        Some(facts) => Ok((table, facts)),
        None => Err(ApiError::not_found(format!("there is no table {table}"))),
    }
}

/// How large a table is
#[utoipa::path(get, path = "/tables/{table}/metadata", tag = "pinot",
    params(("table" = String, Path, description = "Name of the table")),
    responses((status = 200, description = "Sizes", body = Object), NotFound))]
pub(super) async fn sizes(
    State(state): State<HttpState>,
    Name(table): Name,
) -> Result<Json<Value>, ApiError> {
    let (table, facts) = facts_of(&state, table)?;
    Ok(Json(json!({
        "tableName": format!("{table}_REALTIME"),
        "diskSizeInBytes": facts.bytes,
        "numSegments": facts.segments,
        "numRows": facts.rows,
    })))
}

/// The columns of a table's spec
///
/// Instants and dates are date-times, fractional numbers metrics, everything else dimensions.
#[utoipa::path(get, path = "/tables/{table}/schema", tag = "pinot",
    params(("table" = String, Path, description = "Name of the table")),
    responses((status = 200, description = "A Pinot schema", body = Object), NotFound))]
pub(super) async fn schema(
    State(state): State<HttpState>,
    Name(table): Name,
) -> Result<Json<Value>, ApiError> {
    let (table, TableFacts { schema, .. }) = facts_of(&state, table)?;
    let (mut dimensions, mut metrics, mut date_times) = (Vec::new(), Vec::new(), Vec::new());
    for column in schema.columns().iter().take(schema.spec_columns()) {
        let mut spec = field_spec(column);
        let granularity = match column.data_type {
            ColumnType::TimestampMillis | ColumnType::TimestampMicros => Some("1:MILLISECONDS"),
            ColumnType::Date => Some("1:DAYS"),
            _ => None,
        };
        match (&column.data_type, granularity) {
            (_, Some(granularity)) => {
                spec.insert("format".into(), "TIMESTAMP".into());
                spec.insert("granularity".into(), granularity.into());
                date_times.push(spec);
            }
            (ColumnType::Float | ColumnType::Double | ColumnType::Decimal(_, _), None) => metrics.push(spec),
            _ => dimensions.push(spec),
        }
    }
    Ok(Json(json!({
        "schemaName": table,
        "dimensionFieldSpecs": dimensions,
        "metricFieldSpecs": metrics,
        "dateTimeFieldSpecs": date_times,
    })))
}

fn field_spec(column: &Column) -> Map<String, Value> {
    let (data_type, is_array) = pinot_column_type(&column.data_type);
    let mut spec = Map::new();
    spec.insert("name".into(), column.name.clone().into());
    spec.insert("dataType".into(), data_type.into());
    spec.insert("notNull".into(), (!column.nullable).into());
    if is_array {
        spec.insert("singleValueField".into(), false.into());
    }
    spec
}

/// Which brokers serve which table
///
/// Every table is served by the address that the client has just called.
#[utoipa::path(get, path = "/v2/brokers/tables", tag = "pinot",
    responses((status = 200, description = "Brokers by table", body = Object)))]
pub(super) async fn brokers(State(state): State<HttpState>, headers: HeaderMap) -> Json<Value> {
    let brokers = brokers_for(&headers);
    let tables = state.runner.table_names().into_iter().map(|table| (table, brokers.clone()));
    Json(Value::Object(tables.collect()))
}

/// Which brokers serve a tenant
///
/// There are no tenants: whichever is named is served by the address that the client has just called.
#[utoipa::path(get, path = "/v2/brokers/tenants/{tenant}", tag = "pinot",
    params(("tenant" = String, Path, description = "Any name")),
    responses((status = 200, description = "Brokers", body = Vec<Object>)))]
pub(super) async fn brokers_of_tenant(headers: HeaderMap) -> Json<Value> {
    Json(brokers_for(&headers))
}

/// The address that the client has called, as the only broker.
fn brokers_for(headers: &HeaderMap) -> Value {
    let authority = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let (host, port) = match authority.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) => (host, port),
        _ => (authority, 80),
    };
    json!([{"host": host, "port": port, "instanceName": format!("Broker_{host}_{port}")}])
}
