//! Why a message was not decoded, in words for the dead letter.
//!
//! Invariant: an excerpt of the message is at most [`EXCERPT_BYTES_MAX`] bytes of it, cut between characters, with
//! everything that is not printable escaped, so a reason is always safe to log and to store.

use std::fmt::{self, Write};

/// How many bytes of the offending value a reason shows.
pub const EXCERPT_BYTES_MAX: usize = 64;

/// A message that cannot become a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct DecodeError {
    /// The path of the column's value as the spec writes it; `$` if the message as a whole is at fault.
    pub path: String,
    /// What is wrong, with an excerpt of the offending value.
    pub reason: String,
}

impl DecodeError {
    #[cold]
    pub(super) fn not_utf8(message: &[u8], fault: std::str::Utf8Error) -> Self {
        let at = fault.valid_up_to();
        Self { path: "$".into(), reason: format!("not UTF-8 at byte {at}: {}", Excerpt(&message[at..])) }
    }
}

/// A message that is not one valid JSON document: where, and what would have been right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Byte offset in the message.
    pub(super) at: usize,
    /// What the grammar asks for there.
    pub(super) expected: &'static str,
}

impl Malformed {
    /// The error for the message that this was found in.
    #[cold]
    pub(super) fn in_message(self, message: &[u8]) -> DecodeError {
        let found = match message.get(self.at..) {
            None | Some([]) => "the end of the message".to_string(),
            Some(rest) => Excerpt(rest).to_string(),
        };
        let Self { at, expected } = self;
        DecodeError {
            path: "$".into(),
            reason: format!("not valid JSON at byte {at}: expected {expected}, found {found}"),
        }
    }
}

/// A well-formed value that its column cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// What is wrong with it.
    pub(super) why: &'static str,
    /// The element of the array that does not fit.
    pub(super) element: Option<usize>,
}

impl From<&'static str> for Misfit {
    fn from(why: &'static str) -> Self {
        Self { why, element: None }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.element {
            Some(element) => write!(f, "element {element}: {}", self.why),
            None => f.write_str(self.why),
        }
    }
}

/// Shows the beginning of some bytes of a message between backticks.
pub(super) struct Excerpt<'m>(pub(super) &'m [u8]);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let clipped = &bytes[..clip(bytes)];
        f.write_char('`')?;
        for chunk in clipped.utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| match c.is_control() {
                true => write!(f, "{}", c.escape_default()),
                false => f.write_char(c),
            })?;
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        f.write_str(if clipped.len() < bytes.len() { "…`" } else { "`" })
    }
}

/// Where to cut so that no more than the allowed bytes stay and no character is split.
fn clip(bytes: &[u8]) -> usize {
    if bytes.len() <= EXCERPT_BYTES_MAX {
        return bytes.len();
    }
    let is_inside_character = |at: &usize| bytes[*at] & 0xC0 == 0x80;
    // A character has at most four bytes; a longer run of continuation bytes is not UTF-8 and may be cut anywhere.
    (EXCERPT_BYTES_MAX - 3..=EXCERPT_BYTES_MAX)
        .rev()
        .find(|at| !is_inside_character(at))
        .unwrap_or(EXCERPT_BYTES_MAX)
}
