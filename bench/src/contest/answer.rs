//! Whether two answers are the same answer.

use std::cmp::Ordering;

use serde_json::Value;

/// Relative difference up to which two floating-point numbers are the same: sums depend on the order of their terms.
const TOLERANCE: f64 = 1e-9;
const SHOWN_MAX: usize = 3;

/// What of an answer the query determines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// All rows, in any order: the order among ties is free.
    Rows,
    /// Which rows are in the answer is a matter of ties at its limit; these columns are determined.
    Columns(Vec<usize>),
    /// Only how many rows there are.
    Count,
}

/// Says where two answers differ.
pub(super) fn compare(what: &Compare, left: &[Vec<Value>], right: &[Vec<Value>]) -> Result<(), String> {
    if left.len() != right.len() {
        return Err(format!("{} rows against {}", left.len(), right.len()));
    }
    let pick = |rows: &[Vec<Value>]| -> Vec<Vec<Value>> {
        let picked = |row: &Vec<Value>| match what {
            Compare::Columns(columns) => {
                columns.iter().filter_map(|column| row.get(*column).cloned()).collect()
            }
            Compare::Rows | Compare::Count => row.clone(),
        };
        let mut rows: Vec<_> = rows.iter().map(picked).collect();
        rows.sort_by(|left, right| order(left, right));
        rows
    };
    if *what == Compare::Count {
        return Ok(());
    }
    let (left, right) = (pick(left), pick(right));
    let different: Vec<String> = left
        .iter()
        .zip(&right)
        .filter(|(left, right)| !same_row(left, right))
        .map(|(left, right)| format!("{} against {}", text(left), text(right)))
        .collect();
    match different.len() {
        0 => Ok(()),
        count => Err(format!("{count} rows differ: {}", different[..count.min(SHOWN_MAX)].join("; "))),
    }
}

fn text(row: &[Value]) -> String {
    row.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

fn same_row(left: &[Value], right: &[Value]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left_number), Value::Number(right_number)) => {
            if left_number == right_number {
                return true;
            }
            if is_whole(left) && is_whole(right) {
                return false;
            }
            let (left, right) = (float(left), float(right));
            (left - right).abs() <= TOLERANCE * left.abs().max(right.abs())
        }
        _ => left == right,
    }
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Rows by what is exact first, and only then by floating-point numbers: two that are almost the same must not decide
/// which rows are held against each other.
fn order(left: &[Value], right: &[Value]) -> Ordering {
    let pairs = || left.iter().zip(right);
    let exact = pairs().map(|(left, right)| match (left, right) {
        (Value::Number(_), Value::Number(_)) if is_whole(left) && is_whole(right) => {
            left.as_i128().cmp(&right.as_i128())
        }
        (Value::Number(_), Value::Number(_)) => Ordering::Equal,
        _ => left.to_string().cmp(&right.to_string()),
    });
    let floats = pairs().map(|(left, right)| match (left, right) {
        (Value::Number(_), Value::Number(_)) => float(left).total_cmp(&float(right)),
        _ => Ordering::Equal,
    });
    exact.chain(floats).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

trait Whole {
    fn as_i128(&self) -> Option<i128>;
}

impl Whole for Value {
    fn as_i128(&self) -> Option<i128> {
        self.as_i64().map(i128::from).or_else(|| self.as_u64().map(i128::from))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(value: Value) -> Vec<Vec<Value>> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn order_does_not_matter_and_floats_may_differ_a_little() {
        let left = rows(json!([["a", 1, 0.1], ["b", 2, 1e20], [null, 3, 4]]));
        let right =
            rows(json!([[null, 3, 4.0], ["b", 2, 100000000000000000001.0], ["a", 1, 0.10000000000001]]));
        assert_eq!(compare(&Compare::Rows, &left, &right), Ok(()));
    }

    #[test]
    fn differences_are_found() {
        let left = rows(json!([["a", 1], ["b", 2]]));
        for other in [
            json!([["a", 1]]),
            json!([["a", 1], ["b", 3]]),
            json!([["a", 1], ["c", 2]]),
            json!([["a", 1], [null, 2]]),
            json!([["a", 1], ["b", 2, 0]]),
            json!([["a", 1], ["b", "2"]]),
        ] {
            assert!(compare(&Compare::Rows, &left, &rows(other.clone())).is_err(), "{other}");
        }
        // Beyond 2^53, where floating point no longer tells neighbours apart.
        let (left, right) = (rows(json!([[9007199254740993_i64]])), rows(json!([[9007199254740992_i64]])));
        assert!(compare(&Compare::Rows, &left, &right).is_err());
        let (left, right) = (rows(json!([[1.0]])), rows(json!([[1.00000001]])));
        assert!(compare(&Compare::Rows, &left, &right).is_err());
    }

    #[test]
    fn ties_at_a_limit_leave_the_determined_columns() {
        let (left, right) = (rows(json!([["a", 7], ["b", 7]])), rows(json!([["c", 7], ["d", 7]])));
        assert!(compare(&Compare::Rows, &left, &right).is_err());
        assert_eq!(compare(&Compare::Columns(vec![1]), &left, &right), Ok(()));
        assert_eq!(compare(&Compare::Count, &left, &right), Ok(()));
        assert!(compare(&Compare::Count, &left, &right[..1]).is_err());
    }
}
