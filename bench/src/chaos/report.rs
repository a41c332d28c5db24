//! What a run prints: a line per step, and the verdict.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use super::checker::Ledger;
use super::closing::Sealed;
use super::nemesis::Tally;
use super::producer::Written;

/// Violations printed in full; all of them are in the run's directory.
const VIOLATIONS_SHOWN: usize = 20;

/// Prints a line. Whoever reads it may have gone; the run goes on.
pub(crate) fn line(text: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Everything that a run found out.
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
    pub(crate) fn print(&self, ledger: &Ledger) -> bool {
        let (tally, written) = (&self.tally, &self.written);
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
        line(format_args!(
            "written: {} messages, {} transactions committed and {} aborted; {} events count",
            written.messages, written.committed, written.aborted, self.rows
        ));
        for (table, sealed) in &self.sealed {
            line(format_args!(
                "{table}: log version {}, {} segments, {} uploaded and never committed",
                sealed.log_version, sealed.segments, sealed.orphans
            ));
        }
        ledger.read(|findings| {
            line(format_args!(
                "answers: {} exact, {} never judged; questions without an answer: {:?}",
                findings.exact, findings.skipped, findings.errors
            ));
            for message in &findings.messages {
                line(format_args!("  {message}"));
            }
            let violations = &findings.violations;
            for violation in violations.iter().take(VIOLATIONS_SHOWN) {
                line(format_args!("VIOLATION {violation}"));
            }
            if violations.is_empty() {
                line(format_args!(
                    "PASS: {} kills, {} answers, no event lost or repeated, {} s: {}",
                    tally.kills(),
                    findings.exact,
                    self.took.as_secs(),
                    self.reproduce
                ));
                return true;
            }
            let file = format!("{}/violations.txt", self.dir);
            // The violations are printed, too.
            let _ = std::fs::write(&file, format!("{}\n\n{}\n", self.reproduce, violations.join("\n\n")));
            line(format_args!(
                "FAIL: {} violations after {} kills; everything is in {}: {}",
                violations.len(),
                tally.kills(),
                self.dir,
                self.reproduce
            ));
            false
        })
    }
}
