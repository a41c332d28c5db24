//! Functions of PostgreSQL that `datafusion-pg-catalog` lacks and that drivers and tools call.
//!
//! Most have one answer here: there are no indexes, triggers, comments and locks to tell of.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;

use super::super::settings::{Settings, VERSION_TEXT};
use super::super::types::of_name;
use super::json::JsonBuildObject;

/// Functions that answer NULL, as a text.
const UNKNOWN_TEXTS: &[&str] = &[
    "col_description",
    "inet_client_addr",
    "inet_server_addr",
    "obj_description",
    "pg_get_functiondef",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_indexdef",
    "pg_get_ruledef",
    "pg_get_serial_sequence",
    "pg_get_triggerdef",
    "pg_get_viewdef",
    "pg_tablespace_location",
    "shobj_description",
    "to_regclass",
];

/// Functions that answer whether something holds.
const TRUTHS: &[(&str, bool)] = &[
    ("has_column_privilege", true),
    ("has_function_privilege", true),
    ("has_sequence_privilege", true),
    ("has_type_privilege", true),
    ("pg_collation_is_visible", true),
    ("pg_function_is_visible", true),
    ("pg_has_role", true),
    ("pg_is_in_recovery", false),
    ("pg_is_other_temp_schema", false),
    ("pg_type_is_visible", true),
    ("row_security_active", false),
];

/// Registers the functions that are the same for all sessions.
pub(super) fn register(context: &SessionContext) {
    let texts = UNKNOWN_TEXTS.iter().map(|name| (*name, ScalarValue::Utf8(None)));
    let truths = TRUTHS.iter().map(|(name, truth)| (*name, ScalarValue::Boolean(Some(*truth))));
    let others = [
        ("version", ScalarValue::Utf8(Some(VERSION_TEXT.into()))),
        ("pg_advisory_unlock_all", ScalarValue::Utf8(Some(String::new()))),
        ("pg_client_encoding", ScalarValue::Utf8(Some("UTF8".into()))),
        ("pg_my_temp_schema", ScalarValue::Int32(Some(0))),
        ("inet_server_port", ScalarValue::Int32(None)),
        ("txid_current", ScalarValue::Int64(Some(0))),
    ];
    for (name, value) in texts.chain(truths).chain(others) {
        context.register_udf(ScalarUDF::new_from_impl(Fixed { name, value, signature: any_arguments() }));
    }
    context.register_udf(ScalarUDF::new_from_impl(JsonBuildObject::new()));
    context.register_udf(ScalarUDF::new_from_impl(ToRegtype { signature: any_arguments() }));
}

/// Registers those that depend on who asks.
pub(super) fn register_of_session(state: &mut SessionState, user: &str, settings: Settings) -> Result<()> {
    for name in ["session_user", "current_role"] {
        let value = ScalarValue::Utf8(Some(user.to_owned()));
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(Fixed {
            name,
            value,
            signature: any_arguments(),
        })))?;
    }
    let settings = Arc::new(settings);
    for name in ["current_setting", "set_config"] {
        let function = Setting { name, settings: Arc::clone(&settings), signature: any_arguments() };
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(function)))?;
    }
    Ok(())
}

fn any_arguments() -> Signature {
    Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable)
}

/// A function with one answer, whatever it is asked.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Fixed {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for Fixed {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// `current_setting(name)` tells a setting; `set_config(name, value, is_local)` answers with the value and sets nothing, as a
/// statement that reads does not change its session.
#[derive(Debug)]
struct Setting {
    name: &'static str,
    settings: Arc<Settings>,
    signature: Signature,
}

impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.settings, &other.settings)
    }
}

impl Eq for Setting {}

impl Hash for Setting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Setting {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = if self.name == "set_config" { 1 } else { 0 };
        let rows = arguments.number_rows;
        let Some(argument) = arguments.args.into_iter().nth(wanted) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
        };
        let texts = cast(&argument.into_array(rows)?, &DataType::Utf8)?;
        if wanted == 1 {
            return Ok(ColumnarValue::Array(texts));
        }
        let value = |name: Option<&str>| self.settings.get(&name?.to_lowercase());
        let values: StringArray = texts.as_string::<i32>().iter().map(value).collect();
        debug_assert_eq!(values.len(), texts.len());
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// `to_regtype(name)`: the number of a type, NULL if there is none of that name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToRegtype {
    signature: Signature,
}

impl ScalarUDFImpl for ToRegtype {
    fn name(&self) -> &str {
        "to_regtype"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let Some(name) = arguments.args.into_iter().next() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Int32(None)));
        };
        let names = cast(&name.into_array(rows)?, &DataType::Utf8)?;
        let oid = |name: Option<&str>| Some(of_name(name?)?.oid().cast_signed());
        let oids: Int32Array = names.as_string::<i32>().iter().map(oid).collect();
        Ok(ColumnarValue::Array(Arc::new(oids)))
    }
}
