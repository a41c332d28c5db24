//! Names of tables and columns with upper-case letters, without quotes.
//!
//! SQL folds unquoted names to lower case, and events are full of `orderId`. An unquoted word that spells exactly one
//! known name, letter case aside, becomes that name quoted; a word that is ambiguous, or that is a lower-case name
//! already, stays as the user wrote it.

use std::collections::{HashMap, HashSet};

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::quoted;

/// The tables that exist, with their columns.
#[derive(Clone, Debug, Default)]
pub struct KnownNames {
    tables: Vec<(String, Vec<String>)>,
}

impl KnownNames {
    /// Tables and their columns.
    pub fn new(tables: Vec<(String, Vec<String>)>) -> Self {
        Self { tables }
    }

    pub(super) fn quote_mixed_case(&self, tokens: &mut [TokenWithSpan]) {
        let folded = self.folded(tokens);
        if folded.is_empty() {
            return;
        }
        for index in 0..tokens.len() {
            let replacement = match &tokens[index].token {
                Token::Word(word) if word.quote_style.is_none() && is_name(tokens, index) => {
                    folded.get(&word.value.to_lowercase()).and_then(|name| *name)
                }
                _ => None,
            };
            if let Some(name) = replacement {
                tokens[index].token = quoted(name);
            }
        }
    }

    /// Lower-case form -> the one name to put there; None where two names share the form or the name is lower-case.
    fn folded(&self, tokens: &[TokenWithSpan]) -> HashMap<String, Option<&str>> {
        let words: HashSet<String> = tokens
            .iter()
            .filter_map(|token| match &token.token {
                Token::Word(word) => Some(word.value.to_lowercase()),
                _ => None,
            })
            .collect();
        let mentioned = self.tables.iter().filter(|(table, _)| words.contains(&table.to_lowercase()));
        let names = mentioned.flat_map(|(table, columns)| std::iter::once(table).chain(columns));

        let mut folded: HashMap<String, Option<&str>> = HashMap::new();
        for name in names {
            let lower = name.to_lowercase();
            let exact = (lower != *name).then_some(name.as_str());
            folded
                .entry(lower)
                .and_modify(|known| *known = known.filter(|known| Some(*known) == exact))
                .or_insert(exact);
        }
        folded.retain(|_, name| name.is_some());
        folded
    }
}

/// Whether the unquoted word at `index` can be a name: not a function, and a keyword only behind a dot.
fn is_name(tokens: &[TokenWithSpan], index: usize) -> bool {
    let mut following = tokens[index + 1..].iter().map(|token| &token.token);
    let next = following.find(|token| !matches!(token, Token::Whitespace(_)));
    if next == Some(&Token::LParen) {
        return false;
    }
    let behind_dot = index > 0 && tokens[index - 1].token == Token::Period;
    matches!(&tokens[index].token, Token::Word(word) if word.keyword == Keyword::NoKeyword || behind_dot)
}
