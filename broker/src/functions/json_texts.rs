//! `json_texts(doc, '$.a[*].b' [, default])`: the texts of all values at a path of a document that leads to several, or of the elements
//! of the array at one that leads to one place.
//!
//! Numbers keep their digits as they stand in the document, and what is an array or object is its JSON. A JSON `null` is the default, or
//! NULL. Where no array stands, the answer is NULL.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use serde_json::value::RawValue;

use crate::sql::{Step, steps_of};

/// The function.
pub(super) fn function() -> ScalarUDF {
    let kinds = [2, 3].map(|count| TypeSignature::Exact(vec![DataType::Utf8View; count]));
    ScalarUDF::from(JsonTexts { signature: Signature::one_of(kinds.into(), Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonTexts {
    signature: Signature,
}

impl ScalarUDFImpl for JsonTexts {
    fn name(&self) -> &str {
        "json_texts"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [documents, path, default @ ..] = args.args.as_slice() else {
            return exec_err!("json_texts wants a document and a path");
        };
        let Some(mut steps) = text_of(path).and_then(steps_of) else {
            return exec_err!("json_texts wants a path such as '$.name[*].name', the same for all rows");
        };
        if !steps.contains(&Step::Every) {
            steps.push(Step::Every);
        }
        let default = default.first().and_then(text_of);
        let is_scalar = matches!(documents, ColumnarValue::Scalar(_));
        let documents = documents.to_array(if is_scalar { 1 } else { args.number_rows })?;
        let mut texts = ListBuilder::new(StringBuilder::new());
        for document in documents.as_string_view() {
            let found = document.and_then(|document| all_at(document, &steps));
            for text in found.iter().flatten() {
                texts.values().append_option(text.as_deref().or(default));
            }
            texts.append(found.is_some());
        }
        let texts: ArrayRef = Arc::new(texts.finish());
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?),
            false => ColumnarValue::Array(texts),
        })
    }
}

fn text_of(argument: &ColumnarValue) -> Option<&str> {
    match argument {
        ColumnarValue::Scalar(ScalarValue::Utf8View(text)) => text.as_deref(),
        _ => None,
    }
}

/// The texts of the values where the steps lead; `None` if there is no array on the way.
fn all_at(document: &str, steps: &[Step]) -> Option<Vec<Option<String>>> {
    let mut texts = Vec::new();
    collect(serde_json::from_str(document).ok()?, steps, &mut texts).then_some(texts)
}

/// Adds the texts, and says whether an array was there, empty or not.
fn collect(value: &RawValue, steps: &[Step], texts: &mut Vec<Option<String>>) -> bool {
    let Some((step, steps)) = steps.split_first() else {
        texts.push(text_at(value.get()));
        return true;
    };
    let elements = || serde_json::from_str::<Vec<&RawValue>>(value.get()).ok();
    match step {
        Step::Name(name) => {
            let members: Option<HashMap<String, &RawValue>> = serde_json::from_str(value.get()).ok();
            let member = members.and_then(|members| members.get(name).copied());
            member.is_some_and(|member| collect(member, steps, texts))
        }
        Step::Index(index) => {
            let element = elements().and_then(|elements| elements.get(*index as usize).copied());
            element.is_some_and(|element| collect(element, steps, texts))
        }
        Step::Every => match elements() {
            Some(elements) => {
                for element in elements {
                    collect(element, steps, texts);
                }
                true
            }
            None => false,
        },
    }
}

/// What a value of JSON says without its quotes.
fn text_at(json: &str) -> Option<String> {
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).ok(),
        Some(b'n') => None,
        _ => Some(json.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_many_places() {
        let document = r#"{"a": [1.10, "x\ny", null, [2], {"b": true}], "o": [{"n": 1}, {}, {"n": 123456789012345678901}],
                           "e": [], "s": "no array", "s2": 5, "s2": [7]}"#;
        let texts = |path: &str| {
            let texts = all_at(document, &steps_of(path).unwrap());
            texts.map(|texts| texts.into_iter().map(|text| text.unwrap_or("NULL".into())).collect::<Vec<_>>())
        };
        for (path, expected) in [
            ("$.a[*]", Some(vec!["1.10", "x\ny", "NULL", "[2]", r#"{"b": true}"#])),
            ("$.o[*].n", Some(vec!["1", "123456789012345678901"])),
            ("$.a[3][*]", Some(vec!["2"])),
            ("$.a[*][*]", Some(vec!["2"])),
            ("$.e[*]", Some(vec![])),
            ("$.e[*].n", Some(vec![])),
            ("$.s2[*]", Some(vec!["7"])),
            ("$.s[*]", None),
            ("$.gone[*]", None),
            ("$[*]", None),
            ("$.a[9][*]", None),
        ] {
            assert_eq!(
                texts(path),
                expected.map(|texts| texts.into_iter().map(String::from).collect()),
                "{path}"
            );
        }
        for bad in ["", "{", "{\"a\": [1}", "null"] {
            assert_eq!(all_at(bad, &steps_of("$.a[*]").unwrap()), None, "{bad}");
        }
    }
}
