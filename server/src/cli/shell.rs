//! The interactive shell: history, several lines until `;`, completion of tables, columns and keywords.

use std::borrow::Cow;
use std::io::Write;
use std::path::PathBuf;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::sql::Session;
use super::{CliError, OutputFormat, interrupt, statements};

const HELP: &str = "\
Statements end with ; and may take several lines.
  \\d            tables            \\d NAME       columns of a table
  \\f FORMAT     table, csv, json  \\t            timing on or off
  \\r            read names for completion again
  \\h or \\?      this help         \\q or Ctrl-D  leave
Tab completes. Ctrl-C drops the line that is being typed, or ends the statement that runs.";

const KEYWORDS: [&str; 46] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "DISTINCT",
    "UNION ALL",
    "WITH",
    "OVER",
    "PARTITION BY",
    "ASC",
    "DESC",
    "COUNT",
    "SUM",
    "AVG",
    "MIN",
    "MAX",
    "date_trunc",
    "now()",
    "INTERVAL",
    "FILTER",
    "EXPLAIN",
    "EXPLAIN ANALYZE",
    "VALUES",
];

/// Completes words, and asks for more lines until a statement is complete.
struct SqlHelper {
    names: Vec<String>,
}

impl Completer for SqlHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..position];
        let in_word = |character: char| character.is_alphanumeric() || "_$.".contains(character);
        let start = typed
            .rfind(|character| !in_word(character))
            .map_or(0, |at| at + typed[at..].chars().next().map_or(1, char::len_utf8));
        let word = typed[start..].to_lowercase();
        if word.is_empty() {
            return Ok((position, Vec::new()));
        }
        let known = self.names.iter().map(String::as_str).chain(KEYWORDS);
        let matching = known.filter(|name| name.to_lowercase().starts_with(&word));
        Ok((start, matching.map(|name| Pair { display: name.into(), replacement: name.into() }).collect()))
    }
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let input = context.input().trim();
        let complete =
            input.is_empty() || input.starts_with('\\') || statements::split(input).rest.is_empty();
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for SqlHelper {
    type Hint = String;
}

impl Highlighter for SqlHelper {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        Cow::Borrowed(prompt)
    }
}

impl Helper for SqlHelper {}

/// Runs the shell until the user leaves.
pub(crate) fn run(session: &mut Session) -> Result<(), CliError> {
    let mut out = std::io::stdout();
    // Fails early, with the address, if nobody is there.
    let names = known_names(session)?;
    interrupt::in_shell();
    writeln!(out, "Connected to {}. \\h for help, \\q to leave.", session.client.url())?;
    let failed = |error: ReadlineError| CliError::Answer(error.to_string());
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(true).build();
    let mut editor: Editor<SqlHelper, FileHistory> = Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(SqlHelper { names }));
    let history = history_file();
    if let Some(history) = &history {
        // There is none the first time.
        let _ = editor.load_history(history);
    }
    loop {
        match editor.readline("headwater> ") {
            Ok(line) => {
                if let Some(command) = line.trim().strip_prefix('\\') {
                    if matches!(command.trim(), "q" | "quit") {
                        break;
                    }
                    backslash(session, &mut editor, command, &mut out)?;
                } else {
                    run_statements(session, &line, &mut out)?;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    if let Some(history) = &history
        && let Err(error) = editor.save_history(history)
    {
        writeln!(out, "history was not saved: {error}")?;
    }
    Ok(())
}

fn run_statements(session: &Session, text: &str, out: &mut impl Write) -> Result<(), CliError> {
    for statement in statements::split(text).complete {
        show(session.execute(&statement, out), out)?;
    }
    Ok(())
}

/// In the shell an error is printed, and the shell goes on.
fn show(result: Result<(), CliError>, out: &mut impl Write) -> Result<(), CliError> {
    match result {
        Err(CliError::BrokenPipe) => Err(CliError::BrokenPipe),
        Err(error) => Ok(writeln!(out, "error: {error}")?),
        Ok(()) => Ok(()),
    }
}

fn backslash(
    session: &mut Session,
    editor: &mut Editor<SqlHelper, FileHistory>,
    command: &str,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let mut words = command.split_whitespace();
    match (words.next().unwrap_or_default(), words.next()) {
        ("d", None) => {
            let tables = "SELECT table_schema, table_name FROM information_schema.tables \
                          WHERE table_schema <> 'information_schema' ORDER BY 1, 2";
            show(session.execute(tables, out), out)
        }
        ("d", Some(name)) => {
            let columns = format!(
                "SELECT column_name, data_type, is_nullable FROM information_schema.columns \
                 WHERE table_name = '{}' ORDER BY ordinal_position",
                name.replace('\'', "''")
            );
            show(session.execute(&columns, out), out)
        }
        ("t", None) => {
            session.timing = !session.timing;
            Ok(writeln!(out, "timing is {}", if session.timing { "on" } else { "off" })?)
        }
        ("r", None) => match known_names(session) {
            Ok(names) => {
                editor.set_helper(Some(SqlHelper { names }));
                Ok(())
            }
            Err(error) => show(Err(error), out),
        },
        ("f", Some(format)) => {
            match format {
                "table" => session.format = OutputFormat::Table,
                "csv" => session.format = OutputFormat::Csv,
                "json" => session.format = OutputFormat::Json,
                other => writeln!(out, "{other:?} is not a format; use table, csv or json")?,
            }
            Ok(())
        }
        _ => Ok(writeln!(out, "{HELP}")?),
    }
}

fn known_names(session: &Session) -> Result<Vec<String>, CliError> {
    let answer = session
        .ask("SELECT DISTINCT table_schema, table_name, column_name FROM information_schema.columns")?;
    let mut names = Vec::new();
    for row in answer["rows"].as_array().into_iter().flatten() {
        let text = |index: usize| row[index].as_str().unwrap_or_default();
        match text(0) {
            "information_schema" => continue,
            "public" => names.push(text(1).to_string()),
            schema => names.push(format!("{schema}.{}", text(1))),
        }
        names.push(text(2).to_string());
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn history_file() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from)?;
    Some(home.join(".headwater_history"))
}
