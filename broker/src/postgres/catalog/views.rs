//! Views of `pg_catalog`: who there is, how many rows the tables have, and those that have nothing to show here.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::memory;
use super::tables::{Cell, OWNER, OWNER_OID, Relation, Relations, batch, hashed, int, text, yes};
use crate::catalog::PUBLIC;

/// Views that `datafusion-pg-catalog` lacks.
pub(super) const NAMES: &[&str] = &[
    "pg_available_extensions",
    "pg_indexes",
    "pg_locks",
    "pg_policies",
    "pg_rules",
    "pg_sequences",
    super::activity::NAME,
    "pg_stat_all_tables",
    "pg_user",
    "pg_user_mappings",
];

/// The view of this name, if it is one of ours.
pub(super) fn build(name: &str, relations: &Relations, user: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let none = |columns| batch(columns, Vec::new());
    memory(match name {
        "pg_roles" => batch(ROLES, roles(user).into_iter().map(|(name, oid)| role_row(name, oid)).collect())?,
        "pg_user" => batch(USERS, roles(user).into_iter().map(|(name, oid)| user_row(name, oid)).collect())?,
        "pg_stat_user_tables" | "pg_stat_all_tables" => statistics(relations)?,
        "pg_available_extensions" => none(AVAILABLE_EXTENSIONS)?,
        "pg_indexes" => none(INDEXES)?,
        "pg_locks" => none(LOCKS)?,
        "pg_policies" => none(POLICIES)?,
        "pg_rules" => none(RULES)?,
        "pg_sequences" => none(SEQUENCES)?,
        "pg_user_mappings" => none(USER_MAPPINGS)?,
        _ => return Ok(None),
    })
}

/// Whoever owns everything, and whoever asks.
fn roles(user: &str) -> Vec<(&str, i32)> {
    let owner = (OWNER, OWNER_OID);
    if user == OWNER { vec![owner] } else { vec![owner, (user, hashed(user))] }
}

const ROLES: &[(&str, Cell)] = &[
    ("rolname", Cell::Text),
    ("rolsuper", Cell::Bool),
    ("rolinherit", Cell::Bool),
    ("rolcreaterole", Cell::Bool),
    ("rolcreatedb", Cell::Bool),
    ("rolcanlogin", Cell::Bool),
    ("rolreplication", Cell::Bool),
    ("rolconnlimit", Cell::Int4),
    ("rolpassword", Cell::Text),
    ("rolvaliduntil", Cell::Text),
    ("rolbypassrls", Cell::Bool),
    ("rolconfig", Cell::Texts),
    ("oid", Cell::Oid),
];

fn role_row(name: &str, oid: i32) -> Vec<ScalarValue> {
    let no = || yes(false);
    vec![
        text(name),
        no(),
        yes(true),
        no(),
        no(),
        yes(oid != OWNER_OID),
        no(),
        int(-1),
        text("********"),
        ScalarValue::Null,
        no(),
        ScalarValue::Null,
        int(oid),
    ]
}

const USERS: &[(&str, Cell)] = &[
    ("usename", Cell::Text),
    ("usesysid", Cell::Oid),
    ("usecreatedb", Cell::Bool),
    ("usesuper", Cell::Bool),
    ("userepl", Cell::Bool),
    ("usebypassrls", Cell::Bool),
    ("passwd", Cell::Text),
    ("valuntil", Cell::Text),
    ("useconfig", Cell::Texts),
];

fn user_row(name: &str, oid: i32) -> Vec<ScalarValue> {
    let no = || yes(false);
    vec![text(name), int(oid), no(), no(), no(), no(), text("********")]
}

const STATISTICS: &[(&str, Cell)] = &[
    ("relid", Cell::Oid),
    ("schemaname", Cell::Text),
    ("relname", Cell::Text),
    ("n_live_tup", Cell::Int8),
    ("n_dead_tup", Cell::Int8),
    ("seq_scan", Cell::Int8),
    ("seq_tup_read", Cell::Int8),
    ("idx_scan", Cell::Int8),
    ("idx_tup_fetch", Cell::Int8),
    ("n_tup_ins", Cell::Int8),
    ("n_tup_upd", Cell::Int8),
    ("n_tup_del", Cell::Int8),
    ("n_tup_hot_upd", Cell::Int8),
    ("n_mod_since_analyze", Cell::Int8),
    ("last_vacuum", Cell::Text),
    ("last_autovacuum", Cell::Text),
    ("last_analyze", Cell::Text),
    ("last_autoanalyze", Cell::Text),
];

fn statistics(relations: &Relations) -> Result<RecordBatch> {
    let count = |count| ScalarValue::Int64(Some(count));
    let row = |relation: &Relation| {
        let names = [int(relation.oid), text(relation.schema), text(&relation.name)];
        names.into_iter().chain([count(relation.rows as i64), count(0)]).collect()
    };
    batch(STATISTICS, relations.of_schema(PUBLIC).map(row).collect())
}

const AVAILABLE_EXTENSIONS: &[(&str, Cell)] = &[
    ("name", Cell::Text),
    ("default_version", Cell::Text),
    ("installed_version", Cell::Text),
    ("comment", Cell::Text),
];

const INDEXES: &[(&str, Cell)] = &[
    ("schemaname", Cell::Text),
    ("tablename", Cell::Text),
    ("indexname", Cell::Text),
    ("tablespace", Cell::Text),
    ("indexdef", Cell::Text),
];

const LOCKS: &[(&str, Cell)] = &[
    ("locktype", Cell::Text),
    ("database", Cell::Oid),
    ("relation", Cell::Oid),
    ("page", Cell::Int4),
    ("tuple", Cell::Int2),
    ("virtualxid", Cell::Text),
    ("transactionid", Cell::Int4),
    ("classid", Cell::Oid),
    ("objid", Cell::Oid),
    ("objsubid", Cell::Int2),
    ("virtualtransaction", Cell::Text),
    ("pid", Cell::Int4),
    ("mode", Cell::Text),
    ("granted", Cell::Bool),
    ("fastpath", Cell::Bool),
    ("waitstart", Cell::Text),
];

const POLICIES: &[(&str, Cell)] = &[
    ("schemaname", Cell::Text),
    ("tablename", Cell::Text),
    ("policyname", Cell::Text),
    ("permissive", Cell::Text),
    ("roles", Cell::Texts),
    ("cmd", Cell::Text),
    ("qual", Cell::Text),
    ("with_check", Cell::Text),
];

const RULES: &[(&str, Cell)] = &[
    ("schemaname", Cell::Text),
    ("tablename", Cell::Text),
    ("rulename", Cell::Text),
    ("definition", Cell::Text),
];

const SEQUENCES: &[(&str, Cell)] = &[
    ("schemaname", Cell::Text),
    ("sequencename", Cell::Text),
    ("sequenceowner", Cell::Text),
    ("data_type", Cell::Text),
    ("start_value", Cell::Int8),
    ("min_value", Cell::Int8),
    ("max_value", Cell::Int8),
    ("increment_by", Cell::Int8),
    ("cycle", Cell::Bool),
    ("cache_size", Cell::Int8),
    ("last_value", Cell::Int8),
];

const USER_MAPPINGS: &[(&str, Cell)] = &[
    ("umid", Cell::Oid),
    ("srvid", Cell::Oid),
    ("srvname", Cell::Text),
    ("umuser", Cell::Oid),
    ("usename", Cell::Text),
    ("umoptions", Cell::Texts),
];
