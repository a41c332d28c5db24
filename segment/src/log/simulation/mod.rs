//! The commit protocol under deterministic simulation: nodes, a store and a clock that are driven by one seed, in one thread.
//!
//! Several nodes seal the same partitions, one or several at once, compact, expire, collect garbage and change the spec; they give up waiting,
//! pause for up to a day in the middle of anything and go on, or crash and start anew. The store delays, fails, and does what it reported as failed, at once or minutes
//! later. What runs is the real code: [`TableLog`] with its decisions, the choice of compactions, and the collector. Only
//! encoding is left out: an object is the list of the offsets that it holds.
//!
//! After each step the [checker](check) compares what landed with the list of messages. To show that it would notice, each
//! [`Bug`] plants one fault that the protocol is there to exclude.

mod check;
mod nodes;
mod store;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use futures::FutureExt;
use parking_lot::Mutex;

use self::check::Checker;
use self::nodes::Env;
use self::store::{SimStore, World};
use super::TableLog;

/// A fault that is planted, for the checker to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// The store overwrites an entry that is there.
    StoreOverwrites,
    /// A range with rows is committed as empty.
    RowsTakenForNone,
    /// A merged segment lacks a row.
    CompactionLosesARow,
    /// A merged segment has a row twice.
    CompactionDoublesARow,
    /// A reader asks now this node, now that one.
    ReaderChangesNodes,
    /// The collector does not wait for readers.
    NoGrace,
    /// The collector deletes objects that no entry names without shutting them out, after ten minutes.
    NoMark,
    /// An entry of several commits lacks one of them, and nobody is told.
    OneOfSeveralIsLost,
    /// A node says of rows that it has read them with the newest spec that it knows, whatever it has read them with.
    ReadWithIsForgotten,
    /// An entry of several commits whose version is taken lands at the next one, as if its writer had not read what took it.
    SeveralAreWrittenTwice,
}

const NODES: usize = 3;
const STEPS: usize = 400;
/// A checkpoint would be written in the background, by a runtime that is not here.
const VERSIONS_MAX: u64 = 60;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// What a run did, so that a test can tell that it did something.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    versions: u64,
    /// Versions with several commits.
    shared: u64,
    compactions: u64,
    deleted: u64,
    faults: u64,
    /// Seals of rows that were read with an earlier spec.
    outdated: u64,
}

/// A program and when it may go on.
struct Actor {
    program: Pin<Box<dyn Future<Output = ()>>>,
    paused_until_ms: i64,
}

/// Runs one seed. The error is the first violation.
fn run(seed: u64, bug: Option<Bug>) -> Result<Done, String> {
    let world = Arc::new(Mutex::new(World::new(seed, bug)));
    let env = Env::new(world.clone());
    let store = Arc::new(SimStore(world.clone()));
    let mut checker = Checker::new();
    set_up(&env, &store);
    world.lock().is_faulty = true;
    checker.look(&world)?;

    let mut actors: Vec<Actor> = (0..NODES).map(|_| start(nodes::node(env.clone()))).collect();
    actors.push(start(nodes::reader(env.clone())));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..STEPS {
        let (chosen, now_ms) = {
            let mut world = world.lock();
            let elapsed_ms = match world.draw(100) {
                0 => world.draw(30 * HOUR_MS),
                1..=5 => world.draw(40 * MINUTE_MS),
                _ => world.draw(2000),
            };
            world.advance(elapsed_ms as i64);
            (world.draw(actors.len() as u64) as usize, world.now_ms)
        };
        let fate = world.lock().draw(300);
        let actor = &mut actors[chosen];
        match fate {
            0 | 1 if chosen < NODES => *actor = start(nodes::node(env.clone())),
            2..=5 if chosen < NODES => {
                actor.paused_until_ms = now_ms + world.lock().draw(30 * HOUR_MS) as i64
            }
            _ => {}
        }
        if actor.paused_until_ms <= now_ms && actor.program.as_mut().poll(&mut context).is_ready() {
            return Err("a program ended".into());
        }
        checker.look(&world)?;
        if checker.version() >= VERSIONS_MAX {
            break;
        }
    }
    checker.finish(&world)
}

fn start(program: impl Future<Output = ()> + 'static) -> Actor {
    Actor { program: Box::pin(program), paused_until_ms: 0 }
}

/// A table whose partitions begin at 0.
fn set_up(env: &Env, store: &Arc<SimStore>) {
    let spec = nodes::spec(0);
    let created = TableLog::create(store.clone(), nodes::root(), &spec);
    let log = created.now_or_never().expect("nothing waits without faults").unwrap();
    let begun = log.commit(&env.first_start()).now_or_never();
    begun.expect("nothing waits without faults").unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds of an ordinary test run, some 20 seconds of two cores in a debug build.
    const SEEDS: u64 = 3_000;
    /// A variable of the environment that says another number.
    const SEEDS_VARIABLE: &str = "HEADWATER_SIMULATION_SEEDS";

    /// Runs seeds side by side; each is a world of its own.
    fn run_all(seeds: std::ops::Range<u64>) -> Vec<(u64, Result<Done, String>)> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|thread| {
                    let mine = seeds.clone().skip(thread as usize).step_by(threads as usize);
                    scope.spawn(move || mine.map(|seed| (seed, run(seed, None))).collect::<Vec<_>>())
                })
                .collect();
            running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn no_seed_breaks_the_protocol() {
        let wanted = std::env::var(SEEDS_VARIABLE).ok().and_then(|seeds| seeds.parse().ok());
        let seeds = wanted.unwrap_or(SEEDS);
        let mut total = Done::default();
        for (seed, outcome) in run_all(0..seeds) {
            let done = outcome.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
            total.versions += done.versions;
            total.shared += done.shared;
            total.compactions += done.compactions;
            total.deleted += done.deleted;
            total.faults += done.faults;
            total.outdated += done.outdated;
        }
        println!("{seeds} seeds: {total:?}");
        let least = [total.shared, total.compactions, total.deleted, total.faults, total.outdated];
        assert!(total.versions > 5 * seeds && least.iter().all(|count| *count > seeds / 10), "{total:?}");
    }

    #[test]
    fn a_seed_is_a_history() {
        let twice = [run(7, None), run(7, None)].map(|outcome| format!("{outcome:?}"));
        assert_eq!(twice[0], twice[1]);
        let found = [0, 1]
            .map(|_| format!("{:?}", (0..50).find_map(|seed| run(seed, Some(Bug::StoreOverwrites)).err())));
        assert_eq!(found[0], found[1]);
    }

    /// Some seed must run into the fault, and be told so in these words.
    fn assert_found(bug: Bug, word: &str) {
        let mut other = None;
        for seed in 0..3000 {
            match run(seed, Some(bug)) {
                Err(violation) if violation.contains(word) => return,
                Err(violation) => other = other.or(Some(violation)),
                Ok(_) => {}
            }
        }
        panic!("{bug:?} was not noticed as {word:?}, at best as {other:?}");
    }

    #[test]
    fn a_store_that_overwrites_breaks_the_tiling() {
        assert_found(Bug::StoreOverwrites, "are in no segment and in no gap");
    }

    #[test]
    fn a_store_that_overwrites_loses_what_was_acknowledged() {
        assert_found(Bug::StoreOverwrites, "was acknowledged and is not in the log");
    }

    #[test]
    fn rows_taken_for_none_are_lost() {
        assert_found(Bug::RowsTakenForNone, "is recorded as empty");
    }

    #[test]
    fn one_of_several_commits_that_is_lost_is_noticed() {
        assert_found(Bug::OneOfSeveralIsLost, "accounted for up to");
        assert_found(Bug::OneOfSeveralIsLost, "was acknowledged and is not in the log");
    }

    #[test]
    fn several_commits_that_are_applied_twice_are_noticed() {
        assert_found(Bug::SeveralAreWrittenTwice, "a commit is in the log twice");
    }

    #[test]
    fn rows_of_an_earlier_spec_are_noticed() {
        assert_found(Bug::ReadWithIsForgotten, "and the table has it at");
    }

    #[test]
    fn a_lost_row_is_noticed() {
        assert_found(Bug::CompactionLosesARow, "does not hold its rows");
    }

    #[test]
    fn a_doubled_row_is_noticed() {
        assert_found(Bug::CompactionDoublesARow, "does not hold its rows");
    }

    #[test]
    fn a_reader_that_goes_back_is_noticed() {
        assert_found(Bug::ReaderChangesNodes, "went back");
    }

    #[test]
    fn an_object_that_a_reader_needs_is_missed() {
        assert_found(Bug::NoGrace, "was deleted inside the grace");
    }

    #[test]
    fn an_object_that_a_zombie_commits_is_missed() {
        assert_found(Bug::NoMark, "is gone");
    }
}
