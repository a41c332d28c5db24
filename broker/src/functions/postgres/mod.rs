//! Functions that PostgreSQL's users and tools write and that nothing else here can say.
//!
//! | function | answers with |
//! |---|---|
//! | `age(x, y)` | the interval from `y` to `x` in years, months and days; `age(x)`: up to midnight |
//! | `make_timestamp(year, month, day, hour, minute, second)` | the TIMESTAMP |
//! | `width_bucket(x, low, high, n)` | which of `n` buckets of equal width has `x`; 0 below them, `n + 1` above |
//! | `to_uuid(text)`, which `CAST(text AS UUID)` becomes | the UUID as it is stored |
//! | `to_json(x)` | the value as JSON |
//! | `json_build_object(name, value, …)` | an object |
//! | `json_array_of(texts)`, which `json_agg` becomes | an array of texts that are JSON already |
//! | `text_of(x)`, which `CAST(x AS TEXT)` of PostgreSQL's clients becomes | the value as PostgreSQL writes it |
//! | `pg_typeof(x)` | the name of the type in PostgreSQL |
//!
//! What they write in other words for functions that are there is rewritten before it is planned (`sql::postgres`), and texts that
//! stand for values of another type are read by [`literals`].

mod calendar;
mod json;
pub(super) mod literals;
pub(super) mod text_of;
mod type_of;
mod uuid;
mod width_bucket;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use headwater_segment::schema::ColumnType;

/// Registers the functions.
pub(super) fn register(registry: &mut impl FunctionRegistry) -> Result<()> {
    let own = [json::to_json(), json::json_build_object(), text_of::function(), type_of::function()];
    let functions = [
        calendar::age(),
        calendar::make_timestamp(),
        json::json_array_of(),
        uuid::to_uuid(),
        width_bucket::function(),
    ];
    for function in functions.into_iter().map(ScalarUDF::from).chain(own) {
        registry.register_udf(Arc::new(function))?;
    }
    Ok(())
}

/// Those that statements over the catalog of PostgreSQL call as well.
pub(crate) fn of_catalog() -> [ScalarUDF; 2] {
    [json::json_build_object(), type_of::function()]
}

/// A field whose values are of a type that Arrow has no name for.
pub(super) fn declared_as(name: &str, column_type: &ColumnType) -> FieldRef {
    let metadata = [("headwater.type".to_owned(), column_type.to_string())];
    Arc::new(Field::new(name, column_type.arrow(), true).with_metadata(metadata.into()))
}

/// A function of columns whose types do not depend on what it is given.
#[derive(Debug)]
struct Columns {
    name: &'static str,
    arguments: Vec<DataType>,
    answer: FieldRef,
    run: fn(&[ArrayRef]) -> Result<ArrayRef>,
    signature: Signature,
}

impl Columns {
    fn new(
        name: &'static str,
        arguments: Vec<DataType>,
        answer: FieldRef,
        run: fn(&[ArrayRef]) -> Result<ArrayRef>,
    ) -> Self {
        Self { name, arguments, answer, run, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl PartialEq for Columns {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Columns {}

impl Hash for Columns {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Columns {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types.len() == self.arguments.len() {
            true => Ok(self.arguments.clone()),
            false => plan_err!("{} wants {} argument(s)", self.name, self.arguments.len()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.answer.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::clone(&self.answer))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let answer = (self.run)(&ColumnarValue::values_to_arrays(&args.args)?)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&answer, 0)?),
            false => ColumnarValue::Array(answer),
        })
    }
}
