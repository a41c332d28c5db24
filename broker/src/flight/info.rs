//! What the server says of itself: what it can do, and which types it has.

use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
    SqlSupportedTransaction, SqlSupportedUnions, XdbcDataType,
};

use crate::sql::SQL_BYTES_MAX;

/// The answers of GetSqlInfo.
pub(super) fn server() -> Result<SqlInfoData, FlightError> {
    let mut info = SqlInfoDataBuilder::new();
    let texts = [
        (SqlInfo::FlightSqlServerName, "Headwater"),
        (SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION")),
        (SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION),
        (SqlInfo::SqlIdentifierQuoteChar, "\""),
        (SqlInfo::SqlSearchStringEscape, "\\"),
        (SqlInfo::SqlExtraNameCharacters, ""),
        (SqlInfo::SqlSchemaTerm, "schema"),
        (SqlInfo::SqlCatalogTerm, "catalog"),
    ];
    for (name, text) in texts {
        info.append(name, text);
    }
    for (name, flag) in FLAGS {
        info.append(name, flag);
    }
    let bits = |flags: &[i32]| flags.iter().fold(0_i32, |bits, flag| bits | 1 << flag);
    let unions = [SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32];
    let joins = [
        SqlOuterJoinsSupportLevel::SqlLimitedOuterJoins as i32,
        SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32,
    ];
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    info.append(SqlInfo::SqlOuterJoinsSupportLevel, bits(&joins));
    info.append(SqlInfo::SqlSupportedUnions, bits(&unions));
    info.append(SqlInfo::SqlMaxStatementLength, i64::try_from(SQL_BYTES_MAX).unwrap_or(i64::MAX));
    info.build()
}

const FLAGS: [(SqlInfo, bool); 27] = [
    (SqlInfo::FlightSqlServerReadOnly, true),
    (SqlInfo::FlightSqlServerSql, true),
    (SqlInfo::FlightSqlServerSubstrait, false),
    (SqlInfo::FlightSqlServerCancel, true),
    (SqlInfo::FlightSqlServerBulkIngestion, false),
    (SqlInfo::FlightSqlServerIngestTransactionsSupported, false),
    (SqlInfo::SqlDdlCatalog, false),
    (SqlInfo::SqlDdlSchema, false),
    (SqlInfo::SqlDdlTable, false),
    (SqlInfo::SqlAllTablesAreSelectable, true),
    (SqlInfo::SqlSupportsColumnAliasing, true),
    (SqlInfo::SqlNullPlusNullIsNull, true),
    (SqlInfo::SqlSupportsTableCorrelationNames, true),
    (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
    (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
    (SqlInfo::SqlSupportsOrderByUnrelated, true),
    (SqlInfo::SqlSupportsLikeEscapeClause, true),
    (SqlInfo::SqlSupportsNonNullableColumns, true),
    (SqlInfo::SqlCatalogAtStart, true),
    (SqlInfo::SqlSelectForUpdateSupported, false),
    (SqlInfo::SqlStoredProceduresSupported, false),
    (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
    (SqlInfo::SqlTransactionsSupported, false),
    (SqlInfo::SqlBatchUpdatesSupported, false),
    (SqlInfo::SqlSavepointsSupported, false),
    (SqlInfo::SqlNamedParametersSupported, false),
    (SqlInfo::SqlLocatorsUpdateCopy, false),
];

/// The answers of GetXdbcTypeInfo: the types of a table spec.
pub(super) fn types() -> Result<XdbcTypeInfoData, FlightError> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, data_type, column_size, literal) in TYPES {
        let quote = match literal {
            Literal::Plain => None,
            Literal::Quoted => Some("'".to_owned()),
        };
        let is_decimal = data_type == XdbcDataType::XdbcDecimal;
        let is_number = literal == Literal::Plain && data_type != XdbcDataType::XdbcBit;
        types.append(XdbcTypeInfo {
            type_name: name.into(),
            data_type,
            column_size,
            literal_prefix: quote.clone(),
            literal_suffix: quote,
            create_params: is_decimal.then(|| vec!["precision".into(), "scale".into()]),
            nullable: Nullable::NullabilityNullable,
            case_sensitive: name == "STRING" || name == "JSON",
            searchable: Searchable::Full,
            unsigned_attribute: is_number.then_some(false),
            minimum_scale: is_decimal.then_some(0),
            maximum_scale: is_decimal.then_some(38),
            sql_data_type: data_type,
            num_prec_radix: is_number.then_some(if is_decimal { 10 } else { 2 }),
            ..XdbcTypeInfo::default()
        });
    }
    types.build()
}

/// How a value is written in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Literal {
    Plain,
    Quoted,
}

/// Name, type, size (bits of integers and floating-point numbers, digits of decimals, characters of dates), literal.
const TYPES: [(&str, XdbcDataType, Option<i32>, Literal); 12] = [
    ("BOOLEAN", XdbcDataType::XdbcBit, Some(1), Literal::Plain),
    ("INT", XdbcDataType::XdbcInteger, Some(32), Literal::Plain),
    ("LONG", XdbcDataType::XdbcBigint, Some(64), Literal::Plain),
    ("FLOAT", XdbcDataType::XdbcReal, Some(24), Literal::Plain),
    ("DOUBLE", XdbcDataType::XdbcDouble, Some(53), Literal::Plain),
    ("DECIMAL", XdbcDataType::XdbcDecimal, Some(38), Literal::Plain),
    ("STRING", XdbcDataType::XdbcVarchar, None, Literal::Quoted),
    ("JSON", XdbcDataType::XdbcLongvarchar, None, Literal::Quoted),
    // It is sent as text.
    ("UUID", XdbcDataType::XdbcVarchar, Some(36), Literal::Quoted),
    ("BYTES", XdbcDataType::XdbcVarbinary, None, Literal::Quoted),
    ("DATE", XdbcDataType::XdbcDate, Some(10), Literal::Quoted),
    ("TIMESTAMP", XdbcDataType::XdbcTimestamp, Some(26), Literal::Quoted),
];
