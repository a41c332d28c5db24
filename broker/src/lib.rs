//! The path of a query: SQL -> plan over one cut of each table -> execute -> render; and every public endpoint.
//!
//! The [engine](engine::QueryEngine) turns a [request](request::QueryRequest) into a stream of Arrow batches that knows its
//! cut. The HTTP side renders that stream and offers table management through [`admin::TableAdmin`], which the server
//! implements: this crate never sees `ingest`.

pub mod access;
pub mod admin;
pub(crate) mod catalog;
pub mod cluster;
pub mod dashboards;
pub mod engine;
pub mod error;
mod execute;
pub mod flight;
mod functions;
pub mod http;
pub mod postgres;
mod render;
pub mod request;
pub mod sql;
mod trace;
pub mod wizard;

pub use error::{QueryError, QueryErrorKind};
