//! `format(template, value, …)`, by which tools put names together: `%s` is a value, `%I` a name, `%L` a text in quotes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::exec_err;
use datafusion::common::utils::quote_identifier;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Format {
    signature: Signature,
}

impl Format {
    pub(super) fn new() -> Self {
        Self { signature: Signature::new(TypeSignature::VariadicAny, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let texts = |value: ColumnarValue| Ok(cast(&value.into_array(rows)?, &DataType::Utf8)?);
        let columns = args.args.into_iter().map(texts).collect::<Result<Vec<ArrayRef>>>()?;
        let Some((templates, values)) = columns.split_first() else {
            return exec_err!("format needs a text");
        };
        let text = |column: &ArrayRef, row| {
            let column = column.as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let formatted = (0..rows).map(|row| {
            let values = values.iter().map(|column| text(column, row));
            text(templates, row).map(|template| format(&template, values)).transpose()
        });
        Ok(ColumnarValue::Array(Arc::new(formatted.collect::<Result<StringArray>>()?)))
    }
}

fn format(template: &str, mut values: impl Iterator<Item = Option<String>>) -> Result<String> {
    let mut parts = template.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        let mut rest = part.chars();
        let kind = rest.next();
        let Some(kind) = kind else {
            // Two signs are one, and what follows them is text.
            let Some(behind) = parts.next() else { return exec_err!("unterminated format() type specifier") };
            text.push('%');
            text.push_str(behind);
            continue;
        };
        let Some(value) = values.next() else { return exec_err!("too few arguments for format()") };
        match (kind, value) {
            ('s', value) => text.push_str(&value.unwrap_or_default()),
            ('I', Some(value)) => text.push_str(&quote_identifier(&value)),
            ('I', None) => return exec_err!("null values cannot be formatted as an SQL identifier"),
            ('L', Some(value)) => text.push_str(&format!("'{}'", value.replace('\'', "''"))),
            ('L', None) => text.push_str("NULL"),
            (other, _) => return exec_err!("unrecognized format() type specifier \"{other}\""),
        }
        text.push_str(rest.as_str());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_into_their_places() {
        let values = || ["a", "B c", "d'e"].map(|value| Some(value.to_owned())).into_iter().chain([None]);
        assert_eq!(format("%s.%I = %L%s", values()).unwrap(), "a.\"B c\" = 'd''e'");
        assert_eq!(format("100%% of %s", values()).unwrap(), "100% of a");
        for wrong in ["%", "%s%s%s%s%s", "%x", "%é", "%s%s%s%I"] {
            assert!(format(wrong, values()).is_err(), "{wrong}");
        }
    }
}
