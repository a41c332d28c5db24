//! DataFusion's errors as ours: a kind, a message without DataFusion's dressing, a position, a nearest name.

mod calls;

use std::error::Error;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Diagnostic, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::functions_window::all_default_window_functions;
use datafusion::parquet::errors::ParquetError;
use headwater_segment::SegmentError;

use crate::cluster::node_error::{NodeError, NodeErrorKind};
use crate::sql::{Prepared, parse_error};
use crate::{QueryError, QueryErrorKind};

/// Names less alike than this (0 to 1) are not suggested.
const SIMILARITY_MIN: f64 = 0.5;

/// The [`QueryError`] inside a stream's error, or the error's classification.
pub fn error_of(error: &DataFusionError) -> QueryError {
    match error {
        DataFusionError::External(source) => of_source(source.as_ref()),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let mut found = error_of(inner);
            found.position = found.position.or_else(|| position_of(diagnostic));
            found
        }
        DataFusionError::Context(_, inner) => error_of(inner),
        DataFusionError::Shared(inner) => error_of(inner),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => error_of(first),
            None => internal(error),
        },
        DataFusionError::ArrowError(inner, _) => of_arrow(inner),
        DataFusionError::ParquetError(inner) => of_parquet(inner),
        DataFusionError::ObjectStore(inner) => unavailable(inner.to_string()),
        DataFusionError::SQL(parser, _) => parse_error(parser),
        DataFusionError::Plan(text) => of_plan(text),
        DataFusionError::SchemaError(schema, _) => of_schema(schema),
        DataFusionError::NotImplemented(text) => {
            QueryError::new(QueryErrorKind::Plan, format!("not supported: {}", first_line(text)))
        }
        DataFusionError::Configuration(text) => QueryError::new(QueryErrorKind::BadRequest, first_line(text)),
        DataFusionError::Execution(text) => QueryError::new(QueryErrorKind::Execution, first_line(text)),
        DataFusionError::ResourcesExhausted(text) => {
            QueryError::new(QueryErrorKind::MemoryExceeded, text.trim())
        }
        _ => internal(error),
    }
}

fn of_source(source: &(dyn Error + Send + Sync + 'static)) -> QueryError {
    if let Some(query) = source.downcast_ref::<QueryError>() {
        return query.clone();
    }
    if let Some(inner) = source.downcast_ref::<DataFusionError>() {
        return error_of(inner);
    }
    if let Some(inner) = source.downcast_ref::<ArrowError>() {
        return of_arrow(inner);
    }
    if let Some(inner) = source.downcast_ref::<ParquetError>() {
        return of_parquet(inner);
    }
    if let Some(NodeError { kind: NodeErrorKind::Full, .. }) = source.downcast_ref() {
        return QueryError::new(QueryErrorKind::Overloaded, source.to_string());
    }
    if source.is::<SegmentError>() || source.is::<NodeError>() {
        return unavailable(source.to_string());
    }
    QueryError::new(QueryErrorKind::Execution, source.to_string())
}

fn of_arrow(error: &ArrowError) -> QueryError {
    match error {
        ArrowError::ExternalError(source) => of_source(source.as_ref()),
        ArrowError::ParquetError(text) => unavailable(text.clone()),
        ArrowError::CastError(text) => {
            let message = calls::refused_cast(text).unwrap_or_else(|| error.to_string());
            QueryError::new(QueryErrorKind::Execution, message)
        }
        other => QueryError::new(QueryErrorKind::Execution, other.to_string()),
    }
}

fn of_parquet(error: &ParquetError) -> QueryError {
    match error {
        ParquetError::External(source) => of_source(source.as_ref()),
        other => unavailable(other.to_string()),
    }
}

fn of_plan(text: &str) -> QueryError {
    let name = text.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found"));
    match name {
        Some(name) => {
            let name = name.strip_prefix("headwater.").unwrap_or(name);
            let name = name.strip_prefix("public.").unwrap_or(name);
            QueryError::new(QueryErrorKind::UnknownTable, format!("there is no table {name}"))
        }
        None => {
            let message = calls::refused_call(text).unwrap_or_else(|| first_line(text));
            QueryError::new(QueryErrorKind::Plan, message)
        }
    }
}

fn of_schema(error: &SchemaError) -> QueryError {
    let SchemaError::FieldNotFound { field, valid_fields } = error else {
        return QueryError::new(QueryErrorKind::Plan, error.to_string());
    };
    let mut found =
        QueryError::new(QueryErrorKind::Plan, format!("there is no column {}", field.flat_name()));
    found.suggestion = nearest(&field.name, valid_fields.iter().map(|column| column.name.as_str()));
    found
}

fn unavailable(message: String) -> QueryError {
    QueryError::new(QueryErrorKind::SegmentUnavailable, message)
}

fn internal(error: &DataFusionError) -> QueryError {
    QueryError::new(QueryErrorKind::Internal, error.strip_backtrace())
}

fn position_of(diagnostic: &Diagnostic) -> Option<(u64, u64)> {
    let start = diagnostic.span?.start;
    (start.line > 0).then_some((start.line, start.column))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or(text).trim_end().to_owned()
}

/// An error of planning, with what the statement and the known names can add.
pub(super) fn plan_error(
    error: &DataFusionError,
    prepared: &Prepared,
    tables: &[String],
    functions: &[String],
) -> QueryError {
    let mut found = error_of(error);
    if let Some(message) = calls::as_sql(&found.message, &prepared.statement) {
        found.message = message;
    }
    let missing = match found.kind {
        QueryErrorKind::UnknownTable => found.message.strip_prefix("there is no table "),
        QueryErrorKind::Plan => found
            .message
            .strip_prefix("there is no column ")
            .or_else(|| quoted(&found.message, "Invalid function '"))
            .or_else(|| quoted(&found.message, "table function '")),
        _ => None,
    };
    let Some(missing) = missing.map(str::to_owned) else { return found };
    let is_function = found.message.contains("function '");
    if is_function && is_window_function(&missing) {
        found.message = format!(
            "{missing} is a window function: write OVER and its window behind it, such as {missing}(…) OVER (ORDER BY x)"
        );
    } else if is_function {
        found.message = format!("there is no function {missing}");
        found.suggestion = nearest(&missing, functions.iter().map(String::as_str));
    } else if found.kind == QueryErrorKind::UnknownTable {
        found.suggestion = nearest(&missing, tables.iter().map(String::as_str));
    }
    let last = missing.rsplit('.').next().unwrap_or(&missing);
    found.position = found.position.or_else(|| prepared.position_of(last));
    found
}

fn is_window_function(name: &str) -> bool {
    let functions = all_default_window_functions();
    functions.iter().any(|one| one.name() == name || one.aliases().iter().any(|alias| alias == name))
}

fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.strip_prefix(before)?.split('\'').next()
}

/// The known name most like `name`, letter case aside, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let lower = name.to_lowercase();
    known
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate)
        })
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_error_survives_every_wrapping() {
        let inner = QueryError::new(QueryErrorKind::RowsExceeded, "too many");
        let wrapped = DataFusionError::External(Box::new(inner));
        let wrapped = DataFusionError::Context("while".into(), Box::new(wrapped));
        let wrapped =
            DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(wrapped))), None);
        let wrapped = DataFusionError::Shared(std::sync::Arc::new(wrapped));
        assert_eq!(error_of(&wrapped).kind, QueryErrorKind::RowsExceeded);
    }

    #[test]
    fn a_corrupt_segment_is_unavailable() {
        let corrupt = SegmentError::Corrupt("segment x of table t".into());
        let error = DataFusionError::ParquetError(Box::new(ParquetError::External(Box::new(corrupt))));
        let error = error_of(&error);
        assert_eq!(error.kind, QueryErrorKind::SegmentUnavailable);
        assert!(error.message.contains("segment x"));
    }

    #[test]
    fn suggests_only_similar_names() {
        let known = ["orders", "Rides"];
        assert_eq!(nearest("order", known.into_iter()), Some("orders".into()));
        assert_eq!(nearest("rides", known.into_iter()), Some("Rides".into()));
        assert_eq!(nearest("zzz", known.into_iter()), None);
    }
}
