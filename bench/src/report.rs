//! What a benchmark hands over: a table for people, a JSON document for machines, and the machine it ran on.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::Result;

/// The machine, as figures need it beside them.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processor.
    pub cpu: String,
    /// Cores that the benchmark may use.
    pub cores: usize,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// Operating system.
    pub kernel: String,
    /// Load average of the minute before: above a few tenths, somebody else was using the machine.
    pub load_before: f64,
    /// Whether this program was built without optimization: no figures to quote then.
    pub debug_build: bool,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value_of = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_string())
        };
        let memory_kib = value_of(&read("/proc/meminfo"), "MemTotal");
        let memory_kib =
            memory_kib.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let load = read("/proc/loadavg");
        Self {
            cpu: value_of(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (memory_kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_string(),
            load_before: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
            debug_build: cfg!(debug_assertions),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, {} GiB, Linux {}, load before {}",
            self.cpu, self.cores, self.memory_gib, self.kernel, self.load_before
        )?;
        if self.debug_build { f.write_str(". DEBUG BUILD: no figures to quote") } else { Ok(()) }
    }
}

/// Rows of text under headings; Markdown, so that it goes into a README as it is.
#[derive(Debug)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(|heading| heading.to_string()).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the headings are not shown.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| cell(row, column).chars().count());
            cells.chain([self.headings[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut line = |row: &Vec<String>| -> fmt::Result {
            let mut text = String::from("|");
            for (column, width) in widths.iter().enumerate() {
                match column {
                    0 => write!(text, " {:<width$} |", cell(row, column))?,
                    _ => write!(text, " {:>width$} |", cell(row, column))?,
                }
            }
            writeln!(f, "{text}")
        };
        line(&self.headings)?;
        let dashes = widths.iter().enumerate().map(|(column, width)| match column {
            0 => "-".repeat(*width),
            _ => format!("{}:", "-".repeat(width.saturating_sub(1))),
        });
        line(&dashes.collect())?;
        self.rows.iter().try_for_each(line)
    }
}

/// 1234567 as `1,234,567`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle value; of an even number, the lower of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// The value that a share of all do not exceed; sorts them.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Says what is going on, on standard error.
pub fn note(text: impl fmt::Display) {
    // A closed standard error is no reason to end a measurement.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The option that asks for the document.
#[derive(Clone, Debug, Args)]
pub struct Output {
    /// Writes the result as JSON.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Output {
    /// Prints the result on standard output, and writes the document where asked.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn publish(&self, shown: impl fmt::Display, document: &impl Serialize) -> Result<()> {
        writeln!(std::io::stdout(), "{shown}")?;
        if let Some(file) = &self.out {
            fs::write(file, format!("{}\n", serde_json::to_string_pretty(document)?))
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(&["rate", "p50"]);
        table.row([grouped(1_000_000.0), "3.1".into()]);
        assert_eq!(table.to_string(), "| rate      | p50 |\n| --------- | --: |\n| 1,000,000 | 3.1 |\n");
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let mut values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!([0.0, 0.5, 0.51, 0.99].map(|share| quantile(&mut values, share)), [1.0, 2.0, 3.0, 4.0]);
        assert!(quantile(&mut [], 0.5).is_nan());
    }

    #[test]
    fn the_median_is_a_value_that_was_measured() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }
}
