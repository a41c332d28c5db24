//! The dialect that SQL is parsed in: the parser's generic one, but `->` and its like bind tighter than any other operator of two
//! values. There they bind weaker than `=`, and `doc ->> 'a' = 'x'` would be `doc ->> ('a' = 'x')`. Nor does `IS DISTINCT FROM` take
//! all that follows: `a IS DISTINCT FROM b AND c` are two conditions.

use std::any::{Any, TypeId};

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

/// Above that of `*` and `||`, and of AT TIME ZONE; below that of `::`, as PostgreSQL has it.
const ARROW_PRECEDENCE: u8 = 45;

/// That of IS.
const IS_PRECEDENCE: u8 = 17;

/// See the module.
#[derive(Debug)]
pub(super) struct HeadwaterDialect;

/// What the generic dialect supports beyond what every dialect does.
macro_rules! as_in_the_generic_one {
    ($($method:ident,)*) => {
        $(fn $method(&self) -> bool {
            GenericDialect.$method()
        })*
    };
}

impl Dialect for HeadwaterDialect {
    /// The parser asks by this for what is in no method.
    fn dialect(&self) -> TypeId {
        GenericDialect.type_id()
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        match parser.peek_token_ref().token {
            Token::Arrow | Token::LongArrow | Token::HashArrow | Token::HashLongArrow => {
                Some(Ok(ARROW_PRECEDENCE))
            }
            _ => None,
        }
    }

    fn parse_infix(&self, parser: &mut Parser<'_>, left: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        let different = match () {
            () if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) => {
                Expr::IsDistinctFrom
            }
            () if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) => {
                Expr::IsNotDistinctFrom
            }
            () => return None,
        };
        let right = parser.parse_subexpr(IS_PRECEDENCE);
        Some(right.map(|right| different(Box::new(left.clone()), Box::new(right))))
    }

    fn is_delimited_identifier_start(&self, letter: char) -> bool {
        GenericDialect.is_delimited_identifier_start(letter)
    }

    fn is_identifier_start(&self, letter: char) -> bool {
        GenericDialect.is_identifier_start(letter)
    }

    fn is_identifier_part(&self, letter: char) -> bool {
        GenericDialect.is_identifier_part(letter)
    }

    as_in_the_generic_one! {
        allow_extract_custom,
        allow_extract_single_quotes,
        support_map_literal_syntax,
        supports_array_join_syntax,
        supports_array_typedef_with_brackets,
        supports_asc_desc_in_column_definition,
        supports_bitwise_shift_operators,
        supports_comma_separated_set_assignments,
        supports_comma_separated_trim,
        supports_comment_on,
        supports_comment_optimizer_hint,
        supports_connect_by,
        supports_constraint_keyword_without_name,
        supports_create_index_with_clause,
        supports_create_view_comment_syntax,
        supports_cte_without_as,
        supports_data_type_signed_suffix,
        supports_detach,
        supports_dictionary_syntax,
        supports_empty_projections,
        supports_explain_with_utility_options,
        supports_extract_comma_syntax,
        supports_filter_during_aggregation,
        supports_from_first_select,
        supports_group_by_expr,
        supports_group_by_with_modifier,
        supports_install,
        supports_interpolate,
        supports_interval_options,
        supports_key_column_option,
        supports_left_associative_joins_without_parens,
        supports_limit_by,
        supports_limit_comma,
        supports_load_extension,
        supports_match_against,
        supports_match_recognize,
        supports_multiline_comment_hints,
        supports_named_fn_args_with_assignment_operator,
        supports_nested_comments,
        supports_optimize_table,
        supports_parens_around_table_factor,
        supports_parenthesized_set_variables,
        supports_partition_by_after_order_by,
        supports_pipe_operator,
        supports_prewhere,
        supports_projection_trailing_commas,
        supports_quote_delimited_string,
        supports_select_format,
        supports_select_item_multi_column_alias,
        supports_select_wildcard_except,
        supports_select_wildcard_exclude,
        supports_select_wildcard_ilike,
        supports_select_wildcard_rename,
        supports_select_wildcard_replace,
        supports_set_names,
        supports_settings,
        supports_start_transaction_modifier,
        supports_string_escape_constant,
        supports_struct_literal,
        supports_try_convert,
        supports_unicode_string_literal,
        supports_update_order_by,
        supports_user_host_grantee,
        supports_values_as_table_factor,
        supports_window_clause_named_window_reference,
        supports_window_function_null_treatment_arg,
        supports_with_fill,
        supports_xml_expressions,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::ops::ControlFlow;

    use datafusion::sql::sqlparser::ast::visit_expressions_mut;

    use super::*;

    /// The expression with a pair of brackets for each operator.
    fn bracketed(sql: &str) -> String {
        let mut expr = Parser::new(&HeadwaterDialect).try_with_sql(sql).unwrap().parse_expr().unwrap();
        let ControlFlow::Continue(()) = visit_expressions_mut(&mut expr, |part| {
            *part = match &*part {
                Expr::Nested(inner) => *inner.clone(),
                Expr::Identifier(_) | Expr::Value(_) => part.clone(),
                other => Expr::Nested(Box::new(other.clone())),
            };
            ControlFlow::<Infallible>::Continue(())
        });
        expr.to_string()
    }

    #[test]
    fn arrows_bind_tighter_than_what_stands_around_them() {
        for (sql, read) in [
            ("a ->> 'b' = 'c'", "(a ->> 'b') = 'c'"),
            ("a ->> 'b' <> c ->> 'd'", "(a ->> 'b') <> (c ->> 'd')"),
            ("a -> 'b' ->> 'c' || 'd'", "((a -> 'b') ->> 'c') || 'd'"),
            ("a ->> 'b' IS NULL", "(a ->> 'b') IS NULL"),
            ("a ->> 'b' NOT IN ('c')", "(a ->> 'b') NOT IN ('c')"),
            ("a ->> 'b' BETWEEN 'c' AND 'd'", "(a ->> 'b') BETWEEN 'c' AND 'd'"),
            (
                "a ->> 'b' LIKE 'c%' AND NOT a -> 'd' IS NULL",
                "(a ->> 'b') LIKE 'c%' AND (NOT ((a -> 'd') IS NULL))",
            ),
            ("1 + a -> 'b' * 2", "1 + ((a -> 'b') * 2)"),
            ("a::JSON ->> 'b'", "(a::JSON) ->> 'b'"),
            ("a IS DISTINCT FROM b AND c OR d", "((a IS DISTINCT FROM b) AND c) OR d"),
            (
                "x AND NOT a IS NOT DISTINCT FROM b + 1 OR c",
                "(x AND (NOT (a IS NOT DISTINCT FROM (b + 1)))) OR c",
            ),
            ("(a ->> 'b')::INT > 5", "((a ->> 'b')::INT) > 5"),
        ] {
            assert_eq!(bracketed(sql), bracketed(read), "{sql}");
        }
    }
}
