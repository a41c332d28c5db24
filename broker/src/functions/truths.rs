//! `sum` and `avg` of BOOLEANs: true counts 1, false counts 0, so that one is how many are true, and the other their share.
//!
//! Pinot's clients expect it; SQL has no meaning for it, and PostgreSQL refuses it.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::types::{NativeType, logical_boolean, logical_float64, logical_int64};
use datafusion::error::Result;
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Coercion, Documentation, GroupsAccumulator, ReversedUDAF,
    Signature, TypeSignature, TypeSignatureClass,
};

/// What a BOOLEAN is added up as.
#[derive(Clone, Copy)]
pub(crate) enum Truth {
    /// A LONG.
    Whole,
    /// A DOUBLE.
    Fraction,
}

/// The signature of an aggregate that takes BOOLEANs as well. What it took before, it takes as before.
pub(crate) fn with_truths(stock: &Signature, truth: Truth) -> Signature {
    let (number, native) = match truth {
        Truth::Whole => (logical_int64(), NativeType::Int64),
        Truth::Fraction => (logical_float64(), NativeType::Float64),
    };
    let boolean = vec![TypeSignatureClass::Native(logical_boolean())];
    let counted = Coercion::new_implicit(TypeSignatureClass::Native(number), boolean, native);
    let mut kinds = match &stock.type_signature {
        TypeSignature::OneOf(kinds) => kinds.clone(),
        one => vec![one.clone()],
    };
    kinds.push(TypeSignature::Coercible(vec![counted]));
    Signature::one_of(kinds, stock.volatility)
}

/// `avg`.
pub(super) fn average() -> AggregateUDF {
    let stock = Avg::new();
    let signature = with_truths(stock.signature(), Truth::Fraction);
    AggregateUDF::from(Average { stock, signature })
}

/// The stock function but for its signature.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Average {
    stock: Avg,
    signature: Signature,
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        self.stock.name()
    }

    fn aliases(&self) -> &[String] {
        self.stock.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.stock.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.stock.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.stock.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.stock.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.stock.create_groups_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.stock.reverse_expr()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.stock.documentation()
    }
}
