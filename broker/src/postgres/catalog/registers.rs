//! Objects by their names, and names by their objects: `'orders'::regclass`, `oid::regtype::text`, `to_regtype('bigint')`.
//!
//! A cast to one of these types is a function here, which looks names up among the relations as they are. What PostgreSQL's
//! static tables have of type `regproc` is a name already, so a name of a function stays one.

use std::convert::Infallible;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::super::types::of_name;
use super::dialect::{call, last_of};
use super::tables::{Relations, namespaces};
use crate::catalog::PUBLIC;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::ScalarValue;
use datafusion::common::utils::quote_identifier;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType as SqlType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments,
    ObjectNamePart, Statement, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

/// PostgreSQL's own tables that others refer to.
pub(super) const SYSTEM_TABLES: &[(&str, i32)] = &[
    ("pg_attribute", 1249),
    ("pg_authid", 1260),
    ("pg_class", 1259),
    ("pg_constraint", 2606),
    ("pg_database", 1262),
    ("pg_extension", 3079),
    ("pg_language", 2612),
    ("pg_namespace", 2615),
    ("pg_opclass", 2616),
    ("pg_operator", 2617),
    ("pg_opfamily", 2753),
    ("pg_proc", 1255),
    ("pg_rewrite", 2618),
    ("pg_trigger", 2620),
    ("pg_type", 1247),
];

/// What a name is looked up among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Relation,
    Namespace,
    Type,
    Function,
}

/// Types that a cast to is a function of the same name.
const CASTS: &[&str] = &["regclass", "regnamespace", "regproc", "regprocedure", "regtype"];

/// Columns of the static tables that name functions; where PostgreSQL has the number 0 they have a hyphen.
const FUNCTION_COLUMNS: &[&str] = &[
    "typanalyze",
    "typinput",
    "typmodin",
    "typmodout",
    "typoutput",
    "typreceive",
    "typsend",
    "typsubscript",
];

/// Functions from a name to its number.
const TO_NUMBERS: &[(&str, Kind)] = &[
    ("regclass", Kind::Relation),
    ("regnamespace", Kind::Namespace),
    ("regproc", Kind::Function),
    ("regprocedure", Kind::Function),
    ("regtype", Kind::Type),
    ("to_regclass", Kind::Relation),
    ("to_regnamespace", Kind::Namespace),
    ("to_regproc", Kind::Function),
    ("to_regprocedure", Kind::Function),
    ("to_regtype", Kind::Type),
];

/// Functions from a number to its name.
const TO_NAMES: &[(&str, &str, Kind)] = &[
    ("regclass", "regclassout", Kind::Relation),
    ("regnamespace", "regnamespaceout", Kind::Namespace),
    ("regproc", "regprocout", Kind::Function),
    ("regprocedure", "regprocedureout", Kind::Function),
];

/// Makes functions of casts to these types, and from them to text.
pub(super) fn resolve(statement: &mut Statement) {
    let ControlFlow::Continue(()) = statement.visit(&mut Casts);
}

struct Casts;

impl VisitorMut for Casts {
    type Break = Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right } = expr
            && is_function_column(left)
            && is_zero(right)
        {
            **right = Expr::Value(Value::SingleQuotedString("-".into()).into());
        }
        if let Expr::Cast { expr: given, data_type, .. } = expr {
            let name = type_name(data_type);
            let found = if CASTS.contains(&name.as_str()) {
                Some(call(&name, vec![given.as_ref().clone()]))
            } else if matches!(name.as_str(), "text" | "varchar" | "name") {
                name_of(given)
            } else if name == "oid" && is_named_function(given) {
                // Functions have no numbers of their own here.
                Some(Expr::Value(Value::Null.into()))
            } else {
                None
            };
            if let Some(found) = found {
                *expr = found;
            }
        }
        ControlFlow::Continue(())
    }
}

fn is_function_column(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    name.is_some_and(|name| FUNCTION_COLUMNS.contains(&name.value.to_lowercase().as_str()))
}

fn is_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(&value.value, Value::Number(number, _) if number == "0"))
}

/// Whether it is a function by its name, as in `'now'::regproc`.
fn is_named_function(given: &Expr) -> bool {
    let Expr::Function(function) = given else { return false };
    let FunctionArguments::List(list) = &function.args else { return false };
    let is_text = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => {
            matches!(value.value, Value::SingleQuotedString(_))
        }
        _ => false,
    };
    matches!(last_of(&function.name).as_str(), "regproc" | "regprocedure") && list.args.iter().all(is_text)
}

/// The name of what a function of ours has the number of.
fn name_of(given: &Expr) -> Option<Expr> {
    let Expr::Function(function) = given else { return None };
    let register = last_of(&function.name);
    if register == "regtype" {
        return Some(call("format_type", vec![given.clone(), Expr::Value(Value::Null.into())]));
    }
    let (_, out, _) = TO_NAMES.iter().find(|(known, ..)| *known == register)?;
    Some(call(out, vec![given.clone()]))
}

fn type_name(data_type: &SqlType) -> String {
    let name = data_type.to_string().to_lowercase();
    name.strip_prefix("pg_catalog.").unwrap_or(&name).to_owned()
}

/// All of them, for the relations of a moment.
pub(super) fn functions(relations: &Arc<Relations>) -> impl Iterator<Item = ScalarUDF> {
    let make = move |name, kind, is_to_name| {
        let signature = Signature::any(1, Volatility::Stable);
        ScalarUDF::new_from_impl(Register {
            name,
            kind,
            is_to_name,
            relations: Arc::clone(relations),
            signature,
        })
    };
    let numbers = TO_NUMBERS.iter().map(move |(name, kind)| (*name, *kind, false));
    let names = TO_NAMES.iter().map(|(_, name, kind)| (*name, *kind, true));
    numbers.chain(names).map(move |(name, kind, is_to_name)| make(name, kind, is_to_name))
}

#[derive(Debug)]
struct Register {
    name: &'static str,
    kind: Kind,
    is_to_name: bool,
    relations: Arc<Relations>,
    signature: Signature,
}

impl PartialEq for Register {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.relations, &other.relations)
    }
}

impl Eq for Register {}

impl Hash for Register {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Register {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        let is_number = given.first().is_some_and(|given| given.is_integer());
        Ok(match self.is_to_name || (self.kind == Kind::Function && !is_number) {
            true => DataType::Utf8,
            false => DataType::Int32,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = matches!(args.args.as_slice(), [ColumnarValue::Scalar(_)]);
        let Some(given) = args.args.into_iter().next() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
        };
        let found = self.found(&given.into_array(if is_scalar { 1 } else { args.number_rows })?)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?),
            false => ColumnarValue::Array(found),
        })
    }
}

impl Register {
    fn found(&self, given: &ArrayRef) -> Result<ArrayRef> {
        let is_number = given.data_type().is_integer();
        if self.is_to_name && is_number {
            let oids = cast(given, &DataType::Int32)?;
            let oids = oids.as_primitive::<Int32Type>().iter();
            let names: StringArray = oids.map(|oid| Some(self.name_of(oid?))).collect();
            return Ok(Arc::new(names));
        }
        if is_number {
            return Ok(cast(given, &DataType::Int32)?);
        }
        let texts = cast(given, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        if self.is_to_name {
            return Ok(Arc::new(texts.clone()));
        }
        if self.kind == Kind::Function {
            let plain =
                |name: Option<&str>| Some(name?.strip_prefix("pg_catalog.").unwrap_or(name?).to_owned());
            return Ok(Arc::new(texts.iter().map(plain).collect::<StringArray>()));
        }
        let oid = |text: Option<&str>| self.oid_of(text?);
        Ok(Arc::new(texts.iter().map(oid).collect::<Int32Array>()))
    }

    fn oid_of(&self, text: &str) -> Option<i32> {
        if let Ok(oid) = text.parse() {
            return Some(oid);
        }
        match self.kind {
            Kind::Function => None,
            Kind::Type => of_name(text).map(|base| base.oid().cast_signed()),
            Kind::Namespace => {
                let [name] = <[_; 1]>::try_from(parts_of(text)?).ok()?;
                namespaces().into_iter().find(|(known, _)| *known == name).map(|(_, oid)| oid)
            }
            Kind::Relation => self.relation(&parts_of(text)?),
        }
    }

    fn relation(&self, parts: &[String]) -> Option<i32> {
        let (schema, name) = match parts {
            [name] => (None, name),
            [schema, name] => (Some(schema.as_str()), name),
            _ => return None,
        };
        let of_system = || SYSTEM_TABLES.iter().find(|(known, _)| known == name).map(|(_, oid)| *oid);
        let of_user = || {
            let mut relations = self.relations.of_schema(schema.unwrap_or(PUBLIC));
            relations.find(|relation| relation.name == *name).map(|relation| relation.oid)
        };
        match schema {
            Some(super::PG_CATALOG) => of_system(),
            Some(_) => of_user(),
            None => of_user().or_else(of_system),
        }
    }

    /// As PostgreSQL writes it: a number that stands for nothing stays one.
    fn name_of(&self, oid: i32) -> String {
        let found = match self.kind {
            Kind::Function | Kind::Type => None,
            Kind::Namespace => {
                namespaces().into_iter().find(|(_, known)| *known == oid).map(|(name, _)| name.to_owned())
            }
            Kind::Relation => {
                let found = self.relations.iter().find(|relation| relation.oid == oid);
                let found = found.map(|relation| match relation.is_table() {
                    true => quote_identifier(&relation.name).into_owned(),
                    false => format!("{}.{}", relation.schema, quote_identifier(&relation.name)),
                });
                let of_system = || SYSTEM_TABLES.iter().find(|(_, known)| *known == oid);
                found.or_else(|| of_system().map(|(name, _)| (*name).to_owned()))
            }
        };
        match (found, oid) {
            (Some(name), _) => name,
            (None, 0) => "-".to_owned(),
            (None, oid) => oid.cast_unsigned().to_string(),
        }
    }
}

/// The parts of a name, as it is written in SQL.
fn parts_of(text: &str) -> Option<Vec<String>> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).ok()?;
    let name = parser.parse_object_name(false).ok()?;
    if parser.peek_token().token != Token::EOF {
        return None;
    }
    let part = |part: &ObjectNamePart| {
        let part = part.as_ident()?;
        match part.quote_style {
            None => Some(part.value.to_lowercase()),
            Some('"') => Some(part.value.clone()),
            Some(_) => None,
        }
    };
    name.0.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_become_functions() {
        for (given, expected) in [
            ("SELECT 'a'::regclass", "SELECT regclass('a')"),
            ("SELECT CAST(x AS pg_catalog.regtype)", "SELECT regtype(x)"),
            ("SELECT x::regclass::text", "SELECT regclassout(regclass(x))"),
            ("SELECT x::regtype::text", "SELECT format_type(regtype(x), NULL)"),
            ("SELECT x::text::int", "SELECT x::TEXT::INT"),
            ("SELECT 'now'::regproc::oid", "SELECT NULL"),
            ("SELECT x::regproc::oid", "SELECT regproc(x)::oid"),
            ("SELECT t.typreceive != 0, n != 0 FROM t", "SELECT t.typreceive <> '-', n <> 0 FROM t"),
        ] {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, given).unwrap();
            resolve(&mut statements[0]);
            assert_eq!(statements[0].to_string(), expected);
        }
    }

    #[test]
    fn names_have_parts() {
        let parts = |text: &str| parts_of(text).map(|parts| parts.join("|"));
        assert_eq!(parts("Orders").as_deref(), Some("orders"));
        assert_eq!(parts("public.\"My.Table\"").as_deref(), Some("public|My.Table"));
        for wrong in ["", "a b", "a.", "'a'", "\"a", "a(1)"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
