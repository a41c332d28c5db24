//! The result for people.

use super::figures::{Document, QueryFigures, geometric_mean};
use super::{Compare, Query};
use crate::engines::THREADS;
use crate::report::{Table, grouped};

/// What "load" leaves out.
const LOADED: &str = "Load: from Parquet to rows at rest in the engine's own form. The resident form that Headwater makes of a \
                      column when a query first reads it is neither in that nor in the hot times; it is in the cold ones.";

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
        "{}, {} rows; hot, medians of {}; ms; {THREADS} threads each; from the text of a query to its \
         whole answer in process.\n{}\n{}",
        document.benchmark,
        grouped(document.rows as f64),
        document.runs,
        document.notes.join(" "),
        document.machine
    );
    let hot = times(document, |query| &query.medians_ms);
    let mut text = format!("{head}\n\n{hot}\n{}\n{LOADED}\n", engines(document));
    if document.queries.iter().all(|query| !query.cold_ms.is_empty()) {
        let cold = times(document, |query| &query.cold_ms);
        text.push_str(&format!(
            "\nCold: once, the first query of a new process, its files not in the page cache; ms.\n\n{cold}"
        ));
    }
    text
}

/// How the answers were compared.
pub(super) fn compared(queries: &[&Query]) -> String {
    let names = |is: fn(&Compare) -> bool| {
        let names: Vec<&str> =
            queries.iter().filter(|query| is(&query.compare)).map(|query| query.name.as_str()).collect();
        names.join(", ")
    };
    let mut text = String::from("Answers are compared as sets of rows, floating-point numbers to 9 digits");
    let ties = names(|compare| matches!(compare, Compare::Limit { .. }));
    if !ties.is_empty() {
        text.push_str(&format!("; of {ties} without what ties at the LIMIT leave open"));
    }
    let counts = names(|compare| *compare == Compare::Count);
    if !counts.is_empty() {
        text.push_str(&format!("; of {counts} only their number"));
    }
    text + "."
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_compared_is_said() {
        let of = |name: &str, compare: Compare| Query { compare, ..Query::new(name, "") };
        let limit = Compare::Limit { column: 0, offset: false };
        let queries =
            [of("A", Compare::Rows), of("B", limit.clone()), of("C", Compare::Count), of("D", limit)];
        let plain = "Answers are compared as sets of rows, floating-point numbers to 9 digits";
        assert_eq!(compared(&[&queries[0]]), format!("{plain}."));
        assert_eq!(
            compared(&queries.iter().collect::<Vec<_>>()),
            format!("{plain}; of B, D without what ties at the LIMIT leave open; of C only their number.")
        );
    }
}
