//! What tools write over types that SQL does not mix, in the meaning that PostgreSQL or Pinot has for it. What is compared
//! is so in lists and bounds as well ([`compare`](super::compare)).
//!
//! | written | means |
//! |---|---|
//! | `flag = 1`, `flag = 'true'` | BOOLEANs compared |
//! | `day >= 1767225600000` | a DATE's midnight compared with milliseconds since the epoch |
//! | `raw = '\x00ff'`, `'\x00ff'::bytea` | the bytes that are written in hex |
//! | `interval * n`, `n * interval`, `interval / n` | that many times as long |
//! | `'epoch'::timestamp` | 1970 |
//! | `price = 70000.01` | DECIMALs compared ([`decimals`](super::decimals)) |
//! | `to_char(x, 'YYYY-MM-DD')`, `to_timestamp`, `to_date` | PostgreSQL's [patterns](super::pg_pattern); those with `%` are ours |

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, Operator, ScalarUDF, binary_expr, cast, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::compare::{Said, Side, swapped};
use super::interval::INTERVAL;
use super::millis::{in_millis, instant};
use super::{decimals, pg_pattern};

/// The functions whose second argument is a pattern.
const WITH_PATTERNS: [&str; 3] = ["to_char", "to_timestamp", "to_date"];

/// The comparisons of the table above.
pub(super) fn mixed(subject: &Side<'_>, operator: Operator, item: &Side<'_>) -> Result<Option<Said>> {
    let beside = |item: Expr| Some(Said::Beside(operator, item));
    Ok(match (subject.data_type(), item.data_type()) {
        (DataType::Boolean, kind) if kind.is_integer() || kind.is_string() => {
            beside(cast(item.expr.clone(), DataType::Boolean))
        }
        // A column of numbers stays alone on its side, to prune segments.
        (DataType::Date32, number) if number.is_integer() && subject.is_constant() && !item.is_constant() => {
            let midnight = in_millis(subject);
            Some(Said::Whole(binary_expr(item.expr.clone(), swapped(operator), midnight)))
        }
        (DataType::Date32, number) if number.is_integer() => beside(instant(item.expr.clone(), None)),
        (DataType::Decimal128(..), DataType::Float64 | DataType::Float32) => {
            decimals::written(item.expr).and_then(beside)
        }
        (DataType::Binary | DataType::BinaryView, text) if text.is_string() => {
            hex_of(item.expr).and_then(|bytes| beside(lit(ScalarValue::BinaryView(Some(bytes)))))
        }
        _ => None,
    })
}

/// The arithmetic of the table above.
#[derive(Debug)]
pub(super) struct MultiplyIntervals {
    pub(super) interval_times: Arc<ScalarUDF>,
}

impl ExprPlanner for MultiplyIntervals {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        // What has no type here will be told so elsewhere.
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let is_interval = |data_type: &DataType| matches!(data_type, DataType::Interval(_));
        let (interval, number) = match expr.op {
            BinaryOperator::Multiply if is_interval(&left) && right.is_numeric() => (expr.left, expr.right),
            BinaryOperator::Multiply if is_interval(&right) && left.is_numeric() => (expr.right, expr.left),
            BinaryOperator::Divide if is_interval(&left) && right.is_numeric() => {
                (expr.left, lit(1.0) / cast(expr.right, DataType::Float64))
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let arguments = vec![cast(interval, INTERVAL), cast(number, DataType::Float64)];
        Ok(PlannerResult::Planned(self.interval_times.call(arguments)))
    }
}

/// The text, if the expression is one in quotes.
pub(super) fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// The bytes of a text such as `\x00ff`.
fn hex_of(expr: &Expr) -> Option<Vec<u8>> {
    bytes_of_hex(text_of(expr)?.strip_prefix("\\x")?)
}

/// The bytes that are written in hex, two digits for each.
pub(super) fn bytes_of_hex(digits: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_hex = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    digits.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>().filter(|_| is_hex)
}

/// The casts of the table above, and the calls with patterns.
#[derive(Debug)]
pub(super) struct ReadAsPostgres;

impl FunctionRewrite for ReadAsPostgres {
    fn name(&self) -> &str {
        "read_as_postgres"
    }

    fn rewrite(&self, expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::Cast(Cast { expr, field }) => match read(&expr, field.data_type()) {
                Some(value) => Transformed::yes(lit(value)),
                None => Transformed::no(Expr::Cast(Cast { expr, field })),
            },
            Expr::ScalarFunction(call) => with_pattern(call)?,
            other => Transformed::no(other),
        })
    }
}

fn read(expr: &Expr, data_type: &DataType) -> Option<ScalarValue> {
    match data_type {
        DataType::Binary | DataType::BinaryView => {
            ScalarValue::BinaryView(Some(hex_of(expr)?)).cast_to(data_type).ok()
        }
        DataType::Timestamp(..) | DataType::Date32 if text_of(expr)?.eq_ignore_ascii_case("epoch") => {
            ScalarValue::TimestampMillisecond(Some(0), None).cast_to(data_type).ok()
        }
        _ => None,
    }
}

fn with_pattern(call: ScalarFunction) -> Result<Transformed<Expr>> {
    let pattern = match call.args.as_slice() {
        [_, pattern] if WITH_PATTERNS.contains(&call.func.name()) => text_of(pattern),
        _ => None,
    };
    Ok(match pattern.map(pg_pattern::read).transpose()?.flatten() {
        Some(pieces) => Transformed::yes(pg_pattern::with_pieces(call, pieces)),
        None => Transformed::no(Expr::ScalarFunction(call)),
    })
}
