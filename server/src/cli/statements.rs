//! Splitting text into statements at `;`, outside of strings, quoted names and comments.

/// What a piece of input holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statements {
    /// Complete statements, without their `;`.
    pub(crate) complete: Vec<String>,
    /// What follows the last `;`.
    pub(crate) rest: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Plain,
    Quote(char),
    LineComment,
    /// Nesting depth.
    BlockComment(u32),
}

/// Splits `text`.
pub(crate) fn split(text: &str) -> Statements {
    let mut complete = Vec::new();
    let mut start = 0;
    let mut inside = Inside::Plain;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        inside = match (inside, character, next) {
            (Inside::Plain, ';', _) => {
                complete.push(text[start..at].trim().to_string());
                start = at + 1;
                Inside::Plain
            }
            (Inside::Plain, '\'' | '"', _) => Inside::Quote(character),
            (Inside::Plain, '-', Some('-')) => Inside::LineComment,
            (Inside::Plain, '/', Some('*')) => {
                characters.next();
                Inside::BlockComment(1)
            }
            // A doubled quote closes and opens again, which comes to the same.
            (Inside::Quote(quote), character, _) if quote == character => Inside::Plain,
            (Inside::LineComment, '\n', _) => Inside::Plain,
            (Inside::BlockComment(depth), '/', Some('*')) => {
                characters.next();
                Inside::BlockComment(depth + 1)
            }
            (Inside::BlockComment(depth), '*', Some('/')) => {
                characters.next();
                if depth == 1 { Inside::Plain } else { Inside::BlockComment(depth - 1) }
            }
            (inside, _, _) => inside,
        };
    }
    complete.retain(|statement| !statement.is_empty());
    Statements { complete, rest: text[start..].trim().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_outside_of_quotes_and_comments() {
        let cases: [(&str, &[&str], &str); 7] = [
            ("select 1; select 2;", &["select 1", "select 2"], ""),
            ("select ';' ; rest", &["select ';'"], "rest"),
            ("select 'it''s; fine'; ", &["select 'it''s; fine'"], ""),
            ("select \"a;b\"", &[], "select \"a;b\""),
            ("-- no; \n select 1;", &["-- no; \n select 1"], ""),
            ("/* a; /* b; */ c; */ select 1;", &["/* a; /* b; */ c; */ select 1"], ""),
            (";;", &[], ""),
        ];
        for (text, complete, rest) in cases {
            let found = split(text);
            assert_eq!(
                (found.complete, found.rest.as_str()),
                (complete.iter().map(|s| s.to_string()).collect(), rest),
                "{text}"
            );
        }
    }
}
