//! What tools write over types that SQL does not mix, in the meaning that PostgreSQL or Pinot has for it.
//!
//! | written | means |
//! |---|---|
//! | `flag = 1`, `flag = 'true'` | BOOLEANs compared |
//! | `day >= 1767225600000` | a DATE's midnight compared with milliseconds since the epoch |
//! | `raw = '\x00ff'`, `'\x00ff'::bytea` | the bytes that are written in hex |
//! | `interval * n`, `n * interval`, `interval / n` | that many times as long |
//! | `'epoch'::timestamp` | 1970 |
//! | `price = 70000.01` | DECIMALs compared ([`decimals`](super::decimals)) |
//! | `flag IN ('t', 0)`, `raw IN ('\x00ff')`, also `BETWEEN` | each item as above ([`among`](super::among)) |
//! | `to_char(x, 'YYYY-MM-DD')`, `to_timestamp`, `to_date` | PostgreSQL's [patterns](super::pg_pattern); those with `%` are ours |

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, Operator, ScalarUDF, binary_expr, cast, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::interval::INTERVAL;
use super::{among, decimals, pg_pattern};

/// The functions whose second argument is a pattern.
const WITH_PATTERNS: [&str; 3] = ["to_char", "to_timestamp", "to_date"];

/// The operators of the table above.
#[derive(Debug)]
pub(super) struct MixedTypes {
    pub(super) interval_times: Arc<ScalarUDF>,
}

impl ExprPlanner for MixedTypes {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        // What has no type here will be told so elsewhere.
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        if let Some(operator) = comparison(&expr.op) {
            let RawBinaryExpr { left: of_left, right: of_right, op } = expr;
            let (of_left, is_left_other) = compared(of_left, &left, &right);
            let (of_right, is_right_other) = compared(of_right, &right, &left);
            return Ok(match is_left_other || is_right_other {
                true => PlannerResult::Planned(binary_expr(of_left, operator, of_right)),
                false => PlannerResult::Original(RawBinaryExpr { op, left: of_left, right: of_right }),
            });
        }
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

fn comparison(operator: &BinaryOperator) -> Option<Operator> {
    Some(match operator {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// A side of a comparison, as it is to be compared with one of type `other`; and whether that is another expression.
fn compared(expr: Expr, data_type: &DataType, other: &DataType) -> (Expr, bool) {
    match (data_type, other) {
        (number, DataType::Boolean) if number.is_integer() => (cast(expr, DataType::Boolean), true),
        (text, DataType::Boolean) if text.is_string() => (cast(expr, DataType::Boolean), true),
        (number, DataType::Date32) if number.is_integer() => (in_millis(expr), true),
        (DataType::Float64, DataType::Decimal128(..)) => match decimals::written(&expr) {
            Some(decimal) => (decimal, true),
            None => (expr, false),
        },
        (DataType::Binary | DataType::BinaryView, _) | (_, DataType::Null) => (expr, false),
        (text, DataType::Binary | DataType::BinaryView) if text.is_string() => match hex_of(&expr) {
            Some(bytes) => (lit(ScalarValue::BinaryView(Some(bytes))), true),
            None => (expr, false),
        },
        _ => (expr, false),
    }
}

/// What an item of a list, or a bound, is compared as beside a value of type `other`; `None`: as what it is.
pub(super) fn beside(item: &Expr, own: &DataType, other: &DataType) -> Option<Expr> {
    let (item, is_other) = compared(item.clone(), own, other);
    is_other.then_some(item)
}

fn in_millis(number: Expr) -> Expr {
    match number {
        Expr::Literal(ScalarValue::Int64(ms), metadata) => {
            Expr::Literal(ScalarValue::TimestampMillisecond(ms, None), metadata)
        }
        other => cast(cast(other, DataType::Int64), DataType::Timestamp(TimeUnit::Millisecond, None)),
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

/// The casts and calls of the table above.
#[derive(Debug)]
pub(super) struct ReadAsPostgres;

impl FunctionRewrite for ReadAsPostgres {
    fn name(&self) -> &str {
        "read_as_postgres"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::Cast(Cast { expr, field }) => match read(&expr, field.data_type()) {
                Some(value) => Transformed::yes(lit(value)),
                None => Transformed::no(Expr::Cast(Cast { expr, field })),
            },
            Expr::ScalarFunction(call) => with_pattern(call)?,
            other => among::read(other, schema),
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
