//! A cluster of brokers and data nodes on loopback, over one store: nodes are killed, stunned, restarted one by one, they
//! join and leave ([`plan`], [`nemesis`], [`fleet`]); they are cut off from each other and from the store, the store fails,
//! Kafka is restarted ([`surroundings`]). Meanwhile clients ask the brokers without end ([`askers`], [`aging`]).
//!
//! Violations, each of which ends the run: an answer that is not what its cut says, a cut that goes back in one process of
//! a broker, a node that panics, ends by itself or does not end on SIGTERM, a cluster that does not come back, and at the
//! end anything that is missing or there twice. Errors in place of answers, and a panic in a node that drained all the
//! same, are no violations: they are counted, and compared with what is expected of a good cluster ([`report`]), where a
//! failed question needs a reason ([`explain`]).
//!
//! Not here: brokers that are cut off, damaged packets, clocks that go wrong.

mod aging;
mod askers;
mod caller;
mod explain;
mod fleet;
mod gate;
mod nemesis;
mod plan;
mod ports;
mod report;
mod store_proxy;
mod surroundings;
mod tcp_proxy;
mod udp_proxy;
mod watch;
mod weather;

pub(crate) use self::plan::Card;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::aging::{Aged, Aging};
use self::askers::Askers;
use self::caller::Caller;
use self::fleet::Fleet;
use self::nemesis::{Nemesis, Tally};
use self::plan::{Planner, Shape};
use self::report::Report;
use self::watch::Watch;
use self::weather::Sky;
use super::checker::Watched;
use super::closing::Sealed;
use super::commits::Commits;
use super::error::{ChaosError, Result};
use super::kafka_script::KafkaScript;
use super::producer::EventProducer;
use super::report::line;
use super::stage::{AGING, EVENTS, Stage};

/// How long the first answer may take.
const BEGIN_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take until all brokers know the tables.
const NEWS_REACH_ALL: Duration = Duration::from_secs(5);

/// The whole run. Returns whether all is well.
pub(crate) async fn run(stage: &Stage) -> Result<bool> {
    let producer = stage.produce()?;
    let events = Watched::new(EVENTS, producer.shared().model.clone());
    let watch = Watch::new(stage.ledger.clone());
    let sampler = watch.sample(events.model.clone());
    let sky = Arc::new(Sky::new(stage.arguments.seed));
    let fleet = Fleet::begin(stage.launch.clone(), &stage.arguments, &stage.topic, sky.clone())?;
    let commits = stage.commits();
    let mut nemesis = Nemesis {
        stage,
        fleet,
        watch: watch.clone(),
        tally: Tally::default(),
        compacted: None,
        segment_rows_max: stage.rows_per_segment(),
        kafka: stage.arguments.kafka_script.as_deref().map(KafkaScript::new),
    };
    say_what_is_left_out(stage);
    let (mut askers, mut aging) = (None, None);
    if nemesis.ready().await {
        stage.apply(&nemesis.fleet.address(), EVENTS, &stage.topic, nemesis.segment_rows_max).await?;
        stage.ledger.watch(events.clone());
        let caller = Caller { client: stage.client.clone(), watch: watch.clone() };
        askers = Some(begin_to_ask(stage, &mut nemesis, &caller).await?);
        let fronts = nemesis.fleet.fronts();
        aging = Some(Aging::begin(stage.ledger.clone(), caller, fronts, producer.shared().clone()));
        strike_all(stage, &mut nemesis, &producer, &commits).await?;
    }

    let written = stage.end_of_events(producer, &events)?;
    let mut sealed = Vec::new();
    if !stage.ledger.is_violated() {
        sealed = check_the_end(stage, &mut nemesis, &events).await?;
    }
    if let Some(askers) = askers {
        askers.end().await;
    }
    let mut aged = Aged::default();
    if let Some(aging) = aging {
        aged = aging.end().await;
    }
    sampler.abort();
    for fault in nemesis.fleet.faults() {
        stage.ledger.violation(fault);
    }
    let report = Report {
        reproduce: stage.arguments.reproduce(),
        dir: stage.dir.display().to_string(),
        replication: stage.arguments.replication,
        took: stage.started.elapsed(),
        starts: nemesis.fleet.starts(),
        tally: nemesis.tally.clone(),
        steps: watch.steps(),
        calm: watch.calm(),
        errors: watch.errors(),
        written,
        rows: events.rows(),
        sealed,
        store_requests: sky.fates(),
        merges: commits.newest().map_or(0, |commit| commit.merges),
        aged,
    };
    drop(nemesis);
    let well = report.print(&stage.ledger, stage.arguments.report.as_deref())?;
    if well {
        stage.clean_up().await?;
    }
    Ok(well)
}

/// Everything is there once, before and after a restart of everybody. Returns what the store holds.
async fn check_the_end(
    stage: &Stage,
    nemesis: &mut Nemesis<'_>,
    events: &Arc<Watched>,
) -> Result<Vec<(String, Sealed)>> {
    line("everything is written; checking that it is there once");
    let tables: Vec<_> = [Some(events.clone()), nemesis.compacted.clone()].into_iter().flatten().collect();
    let sealed = stage.close(&nemesis.fleet.address(), &tables).await?;
    nemesis.restart_all().await?;
    for watched in &tables {
        stage.closing(&nemesis.fleet.address()).check_visible(watched).await;
    }
    stage.closing(&nemesis.fleet.address()).check_tiling(AGING, &stage.store).await?;
    Ok(sealed)
}

/// The cluster's first fresh answer belongs to no step, and neither do the errors before it.
async fn begin_to_ask(stage: &Stage, nemesis: &mut Nemesis<'_>, caller: &Caller) -> Result<Askers> {
    let watch = &caller.watch;
    let began = watch.begin("start");
    let askers = Askers::begin(stage.ledger.clone(), caller.clone(), nemesis.fleet.fronts());
    nemesis.compacted = Some(stage.next_compacted(&nemesis.fleet.address(), None).await?);
    stage.apply_aging(&nemesis.fleet.address()).await?;
    let fresh = watch.fresh(began, BEGIN_WITHIN).await;
    tokio::time::sleep(NEWS_REACH_ALL).await;
    match fresh {
        Some(took) => watch.end(format!("fresh after {} ms", took.as_millis())),
        None if stage.ledger.is_violated() => {}
        None => stage.ledger.violation(format!("no fresh answer for {BEGIN_WITHIN:?} after the start")),
    }
    Ok(askers)
}

/// What a run on the given Kafka and store cannot do.
fn say_what_is_left_out(stage: &Stage) {
    if stage.arguments.store_endpoint().is_none() {
        line(
            "left out: faults of the store, for it is no S3 server that --store-option aws_endpoint=... names",
        );
    }
    if stage.arguments.kafka_script.is_none() {
        line("left out: restarts of Kafka, for no --kafka-script says how");
    }
}

/// Carries out the plan.
async fn strike_all(
    stage: &Stage,
    nemesis: &mut Nemesis<'_>,
    producer: &EventProducer,
    commits: &Commits,
) -> Result<()> {
    let arguments = &stage.arguments;
    let shape = Shape {
        data_nodes: arguments.data_nodes.into(),
        brokers: arguments.brokers.into(),
        replication: arguments.replication.into(),
        has_store_proxies: arguments.store_endpoint().is_some(),
        has_kafka_script: nemesis.kafka.is_some(),
    };
    let mut planner = Planner::new(StdRng::seed_from_u64(arguments.seed), shape, &arguments.only);
    let began = Instant::now();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    while !stage.ledger.is_violated() && !producer.has_ended() {
        let progress = match arguments.minutes {
            Some(minutes) if began.elapsed() >= Duration::from_secs(minutes * 60) => break,
            Some(minutes) => format!("{} of {} s", began.elapsed().as_secs(), minutes * 60),
            None if nemesis.tally.kills >= arguments.kills => break,
            None => format!("{} of {} kills", nemesis.tally.kills, arguments.kills),
        };
        let Some((calm, step)) = planner.draw() else {
            return Err(ChaosError::new("--only", "none of these steps can be done here"));
        };
        let struck = tokio::select! {
            what = async {
                tokio::time::sleep(calm).await;
                nemesis.strike(&step, commits, producer).await
            } => Some(what?),
            _ = &mut interrupted => None,
        };
        let Some(what) = struck else {
            line("interrupted: going on to the last checks");
            nemesis.watch.end("interrupted");
            return nemesis.wake();
        };
        let exact = stage.ledger.read(|findings| findings.exact);
        line(format_args!("{progress}: {what}; {exact} answers exact, {} waiting", stage.ledger.waiting()));
    }
    Ok(())
}
