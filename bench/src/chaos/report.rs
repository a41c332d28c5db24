//! What a run prints: a line per step, and the verdict.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::checker::Ledger;
use super::closing::Sealed;
use super::error::{ChaosError, Result};
use super::nemesis::Tally;
use super::producer::Written;

/// Violations printed in full; all of them are in the run's directory.
const VIOLATIONS_SHOWN: usize = 20;

/// Prints a line. Whoever reads it may have gone; the run goes on.
pub(crate) fn line(text: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Everything that a run with one process found out.
pub(crate) struct Report {
    pub(crate) reproduce: String,
    pub(crate) dir: String,
    pub(crate) took: Duration,
    pub(crate) tally: Tally,
    pub(crate) written: Written,
    pub(crate) rows: u64,
    pub(crate) sealed: Vec<(String, Sealed)>,
}

impl Report {
    /// Prints the figures, the violations, and the verdict as the last line. Returns whether all is well.
    pub(crate) fn print(&self, ledger: &Ledger, file: Option<&Path>) -> Result<bool> {
        let tally = &self.tally;
        line(format_args!(
            "kills {} {:?}, {} of them within 100 ms after a commit; {} starts; {} take-overs, in {} of them the second \
             process committed",
            tally.kills(),
            tally.kills,
            tally.at_commit,
            tally.starts,
            tally.take_overs,
            tally.take_overs_committed
        ));
        print_tables(&self.written, self.rows, &self.sealed);
        ledger.read(|findings| {
            line(format_args!(
                "answers: {} exact, {} never judged; questions without an answer: {:?}",
                findings.exact, findings.skipped, findings.errors
            ));
            for message in &findings.messages {
                line(format_args!("  {message}"));
            }
        });
        if let Some(file) = file {
            write_json(file, &self.to_json(ledger))?;
        }
        Ok(print_verdict(ledger, tally.kills(), self.took, &self.dir, &self.reproduce))
    }

    fn to_json(&self, ledger: &Ledger) -> Value {
        let tally = &self.tally;
        ledger.read(|findings| {
            json!({
                "command": self.reproduce,
                "passed": findings.violations.is_empty(),
                "violations": findings.violations,
                "seconds": self.took.as_secs(),
                "kills": tally.kills,
                "kills_at_commit": tally.at_commit,
                "starts": tally.starts,
                "take_overs": tally.take_overs,
                "take_overs_committed": tally.take_overs_committed,
                "answers_exact": findings.exact,
                "answers_not_judged": findings.skipped,
                "errors": findings.errors,
                "tables": tables_json(&self.written, self.rows, &self.sealed),
            })
        })
    }
}

/// What was written, and what the tables hold at the end.
pub(crate) fn print_tables(written: &Written, rows: u64, sealed: &[(String, Sealed)]) {
    line(format_args!(
        "written: {} messages, {} transactions committed and {} aborted; {rows} events count",
        written.messages, written.committed, written.aborted
    ));
    for (table, sealed) in sealed {
        line(format_args!(
            "{table}: log version {}, {} segments, {} objects that no segment of the log is, replaced or never committed",
            sealed.log_version, sealed.segments, sealed.orphans
        ));
    }
}

/// The same as JSON.
pub(crate) fn tables_json(written: &Written, rows: u64, sealed: &[(String, Sealed)]) -> Value {
    let tables: Vec<Value> = sealed
        .iter()
        .map(|(table, sealed)| {
            json!({
                "table": table,
                "log_version": sealed.log_version,
                "segments": sealed.segments,
                "other_objects": sealed.orphans,
            })
        })
        .collect();
    json!({
        "messages": written.messages,
        "transactions_committed": written.committed,
        "transactions_aborted": written.aborted,
        "events": rows,
        "sealed": tables,
    })
}

/// Writes a report for programs.
pub(crate) fn write_json(file: &Path, report: &Value) -> Result<()> {
    std::fs::write(file, format!("{report:#}\n")).map_err(ChaosError::at(format!("write {}", file.display())))
}

/// Prints the violations and, as the last line, the verdict. Returns whether all is well.
pub(crate) fn print_verdict(ledger: &Ledger, kills: u64, took: Duration, dir: &str, reproduce: &str) -> bool {
    ledger.read(|findings| {
        let violations = &findings.violations;
        for violation in violations.iter().take(VIOLATIONS_SHOWN) {
            line(format_args!("VIOLATION {violation}"));
        }
        if violations.is_empty() {
            line(format_args!(
                "PASS: {kills} kills, {} answers, no event lost or repeated, {} s: {reproduce}",
                findings.exact,
                took.as_secs()
            ));
            return true;
        }
        // The violations are printed, too.
        let _ = std::fs::write(
            format!("{dir}/violations.txt"),
            format!("{reproduce}\n\n{}\n", violations.join("\n\n")),
        );
        line(format_args!(
            "FAIL: {} violations after {kills} kills; everything is in {dir}: {reproduce}",
            violations.len()
        ));
        false
    })
}
