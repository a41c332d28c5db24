//! `pg_table_is_visible(oid)`: whether a table's name alone names it. Those of the schema `system` are named with it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::tables::Relations;
use crate::catalog::SYSTEM;

/// The function, for the relations of a moment.
pub(super) fn function(relations: &Arc<Relations>) -> ScalarUDF {
    let signature = Signature::any(1, Volatility::Stable);
    ScalarUDF::new_from_impl(IsVisible { relations: Arc::clone(relations), signature })
}

#[derive(Debug)]
struct IsVisible {
    relations: Arc<Relations>,
    signature: Signature,
}

impl PartialEq for IsVisible {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.relations, &other.relations)
    }
}

impl Eq for IsVisible {}

impl Hash for IsVisible {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.relations).hash(state);
    }
}

impl ScalarUDFImpl for IsVisible {
    fn name(&self) -> &str {
        "pg_table_is_visible"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let oids = cast(&arrays[0], &DataType::Int64)?;
        let hides = |oid: i64| {
            let mut relations = self.relations.iter();
            relations.any(|relation| i64::from(relation.oid) == oid && relation.schema == SYSTEM)
        };
        let visible = oids.as_primitive::<Int64Type>().iter().map(|oid| oid.map(|oid| !hides(oid)));
        Ok(ColumnarValue::Array(Arc::new(visible.collect::<BooleanArray>())))
    }
}
