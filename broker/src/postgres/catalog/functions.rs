//! Functions of PostgreSQL that `datafusion-pg-catalog` lacks and that drivers and tools call.
//!
//! Most have one answer here: there are no indexes, triggers, comments and locks to tell of.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, StringArray};
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
use super::activity::Activities;
use super::format::Format;
use super::tables::{OWNER, Relations, UTF8};
use super::{format_type, registers, sets, sizes, visible};
use crate::functions::of_catalog;

/// Functions that answer NULL, as a text.
const UNKNOWN_TEXTS: &[&str] = &[
    "col_description",
    "inet_client_addr",
    "inet_server_addr",
    "obj_description",
    "pg_describe_object",
    "pg_get_functiondef",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_function_sqlbody",
    "pg_get_indexdef",
    "pg_get_ruledef",
    "pg_get_serial_sequence",
    "pg_get_triggerdef",
    "pg_get_viewdef",
    "pg_tablespace_location",
    "shobj_description",
];

/// Functions that answer whether something holds.
const TRUTHS: &[(&str, bool)] = &[
    ("pg_collation_is_visible", true),
    ("pg_conversion_is_visible", true),
    ("pg_function_is_visible", true),
    ("pg_has_role", true),
    ("pg_is_in_recovery", false),
    ("pg_is_other_temp_schema", false),
    ("pg_opclass_is_visible", true),
    ("pg_operator_is_visible", true),
    ("pg_opfamily_is_visible", true),
    ("pg_relation_is_publishable", false),
    ("pg_statistics_obj_is_visible", true),
    ("pg_ts_config_is_visible", true),
    ("pg_ts_dict_is_visible", true),
    ("pg_ts_parser_is_visible", true),
    ("pg_ts_template_is_visible", true),
    ("pg_type_is_visible", true),
    ("row_security_active", false),
];

/// Functions that answer whether one of the privileges that their last argument names is held.
const PRIVILEGES: &[&str] = &[
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_function_privilege",
    "has_language_privilege",
    "has_schema_privilege",
    "has_sequence_privilege",
    "has_table_privilege",
    "has_tablespace_privilege",
    "has_type_privilege",
];

/// Everybody may read everything that there is, and nobody may write.
const HELD: &[&str] = &["CONNECT", "EXECUTE", "SELECT", "USAGE"];

/// Registers the functions that are the same for all sessions.
pub(super) fn register(context: &SessionContext) {
    let texts = UNKNOWN_TEXTS.iter().map(|name| (*name, ScalarValue::Utf8(None)));
    let truths = TRUTHS.iter().map(|(name, truth)| (*name, ScalarValue::Boolean(Some(*truth))));
    let others = [
        ("version", ScalarValue::Utf8(Some(VERSION_TEXT.into()))),
        ("pg_advisory_unlock_all", ScalarValue::Utf8(Some(String::new()))),
        ("getdatabaseencoding", ScalarValue::Utf8(Some("UTF8".into()))),
        ("pg_char_to_encoding", ScalarValue::Int32(Some(UTF8))),
        ("pg_get_userbyid", ScalarValue::Utf8(Some(OWNER.into()))),
        ("pg_tablespace_size", ScalarValue::Int64(None)),
        ("pg_indexes_size", ScalarValue::Int64(Some(0))),
        ("pg_client_encoding", ScalarValue::Utf8(Some("UTF8".into()))),
        ("pg_my_temp_schema", ScalarValue::Int32(Some(0))),
        ("inet_server_port", ScalarValue::Int32(None)),
        ("txid_current", ScalarValue::Int64(Some(0))),
    ];
    for (name, value) in texts.chain(truths).chain(others) {
        context.register_udf(ScalarUDF::new_from_impl(Fixed { name, value, signature: any_arguments() }));
    }
    of_catalog().into_iter().for_each(|function| context.register_udf(function));
    context.register_udf(ScalarUDF::new_from_impl(Format::new()));
    context.register_udf(format_type::function());
    for name in PRIVILEGES {
        context.register_udf(ScalarUDF::new_from_impl(Privilege { name, signature: any_arguments() }));
    }
    sets::functions().into_iter().for_each(|function| context.register_udf(function));
}

/// Registers those that depend on who asks.
pub(super) fn register_of_session(
    state: &mut SessionState,
    sessions: &Activities,
    settings: Settings,
    relations: &Arc<Relations>,
) -> Result<()> {
    let others =
        sizes::functions(relations).chain([visible::function(relations)]).chain(sessions.functions());
    for function in registers::functions(relations).chain(others) {
        state.register_udf(Arc::new(function))?;
    }
    let user = || ScalarValue::Utf8(Some(sessions.asker.user.clone()));
    let own = ["session_user", "current_role", "user"].map(|name| (name, user()));
    for (name, value) in own.into_iter().chain([("pg_backend_pid", sessions.own_number())]) {
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

/// Whether a privilege is held, whoever asks and for whatever.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Privilege {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Privilege {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let Some(privileges) = arguments.args.into_iter().next_back() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        };
        let texts = cast(&privileges.into_array(rows)?, &DataType::Utf8)?;
        let is_held = |wanted: &str| HELD.contains(&wanted.trim().to_uppercase().as_str());
        let held = |text: Option<&str>| Some(text?.split(',').any(is_held));
        let held: BooleanArray = texts.as_string::<i32>().iter().map(held).collect();
        Ok(ColumnarValue::Array(Arc::new(held)))
    }
}
