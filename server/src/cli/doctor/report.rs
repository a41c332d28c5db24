//! Findings, as they come in from checks that run at once, and the report that they make.

use std::future::Future;
use std::io::Write;
use std::time::{Duration, Instant};

use headwater_server::config::Origin;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::cli::screen::{Screen, Tone};

/// Secrets that are shorter would cut holes into every text.
const SECRET_CHARS_MIN: usize = 4;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Area {
    Configuration,
    Store,
    Clock,
    Kafka,
    Machine,
    Listeners,
    Cluster,
}

impl Area {
    fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Store => "store",
            Self::Clock => "clock",
            Self::Kafka => "kafka",
            Self::Machine => "machine",
            Self::Listeners => "listeners",
            Self::Cluster => "cluster",
        }
    }
}

/// Which check, of what: the names in JSON, which do not change.
#[derive(Clone, Debug)]
pub(super) struct Place {
    area: Area,
    check: &'static str,
    subject: String,
}

impl Place {
    pub(super) fn new(area: Area, check: &'static str, subject: impl Into<String>) -> Self {
        Self { area, check, subject: subject.into() }
    }
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Warning,
    Failure,
    Skipped,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Ok => Tone::Good,
            Self::Warning => Tone::Odd,
            Self::Failure => Tone::Bad,
            Self::Skipped => Tone::Faint,
        }
    }
}

/// What was seen, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) seen: String,
    pub(super) fix: Option<String>,
}

impl Outcome {
    pub(super) fn ok(seen: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, seen: seen.into(), fix: None }
    }

    pub(super) fn warning(seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, seen: seen.into(), fix: Some(fix.into()) }
    }

    pub(super) fn failure(seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failure, seen: seen.into(), fix: Some(fix.into()) }
    }

    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, seen: why.into(), fix: None }
    }
}

struct Finding {
    place: Place,
    outcome: Outcome,
}

/// Takes findings in from checks that run at once.
pub(super) struct Findings {
    limit: Duration,
    found: Mutex<Vec<Finding>>,
    secrets: Mutex<Vec<String>>,
}

impl Findings {
    /// Each check may take so long.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, found: Mutex::default(), secrets: Mutex::default() }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn add(&self, place: Place, outcome: Outcome) {
        self.found.lock().push(Finding { place, outcome });
    }

    /// This is never to be shown.
    pub(super) fn hide(&self, secret: &str) {
        if secret.chars().count() >= SECRET_CHARS_MIN {
            self.secrets.lock().push(secret.to_string());
        }
    }

    /// The outcome of a check, if it ends in time; otherwise it failed. Returns whether it ended, and how long it took.
    pub(super) async fn within<T>(
        &self,
        place: &Place,
        fix: &str,
        work: impl Future<Output = T>,
    ) -> Option<(T, Duration)> {
        let began = Instant::now();
        match tokio::time::timeout(self.limit, work).await {
            Ok(done) => Some((done, began.elapsed())),
            Err(_) => {
                let seen = format!("no answer within {} s", self.limit.as_secs());
                self.add(place.clone(), Outcome::failure(seen, fix));
                None
            }
        }
    }

    /// All that was found, with `settings` that are not left to their defaults.
    pub(super) fn into_report(self, settings: Vec<Origin>) -> Report {
        let secrets = self.secrets.into_inner();
        let clean = |text: String| secrets.iter().fold(text, |text, secret| text.replace(secret, "***"));
        let mut checks = self.found.into_inner();
        // Stable: inside an area as they came in.
        checks.sort_by_key(|finding| finding.place.area);
        for Finding { place, outcome } in &mut checks {
            place.subject = clean(std::mem::take(&mut place.subject));
            outcome.seen = clean(std::mem::take(&mut outcome.seen));
            outcome.fix = outcome.fix.take().map(&clean);
        }
        let settings =
            settings.into_iter().map(|origin| Origin { value: clean(origin.value), ..origin }).collect();
        Report { checks, settings }
    }
}

/// What was found.
pub(super) struct Report {
    checks: Vec<Finding>,
    settings: Vec<Origin>,
}

impl Report {
    pub(super) fn failures(&self) -> usize {
        self.count(Verdict::Failure)
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|finding| finding.outcome.verdict == verdict).count()
    }

    pub(super) fn to_json(&self) -> Value {
        let checks = self.checks.iter().map(|Finding { place, outcome }| {
            json!({
                "area": place.area.name(),
                "check": place.check,
                "subject": place.subject,
                "verdict": outcome.verdict.name(),
                "seen": outcome.seen,
                "fix": outcome.fix,
            })
        });
        let settings = self
            .settings
            .iter()
            .map(|origin| json!({ "path": origin.path, "value": origin.value, "from": origin.from }));
        json!({
            "healthy": self.failures() == 0,
            "failures": self.failures(),
            "warnings": self.count(Verdict::Warning),
            "checks": checks.collect::<Vec<_>>(),
            "settings": settings.collect::<Vec<_>>(),
        })
    }

    pub(super) fn write(&self, out: &mut dyn Write, screen: Screen) -> std::io::Result<()> {
        let mut area = None;
        for Finding { place, outcome } in &self.checks {
            if area != Some(place.area) {
                area = Some(place.area);
                writeln!(out, "{}", screen.paint(Tone::Strong, place.area.name()))?;
                if place.area == Area::Configuration {
                    self.write_settings(out, screen)?;
                }
            }
            let verdict = screen.paint(outcome.verdict.tone(), &format!("{:<7}", outcome.verdict.name()));
            let subject =
                if place.subject.is_empty() { String::new() } else { format!(" {}", place.subject) };
            writeln!(out, "  {verdict}  {}{subject}: {}", place.check.replace('_', " "), outcome.seen)?;
            if let Some(fix) = &outcome.fix {
                writeln!(out, "           → {fix}")?;
            }
        }
        let passed = self.count(Verdict::Ok);
        let (warnings, failures) = (self.count(Verdict::Warning), self.failures());
        writeln!(out, "\n{passed} ok, {warnings} warnings, {failures} failures")
    }

    fn write_settings(&self, out: &mut dyn Write, screen: Screen) -> std::io::Result<()> {
        for Origin { path, value, from } in &self.settings {
            writeln!(
                out,
                "           {path} = {value}  {}",
                screen.paint(Tone::Faint, &format!("({from})"))
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
impl Report {
    /// The verdict and the text of a check.
    pub(super) fn of(&self, check: &str) -> (Verdict, String) {
        let found: Vec<_> = self.checks.iter().filter(|finding| finding.place.check == check).collect();
        let worst = found.iter().max_by_key(|finding| match finding.outcome.verdict {
            Verdict::Skipped => 0,
            Verdict::Ok => 1,
            Verdict::Warning => 2,
            Verdict::Failure => 3,
        });
        let finding = worst.unwrap_or_else(|| panic!("no finding of {check}"));
        let fix = finding.outcome.fix.clone().unwrap_or_default();
        (finding.outcome.verdict, format!("{} {} → {fix}", finding.place.subject, finding.outcome.seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_gets_out() {
        let findings = Findings::new(Duration::from_secs(1));
        findings.hide("s3cret-value");
        findings.hide("no");
        let outcome = Outcome::failure("login with s3cret-value was refused", "not s3cret-value?");
        findings.add(Place::new(Area::Store, "reach", "s3://s3cret-value@bucket"), outcome);
        let origin = Origin { path: "a".into(), value: "x s3cret-value".into(), from: "f".into() };
        let report = findings.into_report(vec![origin]);
        let mut text = Vec::new();
        report.write(&mut text, Screen::plain()).unwrap();
        let text = String::from_utf8(text).unwrap() + &report.to_json().to_string();
        assert!(!text.contains("s3cret") && text.contains("login with *** was refused"), "{text}");
        assert!(text.contains("not ***?"), "{text}");
    }

    #[tokio::test]
    async fn a_check_that_hangs_fails_and_the_others_are_told() {
        let findings = Findings::new(Duration::from_millis(20));
        let place = Place::new(Area::Kafka, "metadata", "h:1");
        assert!(findings.within(&place, "look there", std::future::pending::<()>()).await.is_none());
        findings.add(Place::new(Area::Configuration, "file", ""), Outcome::ok("none"));
        let report = findings.into_report(Vec::new());
        assert_eq!(report.of("metadata"), (Verdict::Failure, "h:1 no answer within 0 s → look there".into()));
        let document = report.to_json();
        assert_eq!(document["failures"], 1);
        assert_eq!(document["healthy"], false);
        assert_eq!(document["checks"][0]["area"], "configuration");
    }
}
