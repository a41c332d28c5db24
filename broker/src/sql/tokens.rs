//! The token level: limits on structure, stream columns, positions.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};

use headwater_segment::schema::{
    HEADERS_COLUMN, KEY_COLUMN, OFFSET_COLUMN, PARTITION_COLUMN, STREAM_COLUMNS, TIMESTAMP_COLUMN,
};

use crate::{QueryError, QueryErrorKind};

/// Most operators of a statement.
///
/// A chain such as `a + a + …` becomes a tree as deep as it is long; planning it takes time in the square of its depth,
/// on a thread that cannot be interrupted meanwhile. Lists cost nothing of the kind and are not counted.
const OPERATORS_MAX: usize = 2_000;

/// The operators that are words.
const OPERATOR_WORDS: [Keyword; 36] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::NOT,
    Keyword::IS,
    Keyword::NOTNULL,
    Keyword::IN,
    Keyword::BETWEEN,
    Keyword::OVERLAPS,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::RLIKE,
    Keyword::REGEXP,
    Keyword::MATCH,
    Keyword::SIMILAR,
    Keyword::MEMBER,
    Keyword::OPERATOR,
    Keyword::DIV,
    Keyword::AT,
    Keyword::COLLATE,
    Keyword::INTERVAL,
    Keyword::PRIOR,
    Keyword::CONNECT_BY_ROOT,
    Keyword::BINARY,
    Keyword::CASE,
    Keyword::EXISTS,
    Keyword::JOIN,
    Keyword::APPLY,
    Keyword::PIVOT,
    Keyword::UNPIVOT,
    Keyword::MATCH_RECOGNIZE,
    Keyword::UNION,
    Keyword::INTERSECT,
    Keyword::EXCEPT,
    Keyword::MINUS,
    Keyword::EXPLAIN,
];

const STREAM_COLUMN_NAMES: [&str; STREAM_COLUMNS] =
    [PARTITION_COLUMN, OFFSET_COLUMN, TIMESTAMP_COLUMN, KEY_COLUMN, HEADERS_COLUMN];

/// What the text mentions beside ordinary names.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    pub(super) stream_columns: BTreeSet<String>,
    pub(super) parameters: usize,
}

/// Splits the text into tokens with their positions.
pub(super) fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>, QueryError> {
    Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(|error| QueryError {
        kind: QueryErrorKind::Parse,
        message: error.message,
        position: position(error.location),
        suggestion: None,
    })
}

/// Refuses texts whose plan would be out of all proportion.
pub(super) fn check_operators(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let operators = tokens.iter().filter(|token| is_operator(&token.token)).count();
    if operators <= OPERATORS_MAX {
        return Ok(());
    }
    Err(QueryError::new(
        QueryErrorKind::BadRequest,
        format!(
            "the statement has {operators} operators, at most {OPERATORS_MAX} are allowed; \
             use IN (…) or VALUES for long lists"
        ),
    ))
}

/// Deepest nesting of calls where the parser reads each argument twice, first as the name of one: each further call doubles the time.
const CALLS_MAX: usize = 12;

/// Refuses calls that are nested so deep in each other that a parser which reads arguments twice would not come to an end.
pub(super) fn check_calls(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let (mut open, mut depth, mut before) = (Vec::new(), 0_usize, false);
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::LParen => {
                open.push(before);
                depth += usize::from(before);
            }
            Token::RParen => depth -= usize::from(open.pop().unwrap_or_default()),
            _ => {}
        }
        if depth > CALLS_MAX {
            return Err(QueryError {
                kind: QueryErrorKind::Parse,
                message: format!("calls are nested deeper than {CALLS_MAX}; use WITH to take them apart"),
                position: position(token.span.start),
                suggestion: None,
            });
        }
        before = matches!(token.token, Token::Word(_));
    }
    Ok(())
}

/// Refuses texts that are nested deeper than `nesting_max`, whatever stands between the brackets: not every rule of the parser
/// counts for its own limit, such as types within types.
pub(super) fn check_nesting(tokens: &[TokenWithSpan], nesting_max: usize) -> Result<(), QueryError> {
    let mut depth = 0_usize;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth > nesting_max {
            return Err(QueryError {
                kind: QueryErrorKind::Parse,
                message: format!(
                    "the statement is nested deeper than {nesting_max} brackets; use WITH to take it apart"
                ),
                position: position(token.span.start),
                suggestion: None,
            });
        }
    }
    Ok(())
}

/// Whether a token can make a tree deeper without a bracket: it stands before, between or behind expressions or tables.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none() && OPERATOR_WORDS.contains(&word.keyword),
        Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Placeholder(_) => false,
        _ => true,
    }
}

/// Gives every `?` its number: the first is `$1`. No operator of ours has one.
pub(super) fn number_parameters(tokens: &mut [TokenWithSpan]) -> Result<(), QueryError> {
    let (mut count, mut numbered) = (0_u32, None);
    for token in tokens {
        match &token.token {
            Token::Placeholder(text) if text == "?" => {
                count += 1;
                token.token = Token::Placeholder(format!("${count}"));
            }
            Token::Placeholder(text) if parameter_number(text).is_some() => {
                numbered = numbered.or(position(token.span.start));
            }
            _ => {}
        }
    }
    match numbered.filter(|_| count > 0) {
        None => Ok(()),
        at => Err(QueryError {
            kind: QueryErrorKind::Parse,
            message: "parameters are either ? or numbered ($1, $2, …), not both".into(),
            position: at,
            suggestion: None,
        }),
    }
}

/// Turns `$offset` and its like into quoted names, and checks that every other `$x` is `$1`, `$2`, ….
pub(super) fn quote_stream_columns(tokens: &mut [TokenWithSpan]) -> Result<Mentions, QueryError> {
    let mut mentions = Mentions::default();
    for token in tokens {
        match &token.token {
            Token::Placeholder(text) => {
                let lower = text.to_lowercase();
                if STREAM_COLUMN_NAMES.contains(&lower.as_str()) {
                    token.token = quoted(&lower);
                    mentions.stream_columns.insert(lower);
                } else {
                    let number = parameter_number(text).ok_or_else(|| unknown_placeholder(text, token))?;
                    mentions.parameters = mentions.parameters.max(number);
                }
            }
            Token::Word(word)
                if word.quote_style.is_some() && STREAM_COLUMN_NAMES.contains(&word.value.as_str()) =>
            {
                mentions.stream_columns.insert(word.value.clone());
            }
            _ => {}
        }
    }
    Ok(mentions)
}

/// Whether `$x` is a stream column, letter case aside.
pub(super) fn is_stream_column(text: &str) -> bool {
    STREAM_COLUMN_NAMES.contains(&text.to_lowercase().as_str())
}

/// The n of `$n`. 65,535 is PostgreSQL's limit.
fn parameter_number(text: &str) -> Option<usize> {
    let number = text.strip_prefix('$')?.parse::<u16>().ok()?;
    (number > 0).then_some(usize::from(number))
}

fn unknown_placeholder(text: &str, token: &TokenWithSpan) -> QueryError {
    QueryError {
        kind: QueryErrorKind::Parse,
        message: format!(
            "{text} is neither a parameter ($1, $2, …) nor a stream column ({})",
            STREAM_COLUMN_NAMES.join(", ")
        ),
        position: position(token.span.start),
        suggestion: None,
    }
}

/// A name as the parser sees it when the user quotes it.
pub(super) fn quoted(name: &str) -> Token {
    Token::Word(Word { value: name.to_owned(), quote_style: Some('"'), keyword: Keyword::NoKeyword })
}

/// Position of the first token that spells `name`, letter case aside.
pub(super) fn position_of(tokens: &[TokenWithSpan], name: &str) -> Option<(u64, u64)> {
    let spells = |token: &&TokenWithSpan| match &token.token {
        Token::Word(word) => word.value.eq_ignore_ascii_case(name),
        _ => false,
    };
    tokens.iter().find(spells).and_then(|token| position(token.span.start))
}

fn position(location: Location) -> Option<(u64, u64)> {
    (location.line > 0).then_some((location.line, location.column))
}

/// A parser error as ours; its text ends in `at Line: 1, Column: 8`, which becomes the position.
pub fn parse_error(error: &ParserError) -> QueryError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            "the statement is nested too deeply; use WITH to take it apart"
        }
    };
    let (message, position) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => (message, parse_place(place)),
        None => (text, None),
    };
    QueryError { kind: QueryErrorKind::Parse, message: message.to_owned(), position, suggestion: None }
}

fn parse_place(place: &str) -> Option<(u64, u64)> {
    let (line, column) = place.split_once(", Column: ")?;
    let line = line.trim().parse().ok()?;
    let column = column.trim().parse().ok()?;
    (line > 0).then_some((line, column))
}
