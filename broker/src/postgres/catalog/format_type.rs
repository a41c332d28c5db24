//! `format_type(oid, modifier)`: digits of a `numeric` as PostgreSQL writes them, also without any behind the point and in arrays.
//! The rest is `datafusion-pg-catalog`'s.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use datafusion_pg_catalog::pg_catalog::format_type::create_format_type_udf;
use pgwire::api::Type;

/// What is added to every modifier.
const HEADER: i32 = 4;

pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(FormatType { other: create_format_type_udf() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FormatType {
    other: ScalarUDF,
}

impl ScalarUDFImpl for FormatType {
    fn name(&self) -> &str {
        self.other.name()
    }

    fn signature(&self) -> &Signature {
        self.other.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.other.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let given = ColumnarValue::values_to_arrays(&args.args)?;
        let others =
            self.other.invoke_with_args(args)?.into_array(given.first().map_or(1, |array| array.len()))?;
        let [oids, modifiers] = given.as_slice() else { return exec_err!("format_type wants two arguments") };
        let (oids, modifiers) = (cast(oids, &DataType::Int32)?, cast(modifiers, &DataType::Int32)?);
        let pairs = oids.as_primitive::<Int32Type>().iter().zip(modifiers.as_primitive::<Int32Type>());
        let own = pairs.map(|(oid, modifier)| numeric(oid?, modifier?));
        let names = own.zip(others.as_string::<i32>()).map(|(own, other)| own.or(other.map(str::to_owned)));
        let names: StringArray = names.collect();
        Ok(ColumnarValue::Array(Arc::new(names)))
    }
}

fn numeric(oid: i32, modifier: i32) -> Option<String> {
    let suffix = match Type::from_oid(oid.cast_unsigned())? {
        Type::NUMERIC => "",
        Type::NUMERIC_ARRAY => "[]",
        _ => return None,
    };
    let digits = modifier.checked_sub(HEADER).filter(|digits| *digits >= 0)?;
    Some(format!("numeric({},{}){suffix}", digits >> 16, digits & 0x7ff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_written_as_postgres_does() {
        let modifier = |precision: i32, scale: i32| ((precision << 16) | scale) + HEADER;
        for (oid, modifier, expected) in [
            (1700, modifier(38, 0), Some("numeric(38,0)")),
            (1700, modifier(12, 2), Some("numeric(12,2)")),
            (1231, modifier(12, 2), Some("numeric(12,2)[]")),
            (1700, -1, None),
            (25, modifier(1, 1), None),
            (99_999, 4, None),
        ] {
            assert_eq!(numeric(oid, modifier).as_deref(), expected, "{oid} {modifier}");
        }
    }
}
