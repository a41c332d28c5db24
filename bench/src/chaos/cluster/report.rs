//! What a run with a cluster found out: a table of steps, what was expected beyond correctness, and the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::aging::Aged;
use super::explain::explain;
use super::nemesis::{Loss, Tally};
use super::watch::{Calm, Counts, Seen, StepSeen};
use crate::chaos::checker::Ledger;
use crate::chaos::closing::Sealed;
use crate::chaos::error::Result;
use crate::chaos::producer::Written;
use crate::chaos::report::{line, print_tables, print_verdict, tables_json, write_json};

/// Within this, others must have taken over what a data node did that was killed.
const TAKE_OVER_MS: u128 = 5_000;
/// What is done in between.
const NOTHING: &str = "(nothing)";
/// A run of this length has rows that are too old for the table that keeps them for a while.
const LONG_ENOUGH_TO_AGE: Duration = Duration::from_secs(180);
/// Classes of errors that are printed.
const ERRORS_SHOWN: usize = 12;

/// Everything that a run found out.
pub(crate) struct Report {
    pub(crate) reproduce: String,
    pub(crate) dir: String,
    pub(crate) replication: u8,
    pub(crate) took: Duration,
    pub(crate) starts: u32,
    pub(crate) tally: Tally,
    pub(crate) steps: Vec<StepSeen>,
    pub(crate) calm: Calm,
    pub(crate) errors: BTreeMap<String, Seen>,
    pub(crate) written: Written,
    pub(crate) rows: u64,
    pub(crate) sealed: Vec<(String, Sealed)>,
    /// What became of requests to the store that went through the harness.
    pub(crate) store_requests: BTreeMap<&'static str, u64>,
    /// Entries of the events' log that merged segments.
    pub(crate) merges: u64,
    /// Of the table that keeps rows for a while.
    pub(crate) aged: Aged,
}

/// Something that a good cluster does, and whether it did.
struct Expectation {
    what: String,
    seen: String,
    is_met: bool,
}

/// Steps of one kind together.
struct Row {
    name: &'static str,
    times: u64,
    gap_max: Duration,
    counts: Counts,
    failures: BTreeMap<String, u64>,
}

impl Report {
    /// Prints everything, and the verdict as the last line. Returns whether there is no violation.
    pub(crate) fn print(&self, ledger: &Ledger, file: Option<&Path>) -> Result<bool> {
        self.print_steps();
        for (step, kind, times) in self.failures() {
            let why = explain(step, &kind, self.replication).unwrap_or("NOT EXPLAINED");
            line(format_args!("failed during {step}: {times} times {kind}: {why}"));
        }
        line(format_args!("requests to the store through the harness: {:?}", self.store_requests));
        for (what, took) in self.take_overs() {
            line(format_args!("replication {}: {what}: {}", self.replication, median_and_max(&took)));
        }
        line(format_args!(
            "{} kills, {} starts; ended on SIGTERM: {}",
            self.tally.kills,
            self.starts,
            median_and_max(&ms_of(&self.tally.drains))
        ));
        for (class, seen) in self.most_errors().into_iter().take(ERRORS_SHOWN) {
            line(format_args!(
                "  {} times struck, {} calm: {class}; first: {}",
                seen.struck, seen.calm, seen.example
            ));
        }
        print_tables(&self.written, self.rows, &self.sealed);
        ledger.read(|findings| {
            line(format_args!("answers: {} exact, {} never judged", findings.exact, findings.skipped));
            let Aged { exact, removed } = self.aged;
            line(format_args!("under retention: {exact} answers exact, {removed} rows aged out"));
            line(format_args!("segments merged {} times beside all that", self.merges));
        });
        let notes = ledger.read(|findings| findings.notes.clone());
        let expectations = self.expectations(&notes);
        for expectation in &expectations {
            let word = if expectation.is_met { "as expected" } else { "NOT AS EXPECTED" };
            line(format_args!("{word}: {}: {}", expectation.what, expectation.seen));
        }
        if let Some(file) = file {
            write_json(file, &self.to_json(ledger, &expectations))?;
        }
        Ok(print_verdict(ledger, self.tally.kills, self.took, &self.dir, &self.reproduce))
    }

    fn print_steps(&self) {
        line(format_args!(
            "{:<24}{:>6}{:>10}{:>8}{:>9}{:>11}{:>14}",
            "step", "times", "answered", "failed", "partial", "no broker", "stale max ms"
        ));
        for row in self.rows() {
            line(format_args!(
                "{:<24}{:>6}{:>10}{:>8}{:>9}{:>11}{:>14}",
                row.name,
                row.times,
                row.counts.answered,
                row.counts.failed,
                row.counts.partial,
                row.counts.away,
                row.gap_max.as_millis()
            ));
        }
        let Calm { counts, gap_max, .. } = &self.calm;
        line(format_args!(
            "{:<24}{:>6}{:>10}{:>8}{:>9}{:>11}{:>14}",
            NOTHING,
            "",
            counts.answered,
            counts.failed,
            counts.partial,
            counts.away,
            gap_max.as_millis()
        ));
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for step in &self.steps {
            let place = rows.iter().position(|row| row.name == step.name).unwrap_or_else(|| {
                rows.push(Row {
                    name: step.name,
                    times: 0,
                    gap_max: Duration::ZERO,
                    counts: Counts::default(),
                    failures: BTreeMap::new(),
                });
                rows.len() - 1
            });
            let row = &mut rows[place];
            row.times += 1;
            row.gap_max = row.gap_max.max(step.gap_max);
            row.counts += step.counts;
            for (kind, times) in &step.failures {
                *row.failures.entry(kind.clone()).or_default() += times;
            }
        }
        rows
    }

    /// Step, kind of error, and how often it was seen.
    fn failures(&self) -> Vec<(&'static str, String, u64)> {
        let calm = std::iter::once((NOTHING, self.calm.failures.clone()));
        let steps = self.rows().into_iter().map(|row| (row.name, row.failures));
        let of_step = |(name, failures): (&'static str, BTreeMap<String, u64>)| {
            failures.into_iter().map(move |(kind, times)| (name, kind, times))
        };
        steps.chain(calm).flat_map(of_step).collect()
    }

    /// Times from a strike to the first fresh answer in ms, by what they are times of.
    fn take_overs(&self) -> [(&'static str, Vec<u128>); 4] {
        let of = |loss: Loss, without_it: Option<bool>| {
            let of_kind = self.tally.take_overs.iter().filter(|take_over| take_over.loss == loss);
            let of_kind = of_kind.filter(|take_over| without_it.is_none_or(|it| it == take_over.without_it));
            ms_of(&of_kind.map(|take_over| take_over.took).collect::<Vec<_>>())
        };
        [
            ("fresh again after a kill, without the node", of(Loss::Killed, Some(true))),
            ("fresh again after a kill, once the node was back", of(Loss::Killed, Some(false))),
            ("fresh again after a node was stopped", of(Loss::Stopped, None)),
            ("fresh again after a node was cut off", of(Loss::CutOff, None)),
        ]
    }

    /// The most frequent first.
    fn most_errors(&self) -> Vec<(&String, &Seen)> {
        let mut errors: Vec<_> = self.errors.iter().collect();
        errors.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.struck + seen.calm));
        errors
    }

    fn expectations(&self, notes: &BTreeSet<String>) -> Vec<Expectation> {
        let mut all = self.calm.counts;
        self.steps.iter().for_each(|step| all += step.counts);
        let none = |what: &str, seen: u64| Expectation {
            what: what.into(),
            seen: seen.to_string(),
            is_met: seen == 0,
        };
        let mut expectations = vec![
            none("partial answers, which nobody asked for", all.partial),
            none("failed questions while nothing is done", self.calm.counts.failed),
        ];
        for row in self.rows() {
            let unexplained = row.failures.iter();
            let unexplained =
                unexplained.filter(|(kind, _)| explain(row.name, kind, self.replication).is_none());
            let unexplained = unexplained.map(|(_, times)| times).sum();
            expectations
                .push(none(&format!("failed questions without a reason during {}", row.name), unexplained));
        }
        if self.took > LONG_ENOUGH_TO_AGE {
            let seen = self.aged.removed;
            let what = "retention has removed rows".to_string();
            expectations.push(Expectation { what, seen: seen.to_string(), is_met: seen > 0 });
        }
        let [(_, take_overs), ..] = self.take_overs();
        if let Some(median) = median(&take_overs) {
            expectations.push(Expectation {
                what: format!("others take over within {TAKE_OVER_MS} ms, median"),
                seen: format!("{median} ms"),
                is_met: median <= TAKE_OVER_MS,
            });
        }
        let missed = self.tally.missed.iter().chain(notes);
        let missed = missed.map(|what| Expectation { what: what.clone(), seen: "no".into(), is_met: false });
        expectations.extend(missed);
        expectations
    }

    fn to_json(&self, ledger: &Ledger, expectations: &[Expectation]) -> Value {
        let begin = self.steps.first().map_or_else(Instant::now, |step| step.struck);
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| {
                json!({
                    "step": step.name,
                    "detail": step.detail,
                    "at_ms": ms(step.struck.saturating_duration_since(begin)),
                    "stale_max_ms": ms(step.gap_max),
                    "questions": counts_json(&step.counts),
                })
            })
            .collect();
        let take_overs: Vec<Value> = self
            .take_overs()
            .into_iter()
            .map(|(what, took)| {
                json!({"what": what, "ms": took, "median_ms": median(&took), "max_ms": took.iter().max()})
            })
            .collect();
        let errors: Vec<Value> = self
            .most_errors()
            .into_iter()
            .map(|(class, seen)| {
                json!({"class": class, "struck": seen.struck, "calm": seen.calm, "first": seen.example})
            })
            .collect();
        let expectations: Vec<Value> = expectations
            .iter()
            .map(|expected| json!({"what": expected.what, "seen": expected.seen, "met": expected.is_met}))
            .collect();
        let failures: Vec<Value> = self
            .failures()
            .into_iter()
            .map(|(step, kind, times)| {
                let why = explain(step, &kind, self.replication);
                json!({"step": step, "kind": kind, "times": times, "explanation": why})
            })
            .collect();
        ledger.read(|findings| {
            json!({
                "command": self.reproduce,
                "passed": findings.violations.is_empty(),
                "violations": findings.violations,
                "expectations": expectations,
                "seconds": self.took.as_secs(),
                "replication": self.replication,
                "kills": self.tally.kills,
                "starts": self.starts,
                "steps": steps,
                "nothing": {
                    "questions": counts_json(&self.calm.counts),
                    "stale_max_ms": ms(self.calm.gap_max),
                },
                "take_overs": take_overs,
                "drains_ms": ms_of(&self.tally.drains),
                "failures": failures,
                "errors": errors,
                "store_requests": self.store_requests,
                "merges": self.merges,
                "retention": {"answers_exact": self.aged.exact, "rows_removed": self.aged.removed},
                "answers_exact": findings.exact,
                "answers_not_judged": findings.skipped,
                "tables": tables_json(&self.written, self.rows, &self.sealed),
            })
        })
    }
}

fn counts_json(counts: &Counts) -> Value {
    json!({
        "answered": counts.answered,
        "failed": counts.failed,
        "partial": counts.partial,
        "no_broker": counts.away,
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn ms_of(durations: &[Duration]) -> Vec<u128> {
    durations.iter().map(Duration::as_millis).collect()
}

/// The upper one of two in the middle.
fn median(values: &[u128]) -> Option<u128> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

fn median_and_max(values: &[u128]) -> String {
    match (median(values), values.iter().max()) {
        (Some(median), Some(max)) => {
            format!("{} times, median {median} ms, max {max} ms", values.len())
        }
        _ => "never".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::nemesis::TakeOver;
    use super::*;

    fn report(replication: u8) -> Report {
        let step = |name, failed, gap_ms| StepSeen {
            counts: Counts { answered: 10, failed, away: 1, partial: 0 },
            failures: BTreeMap::from([("status 504 deadline".to_string(), failed)]),
            gap_max: Duration::from_millis(gap_ms),
            ..StepSeen::new(name, Instant::now())
        };
        let take_over =
            |ms, without_it| TakeOver { took: Duration::from_millis(ms), without_it, loss: Loss::Killed };
        let take_overs = vec![take_over(6_000, true), take_over(7_000, true), take_over(900, false)];
        Report {
            reproduce: "again".into(),
            dir: "/nowhere".into(),
            replication,
            took: Duration::from_secs(1),
            starts: 4,
            tally: Tally { kills: 3, take_overs, ..Tally::default() },
            steps: vec![
                step("kill data node", 2, 40),
                step("kill all replicas", 5, 900),
                step("kill data node", 1, 30),
            ],
            calm: Calm::default(),
            errors: BTreeMap::new(),
            written: Written::default(),
            rows: 0,
            sealed: Vec::new(),
            store_requests: BTreeMap::new(),
            merges: 0,
            aged: Aged::default(),
        }
    }

    #[test]
    fn replicas_raise_what_is_expected() {
        let missed = |replication| {
            let expectations = report(replication).expectations(&BTreeSet::new());
            let missed = expectations.into_iter().filter(|expectation| !expectation.is_met);
            missed.map(|expectation| (expectation.what, expectation.seen)).collect::<Vec<_>>()
        };
        let late = ("others take over within 5000 ms, median".to_string(), "7000 ms".to_string());
        let unexplained = "failed questions without a reason during kill data node".to_string();
        assert_eq!(missed(2), [(unexplained, "3".into()), late.clone()]);
        assert_eq!(missed(1), [late]);
    }

    #[test]
    fn steps_of_one_kind_are_one_row() {
        let rows = report(2).rows();
        assert_eq!(
            rows.iter().map(|row| (row.name, row.times)).collect::<Vec<_>>(),
            [("kill data node", 2), ("kill all replicas", 1)]
        );
        assert_eq!((rows[0].gap_max.as_millis(), rows[0].counts.failed, rows[0].counts.away), (40, 3, 2));
        assert_eq!(median_and_max(&[]), "never");
        assert_eq!(median_and_max(&[3, 1]), "2 times, median 3 ms, max 3 ms");
    }

    #[test]
    fn the_report_for_programs_has_everything() {
        let report = report(2);
        let json = report.to_json(&Ledger::default(), &report.expectations(&BTreeSet::from(["x".into()])));
        assert_eq!(json["passed"], true);
        assert_eq!(json["steps"][1]["questions"]["failed"], 5);
        assert_eq!(json["take_overs"][0]["max_ms"], 7_000);
        assert_eq!(json["expectations"].as_array().map(Vec::len), Some(6));
        assert_eq!(json["failures"][0]["explanation"], Value::Null);
        assert!(json["failures"][1]["explanation"].is_string());
    }
}
