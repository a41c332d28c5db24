//! The JSON grammar (RFC 8259) over a message: a cursor that validates all that it passes.
//!
//! Invariant: `at` never passes the end and always stands between two characters. Every string that was passed has valid escapes and
//! no lone surrogate, every number is a literal of the grammar, and nothing nests deeper than [`DEPTH_MAX`].

use super::error::Malformed;
use super::number::Number;
use super::plan::Spelling;
use super::text::unicode_escape;

/// How many objects and arrays may stand inside one another.
pub(super) const DEPTH_MAX: usize = 128;

/// A value of a message that was scanned, and so is valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'m> {
    /// Its text exactly as in the message.
    pub(super) raw: &'m str,
    pub(super) kind: Kind<'m>,
}

/// What kind of value was scanned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'m> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Text<'m>),
    Array,
    Object,
}

/// A string between its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'m> {
    pub(super) content: &'m str,
    /// Whether `content` still has its escapes.
    pub(super) escaped: bool,
}

/// A cursor over one message.
pub(super) struct Scanner<'m> {
    text: &'m str,
    at: usize,
}

impl<'m> Scanner<'m> {
    pub(super) fn new(text: &'m str) -> Self {
        Self { text, at: 0 }
    }

    /// Scans a text that is one value and white space around it.
    pub(super) fn document(text: &'m str) -> Result<Found<'m>, Malformed> {
        let mut scanner = Self::new(text);
        scanner.blanks();
        let found = scanner.value(0)?;
        scanner.end()?;
        Ok(found)
    }

    /// How many bytes were passed.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text from `start` to the cursor.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'m str {
        &self.text[start..self.at]
    }

    /// The next byte.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn rest(&self) -> &'m [u8] {
        &self.text.as_bytes()[self.at..]
    }

    #[cold]
    pub(super) fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }

    /// Passes white space.
    #[inline]
    pub(super) fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes `byte` if it comes next.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Passes a field's name with its closing quote, its colon and the white space after it, if they come next.
    #[inline]
    pub(super) fn eat_spelling(&mut self, spelling: &Spelling) -> bool {
        let Some(length) = spelling.length_in(self.rest()) else { return false };
        self.at += length;
        self.blanks();
        true
    }

    /// Passes trailing white space; anything else is an error.
    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        self.blanks();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.malformed("the end of the message")),
        }
    }

    /// Passes the `:` between a field's name and its value.
    #[inline]
    pub(super) fn colon(&mut self) -> Result<(), Malformed> {
        self.blanks();
        if !self.eat(b':') {
            return Err(self.malformed("`:`"));
        }
        self.blanks();
        Ok(())
    }

    /// Passes the opening bracket of a container in `depth` others. Returns whether it has a first member.
    #[inline]
    pub(super) fn open(&mut self, closing: u8, depth: usize) -> Result<bool, Malformed> {
        if depth >= DEPTH_MAX {
            return Err(self.malformed("at most 128 levels of nesting"));
        }
        self.at += 1;
        self.blanks();
        Ok(!self.eat(closing))
    }

    /// Passes what stands after a member of a container. Returns whether another member follows.
    #[inline]
    pub(super) fn more(&mut self, closing: u8) -> Result<bool, Malformed> {
        self.blanks();
        if self.eat(b',') {
            self.blanks();
            return Ok(true);
        }
        match self.eat(closing) {
            true => Ok(false),
            false if closing == b'}' => Err(self.malformed("`,` or `}`")),
            false => Err(self.malformed("`,` or `]`")),
        }
    }

    /// Passes the value that comes next, whatever it is, inside `depth` containers. Inlined into each of its few callers:
    /// a tenth of the time of a message of ten scalars is handing a [`Found`] over in memory.
    #[inline(always)]
    pub(super) fn value(&mut self, depth: usize) -> Result<Found<'m>, Malformed> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Kind::Text(self.text()?)
            }
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number()?),
            Some(b't') => self.word(b"true", Kind::Bool(true))?,
            Some(b'f') => self.word(b"false", Kind::Bool(false))?,
            Some(b'n') => self.word(b"null", Kind::Null)?,
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            _ => return Err(self.malformed("a value")),
        };
        Ok(Found { raw: self.since(start), kind })
    }

    #[inline]
    fn number(&mut self) -> Result<Number, Malformed> {
        match Number::scan(self.rest()) {
            Ok((number, length)) => {
                self.at += length;
                Ok(number)
            }
            Err(right) => {
                self.at += right;
                Err(self
                    .malformed("a number without leading zeros, with a digit after each `-`, `.` and `e`"))
            }
        }
    }

    fn word(&mut self, word: &'static [u8], kind: Kind<'m>) -> Result<Kind<'m>, Malformed> {
        if !self.rest().starts_with(word) {
            return Err(self.malformed("a value"));
        }
        self.at += word.len();
        Ok(kind)
    }

    #[inline(never)]
    fn object(&mut self, depth: usize) -> Result<Kind<'m>, Malformed> {
        let mut has_member = self.open(b'}', depth)?;
        while has_member {
            if !self.eat(b'"') {
                return Err(self.malformed("a field name in double quotes"));
            }
            self.text()?;
            self.colon()?;
            self.value(depth + 1)?;
            has_member = self.more(b'}')?;
        }
        Ok(Kind::Object)
    }

    #[inline(never)]
    fn array(&mut self, depth: usize) -> Result<Kind<'m>, Malformed> {
        let mut has_member = self.open(b']', depth)?;
        while has_member {
            self.value(depth + 1)?;
            has_member = self.more(b']')?;
        }
        Ok(Kind::Array)
    }

    /// Passes a string whose opening quote was passed, with its closing quote.
    #[inline]
    pub(super) fn text(&mut self) -> Result<Text<'m>, Malformed> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_length(self.rest());
            match self.peek() {
                Some(b'"') => {
                    let content = self.since(start);
                    self.at += 1;
                    return Ok(Text { content, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.malformed("an escape instead of a control character")),
                None => return Err(self.malformed("the closing `\"` of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let escape = &self.rest()[1..];
        let length = match escape.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Some(1),
            Some(b'u') => unicode_escape(escape).map(|(_, length)| length),
            _ => None,
        };
        match length {
            Some(length) => {
                self.at += 1 + length;
                Ok(())
            }
            None => Err(self.malformed("a valid escape that is not a lone surrogate")),
        }
    }
}

/// How many bytes come before the first quote, backslash or control character. Sixteen bytes at a time, so that most
/// strings end in the first step whatever their length: a branch that is hard to predict costs more than the step.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    while let Some((head, rest)) = bytes[length..].split_first_chunk::<8>() {
        let Some(tail) = rest.first_chunk::<8>() else { break };
        let (head, tail) = (special_bytes(*head), special_bytes(*tail));
        if head | tail != 0 {
            let first = if head != 0 { head.trailing_zeros() } else { 64 + tail.trailing_zeros() };
            return length + (first / 8) as usize;
        }
        length += 16;
    }
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    length + bytes[length..].iter().position(is_special).unwrap_or(bytes.len() - length)
}

/// Eight bytes at once: the lowest bit set is the high bit of the first byte that ends or interrupts a string (Mycroft
/// 1987: `(word - 0x01…) & !word & 0x80…` finds the first zero byte; bits above the first are not exact).
#[inline]
fn special_bytes(bytes: [u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(bytes);
    let quotes = word ^ (ONES * b'"' as u64);
    let backslashes = word ^ (ONES * b'\\' as u64);
    let hits = (quotes.wrapping_sub(ONES) & !quotes)
        | (backslashes.wrapping_sub(ONES) & !backslashes)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    hits & (ONES << 7)
}
