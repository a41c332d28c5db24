//! The table of hits: the columns of ClickBench's that its queries read, and ten of the others for `SELECT *`.

use crate::data::Kind::{Date, Int, Long, Text, Timestamp};
use crate::data::{ColumnRow, TableDefinition};

pub(super) const TABLE: &str = "hits";

pub(super) const COLUMNS: [ColumnRow; 35] = [
    ("watchid", Long, "Int64", "BIGINT"),
    ("javaenable", Int, "Int16", "SMALLINT"),
    ("title", Text, "String", "VARCHAR"),
    ("eventtime", Timestamp, "DateTime('UTC')", "TIMESTAMP"),
    ("eventdate", Date, "Date", "DATE"),
    ("counterid", Int, "Int32", "INTEGER"),
    ("clientip", Int, "Int32", "INTEGER"),
    ("regionid", Int, "Int32", "INTEGER"),
    ("userid", Long, "Int64", "BIGINT"),
    ("os", Int, "Int16", "SMALLINT"),
    ("useragent", Int, "Int16", "SMALLINT"),
    ("url", Text, "String", "VARCHAR"),
    ("referer", Text, "String", "VARCHAR"),
    ("isrefresh", Int, "Int16", "SMALLINT"),
    ("resolutionwidth", Int, "Int16", "SMALLINT"),
    ("resolutionheight", Int, "Int16", "SMALLINT"),
    ("resolutiondepth", Int, "Int16", "SMALLINT"),
    ("ismobile", Int, "Int16", "SMALLINT"),
    ("mobilephone", Int, "Int16", "SMALLINT"),
    ("mobilephonemodel", Text, "LowCardinality(String)", "VARCHAR"),
    ("browserlanguage", Text, "LowCardinality(String)", "VARCHAR"),
    ("traficsourceid", Int, "Int16", "SMALLINT"),
    ("searchengineid", Int, "Int16", "SMALLINT"),
    ("searchphrase", Text, "String", "VARCHAR"),
    ("advengineid", Int, "Int16", "SMALLINT"),
    ("age", Int, "Int16", "SMALLINT"),
    ("sex", Int, "Int16", "SMALLINT"),
    ("dontcounthits", Int, "Int16", "SMALLINT"),
    ("islink", Int, "Int16", "SMALLINT"),
    ("isdownload", Int, "Int16", "SMALLINT"),
    ("windowclientwidth", Int, "Int16", "SMALLINT"),
    ("windowclientheight", Int, "Int16", "SMALLINT"),
    ("fetchtiming", Int, "Int32", "INTEGER"),
    ("urlhash", Long, "Int64", "BIGINT"),
    ("refererhash", Long, "Int64", "BIGINT"),
];

/// The table, sorted as ClickBench sorts it in ClickHouse.
pub(super) fn definition() -> TableDefinition {
    let sort_key = ["counterid", "eventdate", "userid", "eventtime", "watchid"];
    TableDefinition::new(TABLE, &COLUMNS, &sort_key, "eventtime")
}
