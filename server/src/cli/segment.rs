//! `headwater segment …`: sealed segments as files, without a server and without the table log.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use headwater_segment::sealed::{ColumnReport, IndexReport, SegmentReport, Verdict, inspect};
use serde_json::{Value, json};

use super::progress::{Progress, while_blocking};
use super::screen::{Screen, Tone, grouped, size};
use super::text_table::Style;
use super::{CliError, text_table};

/// Bytes of a file that are read between two looks at how far it is.
const READ_BYTES: u64 = 64 << 20;

const EXAMPLES: &str = "\
Example:
  headwater segment inspect /var/lib/headwater/tables/orders/data/0/SEGMENT.parquet";

/// Arguments of `headwater segment`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct SegmentArguments {
    #[command(subcommand)]
    command: SegmentCommand,
}

#[derive(Debug, Subcommand)]
enum SegmentCommand {
    /// Show what a sealed segment holds and how: columns, encodings, indexes, checksums.
    #[command(after_help = EXAMPLES)]
    Inspect {
        /// A segment's object: a file under `data/` of a table.
        file: PathBuf,
    },
}

pub(crate) fn run(arguments: SegmentArguments, screen: Screen) -> Result<(), CliError> {
    let SegmentCommand::Inspect { file } = arguments.command;
    let shown = file.display();
    let object = read(&file).map_err(|error| CliError::Usage(format!("{shown}: {error}")))?;
    let inspected = while_blocking(&format!("checking {shown}"), || inspect(&Bytes::from(object)));
    let report = inspected
        .map_err(|_| CliError::Answer(format!("{shown}: checking it ended in a panic; please report it")))?
        .map_err(|error| CliError::Answer(format!("{shown}: {error}")))?;
    screen.answer(&json!(report), |out| write_report(out, &file, &report, screen))?;
    match report.is_sound() {
        true => Ok(()),
        false => Err(CliError::Answer(format!("{shown}: the segment is damaged; see above where"))),
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut source = std::fs::File::open(file)?;
    let total = source.metadata()?.len();
    let mut progress = Progress::new(format!("reading {}", file.display()), "bytes");
    let mut object = Vec::new();
    while std::io::Read::by_ref(&mut source).take(READ_BYTES).read_to_end(&mut object)? > 0 {
        progress.set(object.len() as u64, Some(total));
    }
    Ok(object)
}

fn write_report(
    out: &mut (impl Write + ?Sized),
    file: &Path,
    report: &SegmentReport,
    screen: Screen,
) -> std::io::Result<()> {
    writeln!(out, "{}", file.display())?;
    let per_row = report.bytes as f64 / report.rows.max(1) as f64;
    writeln!(out, "{} rows, {} ({per_row:.1} bytes per row)", grouped(report.rows), size(report.bytes))?;
    let mut table =
        |title: &str, header: &[&str], rows: Vec<Vec<Value>>| table(&mut *out, title, header, rows, screen);
    let keys = report.keys.iter().map(|(key, value)| vec![json!(key), json!(value)]);
    table("Keys of the footer", &["key", "value"], keys.collect())?;
    let parts = report.parts.iter().map(|part| {
        vec![json!(part.part), json!(size(part.bytes)), json!(verdict(part)), json!(part.detail)]
    });
    table("Checksums", &["part", "size", "verified", "detail"], parts.collect())?;
    table("Columns", &COLUMNS, report.columns.iter().map(column_row).collect())?;
    let indexes: Vec<Vec<Value>> = report.indexes.iter().map(index_row).collect();
    match indexes.is_empty() {
        true => writeln!(out, "\nNo indexes"),
        false => table("Indexes", &["column", "index", "size", "entries", "state"], indexes),
    }
}

const COLUMNS: [&str; 12] = [
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

fn table(
    out: &mut (impl Write + ?Sized),
    title: &str,
    header: &[&str],
    rows: Vec<Vec<Value>>,
    screen: Screen,
) -> std::io::Result<()> {
    writeln!(out, "\n{}", screen.paint(Tone::Strong, title))?;
    // What is unknown is left empty: NULL would read like a value.
    let tone = |cell: &str| (cell == DAMAGED).then_some(Tone::Bad);
    text_table::write(out, header, &rows, &Style { null: "", tone, ..Style::report(screen) })
}

fn index_row(index: &IndexReport) -> Vec<Value> {
    let state = if index.fault.is_empty() { "sound" } else { &index.fault };
    vec![json!(index.column), json!(index.kind), json!(size(index.bytes)), json!(index.entries), json!(state)]
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
    if part.verified { "yes" } else { DAMAGED }
}

const DAMAGED: &str = "DAMAGED";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn what_is_no_segment_is_an_answer_that_names_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inspect = |file: &Path| {
            let command = SegmentCommand::Inspect { file: file.into() };
            run(SegmentArguments { command }, Screen::plain()).unwrap_err()
        };
        let error = inspect(file.path());
        assert_eq!(error.exit(), Exit::Failed);
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
        assert_eq!(inspect(Path::new("/no/such/file")).exit(), Exit::Usage);
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
        write_report(&mut out, Path::new("x.parquet"), &report, Screen::plain()).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in ["x.parquet", "2 rows, 2.93 KiB (1500.0 bytes per row)", "rides", "DAMAGED", "No indexes"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
