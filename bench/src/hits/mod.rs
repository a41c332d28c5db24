//! `hits`: the 43 queries of ClickBench on a synthetic table of a third of its columns, every engine on the same rows.

mod batch;
mod queries;
mod rows;
mod sites;
mod table;
mod text;

use arrow::array::RecordBatch;
use clap::Args;
use serde_json::{Value, json};

use crate::Result;
use crate::contest::{Contest, ContestArguments};
use crate::data::{FILE_ROWS, Generator, TableDefinition};

const SEED: u64 = 20_130_701;
const BATCH_ROWS: u64 = 32_768;

/// Arguments of `headwater-bench hits`.
#[derive(Clone, Debug, Args)]
pub struct HitsArguments {
    /// Rows.
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(100_000..=100_000_000))]
    rows: u64,
    #[command(flatten)]
    contest: ContestArguments,
}

/// Runs the benchmark.
///
/// # Errors
/// If an engine fails, or if two engines disagree.
pub fn run(arguments: &HitsArguments) -> Result<()> {
    let dataset = arguments.contest.kept.prepare(&HitsData(rows::Hits::new(arguments.rows)))?;
    let queries = queries::queries(arguments.rows);
    let columns = table::COLUMNS.len();
    let notes = vec![format!(
        "Synthetic rows of {columns} columns, of ClickBench's 105: what its queries name, and ten others."
    )];
    Contest { title: "ClickBench-like hits", dataset: &dataset, queries, notes }.run(&arguments.contest)
}

struct HitsData(rows::Hits);

impl Generator for HitsData {
    fn name(&self) -> String {
        format!("hits-{}", self.0.rows())
    }

    fn parameters(&self) -> Value {
        json!({"rows": self.0.rows(), "seed": SEED})
    }

    fn table(&self) -> TableDefinition {
        table::definition()
    }

    fn rows(&self) -> u64 {
        self.0.rows()
    }

    fn generate(&self, file: usize, sink: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let mut next = file as u64 * FILE_ROWS;
        let end = (next + FILE_ROWS).min(self.rows());
        while next < end {
            let batch_end = (next + BATCH_ROWS).min(end);
            let hits: Vec<_> = (next..batch_end).map(|row| self.0.hit(row)).collect();
            sink(batch::batch(&hits)?)?;
            next = batch_end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_the_columns_of_the_table() {
        let data = HitsData(rows::Hits::new(100_000));
        let hits: Vec<_> = (0..1_000).map(|row| data.0.hit(row)).collect();
        let batch = batch::batch(&hits).unwrap();
        assert_eq!(batch.num_columns(), table::COLUMNS.len());
        assert_eq!(batch, batch::batch(&hits).unwrap());
        let schema = data.table().arrow(&arrow::datatypes::DataType::Utf8);
        for (field, declared) in batch.schema().fields().iter().zip(schema.fields()) {
            assert_eq!(field, declared);
        }
        data.table().spec(FILE_ROWS).unwrap();
    }
}
