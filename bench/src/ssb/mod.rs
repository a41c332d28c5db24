//! `ssb`: the star schema benchmark on one flat table, every engine on the same rows.
//!
//! The table is joined when it is made: each order line with its customer, its supplier, its part and its date, 38 columns,
//! as ClickHouse documents it. Scale 1 is about 6 million rows, scale 10 about 60 million.

mod columns;
mod dimensions;
mod lines;
mod queries;
mod table;

use arrow::array::RecordBatch;
use clap::Args;
use serde_json::{Value, json};

use crate::Result;
use crate::contest::{Contest, ContestArguments};
use crate::data::{FILE_ROWS, Generator, TableDefinition};

pub use columns::{Columns, brand_names, nation_names};
pub use queries::queries;
pub use table::{TABLE, definition};

use lines::{Counts, Lines, Place};
use table::Flat;

const SEED: u64 = 19_920_101;
const ORDERS_BY_SCALE: u64 = 1_500_000;
/// Orders are of 1992-01-01 to 1998-08-02.
const ORDER_DAYS: u64 = 2406;
const BATCH_ROWS: u64 = 65_536;

/// Arguments of `headwater-bench ssb`.
#[derive(Clone, Debug, Args)]
pub struct SsbArguments {
    /// Scale factor: 6 million rows each.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    scale: u64,
    #[command(flatten)]
    contest: ContestArguments,
}

/// Runs the benchmark.
///
/// # Errors
/// If an engine fails, or if two engines disagree.
pub fn run(arguments: &SsbArguments) -> Result<()> {
    let dataset = arguments.contest.kept.prepare(&Ssb::new(arguments.scale))?;
    let title = format!("SSB flat, scale {}", arguments.scale);
    let contest = Contest { title: &title, dataset: &dataset, queries: queries(), notes: Vec::new() };
    contest.run(&arguments.contest)
}

/// The generator.
pub struct Ssb {
    scale: u64,
    counts: Counts,
    flat: Flat,
    /// Where each file begins, and where the last one ends.
    starts: Vec<Place>,
    rows: u64,
}

impl Ssb {
    /// The data set of a scale factor.
    pub fn new(scale: u64) -> Self {
        let flat = Flat::new(scale);
        let dimensions = flat.dimensions();
        let counts = Counts {
            orders: ORDERS_BY_SCALE * scale,
            customers: dimensions.customers.len() as u64,
            parts: dimensions.parts.len() as u64,
            suppliers: dimensions.suppliers.len() as u64,
        };
        let (starts, rows) = starts(counts.orders, FILE_ROWS);
        Self { scale, counts, flat, starts, rows }
    }
}

/// The places at every `step` rows, and how many rows there are.
fn starts(orders: u64, step: u64) -> (Vec<Place>, u64) {
    let (mut starts, mut rows) = (Vec::new(), 0);
    for order in 0..orders {
        let count = lines::lines_of(order);
        let next = starts.len() as u64 * step;
        if next < rows + count {
            starts.push(Place { order, lines: next - rows });
        }
        rows += count;
    }
    (starts, rows)
}

impl Generator for Ssb {
    fn name(&self) -> String {
        format!("ssb-{}", self.scale)
    }

    fn parameters(&self) -> Value {
        json!({"scale": self.scale, "seed": SEED})
    }

    fn table(&self) -> TableDefinition {
        definition()
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn generate(&self, file: usize, sink: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let Some(mut place) = self.starts.get(file).copied() else { return Ok(()) };
        let mut missing = FILE_ROWS.min(self.rows - file as u64 * FILE_ROWS);
        while missing > 0 {
            let mut lines = Lines::default();
            lines::append(&self.counts, &mut place, missing.min(BATCH_ROWS), &mut lines);
            missing -= lines.len() as u64;
            sink(self.flat.batch(&lines)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_begin_where_the_one_before_ends() {
        let (starts, rows) = starts(1_000, 300);
        assert_eq!(starts.len() as u64, rows.div_ceil(300));
        let counts = Counts { orders: 1_000, customers: 30, parts: 100, suppliers: 5 };
        let mut place = Place::default();
        for start in starts {
            assert_eq!(place, start);
            lines::append(&counts, &mut place, 300, &mut Lines::default());
        }
    }

    #[test]
    fn batches_have_the_columns_of_the_table() {
        let flat = Flat::new(1);
        let counts = Counts { orders: 500, customers: 30_000, parts: 200_000, suppliers: 2_000 };
        let mut lines = Lines::default();
        lines::append(&counts, &mut Place::default(), u64::MAX, &mut lines);
        let batch = flat.batch(&lines).unwrap();
        assert_eq!(batch.num_rows(), lines.len());
        let definition = definition();
        assert!(
            batch
                .schema()
                .fields()
                .iter()
                .map(|field| field.name())
                .eq(definition.columns.iter().map(|column| &column.name))
        );
        definition.spec(FILE_ROWS).unwrap();
    }

    #[test]
    fn there_are_thirteen_queries() {
        assert_eq!(queries().len(), 13);
    }
}
