//! `headwater sql`: one statement, statements from standard input, or the shell.

use std::cell::Cell;
use std::io::{IsTerminal, Read, Write};
use std::time::Instant;

use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use ulid::Ulid;

use super::client::Client;
use super::error::ServerError;
use super::progress::{HowFar, Progress};
use super::screen::Screen;
use super::text_table::Style;
use super::{CliError, OutputFormat, ServerArguments, shell, statements, text_table};

const EXAMPLES: &str = "\
Examples:
  headwater sql                                             a shell: \\h for help, \\q to leave
  headwater sql -c 'SELECT count(*) FROM orders'
  headwater sql -f csv -c 'SELECT * FROM orders' > orders.csv
  echo 'SELECT 1; SELECT 2' | headwater sql --output json   one document for each statement";

/// Arguments of `headwater sql`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SqlArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Run these statements and end.
    #[arg(short = 'c', long = "command", value_name = "SQL", allow_hyphen_values = true)]
    command: Option<String>,
    /// How answers are printed. Default: json with --output json, else table on a terminal, csv otherwise.
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
    pub(crate) screen: Screen,
    deadline_ms: Option<u64>,
    rows_max: Option<u64>,
    /// Whether the server takes an identity for a query, under which it says how far it is. Known once it was tried.
    takes_ids: Cell<bool>,
    tells_progress: Cell<bool>,
}

/// Runs the command.
pub(crate) fn run(arguments: &SqlArguments, screen: Screen) -> Result<(), CliError> {
    let terminal = std::io::stdout().is_terminal();
    let default = match (screen.is_json(), terminal) {
        (true, _) => OutputFormat::Json,
        (false, true) => OutputFormat::Table,
        (false, false) => OutputFormat::Csv,
    };
    let mut session = Session {
        client: Client::new(&arguments.server)?,
        format: arguments.format.unwrap_or(default),
        timing: terminal,
        screen,
        deadline_ms: arguments.deadline_ms,
        rows_max: arguments.rows_max,
        takes_ids: Cell::new(true),
        tells_progress: Cell::new(true),
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
    let all: Vec<String> = found.complete.into_iter().chain(rest).collect();
    if all.is_empty() {
        return Err(CliError::Usage("there is no statement; say -c 'SELECT …'".into()));
    }
    for statement in all {
        session.execute(&statement, &mut std::io::stdout().lock())?;
    }
    Ok(())
}

/// What is looked for at the end of a JSON answer: an error that came after the first row.
#[derive(Deserialize)]
struct LateError {
    error: Option<Value>,
}

impl Session {
    /// Asks for a JSON answer.
    pub(crate) fn ask(&self, statement: &str) -> Result<Value, CliError> {
        let text = self.text(statement, "json")?;
        serde_json::from_str(&text).map_err(|error| {
            let url = self.client.url();
            CliError::Answer(format!("{url} answered with something that is not JSON: {error}"))
        })
    }

    /// The whole answer in a format.
    fn text(&self, statement: &str, format: &str) -> Result<String, CliError> {
        let mut text = Vec::new();
        self.fetch(statement, format, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Writes an answer as it comes.
    fn fetch(&self, statement: &str, format: &str, out: &mut impl Write) -> Result<(), CliError> {
        let id = format!("cli-{}", Ulid::new());
        let asking = async {
            let with_id = self.takes_ids.get().then_some(id.as_str());
            match self.send(statement, format, with_id).await {
                // An older server: it is asked without.
                Err(CliError::Server(error)) if with_id.is_some() && is_about_id(&error) => {
                    self.takes_ids.set(false);
                    self.send(statement, format, None).await
                }
                other => other,
            }
        };
        self.client.wait(async {
            let progress = Progress::new("running", "segments");
            let mut answer = self.client.showing(progress, asking, async || self.how_far(&id).await).await?;
            while let Some(chunk) = answer.chunk().await.map_err(|error| self.client.broke_off(&error))? {
                out.write_all(&chunk)?;
            }
            Ok(())
        })
    }

    async fn send(
        &self,
        statement: &str,
        format: &str,
        id: Option<&str>,
    ) -> Result<reqwest::Response, CliError> {
        let mut request = json!({ "sql": statement, "format": format });
        if let Some(deadline_ms) = self.deadline_ms {
            request["deadline_ms"] = deadline_ms.into();
        }
        if let Some(rows_max) = self.rows_max {
            request["rows_max"] = rows_max.into();
        }
        if let Some(id) = id {
            request["query_id"] = id.into();
        }
        self.client.send(Method::POST, "/sql", Some(request.to_string())).await
    }

    /// Segments of a query that are done, and all of them, if the server tells.
    async fn how_far(&self, id: &str) -> Option<HowFar> {
        if !self.takes_ids.get() || !self.tells_progress.get() {
            return None;
        }
        let told = self.client.fetch_json(Method::GET, &format!("/queries/{id}"), None).await;
        if matches!(&told, Err(CliError::Server(error)) if error.status == 405) {
            self.tells_progress.set(false);
        }
        let told = told.ok()?;
        let (done, total) = (told["segments_done"].as_u64()?, told["segments_total"].as_u64());
        Some(HowFar { done, total, trouble: None })
    }

    /// Runs one statement and prints its answer.
    pub(crate) fn execute(&self, statement: &str, out: &mut impl Write) -> Result<(), CliError> {
        let started = Instant::now();
        match self.format {
            OutputFormat::Table => {
                let answer = self.ask(statement)?;
                let rows = self.print_table(&answer, out)?;
                if self.timing {
                    let seconds = started.elapsed().as_secs_f64();
                    let plural = if rows == 1 { "row" } else { "rows" };
                    writeln!(out, "{rows} {plural} in {seconds:.3} s{}", freshness(&answer))?;
                }
            }
            OutputFormat::Csv => self.fetch(statement, "csv", out)?,
            OutputFormat::Json => {
                let text = self.text(statement, "json")?;
                out.write_all(text.as_bytes())?;
                if !text.ends_with('\n') {
                    writeln!(out)?;
                }
                out.flush()?;
                let late = serde_json::from_str::<LateError>(&text).ok().and_then(|late| late.error);
                if let Some(error) = late {
                    return Err(ServerError::of(200, error).into());
                }
            }
        }
        Ok(out.flush()?)
    }

    fn print_table(&self, answer: &Value, out: &mut impl Write) -> Result<usize, CliError> {
        if answer["error"].is_object() {
            return Err(ServerError::of(200, answer["error"].clone()).into());
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let columns: Vec<String> = answer["columns"]
            .as_array()
            .map(|columns| columns.iter().map(|column| text(&column["name"])).collect())
            .unwrap_or_default();
        let rows: Vec<Vec<Value>> = answer["rows"]
            .as_array()
            .map(|rows| rows.iter().map(|row| row.as_array().cloned().unwrap_or_default()).collect())
            .unwrap_or_default();
        // EXPLAIN answers with a plan of several lines in one cell; a box around it would only cut it.
        let is_plan = columns == ["plan_type", "plan"];
        if is_plan {
            for row in &rows {
                writeln!(out, "{}:\n{}", text(&row[0]), text(&row[1]))?;
            }
        } else {
            text_table::write(out, &columns, &rows, &Style::sql(self.screen))?;
        }
        Ok(rows.len())
    }
}

fn is_about_id(error: &ServerError) -> bool {
    error.kind == "bad_request" && error.message.contains("query_id")
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
