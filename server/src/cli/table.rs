//! `headwater table …`: the same calls as the HTTP interface.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use headwater_segment::spec::parse_spec;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::{CliError, ServerArguments, infer, text_table};

/// Arguments of `headwater table`.
#[derive(Debug, Args)]
pub(crate) struct TableArguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(subcommand)]
    command: TableCommand,
}

#[derive(Debug, Subcommand)]
enum TableCommand {
    /// Create a table from a spec, or change it.
    Apply {
        /// YAML or JSON file; - for standard input.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List tables.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a table's spec, columns and partitions.
    Describe {
        /// Table.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stop consuming a table and remove it.
    Drop {
        /// Table.
        name: String,
        /// Delete its data from the store, too.
        #[arg(long)]
        purge: bool,
    },
    /// Stop consuming; what is there stays queryable.
    Pause(OnePartition),
    /// Go on consuming.
    Resume(OnePartition),
    /// Seal and commit what is open now.
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

pub(crate) fn run(arguments: TableArguments) -> Result<(), CliError> {
    if let TableCommand::Infer(arguments) = &arguments.command {
        return infer::run(arguments);
    }
    let client = Client::new(&arguments.server.url)?;
    let mut out = std::io::stdout().lock();
    match arguments.command {
        TableCommand::Apply { file } => apply(&client, &file, &mut out),
        TableCommand::List { json } => list(&client, json, &mut out),
        TableCommand::Describe { name, json } => describe(&client, &name, json, &mut out),
        TableCommand::Drop { name, purge } => {
            client.text(Method::DELETE, &format!("/tables/{name}?purge={purge}"), None)?;
            let what = if purge {
                "dropped, its data deleted; only its log stays"
            } else {
                "dropped; its data is still in the store"
            };
            Ok(writeln!(out, "table {name}: {what}")?)
        }
        TableCommand::Pause(one) => change(&client, &one, "pause", "paused", &mut out),
        TableCommand::Resume(one) => change(&client, &one, "resume", "resumed", &mut out),
        TableCommand::Seal(one) => seal(&client, &one, &mut out),
        TableCommand::Infer(_) => Ok(()),
    }
}

fn apply(client: &Client, file: &Path, out: &mut impl Write) -> Result<(), CliError> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(file)
            .map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))?
    };
    // Read here as well, for the name, and so that faults show without a server.
    let spec = parse_spec(&text).map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))?;
    let answer = client.json(Method::PUT, &format!("/tables/{}", spec.name), Some(text))?;
    let applied = answer["applied"].as_str().unwrap_or("applied");
    Ok(writeln!(out, "table {}: {applied}", spec.name)?)
}

/// The tables and how far they are. Replicas consume the same partition; the one that is furthest speaks for it.
const TABLES: &str = "SELECT table_name, count(*) AS partitions, sum(visible_offset - first_offset) AS offsets, sum(lag) AS lag, \
     round(sum(rows_per_second), 1) AS rows_per_second, min(freshness_ms) AS freshness_ms \
     FROM (SELECT *, row_number() OVER (PARTITION BY table_name, \"partition\" ORDER BY \
     CASE state WHEN 'live' THEN 1 WHEN 'catching_up' THEN 2 WHEN 'paused' THEN 3 WHEN 'failed' THEN 4 ELSE 5 END, \
     visible_offset DESC NULLS LAST, node) AS place FROM system.partitions) AS placed \
     WHERE place = 1 GROUP BY table_name ORDER BY table_name";

fn list(client: &Client, as_json: bool, out: &mut impl Write) -> Result<(), CliError> {
    let request = json!({ "sql": TABLES, "format": "json" }).to_string();
    let answer = client.json(Method::POST, "/sql", Some(request))?;
    let names = client.json(Method::GET, "/tables", None)?;
    if as_json {
        return Ok(writeln!(out, "{:#}", json!({ "tables": names["tables"], "rows": answer["rows"] }))?);
    }
    let mut rows: Vec<Vec<Value>> =
        answer["rows"].as_array().into_iter().flatten().filter_map(|row| row.as_array().cloned()).collect();
    // A table whose topic was not seen yet has no partitions, and is a table all the same.
    for name in names["tables"].as_array().into_iter().flatten() {
        if !rows.iter().any(|row| row.first() == Some(name)) {
            rows.push(vec![name.clone(), 0.into(), Value::Null, Value::Null, Value::Null, Value::Null]);
        }
    }
    let columns = ["table", "partitions", "offsets", "lag", "rows/s", "freshness_ms"];
    let columns = columns.map(|name| (name.to_string(), String::new()));
    Ok(text_table::write(out, &columns, &rows)?)
}

fn describe(client: &Client, name: &str, as_json: bool, out: &mut impl Write) -> Result<(), CliError> {
    let answer = client.json(Method::GET, &format!("/tables/{name}"), None)?;
    if as_json {
        return Ok(writeln!(out, "{answer:#}")?);
    }
    let spec = parse_spec(&answer["spec"].to_string()).map_err(|error| {
        CliError::Answer(format!("the server's spec of table {name} cannot be read: {error}"))
    })?;
    writeln!(out, "{}", spec.to_yaml())?;
    writeln!(
        out,
        "# log version {}, {} segments, {} sealed rows, {} bytes",
        answer["log_version"], answer["segments"], answer["sealed_rows"], answer["sealed_bytes"]
    )?;
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
    Ok(text_table::write(out, &keys.map(|key| (key.to_string(), String::new())), &rows)?)
}

fn path_of(one: &OnePartition, action: &str) -> String {
    match one.partition {
        Some(partition) => format!("/tables/{}/{action}?partition={partition}", one.name),
        None => format!("/tables/{}/{action}", one.name),
    }
}

fn change(
    client: &Client,
    one: &OnePartition,
    action: &str,
    done: &str,
    out: &mut impl Write,
) -> Result<(), CliError> {
    client.text(Method::POST, &path_of(one, action), None)?;
    Ok(writeln!(out, "table {}: {done}", one.name)?)
}

fn seal(client: &Client, one: &OnePartition, out: &mut impl Write) -> Result<(), CliError> {
    let answer = client.json(Method::POST, &path_of(one, "seal"), None)?;
    let segments = answer["segments"].as_array().cloned().unwrap_or_default();
    if segments.is_empty() {
        return Ok(writeln!(out, "table {}: nothing was open", one.name)?);
    }
    for segment in segments {
        writeln!(
            out,
            "partition {}: offsets {} to {}, {} rows, {} bytes: {}",
            segment["partition"],
            segment["from"],
            segment["to"],
            segment["rows"],
            segment["size_bytes"],
            segment["path"].as_str().unwrap_or_default()
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::TryStreamExt;
    use headwater_broker::engine::{EngineConfig, QueryEngine};
    use headwater_broker::request::QueryRequest;
    use headwater_segment::live::Tables;

    use super::*;

    #[tokio::test]
    async fn replicas_do_not_count_twice() {
        let rows = "(SELECT column1 AS table_name, column2 AS \"partition\", column3 AS state, 10 AS first_offset, \
                    column4 AS visible_offset, column5 AS lag, 1.25 AS rows_per_second, column6 AS freshness_ms, \
                    column7 AS node FROM (VALUES \
                    ('a', 0, 'catching_up', 900, 100, 5, 'n1'), ('a', 0, 'live', 110, 1, 20, 'n2'), \
                    ('a', 0, 'live', 120, 2, 30, 'n3'), ('a', 1, 'paused', 50, NULL, NULL, 'n1'), \
                    ('b', 0, 'starting', NULL, NULL, NULL, NULL))) AS partitions";
        let engine = QueryEngine::new(EngineConfig::default(), Arc::new(Tables::default())).unwrap();
        for (expected, count) in [
            (
                "table_name = 'a' AND partitions = 2 AND offsets = 150 AND lag = 2 AND rows_per_second = 2.5",
                1,
            ),
            ("table_name = 'a' AND freshness_ms = 30", 1),
            ("table_name = 'b' AND partitions = 1 AND offsets IS NULL", 1),
            ("true", 2),
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
