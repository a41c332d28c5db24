//! Casts between whole numbers and timestamps, names of types, and of time zones.
//!
//! A number that is cast to a TIMESTAMP, whatever its precision, counts milliseconds since the epoch, and a TIMESTAMP that is cast
//! to a number gives them. Without this the unit would be that of the type: seconds for `TIMESTAMP`, milliseconds for
//! `TIMESTAMP(3)`, microseconds for a column, nanoseconds for `now()`. `to_timestamp(x)` and `extract(epoch FROM x)` are SQL's ways
//! to say seconds, and stay.

use arrow::array::timezone::Tz;
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::datatype::DataTypeExt;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, TryCast};
use datafusion::sql::sqlparser::ast;
use headwater_segment::schema::ColumnType;

use super::compare::Side;
use super::millis::is_finer;
use super::millis_of::millis_of;
use super::postgres::declared_as;

/// The cast by way of milliseconds, if `expr` is one between a whole number and a timestamp.
pub(super) fn in_millis(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::Cast(Cast { expr, field }) if is_cut(&expr, field.data_type(), schema) => {
            Transformed::yes(Expr::Cast(Cast { expr: Box::new(millis_of(*expr)), field }))
        }
        Expr::TryCast(TryCast { expr, field }) if is_cut(&expr, field.data_type(), schema) => {
            Transformed::yes(Expr::TryCast(TryCast { expr: Box::new(millis_of(*expr)), field }))
        }
        Expr::Cast(Cast { expr, field }) => {
            let way = way_between(&expr, field.data_type(), schema);
            let to_nanos = matches!(field.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _));
            let is_detour = to_nanos && is_by_way_of_seconds(&expr);
            let expr = if is_detour { without_cast(*expr) } else { expr };
            let inner = way
                .iter()
                .flatten()
                .fold(expr, |inner, step| Box::new(Expr::Cast(Cast::new(inner, step.clone()))));
            let cast = Expr::Cast(Cast { expr: inner, field });
            if way.is_some() || is_detour { Transformed::yes(cast) } else { Transformed::no(cast) }
        }
        Expr::TryCast(TryCast { expr, field }) => {
            let way = way_between(&expr, field.data_type(), schema);
            let inner = way
                .iter()
                .flatten()
                .fold(expr, |inner, step| Box::new(Expr::TryCast(TryCast::new(inner, step.clone()))));
            let cast = Expr::TryCast(TryCast { expr: inner, field });
            if way.is_some() { Transformed::yes(cast) } else { Transformed::no(cast) }
        }
        other => Transformed::no(other),
    }
}

/// Whether a timestamp is cast to a number and has parts of a millisecond, which are cut off downwards.
fn is_cut(expr: &Expr, target: &DataType, schema: &DFSchema) -> bool {
    target.is_integer() && Side::of(expr, schema).is_some_and(|at| is_finer(&at))
}

/// Whether a number of milliseconds is cut to seconds: the planner puts this into a cast of a number to a TIMESTAMP.
fn is_by_way_of_seconds(expr: &Expr) -> bool {
    let Expr::Cast(Cast { expr, field }) = expr else { return false };
    let Expr::Cast(Cast { expr: _, field: inner }) = expr.as_ref() else { return false };
    matches!(field.data_type(), DataType::Timestamp(TimeUnit::Second, _))
        && matches!(inner.data_type(), DataType::Timestamp(TimeUnit::Millisecond, _))
}

fn without_cast(expr: Expr) -> Box<Expr> {
    match expr {
        Expr::Cast(Cast { expr, .. }) => expr,
        other => Box::new(other),
    }
}

/// The types to go through; `None` if the cast is no such cast, or right as it is.
fn way_between(expr: &Expr, target: &DataType, schema: &DFSchema) -> Option<Vec<DataType>> {
    // What has no type yet, such as a parameter, gets that of the cast.
    let source = expr.get_type(schema).ok()?;
    match (&source, target) {
        (DataType::Int64, DataType::Timestamp(TimeUnit::Millisecond, _)) => None,
        (number, DataType::Timestamp(_, zone)) if number.is_integer() => {
            Some(vec![DataType::Int64, DataType::Timestamp(TimeUnit::Millisecond, zone.clone())])
        }
        (DataType::Timestamp(TimeUnit::Millisecond, _), DataType::Int64) => None,
        (DataType::Timestamp(_, zone), number) if number.is_integer() => {
            Some(vec![DataType::Timestamp(TimeUnit::Millisecond, zone.clone()), DataType::Int64])
        }
        _ => None,
    }
}

/// Refuses time zones that there are not: `x AT TIME ZONE 'Mars/Phobos'` is a cast, and nothing would read the zone before the
/// answer is written.
#[derive(Debug)]
pub(super) struct KnownZones;

impl FunctionRewrite for KnownZones {
    fn name(&self) -> &str {
        "known_zones"
    }

    fn rewrite(&self, expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        match &expr {
            Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => {
                match field.data_type() {
                    DataType::Timestamp(_, Some(zone)) if zone.parse::<Tz>().is_err() => {
                        plan_err!("there is no time zone {zone}")
                    }
                    _ => Ok(Transformed::no(expr)),
                }
            }
            _ => Ok(Transformed::no(expr)),
        }
    }
}

/// `LONG`, `BIG_DECIMAL`, `JSONB`, `BPCHAR`: names of types of Pinot and PostgreSQL that are none of SQL's.
#[derive(Debug)]
pub(super) struct ForeignTypes;

impl TypePlanner for ForeignTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let (name, modifiers) = match sql_type {
            ast::DataType::Custom(name, modifiers) => (name, modifiers),
            // Whoever is told the type reads the text as a document.
            ast::DataType::JSON | ast::DataType::JSONB => {
                return Ok(Some(declared_as("", &ColumnType::Json)));
            }
            _ => return Ok(None),
        };
        if !modifiers.is_empty() {
            return Ok(None);
        }
        let data_type = match name.to_string().to_ascii_uppercase().as_str() {
            "LONG" => DataType::Int64,
            // As exact as jsonExtractScalar is.
            "BIG_DECIMAL" => DataType::Decimal128(38, 10),
            "BPCHAR" | "NAME" => DataType::Utf8View,
            _ => return Ok(None),
        };
        Ok(Some(data_type.into_nullable_field_ref()))
    }
}
