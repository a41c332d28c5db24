//! A contest: the same rows and the same queries on several engines, in one run.
//!
//! 1. The data set is generated if it is not there, and each engine loads it if it has not.
//! 2. Every query runs on every engine, and all answers are compared. Only then is anything timed.
//! 3. Query by query, the engines take turns, as often as asked; what counts is the median of each. A turn's order changes
//!    from repetition to repetition, so that nobody always follows the same neighbour.
//! 4. With `--cold`, each query also runs once as the first one of a new process, opened over files that are not in the page
//!    cache. Opening is not timed.
//!
//! Each engine is a process of its own with two threads; time is taken inside it, as [`engines`](crate::engines) says.

mod answer;
mod figures;
mod prepare;
mod show;

use clap::Args;

use crate::Result;
use crate::data::{Dataset, Kept};
use crate::engines::{Engine, EngineName};
use crate::report::{Machine, Output, median, note};

pub use answer::{Compare, compare as compare_answers};
pub use prepare::{Prepared, Wanted, prepare_engines};

pub(crate) use figures::geometric_mean;
use figures::{Document, EngineFigures, QueryFigures};

/// One query, with the words that a dialect needs.
#[derive(Clone, Debug)]
pub struct Query {
    /// Name in tables.
    pub name: String,
    /// The text for everybody who has no other.
    pub sql: String,
    /// Other texts.
    pub dialects: Vec<(EngineName, String)>,
    /// What of the answer is determined.
    pub compare: Compare,
}

impl Query {
    /// A query of which all rows are determined.
    pub fn new(name: &str, sql: impl Into<String>) -> Self {
        Self { name: name.into(), sql: sql.into(), dialects: Vec::new(), compare: Compare::Rows }
    }

    /// The text for an engine.
    pub fn text(&self, engine: EngineName) -> &str {
        self.dialects.iter().find(|(of, _)| *of == engine).map_or(&self.sql, |(_, text)| text)
    }
}

/// Arguments of every contest.
#[derive(Clone, Debug, Args)]
pub struct ContestArguments {
    /// Engines, the first being the one that the others are compared with.
    #[arg(long, value_delimiter = ',', default_value = "headwater,duckdb,clickhouse,datafusion")]
    pub engines: Vec<EngineName>,
    /// Timed repetitions of each query on each engine.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Only these queries.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    pub queries: Vec<String>,
    /// Also the first run of each query in a new process, with the engine's files out of the page cache.
    #[arg(long)]
    pub cold: bool,
    /// Engines that load the data again although they have it.
    #[arg(long, value_delimiter = ',', value_name = "ENGINE,...")]
    pub reload: Vec<EngineName>,
    /// Headwater keeps the plans of queries, as its nodes do; the others plan each time.
    #[arg(long)]
    pub keep_plans: bool,
    /// Generate and load, and no more.
    #[arg(long)]
    pub load_only: bool,
    /// Where data sets lie.
    #[command(flatten)]
    pub kept: Kept,
    /// Where the result goes.
    #[command(flatten)]
    pub output: Output,
}

/// What is measured.
pub struct Contest<'a> {
    /// Title of the report.
    pub title: &'a str,
    /// The rows.
    pub dataset: &'a Dataset,
    /// The queries.
    pub queries: Vec<Query>,
    /// What a reader must know of the rows and the queries.
    pub notes: Vec<String>,
}

impl Contest<'_> {
    /// Runs the contest and publishes its result.
    ///
    /// # Errors
    /// If an engine fails, or if two engines disagree.
    pub fn run(&self, arguments: &ContestArguments) -> Result<()> {
        let machine = Machine::here();
        let wanted = Wanted {
            names: &arguments.engines,
            reload: &arguments.reload,
            keeps_plans: arguments.keep_plans,
        };
        let mut engines = prepare_engines(self.dataset, &arguments.kept.root()?, wanted)?;
        if arguments.load_only {
            return Ok(());
        }
        let queries = self.chosen(&arguments.queries)?;
        compare(&queries, &mut engines)?;
        let mut figures = Vec::new();
        for query in &queries {
            figures.push(time(query, &mut engines, arguments.runs)?);
        }
        let mut of_engines = Vec::new();
        for engine in &engines {
            of_engines.push(EngineFigures::new(engine)?);
        }
        if arguments.cold {
            time_cold(&queries, &mut engines, &mut figures)?;
        }
        let plans = match arguments.keep_plans {
            true => "Headwater keeps the plan of a text, as its nodes do; the others plan each time.",
            false => "Every engine plans each time.",
        };
        let document = Document {
            benchmark: self.title.into(),
            machine,
            rows: self.dataset.rows,
            runs: arguments.runs,
            engines: of_engines,
            queries: figures,
            notes: self.notes.iter().cloned().chain([plans.into(), show::compared(&queries)]).collect(),
        };
        arguments.output.publish(show::document(&document), &document)
    }

    fn chosen(&self, names: &[String]) -> Result<Vec<&Query>> {
        let unknown = names.iter().find(|name| self.queries.iter().all(|query| query.name != **name));
        if let Some(name) = unknown {
            return Err(format!("there is no query {name}").into());
        }
        Ok(self.queries.iter().filter(|query| names.is_empty() || names.contains(&query.name)).collect())
    }
}

/// Runs every query on every engine and compares all answers with the first engine's.
fn compare(queries: &[&Query], engines: &mut [Prepared]) -> Result<()> {
    for query in queries {
        let mut first = None;
        for prepared in engines.iter_mut() {
            let engine = &mut prepared.engine;
            let answer = query_on(engine, query)?;
            let Some((name, rows)) = &first else {
                first = Some((engine.name(), answer.rows));
                continue;
            };
            answer::compare(&query.compare, rows, &answer.rows).map_err(|difference| {
                format!("{}: {name} and {} disagree: {difference}", query.name, engine.name())
            })?;
        }
    }
    note(format_args!("{} answers agree on {} engines", queries.len(), engines.len()));
    Ok(())
}

fn query_on(engine: &mut Engine, query: &Query) -> Result<crate::engines::Timed> {
    let name = engine.name();
    engine.query(query.text(name)).map_err(|error| format!("{} on {name}: {error}", query.name).into())
}

fn time(query: &Query, engines: &mut [Prepared], runs: u32) -> Result<QueryFigures> {
    let mut milliseconds = vec![Vec::new(); engines.len()];
    for prepared in engines.iter_mut() {
        query_on(&mut prepared.engine, query)?;
    }
    for run in 0..runs as usize {
        for turn in 0..engines.len() {
            let index = (run + turn) % engines.len();
            milliseconds[index].push(query_on(&mut engines[index].engine, query)?.seconds * 1e3);
        }
    }
    let medians: Vec<f64> = milliseconds.iter().cloned().map(median).collect();
    note(format_args!("  {}: {} ms", query.name, show::list(&medians)));
    Ok(QueryFigures {
        name: query.name.clone(),
        medians_ms: medians,
        all_ms: milliseconds,
        cold_ms: Vec::new(),
    })
}

fn time_cold(queries: &[&Query], engines: &mut [Prepared], figures: &mut [QueryFigures]) -> Result<()> {
    for (query, figures) in queries.iter().zip(figures) {
        for prepared in engines.iter_mut() {
            prepared.engine.restart_cold()?;
            figures.cold_ms.push(query_on(&mut prepared.engine, query)?.seconds * 1e3);
        }
        note(format_args!("  {}, cold: {} ms", query.name, show::list(&figures.cold_ms)));
    }
    Ok(())
}
