//! Passwords that a person types, and files that hold one.

use std::borrow::Cow;
use std::path::Path;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Editor, Helper};

use super::CliError;

/// Shows a star for each character.
struct Stars;

impl Highlighter for Stars {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Owned("*".repeat(line.chars().count()))
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        true
    }
}

impl Completer for Stars {
    type Candidate = Pair;
}

impl Hinter for Stars {
    type Hint = String;
}

impl Validator for Stars {}
impl Helper for Stars {}

/// Asks for a password on the terminal.
pub(crate) fn ask(prompt: &str) -> Result<String, CliError> {
    let failed = |error: ReadlineError| CliError::Usage(format!("no password: {error}"));
    let config = Config::builder().auto_add_history(false).build();
    let mut editor: Editor<Stars, MemHistory> =
        Editor::with_history(config, MemHistory::new()).map_err(failed)?;
    editor.set_helper(Some(Stars));
    editor.readline(prompt).map_err(failed)
}

/// The secret in a file; a line break at its end does not count.
pub(crate) fn from_file(path: &Path) -> Result<String, CliError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_string())
}
