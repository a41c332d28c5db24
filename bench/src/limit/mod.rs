//! `limit`: how far the engine is from a bare loop over the same codes with the same result.
//!
//! The codes come straight from the generator, each in the narrowest width, in memory; two threads take chunks of rows in turn.
//! The loop knows what the engine must find out: where the rows of each year lie, what the codes mean, how many groups there
//! are. The engine's time includes parsing and planning.

mod kernels;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Result;
use crate::contest::{Compare, Wanted, compare_answers, prepare_engines};
use crate::data::Kept;
use crate::engines::{Engine, EngineName, THREADS};
use crate::report::{Machine, Output, Table, median, note};
use crate::ssb::{Columns, Ssb, brand_names, nation_names, queries};

use kernels::{BRANDS, Codes, Kernel, NATIONS, YEARS};

const CHUNK_ROWS: usize = 1 << 16;
const BY_BRAND: &str =
    "SELECT sum(lo_revenue) AS revenue, p_brand FROM lineorder_flat GROUP BY p_brand ORDER BY p_brand";

/// Arguments of `headwater-bench limit`.
#[derive(Clone, Debug, Args)]
pub struct LimitArguments {
    /// Scale factor.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100))]
    scale: u64,
    /// Repetitions.
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    output: Output,
}

/// A query as a loop.
struct Loop {
    name: &'static str,
    sql: String,
    kernel: Kernel,
    rows: Range<usize>,
    groups: usize,
    /// Bytes of all columns that the query names, by row; what a filter leaves unread is counted as read.
    row_bytes: usize,
    /// The answer's row of a group that has rows.
    answer: fn(usize, i64) -> Vec<Value>,
}

#[derive(Debug, Serialize)]
struct Document {
    benchmark: &'static str,
    machine: Machine,
    scale: u64,
    runs: u32,
    queries: Vec<Measured>,
}

#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    rows: usize,
    loop_ms: f64,
    loop_ns_per_row: f64,
    loop_gigabytes_per_second: f64,
    engine_ms: f64,
    ratio: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// If the engine fails, or if it and a loop disagree.
pub fn run(arguments: &LimitArguments) -> Result<()> {
    let machine = Machine::here();
    let root = arguments.kept.root()?;
    let ssb = Ssb::new(arguments.scale);
    let dataset = arguments.kept.prepare(&ssb)?;
    let mut engines = prepare_engines(&dataset, &root, Wanted::plain(&[EngineName::Headwater]))?;
    let engine = &mut engines.first_mut().ok_or("there is no engine")?.engine;
    note("making the codes");
    let columns = ssb.columns();
    let mut measured = Vec::new();
    for one in loops(&columns) {
        measured.push(measure(&one, &columns, engine, arguments.runs)?);
    }
    let document = Document {
        benchmark: "limit",
        machine,
        scale: arguments.scale,
        runs: arguments.runs,
        queries: measured,
    };
    arguments.output.publish(show(&document), &document)
}

fn loops(columns: &Columns) -> Vec<Loop> {
    let all = 0..columns.year.len();
    let start_of = |year: u8| columns.year.partition_point(|of| *of < year);
    let text = |name: &str| {
        queries().into_iter().find(|query| query.name == name).map(|query| query.sql).unwrap_or_default()
    };
    vec![
        Loop {
            name: "Q1.1",
            sql: text("Q1.1"),
            kernel: kernels::discounted,
            rows: start_of(1)..start_of(2),
            groups: 1,
            row_bytes: 1 + 1 + 4,
            answer: |_, sum| vec![json!(sum)],
        },
        Loop {
            name: "Q2.1",
            sql: text("Q2.1"),
            kernel: kernels::by_brand,
            rows: all.clone(),
            groups: YEARS * BRANDS,
            row_bytes: 1 + 1 + 2 + 4,
            answer: |group, sum| {
                vec![json!(sum), json!(1992 + group / BRANDS), json!(brand_names().nth(group % BRANDS))]
            },
        },
        Loop {
            name: "Q4.1",
            sql: text("Q4.1"),
            kernel: kernels::profit,
            rows: all.clone(),
            groups: YEARS * NATIONS,
            row_bytes: 1 + 1 + 1 + 1 + 4 + 4,
            answer: |group, sum| {
                vec![json!(1992 + group / NATIONS), json!(nation_names().nth(group % NATIONS)), json!(sum)]
            },
        },
        Loop {
            name: "all by brand",
            sql: BY_BRAND.into(),
            kernel: kernels::all_by_brand,
            rows: all,
            groups: BRANDS,
            row_bytes: 2 + 4,
            answer: |group, sum| vec![json!(sum), json!(brand_names().nth(group))],
        },
    ]
}

fn measure(one: &Loop, columns: &Columns, engine: &mut Engine, runs: u32) -> Result<Measured> {
    let chunks = chunks(&columns.year, one.rows.clone());
    let sums = sums(one, columns, &chunks);
    // Every group's sum is of positive numbers: one that is zero has no rows.
    let groups = sums.iter().enumerate().filter(|(_, sum)| **sum != 0);
    let answer: Vec<Vec<Value>> = groups.map(|(group, sum)| (one.answer)(group, *sum)).collect();
    compare_answers(&Compare::Rows, &answer, &engine.query(&one.sql)?.rows)
        .map_err(|difference| format!("{}: the loop and the engine disagree: {difference}", one.name))?;
    let (mut loop_ms, mut engine_ms) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let began = Instant::now();
        std::hint::black_box(self::sums(one, columns, &chunks));
        loop_ms.push(began.elapsed().as_secs_f64() * 1e3);
        engine_ms.push(engine.query(&one.sql)?.seconds * 1e3);
    }
    let (loop_ms, engine_ms) = (median(loop_ms), median(engine_ms));
    let rows = one.rows.len();
    Ok(Measured {
        name: one.name,
        rows,
        loop_ms,
        loop_ns_per_row: loop_ms * 1e6 / rows as f64,
        loop_gigabytes_per_second: (rows * one.row_bytes) as f64 / loop_ms / 1e6,
        engine_ms,
        ratio: engine_ms / loop_ms,
    })
}

/// The rows in pieces for the threads to take, none of two years.
fn chunks(years: &[u8], rows: Range<usize>) -> Vec<Range<usize>> {
    let (mut chunks, mut start) = (Vec::new(), rows.start);
    for year in years[rows].chunk_by(|left, right| left == right) {
        let end = start + year.len();
        chunks.extend((start..end).step_by(CHUNK_ROWS).map(|start| start..end.min(start + CHUNK_ROWS)));
        start = end;
    }
    chunks
}

/// The sums of all groups, by as many threads as the engine has.
fn sums(one: &Loop, columns: &Columns, chunks: &[Range<usize>]) -> Vec<i64> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut sums = vec![0; one.groups];
        while let Some(rows) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            (one.kernel)(&codes(columns, rows.clone()), &mut sums);
        }
        sums
    };
    let mut total = vec![0; one.groups];
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        for sums in workers.into_iter().filter_map(|worker| worker.join().ok()) {
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    });
    total
}

fn codes(columns: &Columns, rows: Range<usize>) -> Codes<'_> {
    Codes {
        year: usize::from(columns.year[rows.start]),
        discount: &columns.discount[rows.clone()],
        quantity: &columns.quantity[rows.clone()],
        extended_price: &columns.extended_price[rows.clone()],
        revenue: &columns.revenue[rows.clone()],
        supply_cost: &columns.supply_cost[rows.clone()],
        category: &columns.category[rows.clone()],
        brand: &columns.brand[rows.clone()],
        manufacturer: &columns.manufacturer[rows.clone()],
        customer_region: &columns.customer_region[rows.clone()],
        customer_nation: &columns.customer_nation[rows.clone()],
        supplier_region: &columns.supplier_region[rows],
    }
}

fn show(document: &Document) -> String {
    let headings =
        ["query", "rows of the loop", "loop, ms", "ns/row", "GB/s", "headwater, ms", "headwater / loop"];
    let mut table = Table::new(&headings);
    for query in &document.queries {
        table.row([
            query.name.into(),
            crate::report::grouped(query.rows as f64),
            format!("{:.2}", query.loop_ms),
            format!("{:.3}", query.loop_ns_per_row),
            format!("{:.1}", query.loop_gigabytes_per_second),
            format!("{:.2}", query.engine_ms),
            format!("{:.2}", query.ratio),
        ]);
    }
    format!(
        "SSB flat, scale {}: the engine beside a bare loop, {THREADS} threads each, medians of {}.\n{}\n\n{table}",
        document.scale, document.runs, document.machine
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_rows_and_end_with_each_year() {
        let years: Vec<u8> = [(0, 100), (1, CHUNK_ROWS + 5), (2, 10)]
            .into_iter()
            .flat_map(|(year, count)| std::iter::repeat_n(year, count))
            .collect();
        let end = years.len();
        let expected = [50..100, 100..100 + CHUNK_ROWS, 100 + CHUNK_ROWS..end - 10, end - 10..end - 3];
        assert_eq!(chunks(&years, 50..end - 3), expected);
    }
}
