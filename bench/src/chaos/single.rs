//! One process that does everything: killed, paused, taken over by another, and started again, some hundred times.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::checker::Watched;
use super::error::Result;
use super::nemesis::Nemesis;
use super::plan::Step;
use super::producer::EventProducer;
use super::report::{Report, line};
use super::stage::{EVENTS, Stage, generation};

/// Kills after which the compacted topic becomes a new table and is read from its beginning again.
const COMPACTED_EVERY_KILLS: u64 = 20;

/// The whole run. Returns whether all is well.
pub(crate) async fn run(stage: &Stage) -> Result<bool> {
    let producer = stage.produce()?;
    let events = Watched::new(EVENTS, producer.shared().model.clone());
    let mut nemesis =
        Nemesis::begin(stage.launch.clone(), stage.client.clone(), stage.ledger.clone(), EVENTS.into())?;
    nemesis.ready().await;
    stage.apply(&nemesis.address(), EVENTS, &stage.topic, stage.rows_per_segment()).await?;
    stage.ledger.watch(events.clone());

    let compacted = strike_all(stage, &mut nemesis, &producer).await?;

    let written = stage.end_of_events(producer, &events)?;
    let mut sealed = Vec::new();
    if !stage.ledger.is_violated() && nemesis.ready().await {
        line("everything is written; checking that it is there once");
        let tables: Vec<_> = [Some(events.clone()), compacted].into_iter().flatten().collect();
        sealed = stage.close(&nemesis.address(), &tables).await?;
        nemesis.restart()?;
        if nemesis.ready().await {
            for watched in &tables {
                stage.closing(&nemesis.address()).check_visible(watched).await;
            }
        }
    }
    let report = Report {
        reproduce: stage.arguments.reproduce(),
        dir: stage.dir.display().to_string(),
        took: stage.started.elapsed(),
        tally: nemesis.tally.clone(),
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

/// Carries out the plan. Returns the table over the compacted topic that is there at the end.
async fn strike_all(
    stage: &Stage,
    nemesis: &mut Nemesis,
    producer: &EventProducer,
) -> Result<Option<Arc<Watched>>> {
    let commits = stage.commits();
    let mut random = StdRng::seed_from_u64(stage.arguments.seed);
    let mut compacted: Option<Arc<Watched>> = None;
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let kills = stage.arguments.kills;
    while nemesis.tally.kills() < kills && !stage.ledger.is_violated() && !producer.has_ended() {
        let done = nemesis.tally.kills();
        if done >= kills / 2 {
            stage.widen(producer).await?;
        }
        let due = compacted.is_none() || done / COMPACTED_EVERY_KILLS >= generation(compacted.as_deref());
        if due && nemesis.ready().await {
            compacted = Some(stage.next_compacted(&nemesis.address(), compacted).await?);
        }
        let step = Step::draw(&mut random);
        let struck = tokio::select! {
            what = nemesis.strike(step, &commits) => Some(what?),
            _ = &mut interrupted => None,
        };
        let Some(what) = struck else {
            line("interrupted: going on to the last checks");
            nemesis.wake()?;
            break;
        };
        let exact = stage.ledger.read(|findings| findings.exact);
        let waiting = stage.ledger.waiting();
        let done = nemesis.tally.kills();
        line(format_args!("{done}/{kills} {what}; {exact} answers exact, {waiting} waiting"));
    }
    Ok(compacted)
}
