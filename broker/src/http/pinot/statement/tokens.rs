//! A text cut into tokens, and changed in place: nothing that is not a token of its own is ever touched.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// White space and comments.
    Blank,
    /// A name, a keyword or a number.
    Word,
    /// `'…'`
    Text,
    /// `"…"`
    QuotedName,
    Semicolon,
    /// Any other single character.
    Other,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Byte of the whole text at which it starts.
    pub(super) start: usize,
}

impl<'a> Token<'a> {
    /// Whether it is this keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is this character.
    pub(super) fn is_mark(&self, mark: &str) -> bool {
        self.kind == Kind::Other && self.text == mark
    }

    /// What it spells if it can be a name.
    pub(super) fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.text.to_string()),
            Kind::QuotedName => Some(unquote(self.text)),
            _ => None,
        }
    }

    fn range(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }
}

/// What is put in the place of tokens.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    pub(super) fn replace(&mut self, token: &Token<'_>, by: String) {
        self.0.push((token.range(), by));
    }

    /// Puts blanks in the place of a token, as many as it has characters, line breaks kept.
    pub(super) fn blank(&mut self, token: &Token<'_>) {
        self.replace(token, blanks(token.text));
    }

    /// The text with all of it done; the first change of a token counts.
    pub(super) fn applied(mut self, text: &str) -> String {
        self.0.sort_by_key(|(range, _)| range.start);
        let mut changed = String::with_capacity(text.len());
        let mut at = 0;
        for (range, by) in self.0.into_iter() {
            if range.start < at {
                continue;
            }
            changed.push_str(&text[at..range.start]);
            changed.push_str(&by);
            at = range.end;
        }
        changed.push_str(&text[at..]);
        changed
    }
}

/// Blanks of the same length, line breaks kept.
pub(super) fn blanks(removed: &str) -> String {
    removed.chars().map(|c| if c == '\n' || c == '\r' { c } else { ' ' }).collect()
}

/// The content of `'…'` or `"…"`, doubled quotes undone; an end that is missing is not missed.
pub(super) fn unquote(quoted: &str) -> String {
    let Some(quote) = quoted.chars().next() else { return String::new() };
    let content = &quoted[quote.len_utf8()..];
    let content = content.strip_suffix(quote).unwrap_or(content);
    content.replace(&format!("{quote}{quote}"), &quote.to_string())
}

/// Cuts the whole text into tokens; every byte belongs to exactly one.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let rest = &text[start..];
        let (kind, length) = match first {
            '\'' => (Kind::Text, quoted_length(rest, '\'')),
            '"' => (Kind::QuotedName, quoted_length(rest, '"')),
            ';' => (Kind::Semicolon, 1),
            '-' if rest.starts_with("--") => (Kind::Blank, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (Kind::Blank, comment_length(rest)),
            c if c.is_whitespace() => (Kind::Blank, length_while(rest, char::is_whitespace)),
            c if is_word(c) => (Kind::Word, length_while(rest, is_word)),
            other => (Kind::Other, other.len_utf8()),
        };
        tokens.push(Token { kind, text: &rest[..length], start });
        start += length;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn length_while(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !belongs(c)).unwrap_or(text.len())
}

/// Length of the quoted piece that `text` starts with; a doubled quote does not end it.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(end) = text[at..].find(quote) {
        at += end + 1;
        if !text[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    text.len()
}

/// Length of the comment that `text` starts with; comments nest, as they do in the engine's dialect.
fn comment_length(text: &str) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 {
        let rest = &text[at..];
        let Some(mark) = rest.find("/*").into_iter().chain(rest.find("*/")).min() else { return text.len() };
        depth = if rest[mark..].starts_with("/*") { depth + 1 } else { depth - 1 };
        at += mark + 2;
    }
    at
}
