//! A cluster of brokers and data nodes on loopback, over one store: nodes are killed, stunned, restarted one by one, they
//! join and leave ([`plan`], [`nemesis`], [`fleet`]), while clients ask the brokers without end ([`askers`]).
//!
//! Violations, each of which ends the run: an answer that is not what its cut says, a cut that goes back in one process of
//! a broker, a node that panics, ends by itself or does not end on SIGTERM, a cluster that does not come back, and at the
//! end anything that is missing or there twice. Errors in place of answers, and a panic in a node that drained all the
//! same, are no violations: they are counted, and compared with what is expected of a good cluster ([`report`]).
//!
//! Not here: nodes that cannot reach each other but live. Loopback has no such faults.

mod askers;
mod fleet;
mod nemesis;
mod plan;
mod ports;
mod report;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::askers::Askers;
use self::fleet::Fleet;
use self::nemesis::{Nemesis, Tally};
use self::plan::{Planner, Shape};
use self::report::Report;
use self::watch::Watch;
use super::checker::Watched;
use super::error::Result;
use super::producer::EventProducer;
use super::report::line;
use super::stage::{EVENTS, Stage};

/// How long the first answer may take.
const BEGIN_WITHIN: Duration = Duration::from_secs(60);

/// The whole run. Returns whether all is well.
pub(crate) async fn run(stage: &Stage) -> Result<bool> {
    let producer = stage.produce()?;
    let events = Watched::new(EVENTS, producer.shared().model.clone());
    let watch = Watch::new(stage.ledger.clone());
    let sampler = watch.sample(events.model.clone());
    let fleet = Fleet::begin(stage.launch.clone(), &stage.arguments, &stage.topic)?;
    let mut nemesis = Nemesis {
        stage,
        fleet,
        watch: watch.clone(),
        tally: Tally::default(),
        compacted: None,
        segment_rows_max: stage.rows_per_segment(),
    };
    let mut askers = None;
    if nemesis.ready().await {
        stage.apply(&nemesis.fleet.address(), EVENTS, &stage.topic, nemesis.segment_rows_max).await?;
        stage.ledger.watch(events.clone());
        askers = Some(begin_to_ask(stage, &mut nemesis, &watch).await?);
        strike_all(stage, &mut nemesis, &producer).await?;
    }

    let written = stage.end_of_events(producer, &events)?;
    let mut sealed = Vec::new();
    if !stage.ledger.is_violated() {
        line("everything is written; checking that it is there once");
        let tables: Vec<_> =
            [Some(events.clone()), nemesis.compacted.clone()].into_iter().flatten().collect();
        sealed = stage.close(&nemesis.fleet.address(), &tables).await?;
        nemesis.restart_all().await?;
        for watched in &tables {
            stage.closing(&nemesis.fleet.address()).check_visible(watched).await;
        }
    }
    if let Some(askers) = askers {
        askers.end().await;
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
    };
    drop(nemesis);
    let well = report.print(&stage.ledger, stage.arguments.report.as_deref())?;
    if well {
        stage.clean_up().await?;
    }
    Ok(well)
}

/// The cluster's first fresh answer belongs to no step, and neither do the errors before it.
async fn begin_to_ask(stage: &Stage, nemesis: &mut Nemesis<'_>, watch: &Arc<Watch>) -> Result<Askers> {
    let began = watch.begin("start");
    let askers =
        Askers::begin(stage.ledger.clone(), stage.client.clone(), watch.clone(), nemesis.fleet.fronts());
    nemesis.compacted = Some(stage.next_compacted(&nemesis.fleet.address(), None).await?);
    match watch.fresh(began, BEGIN_WITHIN).await {
        Some(took) => watch.end(format!("fresh after {} ms", took.as_millis())),
        None if stage.ledger.is_violated() => {}
        None => stage.ledger.violation(format!("no fresh answer for {BEGIN_WITHIN:?} after the start")),
    }
    Ok(askers)
}

/// Carries out the plan.
async fn strike_all(stage: &Stage, nemesis: &mut Nemesis<'_>, producer: &EventProducer) -> Result<()> {
    let commits = stage.commits();
    let arguments = &stage.arguments;
    let shape = Shape {
        data_nodes: arguments.data_nodes.into(),
        brokers: arguments.brokers.into(),
        replication: arguments.replication.into(),
    };
    let mut planner = Planner::new(StdRng::seed_from_u64(arguments.seed), shape);
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    while nemesis.tally.kills < arguments.kills && !stage.ledger.is_violated() && !producer.has_ended() {
        let (calm, step) = planner.draw();
        let struck = tokio::select! {
            what = async {
                tokio::time::sleep(calm).await;
                nemesis.strike(&step, &commits, producer).await
            } => Some(what?),
            _ = &mut interrupted => None,
        };
        let Some(what) = struck else {
            line("interrupted: going on to the last checks");
            nemesis.watch.end("interrupted");
            return nemesis.wake();
        };
        let exact = stage.ledger.read(|findings| findings.exact);
        line(format_args!(
            "{}/{} kills, {what}; {exact} answers exact, {} waiting",
            nemesis.tally.kills,
            arguments.kills,
            stage.ledger.waiting()
        ));
    }
    Ok(())
}
