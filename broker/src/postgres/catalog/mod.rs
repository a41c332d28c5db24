//! `pg_catalog` and `information_schema`: what drivers and tools ask before they ask for rows.
//!
//! Queries that name them are planned here, by a session of their own: `datafusion-pg-catalog` brings PostgreSQL's static
//! tables and functions and rewrites what its clients write into what DataFusion understands; relations, columns and types are
//! told by [`tables`] and [`information`] from the tables as they are at that moment.
//!
//! **Invariants:** no statement over the tables comes here, so no rewriting changes one: a table that is scanned here is an
//! error, not an empty table. Numbers of objects (`oid`) are computed from their names, so they are the same on every node and
//! after every start.

mod activity;
mod conditions;
mod dialect;
mod fixed;
mod format;
mod format_type;
mod functions;
mod information;
mod names;
mod registers;
mod sets;
mod sizes;
mod subqueries;
mod tableoids;
mod tables;
mod views;
mod visible;

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
    Session, TableProvider,
};
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;
use datafusion_pg_catalog::pg_catalog::PG_CATALOG_TABLES;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::setup_pg_catalog;
use headwater_segment::live::Tables;

pub(super) use self::activity::Activities;
use self::dialect::Dialect;
pub(super) use self::names::of_answer;
use self::tables::Relations;
use super::settings::Settings;
use crate::catalog::{CATALOG, PUBLIC, SYSTEM};
use crate::engine::{Foreign, StatementPlanner, error_of};
use crate::functions::compare_mixed_types;
use crate::{QueryError, QueryErrorKind, sql};

const PG_CATALOG: &str = "pg_catalog";
const INFORMATION_SCHEMA: &str = "information_schema";

/// Functions without `pg_` in their name that only the catalog has, and registers that are written without parentheses.
const FUNCTIONS: &[&str] = &[
    "array_lower",
    "array_upper",
    "col_description",
    "current_database",
    "current_schema",
    "current_schemas",
    "current_setting",
    "format_type",
    "inet_client_addr",
    "inet_server_addr",
    "inet_server_port",
    "obj_description",
    "parse_ident",
    "quote_ident",
    "quote_literal",
    "row_security_active",
    "set_config",
    "shobj_description",
    "to_regclass",
    "to_regnamespace",
    "to_regproc",
    "to_regtype",
    "txid_current",
    "version",
];
const REGISTERS: &[&str] =
    &["current_catalog", "current_role", "current_schema", "current_user", "session_user"];
const OBJECT_TYPES: &[&str] =
    &["oid", "regclass", "regnamespace", "regproc", "regprocedure", "regrole", "regtype"];

/// Whether a word of a statement names something of the catalog. `before` and `next` are the tokens around it.
pub(super) fn is_of_catalog(
    name: &str,
    is_quoted: bool,
    before: Option<&Token>,
    next: Option<&Token>,
) -> bool {
    let is_before = |keyword| matches!(before, Some(Token::Word(word)) if word.keyword == keyword);
    if matches!(name, PG_CATALOG | INFORMATION_SCHEMA) {
        return next == Some(&Token::Period) && before != Some(&Token::Period);
    }
    if is_table(name) && (is_before(Keyword::FROM) || is_before(Keyword::JOIN)) {
        return next != Some(&Token::Period);
    }
    if is_quoted || before == Some(&Token::Period) {
        return false;
    }
    let is_call = next == Some(&Token::LParen);
    let is_of_pg = name.starts_with("pg_") && name != "pg_typeof";
    let is_privilege = name.starts_with("has_") && name.ends_with("_privilege");
    (is_call && (is_of_pg || is_privilege || FUNCTIONS.contains(&name)))
        || (!is_call && next != Some(&Token::Period) && REGISTERS.contains(&name))
        || (before == Some(&Token::DoubleColon) && OBJECT_TYPES.contains(&name))
}

fn is_table(name: &str) -> bool {
    PG_CATALOG_TABLES.contains(&name) || views::NAMES.contains(&name)
}

/// What the catalogs of all sessions share; made when the first of them is asked.
#[derive(Default)]
pub(super) struct SharedCatalog {
    base: OnceLock<Result<Base, String>>,
}

struct Base {
    state: SessionState,
    /// PostgreSQL's own tables.
    fixed: Arc<dyn SchemaProvider>,
    dialect: Dialect,
}

impl SharedCatalog {
    fn base(&self) -> Result<&Base, QueryError> {
        let internal = |error: &String| {
            QueryError::new(QueryErrorKind::Internal, format!("the catalog could not be set up: {error}"))
        };
        self.base.get_or_init(|| Base::new().map_err(|error| error.to_string())).as_ref().map_err(internal)
    }
}

impl Base {
    fn new() -> Result<Self> {
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_information_schema(false)
            .with_default_catalog_and_schema(CATALOG, PUBLIC);
        let context = SessionContext::new_with_config(config);
        setup_pg_catalog(&context, CATALOG, EmptyContextProvider).map_err(|error| *error)?;
        functions::register(&context);
        let fixed = context.catalog(CATALOG).and_then(|catalog| catalog.schema(PG_CATALOG));
        let fixed = fixed.ok_or_else(|| DataFusionError::Internal("pg_catalog is missing".into()))?;
        let mut state = context.state();
        compare_mixed_types(&mut state)?;
        Ok(Self { state, fixed, dialect: Dialect::new() })
    }
}

/// The catalog as one session sees it.
pub(super) struct CatalogPlanner {
    pub(super) shared: Arc<SharedCatalog>,
    pub(super) sessions: Activities,
    pub(super) settings: Settings,
}

impl fmt::Debug for CatalogPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatalogPlanner({})", self.sessions.asker.user)
    }
}

#[async_trait]
impl StatementPlanner for CatalogPlanner {
    async fn plan(&self, sql: &str, tables: &Arc<Tables>) -> Result<Foreign, QueryError> {
        sql::check_bounds(sql, &PostgreSqlDialect {})?;
        let base = self.shared.base()?;
        let statement = Statement::Statement(Box::new(base.dialect.parse(sql)?));
        sql::check_reads(&statement)?;
        let state = self.state(base, tables).map_err(|error| error_of(&error))?;
        let plan = state.statement_to_plan(statement).await.map_err(|error| unplanned(&error))?;
        Ok(Foreign { state, plan })
    }
}

/// Why a statement could not be planned. A function that is missing is told as the engine tells it.
fn unplanned(error: &DataFusionError) -> QueryError {
    let mut found = error_of(error);
    let name = found.message.strip_prefix("Invalid function '").and_then(|rest| rest.split('\'').next());
    if let Some(name) = name.filter(|_| found.kind == QueryErrorKind::Plan) {
        found.message = format!("there is no function {name}");
    }
    found
}

impl CatalogPlanner {
    fn state(&self, base: &Base, tables: &Tables) -> Result<SessionState> {
        let relations = Arc::new(Relations::of(tables));
        let catalog = MemoryCatalogProvider::new();
        for schema in [PUBLIC, SYSTEM] {
            let provider = Named { relations: Arc::clone(&relations), schema };
            catalog.register_schema(schema, Arc::new(provider))?;
        }
        let settings = self.settings.clone();
        let fixed = Arc::clone(&base.fixed);
        let sessions = self.sessions.clone();
        let provider =
            PgCatalog { relations: Arc::clone(&relations), settings: settings.clone(), sessions, fixed };
        catalog.register_schema(PG_CATALOG, Arc::new(provider))?;
        catalog.register_schema(INFORMATION_SCHEMA, Arc::new(Information(Arc::clone(&relations))))?;
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(CATALOG.into(), Arc::new(catalog));
        let mut state = base.state.clone();
        state.register_catalog_list(Arc::new(list));
        functions::register_of_session(&mut state, &self.sessions, settings, &relations)?;
        state.mark_start_execution();
        Ok(state)
    }
}

/// The tables by name, for whoever names one beside the catalog.
#[derive(Debug)]
struct Named {
    relations: Arc<Relations>,
    schema: &'static str,
}

#[async_trait]
impl SchemaProvider for Named {
    fn table_names(&self) -> Vec<String> {
        self.relations.of_schema(self.schema).map(|relation| relation.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let found = self.relations.of_schema(self.schema).find(|relation| relation.name == name);
        Ok(found.map(|relation| {
            Arc::new(Unread { name: name.to_owned(), schema: Arc::clone(&relation.arrow) })
                as Arc<dyn TableProvider>
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.relations.of_schema(self.schema).any(|relation| relation.name == name)
    }
}

/// A table whose rows are not here.
#[derive(Debug)]
struct Unread {
    name: String,
    schema: arrow::datatypes::SchemaRef,
}

#[async_trait]
impl TableProvider for Unread {
    fn schema(&self) -> arrow::datatypes::SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let message = format!(
            "a statement that names pg_catalog, information_schema or a function of PostgreSQL's cannot also read {}; \
             ask in two statements",
            self.name
        );
        Err(DataFusionError::External(Box::new(QueryError::new(QueryErrorKind::Plan, message))))
    }
}

#[derive(Debug)]
struct PgCatalog {
    relations: Arc<Relations>,
    settings: Settings,
    sessions: Activities,
    fixed: Arc<dyn SchemaProvider>,
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        let own = views::NAMES.iter().map(|name| (*name).to_owned());
        self.fixed.table_names().into_iter().chain(own).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(own) = tables::build(name, &self.relations, &self.settings)? {
            return Ok(Some(own));
        }
        if name == activity::NAME {
            return memory(self.sessions.table()?);
        }
        if let Some(own) = views::build(name, &self.relations, &self.sessions.asker.user)? {
            return Ok(Some(own));
        }
        match self.fixed.table(name).await? {
            Some(table) => Ok(Some(fixed::corrected(name, table).await?)),
            None => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        is_table(name)
    }
}

#[derive(Debug)]
struct Information(Arc<Relations>);

#[async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        information::NAMES.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        information::build(name, &self.0)
    }

    fn table_exist(&self, name: &str) -> bool {
        information::NAMES.contains(&name)
    }
}

/// A table of so many rows in memory.
fn memory(batch: arrow::array::RecordBatch) -> Result<Option<Arc<dyn TableProvider>>> {
    Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
}

#[cfg(test)]
mod tests;
