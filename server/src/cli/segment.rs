//! `headwater segment …`: sealed segments as files, without a server and without the table log.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use headwater_segment::sealed::{ColumnReport, SegmentReport, Verdict, inspect};
use serde_json::{Value, json};

use super::{CliError, text_table};

/// Arguments of `headwater segment`.
#[derive(Debug, Args)]
pub(crate) struct SegmentArguments {
    #[command(subcommand)]
    command: SegmentCommand,
}

#[derive(Debug, Subcommand)]
enum SegmentCommand {
    /// Show what a sealed segment holds and how: columns, encodings, indexes, checksums.
    Inspect {
        /// A segment's object: a file under `data/` of a table.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(arguments: SegmentArguments) -> Result<(), CliError> {
    let SegmentCommand::Inspect { file, json } = arguments.command;
    let shown = file.display();
    let object = std::fs::read(&file).map_err(|error| CliError::Usage(format!("{shown}: {error}")))?;
    let report =
        inspect(&Bytes::from(object)).map_err(|error| CliError::Answer(format!("{shown}: {error}")))?;
    let mut out = std::io::stdout().lock();
    match json {
        true => writeln!(out, "{:#}", json!(report))?,
        false => write_report(&mut out, &file, &report)?,
    }
    match report.is_sound() {
        true => Ok(()),
        false => Err(CliError::Answer(format!("{shown}: the segment is damaged; see above where"))),
    }
}

fn write_report(out: &mut impl Write, file: &Path, report: &SegmentReport) -> std::io::Result<()> {
    writeln!(out, "{}", file.display())?;
    let per_row = report.bytes as f64 / report.rows.max(1) as f64;
    writeln!(out, "{} rows, {} ({per_row:.1} bytes per row)", report.rows, size(report.bytes))?;
    let keys = report.keys.iter().map(|(key, value)| vec![json!(key), json!(value)]);
    table(out, "\nKeys of the footer", &["key", "value"], keys)?;
    let parts = report.parts.iter().map(|part| {
        vec![json!(part.part), json!(size(part.bytes)), json!(verdict(part)), json!(part.detail)]
    });
    table(out, "\nChecksums", &["part", "size", "verified", "detail"], parts)?;
    let header = [
        "column",
        "type",
        "nulls",
        "distinct",
        "encoding",
        "codec",
        "pages",
        "size",
        "unpacked",
        "dictionary",
        "min",
        "max",
    ];
    table(out, "\nColumns", &header, report.columns.iter().map(column_row))?;
    if report.indexes.is_empty() {
        return writeln!(out, "\nNo indexes");
    }
    let indexes = report.indexes.iter().map(|index| {
        let state = if index.fault.is_empty() { "sound" } else { &index.fault };
        vec![
            json!(index.column),
            json!(index.kind),
            json!(size(index.bytes)),
            json!(index.entries),
            json!(state),
        ]
    });
    table(out, "\nIndexes", &["column", "index", "size", "entries", "state"], indexes)
}

fn table(
    out: &mut impl Write,
    title: &str,
    header: &[&str],
    rows: impl Iterator<Item = Vec<Value>>,
) -> std::io::Result<()> {
    let columns: Vec<(String, String)> =
        header.iter().map(|name| (name.to_string(), String::new())).collect();
    // What is unknown is left empty: NULL would read like a value.
    let blank = |value: Value| if value.is_null() { json!("") } else { value };
    let rows: Vec<Vec<Value>> = rows.map(|row| row.into_iter().map(blank).collect()).collect();
    writeln!(out, "{title}")?;
    text_table::write(out, &columns, &rows)
}

fn column_row(column: &ColumnReport) -> Vec<Value> {
    let dictionary = (column.dictionary_bytes > 0).then(|| size(column.dictionary_bytes));
    vec![
        json!(column.name),
        json!(column.data_type),
        json!(column.nulls),
        json!(column.distinct),
        json!(column.encoding),
        json!(column.codec),
        json!(column.pages),
        json!(size(column.compressed_bytes)),
        json!(size(column.uncompressed_bytes)),
        json!(dictionary),
        json!(column.min),
        json!(column.max),
    ]
}

fn verdict(part: &Verdict) -> &'static str {
    if part.verified { "yes" } else { "DAMAGED" }
}

/// Bytes for a person: three digits and a unit.
fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let cases =
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (65_536, "64.0 KiB"), (5 << 40, "5120 GiB")];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn what_is_no_segment_is_an_answer_that_names_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inspect = |json| {
            run(SegmentArguments { command: SegmentCommand::Inspect { file: file.path().into(), json } })
        };
        for json in [false, true] {
            let error = inspect(json).unwrap_err();
            assert_eq!(error.exit_code(), 1);
            assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
        }
        let missing = SegmentCommand::Inspect { file: "/no/such/file".into(), json: false };
        assert_eq!(run(SegmentArguments { command: missing }).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_report_is_readable() {
        let report = SegmentReport {
            bytes: 3000,
            rows: 2,
            row_groups: 1,
            parts: vec![Verdict { part: "data".into(), bytes: 2000, verified: false, detail: "why".into() }],
            columns: vec![],
            indexes: vec![],
            keys: vec![("headwater.table".into(), "rides".into())],
        };
        let mut out = Vec::new();
        write_report(&mut out, Path::new("x.parquet"), &report).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in ["x.parquet", "2 rows, 2.93 KiB (1500.0 bytes per row)", "rides", "DAMAGED", "No indexes"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
