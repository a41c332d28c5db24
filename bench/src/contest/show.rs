//! The result for people.

use super::figures::{Document, QueryFigures, geometric_mean};
use crate::report::{Table, grouped};

/// Three significant digits are what a median of few runs is worth.
fn milliseconds(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Numbers for a line of progress.
pub(super) fn list(values: &[f64]) -> String {
    values.iter().map(|value| milliseconds(*value)).collect::<Vec<_>>().join(" / ")
}

/// The whole report.
pub(super) fn document(document: &Document) -> String {
    let head = format!(
        "{}, {} rows; hot, medians of {}; ms; 2 threads each.\n{}",
        document.benchmark,
        grouped(document.rows as f64),
        document.runs,
        document.machine
    );
    let hot = times(document, |query| &query.medians_ms);
    let mut text = format!("{head}\n\n{hot}\n{}", engines(document));
    if document.queries.iter().all(|query| !query.cold_ms.is_empty()) {
        let cold = times(document, |query| &query.cold_ms);
        text.push_str(&format!(
            "\nCold: first query of a new process, its files not in the page cache; ms.\n\n{cold}"
        ));
    }
    text
}

/// Times of all engines, and how many times as long as the first engine the others took.
fn times(document: &Document, of: impl Fn(&QueryFigures) -> &Vec<f64>) -> Table {
    let names: Vec<&str> = document.engines.iter().map(|engine| engine.name.as_str()).collect();
    let ratios = names.iter().skip(1).map(|name| format!("{name} / {}", names[0]));
    let headings: Vec<String> = [String::from("query")]
        .into_iter()
        .chain(names.iter().map(|name| name.to_string()))
        .chain(ratios)
        .collect();
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    let mut row = |name: &str, values: Vec<f64>| {
        let ratios = values.iter().skip(1).map(|value| format!("{:.2}", value / values[0]));
        let cells: Vec<String> = [name.to_string()]
            .into_iter()
            .chain(values.iter().map(|value| milliseconds(*value)))
            .chain(ratios)
            .collect();
        table.row(cells);
    };
    for query in &document.queries {
        row(&query.name, of(query).clone());
    }
    let mean = |engine: usize| geometric_mean(document.queries.iter().map(|query| of(query)[engine]));
    row("geometric mean", (0..names.len()).map(mean).collect());
    table
}

fn engines(document: &Document) -> Table {
    let headings = ["engine", "version", "on disk, MB", "load, s", "peak MiB, load", "peak MiB, queries"];
    let mut table = Table::new(&headings);
    let mebibytes = |bytes: u64| grouped(bytes as f64 / 1_048_576.0);
    for engine in &document.engines {
        table.row([
            engine.name.clone(),
            engine.version.clone(),
            grouped(engine.bytes_on_disk as f64 / 1e6),
            format!("{:.0}", engine.load_seconds),
            mebibytes(engine.load_peak_memory_bytes),
            mebibytes(engine.peak_memory_bytes),
        ]);
    }
    table
}
