//! DataFusion on the Parquet files: nothing to load, the table is the directory.

use arrow::array::RecordBatch;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use super::{LoadDone, Setup};
use crate::Result;

pub(super) struct DataFusion {
    setup: Setup,
    context: SessionContext,
}

impl DataFusion {
    pub(super) fn new(setup: Setup) -> Result<Self> {
        let config = SessionConfig::new().with_target_partitions(setup.threads);
        Ok(Self { setup, context: SessionContext::new_with_config(config) })
    }

    pub(super) async fn load(&mut self) -> Result<LoadDone> {
        self.open().await?;
        let mut bytes_on_disk = 0;
        for file in &self.setup.files {
            bytes_on_disk += std::fs::metadata(file)?.len();
        }
        let rows = self.context.table(self.setup.table.name.as_str()).await?.count().await? as u64;
        Ok(LoadDone { rows, seconds: 0.0, bytes_on_disk })
    }

    pub(super) async fn open(&mut self) -> Result<()> {
        let name = self.setup.table.name.as_str();
        if self.context.table_exist(name)? {
            return Ok(());
        }
        let directory =
            self.setup.files.first().and_then(|file| file.parent()).ok_or("there are no files")?;
        let path = directory.to_string_lossy();
        self.context.register_parquet(name, path, ParquetReadOptions::default()).await?;
        Ok(())
    }

    pub(super) async fn query(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        Ok(self.context.sql(sql).await?.collect().await?)
    }
}
