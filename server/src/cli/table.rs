//! `headwater table …`: the same calls as the HTTP interface.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use headwater_segment::SegmentError;
use headwater_segment::spec::parse_spec;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::progress::{HowFar, Progress};
use super::screen::{Screen, Tone, grouped, size};
use super::text_table::Style;
use super::{CliError, ServerArguments, infer, text_table};

/// Names that are less alike than this are not taken for each other.
const SIMILARITY_MIN: f64 = 0.6;

const EXAMPLES: &str = "\
Examples:
  headwater table infer --brokers localhost:9092 --topic orders > orders.yaml
  headwater table apply -f orders.yaml
  headwater table list
  headwater table describe orders --output json
  headwater table drop orders --purge";

/// Arguments of `headwater table`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct TableArguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(subcommand)]
    command: TableCommand,
}

#[derive(Debug, Subcommand)]
enum TableCommand {
    /// Create a table from a spec, or change it.
    #[command(after_help = "Example:\n  headwater table apply -f orders.yaml")]
    Apply {
        /// YAML or JSON file; - for standard input.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List tables, and how far they are.
    #[command(after_help = "Example:\n  headwater table list --output json")]
    List,
    /// Show a table's spec, columns and partitions.
    #[command(after_help = "Example:\n  headwater table describe orders")]
    Describe {
        /// Table.
        name: String,
    },
    /// Stop consuming a table and remove it.
    #[command(
        after_help = "Example:\n  headwater table drop orders            its data stays in the store\n  \
                            headwater table drop orders --purge    its data is deleted, too"
    )]
    Drop {
        /// Table.
        name: String,
        /// Delete its data from the store, too.
        #[arg(long)]
        purge: bool,
    },
    /// Stop consuming; what is there stays queryable.
    #[command(after_help = "Example:\n  headwater table pause orders --partition 3")]
    Pause(OnePartition),
    /// Go on consuming.
    #[command(after_help = "Example:\n  headwater table resume orders")]
    Resume(OnePartition),
    /// Seal and commit what is open now.
    #[command(after_help = "Example:\n  headwater table seal orders")]
    Seal(OnePartition),
    /// Read messages of a topic and print a spec for them.
    Infer(infer::InferArguments),
}

#[derive(Debug, Args)]
struct OnePartition {
    /// Table.
    name: String,
    /// One partition only.
    #[arg(long)]
    partition: Option<i32>,
}

pub(crate) fn run(arguments: TableArguments, screen: Screen) -> Result<(), CliError> {
    if let TableCommand::Infer(arguments) = &arguments.command {
        return infer::run(arguments, screen);
    }
    let client = Client::new(&arguments.server)?;
    match arguments.command {
        TableCommand::Apply { file } => apply(&client, &file, screen),
        TableCommand::List => list(&client, screen),
        TableCommand::Describe { name } => describe(&client, &name, screen),
        TableCommand::Drop { name, purge } => drop_table(&client, &name, purge, screen),
        TableCommand::Pause(one) => change(&client, &one, "pause", "paused", screen),
        TableCommand::Resume(one) => change(&client, &one, "resume", "resumed", screen),
        TableCommand::Seal(one) => seal(&client, &one, screen),
        TableCommand::Infer(_) => Ok(()),
    }
}

fn apply(client: &Client, file: &Path, screen: Screen) -> Result<(), CliError> {
    let unreadable = |error: std::io::Error| CliError::Usage(format!("{}: {error}", file.display()));
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
        text
    } else {
        std::fs::read_to_string(file).map_err(unreadable)?
    };
    // Read here as well, for the name, and so that faults show without a server.
    let spec = parse_spec(&text).map_err(|error| CliError::Refused {
        message: format!("{}: {error}", file.display()),
        faults: match error {
            SegmentError::Spec(faults) => json!(faults),
            _ => json!([]),
        },
    })?;
    let mut answer = client.json(Method::PUT, &path_of(&spec.name, ""), Some(text))?;
    let trouble = first_trouble(client, &spec.name);
    if let Some(trouble) = &trouble {
        answer["trouble"] = trouble.as_str().into();
    }
    screen.answer(&answer, |out| {
        writeln!(out, "table {}: {}", spec.name, answer["applied"].as_str().unwrap_or("applied"))?;
        match &trouble {
            Some(trouble) => writeln!(out, "{}", screen.paint(Tone::Bad, trouble)),
            None => Ok(()),
        }
    })
}

/// So long a table that was applied is watched, if it does not begin to consume before.
const BEGIN_WAIT: Duration = Duration::from_secs(1);
const BEGIN_LOOK_EVERY: Duration = Duration::from_millis(100);

/// What keeps a table from being consumed, a moment after it was applied. It is a table all the same, so to be told that is not
/// worth an error if the question fails.
fn first_trouble(client: &Client, name: &str) -> Option<String> {
    let begun = Instant::now();
    loop {
        let document = client.json(Method::GET, &path_of(name, ""), None).ok()?;
        let table = &document["table"];
        let trouble = trouble_of(table);
        let has_begun = table["partitions"].as_array().is_some_and(|partitions| {
            let is_consumed = |partition: &Value| {
                matches!(partition["state"].as_str(), Some("live" | "catching_up" | "paused"))
            };
            !partitions.is_empty() && partitions.iter().all(is_consumed)
        });
        if (has_begun && trouble.is_none()) || begun.elapsed() >= BEGIN_WAIT {
            return trouble;
        }
        std::thread::sleep(BEGIN_LOOK_EVERY);
    }
}

/// What `describe` says that is wrong with a table, or with the first of its partitions that has something.
fn trouble_of(table: &Value) -> Option<String> {
    let of_partition = |partition: &Value| {
        Some(format!("partition {}: {}", partition["partition"], partition["last_error"].as_str()?))
    };
    let of_table = table["trouble"].as_str().map(str::to_string);
    of_table.or_else(|| table["partitions"].as_array()?.iter().find_map(of_partition))
}

/// The tables and how far they are; a lag that is not known of every partition is not known of the table. Replicas consume the same partition; the one that is furthest speaks for it.
const TABLES: &str = "SELECT table_name, count(*) AS partitions, sum(visible_offset - first_offset) AS offsets, \
     CASE WHEN count(lag) = count(*) THEN sum(lag) END AS lag, round(sum(rows_per_second), 1) AS rows_per_second, \
     max(freshness_ms) AS freshness_ms, count(*) FILTER (WHERE state = 'failed') AS failed \
     FROM (SELECT *, row_number() OVER (PARTITION BY table_name, \"partition\" ORDER BY \
     CASE state WHEN 'live' THEN 1 WHEN 'catching_up' THEN 2 WHEN 'paused' THEN 3 WHEN 'failed' THEN 4 ELSE 5 END, \
     visible_offset DESC NULLS LAST, node) AS place FROM system.partitions) AS placed \
     WHERE place = 1 GROUP BY table_name ORDER BY table_name";

/// The columns of [`TABLES`], as they are named in JSON.
const TABLE_FIELDS: [&str; 7] =
    ["name", "partitions", "offsets", "lag", "rows_per_second", "freshness_ms", "failed"];

fn list(client: &Client, screen: Screen) -> Result<(), CliError> {
    let request = json!({ "sql": TABLES, "format": "json" }).to_string();
    let answer = client.json(Method::POST, "/sql", Some(request))?;
    let names = client.json(Method::GET, "/tables", None)?;
    let mut rows: Vec<Vec<Value>> =
        answer["rows"].as_array().into_iter().flatten().filter_map(|row| row.as_array().cloned()).collect();
    // A table whose topic was not seen yet has no partitions, and is a table all the same.
    for name in names["tables"].as_array().into_iter().flatten() {
        if !rows.iter().any(|row| row.first() == Some(name)) {
            let mut row = vec![Value::Null; TABLE_FIELDS.len()];
            (row[0], row[1], row[6]) = (name.clone(), 0.into(), 0.into());
            rows.push(row);
        }
    }
    let object = |row: &Vec<Value>| -> Value {
        let fields = TABLE_FIELDS.iter().zip(row).map(|(name, value)| (name.to_string(), value.clone()));
        Value::Object(fields.collect())
    };
    let document = json!({ "tables": rows.iter().map(object).collect::<Vec<_>>() });
    screen.answer(&document, |out| {
        if rows.is_empty() {
            return writeln!(out, "no tables yet; `headwater table infer` and `table apply` make one");
        }
        let columns = ["table", "partitions", "offsets", "lag", "rows/s", "freshness, ms", "failed"];
        text_table::write(out, &columns, &rows, &Style::report(screen))?;
        for row in rows.iter().filter(|row| row[6].as_u64().is_some_and(|failed| failed > 0)) {
            let name = row[0].as_str().unwrap_or_default();
            let told =
                format!("partitions of {name} have failed; `headwater table describe {name}` says why");
            writeln!(out, "{}", screen.paint(Tone::Bad, &told))?;
        }
        Ok(())
    })
}

fn describe(client: &Client, name: &str, screen: Screen) -> Result<(), CliError> {
    let answer = client.json(Method::GET, &path_of(name, ""), None);
    let document = answer.map_err(|error| with_nearest(client, name, error))?;
    let answer = &document["table"];
    let spec = parse_spec(&answer["spec"].to_string()).map_err(|error| {
        CliError::Answer(format!("the server's spec of table {name} cannot be read: {error}"))
    })?;
    screen.answer(answer, |out| {
        let number = |key: &str| answer[key].as_u64().unwrap_or_default();
        writeln!(out, "{}", spec.to_yaml())?;
        writeln!(
            out,
            "# log version {}, {} segments, {} sealed rows, {}",
            answer["log_version"],
            grouped(number("segments")),
            grouped(number("sealed_rows")),
            size(number("sealed_bytes"))
        )?;
        if let Some(trouble) = answer["trouble"].as_str() {
            writeln!(out, "# {}", screen.paint(Tone::Bad, trouble))?;
        }
        let keys = [
            "partition",
            "state",
            "first_offset",
            "committed_offset",
            "visible_offset",
            "latest_offset",
            "lag",
            "last_error",
        ];
        let rows: Vec<Vec<Value>> = answer["partitions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|partition| keys.iter().map(|key| partition[*key].clone()).collect())
            .collect();
        text_table::write(out, &keys, &rows, &Style { tone: tone_of_state, ..Style::report(screen) })
    })
}

/// The colour of a partition's state.
fn tone_of_state(cell: &str) -> Option<Tone> {
    match cell {
        "live" => Some(Tone::Good),
        "catching_up" | "paused" | "starting" => Some(Tone::Odd),
        "failed" => Some(Tone::Bad),
        _ => None,
    }
}

fn drop_table(client: &Client, name: &str, purge: bool, screen: Screen) -> Result<(), CliError> {
    let path = format!("{}?purge={purge}", path_of(name, ""));
    let label =
        if purge { format!("deleting the data of table {name}") } else { format!("dropping table {name}") };
    let dropping = client.fetch_json(Method::DELETE, &path, None);
    let answer = client.wait(client.showing(Progress::new(label, "objects"), dropping, async || None));
    let answer = answer.map_err(|error| with_nearest(client, name, error))?;
    let what = if purge {
        "dropped, its data deleted; only its log stays"
    } else {
        "dropped; its data is still in the store"
    };
    screen.answer(&answer, |out| writeln!(out, "table {name}: {what}"))
}

/// The path of a table's endpoint. A name that no table can have stays one part of it.
fn path_of(name: &str, action: &str) -> String {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("/tables/{}{action}", name.replace('+', "%20"))
}

fn path_of_partition(one: &OnePartition, action: &str) -> String {
    let path = path_of(&one.name, &format!("/{action}"));
    match one.partition {
        Some(partition) => format!("{path}?partition={partition}"),
        None => path,
    }
}

fn change(
    client: &Client,
    one: &OnePartition,
    action: &str,
    done: &str,
    screen: Screen,
) -> Result<(), CliError> {
    let answer = client.json(Method::POST, &path_of_partition(one, action), None);
    let answer = answer.map_err(|error| with_nearest(client, &one.name, error))?;
    screen.answer(&answer, |out| writeln!(out, "table {}: {done}", one.name))
}

/// Rows of a table that are being sealed: how many are encoded, how many there are, and why a seal waits to be tried again.
const SEALING: &str = "SELECT sum(done), sum(total), max(last_error) FROM system.tasks \
                       WHERE table_name = $1 AND kind = 'seal' AND state IN ('running', 'waiting')";

fn seal(client: &Client, one: &OnePartition, screen: Screen) -> Result<(), CliError> {
    let path = path_of_partition(one, "seal");
    let sealing = client.fetch_json(Method::POST, &path, None);
    let question = json!({ "sql": SEALING, "parameters": [one.name], "format": "json" }).to_string();
    let progress = Progress::new(format!("sealing table {}", one.name), "rows");
    let answer = client.wait(client.showing(progress, sealing, async || {
        let tasks = client.fetch_json(Method::POST, "/sql", Some(question.clone())).await.ok()?;
        let told = &tasks["rows"][0];
        let trouble = told[2].as_str().map(str::to_string);
        Some(HowFar { done: told[0].as_u64()?, total: told[1].as_u64(), trouble })
    }));
    let answer = answer.map_err(|error| with_nearest(client, &one.name, error))?;
    screen.answer(&answer, |out| {
        let segments = answer["segments"].as_array().cloned().unwrap_or_default();
        if segments.is_empty() {
            return writeln!(out, "table {}: nothing was open", one.name);
        }
        for segment in segments {
            let number = |key: &str| segment[key].as_u64().unwrap_or_default();
            writeln!(
                out,
                "partition {}: offsets {} to {}, {} rows, {}: {}",
                segment["partition"],
                segment["from"],
                segment["to"],
                grouped(number("rows")),
                size(number("size_bytes")),
                segment["path"].as_str().unwrap_or_default()
            )?;
        }
        Ok(())
    })
}

/// Names the table that may have been meant, where there is none of that name.
fn with_nearest(client: &Client, name: &str, error: CliError) -> CliError {
    let CliError::Server(mut error) = error else { return error };
    let is_about_table = error.status == 404 && error.message.contains("no table");
    if let Some(tables) =
        is_about_table.then(|| client.json(Method::GET, "/tables", None)).and_then(Result::ok)
    {
        let known: Vec<&str> =
            tables["tables"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if let Some(nearest) = nearest(name, &known) {
            error.suggest(nearest.to_string());
        }
    }
    CliError::Server(error)
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let alike =
        |known: &'a str| (strsim::normalized_damerau_levenshtein(&name, &known.to_lowercase()), known);
    let found = known.iter().copied().map(alike).filter(|(alike, _)| *alike >= SIMILARITY_MIN);
    found.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::TryStreamExt;
    use headwater_broker::engine::{EngineConfig, QueryEngine};
    use headwater_broker::request::QueryRequest;
    use headwater_segment::live::Tables;

    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_nothing_far() {
        assert_eq!(nearest("ordrs", &["rides", "Orders"]), Some("Orders"));
        assert_eq!(nearest("zzz", &["rides", "orders"]), None);
    }

    #[test]
    fn the_trouble_of_a_table_is_that_of_its_first_partition_that_has_any() {
        let partitions = json!([
            {"partition": 0, "last_error": null}, {"partition": 1, "last_error": "gone"}, {"partition": 2, "last_error": "x"}
        ]);
        let told = |table: Value| trouble_of(&table);
        let both = json!({"trouble": "no such topic", "partitions": partitions});
        assert_eq!(told(both).as_deref(), Some("no such topic"));
        let one = json!({"trouble": null, "partitions": partitions});
        assert_eq!(told(one).as_deref(), Some("partition 1: gone"));
        assert_eq!(told(json!({"trouble": null, "partitions": []})), None);
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(path_of("rides", "/seal"), "/tables/rides/seal");
        assert_eq!(path_of("a/../b c?d", ""), "/tables/a%2F..%2Fb%20c%3Fd");
    }

    #[tokio::test]
    async fn what_is_sealed_is_counted_in_numbers() {
        let engine = QueryEngine::new(EngineConfig::default(), Arc::new(Tables::default())).unwrap();
        let sql = SEALING.replace("$1", "'t'");
        let answer = engine.run(QueryRequest { sql, ..QueryRequest::default() }).await.unwrap();
        let batches: Vec<_> = answer.stream.try_collect().await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    }

    #[tokio::test]
    async fn replicas_do_not_count_twice() {
        let rows = "(SELECT column1 AS table_name, column2 AS \"partition\", column3 AS state, 10 AS first_offset, \
                    column4 AS visible_offset, column5 AS lag, 1.25 AS rows_per_second, column6 AS freshness_ms, \
                    column7 AS node FROM (VALUES \
                    ('a', 0, 'catching_up', 900, 100, 5, 'n1'), ('a', 0, 'live', 110, 1, 20, 'n2'), \
                    ('a', 0, 'live', 120, 2, 30, 'n3'), ('a', 1, 'paused', 50, 3, 40, 'n1'), \
                    ('b', 0, 'starting', NULL, NULL, NULL, NULL), \
                    ('c', 0, 'failed', 50, NULL, 70, 'n1'), ('c', 1, 'live', 50, 0, 0, 'n1'))) AS partitions";
        let engine = QueryEngine::new(EngineConfig::default(), Arc::new(Tables::default())).unwrap();
        for (expected, count) in [
            (
                "table_name = 'a' AND partitions = 2 AND offsets = 150 AND lag = 5 AND rows_per_second = 2.5",
                1,
            ),
            ("table_name = 'a' AND freshness_ms = 40 AND failed = 0", 1),
            ("table_name = 'b' AND partitions = 1 AND offsets IS NULL", 1),
            ("table_name = 'c' AND lag IS NULL AND freshness_ms = 70 AND failed = 1", 1),
            ("true", 3),
        ] {
            let listed = TABLES.replace("system.partitions", rows);
            let sql = format!("SELECT * FROM ({listed}) AS listed WHERE {expected}");
            let answer = engine.run(QueryRequest { sql, ..QueryRequest::default() }).await.unwrap();
            let batches: Vec<_> = answer.stream.try_collect().await.unwrap();
            let found: usize = batches.iter().map(|batch| batch.num_rows()).sum();
            assert_eq!(found, count, "{expected}");
        }
    }
}
