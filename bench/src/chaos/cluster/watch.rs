//! What the clients see, step by step: answers, failures, and how long no answer was fresh.
//!
//! An answer is *fresh* if its cut contains everything that was acknowledged by Kafka, and decided, one second before the
//! question was asked. (Not before the answer came: then on a busy machine no answer would be fresh that takes a second.)
//! Whether it is exact is judged by the ledger; one that is not ends the run.

use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::chaos::answer::contains;
use crate::chaos::checker::Ledger;
use crate::chaos::client::AskError;
use crate::chaos::model::{Cut, Model};

/// What a fresh answer may lack: the newest second.
const FRESH: Duration = Duration::from_secs(1);
const SAMPLE_EVERY: Duration = Duration::from_millis(20);
/// Longer than a question may take.
const SAMPLES_KEPT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// What is seen while nothing is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calm {
    pub(crate) counts: Counts,
    /// Failed questions by the kind of their error.
    pub(crate) failures: BTreeMap<String, u64>,
    /// The longest time without a fresh answer.
    pub(crate) gap_max: Duration,
    /// When it began to be calm, last.
    since: Option<Instant>,
}

/// What came of questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Answers. Whether they are exact, the ledger says.
    pub(crate) answered: u64,
    /// Errors, and questions that nobody answered.
    pub(crate) failed: u64,
    /// Questions that found no broker, or were lost with it.
    pub(crate) away: u64,
    /// Answers that are marked as partial, though nobody asked for that.
    pub(crate) partial: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.away += other.away;
        self.partial += other.partial;
    }
}

/// A step, and what the clients saw while it was under way.
#[derive(Clone, Debug)]
pub(crate) struct StepSeen {
    pub(crate) name: &'static str,
    /// What was done, in words.
    pub(crate) detail: String,
    pub(crate) struck: Instant,
    pub(crate) counts: Counts,
    /// Failed questions by the kind of their error.
    pub(crate) failures: BTreeMap<String, u64>,
    /// The longest time without a fresh answer.
    pub(crate) gap_max: Duration,
}

impl StepSeen {
    /// Nothing is seen yet.
    pub(crate) fn new(name: &'static str, struck: Instant) -> Self {
        let (detail, counts, failures) = (String::new(), Counts::default(), BTreeMap::new());
        Self { name, detail, struck, counts, failures, gap_max: Duration::ZERO }
    }
}

/// How often a class of errors was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// While something was done to the cluster.
    pub(crate) struck: u64,
    /// While nothing was.
    pub(crate) calm: u64,
    /// The first of them, in full.
    pub(crate) example: String,
}

/// What a question came to.
pub(crate) enum Outcome<'a> {
    /// The cut of an answer about the events, or `None` for another table.
    Answered(Option<&'a Cut>),
    /// An answer that is marked as partial.
    Partial,
    /// An error.
    Failed(&'a AskError),
    /// No broker, or it was killed or stopped meanwhile.
    Away,
}

/// A question under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    asked: Instant,
    step: Option<usize>,
}

/// What is seen so far.
pub(crate) struct Watch {
    ledger: Arc<Ledger>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// What was written, at times.
    samples: VecDeque<(Instant, Cut)>,
    steps: Vec<StepSeen>,
    /// Place of the step under way in `steps`.
    under_way: Option<usize>,
    calm: Calm,
    errors: BTreeMap<String, Seen>,
    /// When the newest fresh answer was asked for, and when it came.
    fresh: Option<(Instant, Instant)>,
}

impl Inner {
    fn sample(&mut self, ends: Cut, now: Instant) {
        self.samples.push_back((now, ends));
        while self.samples.front().is_some_and(|(at, _)| now - *at > SAMPLES_KEPT) {
            self.samples.pop_front();
        }
    }

    fn is_fresh(&self, cut: &Cut, asked: Instant) -> bool {
        let then = asked.checked_sub(FRESH);
        let wanted = then.and_then(|then| self.samples.iter().rev().find(|(at, _)| *at <= then));
        wanted.is_some_and(|(_, wanted)| contains(cut, wanted))
    }

    /// Ends the time without a fresh answer that lasts until now.
    fn count_gap(&mut self, now: Instant) {
        let (since, gap_max) = match self.under_way {
            Some(step) => {
                let step = &mut self.steps[step];
                (step.struck, &mut step.gap_max)
            }
            None => match self.calm.since {
                Some(since) => (since, &mut self.calm.gap_max),
                None => return,
            },
        };
        let since = self.fresh.map_or(since, |(_, came)| came.max(since));
        *gap_max = now.saturating_duration_since(since).max(*gap_max);
    }

    fn record(&mut self, ticket: Ticket, outcome: &Outcome<'_>, now: Instant) {
        let step = ticket.step.or(self.under_way);
        if let Outcome::Failed(error) = outcome {
            let seen = self.errors.entry(error.class()).or_default();
            if seen.example.is_empty() {
                seen.example = format!("{error:?}");
            }
            *(if step.is_some() { &mut seen.struck } else { &mut seen.calm }) += 1;
        }
        if let Outcome::Answered(Some(cut)) = outcome
            && self.is_fresh(cut, ticket.asked)
        {
            self.count_gap(now);
            self.fresh = Some((ticket.asked, now));
        }
        let (counts, failures) = match step {
            Some(step) => {
                let step = &mut self.steps[step];
                (&mut step.counts, &mut step.failures)
            }
            None => (&mut self.calm.counts, &mut self.calm.failures),
        };
        if let Outcome::Failed(error) = outcome {
            *failures.entry(error.kind()).or_default() += 1;
        }
        *match outcome {
            Outcome::Answered(_) => &mut counts.answered,
            Outcome::Partial => &mut counts.partial,
            Outcome::Failed(_) => &mut counts.failed,
            Outcome::Away => &mut counts.away,
        } += 1;
    }
}

impl Watch {
    /// Nothing is seen yet.
    pub(crate) fn new(ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { ledger, inner: Mutex::default() })
    }

    /// Takes note of what was written, from now on.
    pub(crate) fn sample(self: &Arc<Self>, model: Arc<Mutex<Model>>) -> JoinHandle<()> {
        let watch = self.clone();
        tokio::spawn(async move {
            loop {
                let ends = model.lock().delivered_ends();
                watch.inner.lock().sample(ends, Instant::now());
                tokio::time::sleep(SAMPLE_EVERY).await;
            }
        })
    }

    /// A step begins.
    pub(crate) fn begin(&self, name: &'static str) -> Instant {
        let struck = Instant::now();
        let mut inner = self.inner.lock();
        inner.count_gap(struck);
        inner.steps.push(StepSeen::new(name, struck));
        inner.under_way = Some(inner.steps.len() - 1);
        struck
    }

    /// The step ends.
    pub(crate) fn end(&self, detail: impl Into<String>) {
        let mut inner = self.inner.lock();
        let now = Instant::now();
        inner.count_gap(now);
        if let Some(step) = inner.under_way.take() {
            inner.steps[step].detail = detail.into();
        }
        inner.calm.since = Some(now);
    }

    /// A question is about to be asked.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { asked: Instant::now(), step: self.inner.lock().under_way }
    }

    /// What came of it.
    pub(crate) fn record(&self, ticket: Ticket, outcome: &Outcome<'_>) {
        self.inner.lock().record(ticket, outcome, Instant::now());
    }

    /// Waits for a fresh answer to a question that was asked since. Returns how long after `since` it came; `None` if none
    /// came, or if nobody asks any more because of a violation.
    pub(crate) async fn fresh(&self, since: Instant, within: Duration) -> Option<Duration> {
        let give_up = Instant::now() + within;
        while Instant::now() < give_up && !self.ledger.is_violated() {
            if let Some((_, came)) = self.inner.lock().fresh.filter(|(asked, _)| *asked >= since) {
                return Some(came - since);
            }
            tokio::time::sleep(LOOK).await;
        }
        None
    }

    /// All steps so far.
    pub(crate) fn steps(&self) -> Vec<StepSeen> {
        self.inner.lock().steps.clone()
    }

    /// What is seen while nothing is done.
    pub(crate) fn calm(&self) -> Calm {
        self.inner.lock().calm.clone()
    }

    /// Errors by class.
    pub(crate) fn errors(&self) -> BTreeMap<String, Seen> {
        self.inner.lock().errors.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_answer_is_fresh_if_it_has_what_was_there_a_second_ago() {
        let start = Instant::now();
        let sample = |at, end| (start + ms(at), Cut::from([(0, end)]));
        let inner = Inner { samples: [sample(0, 10), sample(500, 20)].into(), ..Inner::default() };
        let is_fresh = |end, at| inner.is_fresh(&Cut::from([(0, end)]), start + ms(at));
        assert!(!is_fresh(99, 999), "nothing is known of a second before");
        assert!(is_fresh(10, 1_000) && !is_fresh(9, 1_000));
        assert!(is_fresh(10, 1_499) && !is_fresh(10, 1_500) && is_fresh(20, 1_500));
    }

    #[test]
    fn gaps_and_counts_belong_to_the_step() {
        let start = Instant::now();
        let mut inner = Inner { samples: [(start, Cut::default())].into(), ..Inner::default() };
        let cut = Cut::default();
        let ticket = |asked, step| Ticket { asked: start + ms(asked), step };
        inner.record(ticket(1_000, None), &Outcome::Answered(Some(&cut)), start + ms(1_010));
        assert_eq!(inner.fresh, Some((start + ms(1_000), start + ms(1_010))));
        inner.steps.push(StepSeen::new("kill", start + ms(2_000)));
        inner.under_way = Some(0);
        inner.record(ticket(1_990, None), &Outcome::Answered(Some(&cut)), start + ms(2_010));
        let error = AskError::Connection("timeout");
        inner.record(ticket(2_020, Some(0)), &Outcome::Failed(&error), start + ms(2_030));
        inner.record(ticket(2_040, Some(0)), &Outcome::Answered(Some(&cut)), start + ms(3_000));
        inner.under_way = None;
        inner.record(ticket(2_050, Some(0)), &Outcome::Away, start + ms(4_000));
        inner.record(ticket(4_010, None), &Outcome::Failed(&error), start + ms(4_020));
        let step = &inner.steps[0];
        assert_eq!(step.counts, Counts { answered: 2, failed: 1, away: 1, partial: 0 });
        assert_eq!(step.failures, BTreeMap::from([("timeout".to_string(), 1)]));
        assert_eq!(step.gap_max, ms(990));
        assert_eq!(inner.calm.counts, Counts { answered: 1, failed: 1, away: 0, partial: 0 });
        assert_eq!((inner.errors["timeout"].struck, inner.errors["timeout"].calm), (1, 1));
        assert_eq!(inner.errors["timeout"].example, "Connection(\"timeout\")");
        inner.calm.since = Some(start + ms(4_000));
        inner.record(ticket(4_100, None), &Outcome::Answered(Some(&cut)), start + ms(4_200));
        assert_eq!(inner.calm.gap_max, ms(200));
    }

    #[tokio::test]
    async fn a_question_from_before_the_strike_proves_nothing() {
        let watch = Watch::new(Arc::default());
        let old = watch.ticket();
        watch.inner.lock().samples.push_back((Instant::now() - ms(2_000), Cut::default()));
        let struck = watch.begin("kill");
        let cut = Cut::default();
        watch.record(old, &Outcome::Answered(Some(&cut)));
        assert_eq!(watch.fresh(struck, ms(30)).await, None);
        watch.record(watch.ticket(), &Outcome::Answered(Some(&cut)));
        assert!(watch.fresh(struck, ms(30)).await.is_some());
        watch.end("done");
        assert_eq!(watch.steps()[0].counts.answered, 2);
    }
}
