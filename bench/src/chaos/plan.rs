//! What is done to the server, and when: drawn from the seed alone, so that a run can be repeated.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

/// When something is done to the running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// This long after the process was started, whatever it is doing: opening the log, assigning partitions.
    Starting(Duration),
    /// Anywhere.
    Anywhere(Duration),
    /// This long after a seal of all partitions was asked for: encoding, uploading, committing.
    AfterSeal(Duration),
    /// This long after a new log entry was seen: adopting it, or committing the next partition.
    AfterCommit(Duration),
}

impl Moment {
    /// Name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting(_) => "starting",
            Self::Anywhere(_) => "anywhere",
            Self::AfterSeal(_) => "after_seal",
            Self::AfterCommit(_) => "after_commit",
        }
    }

    /// How long after the event it names.
    pub(crate) fn wait(self) -> Duration {
        match self {
            Self::Starting(wait) | Self::Anywhere(wait) | Self::AfterSeal(wait) | Self::AfterCommit(wait) => {
                wait
            }
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// SIGKILL, then start again.
    Kill,
    /// SIGSTOP; a second process takes over and commits; SIGCONT; both run; one of them is killed.
    TakeOver {
        /// How long the first stays stopped after the second has committed.
        stopped: Duration,
        /// How long both run.
        together: Duration,
        /// Whether the one that was stopped is killed, or its successor.
        kill_old: bool,
    },
}

/// One step: the process runs for `run` first, then comes the moment, then the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// How long the process is left alone once it answers.
    pub(crate) run: Duration,
    /// When.
    pub(crate) moment: Moment,
    /// What.
    pub(crate) action: Action,
}

impl Step {
    /// Draws the next step.
    pub(crate) fn draw(random: &mut StdRng) -> Self {
        let moment = match random.random_range(0..100) {
            0..10 => Moment::Starting(below(random, 400_000)),
            10..25 => Moment::Anywhere(below(random, 1_500_000)),
            25..65 => Moment::AfterSeal(below(random, 50_000)),
            _ => Moment::AfterCommit(below(random, 8_000)),
        };
        let action = match moment {
            Moment::Starting(_) => Action::Kill,
            _ if random.random_range(0..100) < 88 => Action::Kill,
            _ => Action::TakeOver {
                stopped: below(random, 4_000_000),
                together: below(random, 7_000_000),
                kill_old: random.random_bool(0.5),
            },
        };
        // Often shorter than it takes to catch up after the restart.
        let run = if random.random_bool(0.3) { below(random, 300_000) } else { below(random, 3_000_000) };
        Self { run, moment, action }
    }
}

/// A duration below so many microseconds.
pub(crate) fn below(random: &mut StdRng, us: u64) -> Duration {
    Duration::from_micros(random.random_range(0..us))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn steps(seed: u64, count: usize) -> Vec<Step> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..count).map(|_| Step::draw(&mut random)).collect()
    }

    #[test]
    fn a_seed_names_one_plan() {
        assert_eq!(steps(1, 50), steps(1, 50));
        assert_ne!(steps(1, 50), steps(2, 50));
    }

    #[test]
    fn most_steps_fall_around_seals_and_commits_and_fifty_have_everything() {
        for seed in 0..20 {
            let steps = steps(seed, 50);
            let near = |step: &&Step| matches!(step.moment, Moment::AfterSeal(_) | Moment::AfterCommit(_));
            assert!(steps.iter().filter(near).count() > 25, "seed {seed}");
            assert!(steps.iter().any(|step| matches!(step.action, Action::TakeOver { .. })), "seed {seed}");
            assert!(steps.iter().any(|step| matches!(step.moment, Moment::Starting(_))), "seed {seed}");
        }
    }
}
