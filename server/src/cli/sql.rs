//! `headwater sql`: one statement, statements from standard input, or the shell.

use std::io::{IsTerminal, Read, Write};
use std::time::Instant;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::{CliError, OutputFormat, ServerArguments, shell, statements, text_table};

/// Arguments of `headwater sql`.
#[derive(Debug, Args)]
pub(crate) struct SqlArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Run these statements and end.
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    command: Option<String>,
    /// How answers are printed. Default: table on a terminal, csv otherwise.
    #[arg(short = 'f', long, value_enum)]
    format: Option<OutputFormat>,
    /// Give up after this many milliseconds.
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<u64>,
    /// More rows than this are an error.
    #[arg(long, value_name = "ROWS")]
    rows_max: Option<u64>,
}

/// Sends statements and prints answers.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) format: OutputFormat,
    pub(crate) timing: bool,
    deadline_ms: Option<u64>,
    rows_max: Option<u64>,
}

/// Runs the command.
pub(crate) fn run(arguments: &SqlArguments) -> Result<(), CliError> {
    let terminal = std::io::stdout().is_terminal();
    let default = if terminal { OutputFormat::Table } else { OutputFormat::Csv };
    let mut session = Session {
        client: Client::new(&arguments.server.url)?,
        format: arguments.format.unwrap_or(default),
        timing: terminal,
        deadline_ms: arguments.deadline_ms,
        rows_max: arguments.rows_max,
    };
    let text = match &arguments.command {
        Some(command) => command.clone(),
        None if std::io::stdin().is_terminal() => return shell::run(&mut session),
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        }
    };
    let found = statements::split(&text);
    let rest = Some(found.rest).filter(|rest| !rest.is_empty());
    for statement in found.complete.into_iter().chain(rest) {
        session.execute(&statement, &mut std::io::stdout().lock())?;
    }
    Ok(())
}

impl Session {
    /// Asks for a JSON answer.
    pub(crate) fn ask(&self, statement: &str) -> Result<Value, CliError> {
        self.client.json(Method::POST, "/sql", Some(self.request(statement, "json").to_string()))
    }

    fn request(&self, statement: &str, format: &str) -> Value {
        let mut request = json!({ "sql": statement, "format": format });
        if let Some(deadline_ms) = self.deadline_ms {
            request["deadline_ms"] = deadline_ms.into();
        }
        if let Some(rows_max) = self.rows_max {
            request["rows_max"] = rows_max.into();
        }
        request
    }

    /// Runs one statement and prints its answer.
    pub(crate) fn execute(&self, statement: &str, out: &mut impl Write) -> Result<(), CliError> {
        let started = Instant::now();
        match self.format {
            OutputFormat::Table => {
                let answer = self.ask(statement)?;
                let rows = print_table(&answer, out)?;
                if self.timing {
                    let seconds = started.elapsed().as_secs_f64();
                    let plural = if rows == 1 { "row" } else { "rows" };
                    writeln!(out, "{rows} {plural} in {seconds:.3} s{}", freshness(&answer))?;
                }
            }
            OutputFormat::Csv | OutputFormat::Json => {
                let format = if self.format == OutputFormat::Csv { "csv" } else { "json" };
                let body = self.request(statement, format).to_string();
                let text = self.client.text(Method::POST, "/sql", Some(body))?;
                out.write_all(text.as_bytes())?;
                if !text.ends_with('\n') {
                    writeln!(out)?;
                }
            }
        }
        Ok(out.flush()?)
    }
}

fn print_table(answer: &Value, out: &mut impl Write) -> Result<usize, CliError> {
    if let Some(message) = answer["error"]["message"].as_str() {
        return Err(CliError::Answer(message.to_string()));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let columns: Vec<(String, String)> = answer["columns"]
        .as_array()
        .map(|columns| columns.iter().map(|column| (text(&column["name"]), text(&column["type"]))).collect())
        .unwrap_or_default();
    let rows: Vec<Vec<Value>> = answer["rows"]
        .as_array()
        .map(|rows| rows.iter().map(|row| row.as_array().cloned().unwrap_or_default()).collect())
        .unwrap_or_default();
    // EXPLAIN answers with a plan of several lines in one cell; a box around it would only cut it.
    let is_plan = columns.len() == 2 && columns[0].0 == "plan_type" && columns[1].0 == "plan";
    if is_plan {
        for row in &rows {
            writeln!(out, "{}:\n{}", text(&row[0]), text(&row[1]))?;
        }
    } else {
        text_table::write(out, &columns, &rows)?;
    }
    Ok(rows.len())
}

fn freshness(answer: &Value) -> String {
    let cuts = answer["cut"].as_object();
    let ages: Vec<String> = cuts
        .into_iter()
        .flatten()
        .filter_map(|(table, cut)| Some(format!("{table} is {} ms old", cut["freshness_ms"].as_i64()?)))
        .collect();
    if ages.is_empty() { String::new() } else { format!("; {}", ages.join(", ")) }
}
