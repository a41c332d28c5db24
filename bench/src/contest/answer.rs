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
    /// The answer is cut off in an order by `column`: of the rows with the last value there, and with an offset of those
    /// with the first one, only that value is determined.
    Limit {
        /// What the answer is ordered by.
        column: usize,
        /// Whether rows are cut off before the first one, too.
        offset: bool,
    },
    /// Only how many rows there are.
    Count,
}

/// Compares two answers.
///
/// # Errors
/// Says where they differ.
pub fn compare(what: &Compare, left: &[Vec<Value>], right: &[Vec<Value>]) -> Result<(), String> {
    if left.len() != right.len() {
        return Err(format!("{} rows against {}", left.len(), right.len()));
    }
    let (left, right) = match what {
        Compare::Rows => (sorted(left.to_vec()), sorted(right.to_vec())),
        Compare::Limit { column, offset } => {
            (sorted(without_ties(left, *column, *offset)), sorted(without_ties(right, *column, *offset)))
        }
        Compare::Count => return Ok(()),
    };
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

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_by(|left, right| order(left, right));
    rows
}

/// The rows as they came, with only the ordering value left of those that ties may have exchanged.
fn without_ties(rows: &[Vec<Value>], column: usize, offset: bool) -> Vec<Vec<Value>> {
    let value_of = |row: Option<&Vec<Value>>| row.and_then(|row| row.get(column)).cloned();
    let (first, last) = (value_of(rows.first()), value_of(rows.last()));
    let is_free = |value: &Option<Value>| *value == last || (offset && *value == first);
    rows.iter()
        .map(|row| match value_of(Some(row)) {
            value if is_free(&value) => value.into_iter().collect(),
            _ => row.clone(),
        })
        .collect()
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
    fn ties_at_a_limit_are_free_and_what_is_above_them_is_not() {
        let what = Compare::Limit { column: 1, offset: false };
        let left = rows(json!([["a", 9], ["b", 7], ["c", 7]]));
        assert_eq!(compare(&what, &left, &rows(json!([["a", 9], ["d", 7], ["b", 7]]))), Ok(()));
        assert!(compare(&what, &left, &rows(json!([["x", 9], ["b", 7], ["c", 7]]))).is_err());
        assert!(compare(&what, &left, &rows(json!([["a", 9], ["b", 7], ["c", 6]]))).is_err());
        let both = Compare::Limit { column: 1, offset: true };
        assert_eq!(compare(&both, &left, &rows(json!([["x", 9], ["b", 7], ["c", 7]]))), Ok(()));
        assert_eq!(compare(&Compare::Count, &left, &rows(json!([[1], [2], [3]]))), Ok(()));
        assert!(compare(&Compare::Count, &left, &left[..1]).is_err());
    }
}
