//! What tables take up: `pg_total_relation_size(oid)` and its like, and `pg_size_pretty(bytes)`.
//!
//! A table's size is that of its sealed segments in the object store.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::tables::Relations;

/// Functions of the size of one relation, and of all.
const OF_RELATION: &[&str] = &["pg_relation_size", "pg_table_size", "pg_total_relation_size"];
const OF_ALL: &str = "pg_database_size";
const PRETTY: &str = "pg_size_pretty";
const UNITS: &[&str] = &["bytes", "kB", "MB", "GB", "TB", "PB"];

/// All of them, for the relations of a moment.
pub(super) fn functions(relations: &Arc<Relations>) -> impl Iterator<Item = ScalarUDF> {
    OF_RELATION.iter().chain([&OF_ALL, &PRETTY]).copied().map(move |name| {
        let counts = TypeSignature::OneOf(vec![TypeSignature::Any(1), TypeSignature::Any(2)]);
        let signature = Signature::new(counts, Volatility::Stable);
        ScalarUDF::new_from_impl(Size { name, relations: Arc::clone(relations), signature })
    })
}

#[derive(Debug)]
struct Size {
    name: &'static str,
    relations: Arc<Relations>,
    signature: Signature,
}

impl PartialEq for Size {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.relations, &other.relations)
    }
}

impl Eq for Size {}

impl Hash for Size {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Size {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.name == PRETTY { DataType::Utf8 } else { DataType::Int64 })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let given = match args.args.into_iter().next() {
            Some(given) => given.into_array(rows)?,
            None => Arc::new(Int64Array::new_null(rows)),
        };
        let found: ArrayRef = if self.name == OF_ALL {
            let all = self.relations.iter().map(|relation| relation.size_bytes).sum();
            Arc::new(Int64Array::from_value(all, rows))
        } else {
            let numbers = cast(&given, &DataType::Int64)?;
            let numbers = numbers.as_primitive::<Int64Type>().iter();
            match self.name {
                PRETTY => Arc::new(numbers.map(|bytes| bytes.map(pretty)).collect::<StringArray>()),
                _ => Arc::new(numbers.map(|oid| self.of_relation(oid?)).collect::<Int64Array>()),
            }
        };
        Ok(ColumnarValue::Array(found))
    }
}

impl Size {
    fn of_relation(&self, oid: i64) -> Option<i64> {
        let mut relations = self.relations.iter();
        relations.find(|relation| i64::from(relation.oid) == oid).map(|relation| relation.size_bytes)
    }
}

/// As PostgreSQL writes it: the next unit from 10,240 on, rounded.
fn pretty(bytes: i64) -> String {
    let (mut number, mut unit) = (bytes as f64, 0);
    while number.abs() >= 10_240.0 && unit + 1 < UNITS.len() {
        (number, unit) = (number / 1024.0, unit + 1);
    }
    format!("{number:.0} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_postgresql_writes_them() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (50 << 20, "50 MB"),
            (i64::MAX, "8192 PB"),
            (-20_480, "-20 kB"),
        ] {
            assert_eq!(pretty(bytes), expected);
        }
    }
}
