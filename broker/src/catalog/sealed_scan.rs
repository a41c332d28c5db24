//! The scan of sealed segments: DataFusion's own Parquet source, reading through verified readers.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::config::{ParquetOptions, TableParquetOptions};
use datafusion::common::{Statistics, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use headwater_segment::live::LiveTable;
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{FooterCache, SegmentMeta, SegmentReaderFactory};

use super::prune;

/// The segments of one table that a scan reads.
pub(super) struct SealedScan<'a> {
    pub(super) table: &'a LiveTable,
    pub(super) footers: &'a Arc<FooterCache>,
    pub(super) schema: &'a TableSchema,
    /// Places of the visible columns in the full schema.
    pub(super) visible: &'a [usize],
    /// At least one.
    pub(super) segments: Vec<Arc<SegmentMeta>>,
}

impl SealedScan<'_> {
    /// The scan. `projection` speaks of `schema`, the visible columns; columns that a segment is too old to have are NULL.
    pub(super) fn plan(
        self,
        state: &dyn Session,
        schema: &SchemaRef,
        projection: &[usize],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let url = ObjectStoreUrl::parse(format!("headwater://{}", self.table.name()))?;
        // Readers bring their own store, but the source wants to find one.
        state.runtime_env().register_object_store(url.as_ref(), Arc::clone(self.table.store()));
        let readers = SegmentReaderFactory::new(
            Arc::clone(self.table.store()),
            self.table.root().clone(),
            Arc::clone(self.footers),
        );
        let parquet = state.config_options().execution.parquet.clone();
        let source = ParquetSource::new(Arc::clone(schema))
            .with_table_parquet_options(parquet_options(parquet))
            .with_parquet_file_reader_factory(Arc::new(VerifiedReaders(readers)));

        let files: Vec<PartitionedFile> = self.segments.iter().map(|segment| self.file(segment)).collect();
        let known = files.iter().filter_map(|file| file.statistics.as_deref());
        let statistics = Statistics::try_merge_iter(known, schema)?;
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(Some(projection.to_vec()))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn file(&self, segment: &Arc<SegmentMeta>) -> PartitionedFile {
        let location = segment.location(self.table.root());
        let statistics = prune::statistics(self.schema, self.visible, segment);
        PartitionedFile::new(location.to_string(), segment.size_bytes)
            .with_extension(Arc::clone(segment))
            .with_statistics(Arc::new(statistics))
    }
}

fn parquet_options(global: ParquetOptions) -> TableParquetOptions {
    TableParquetOptions { global, ..TableParquetOptions::default() }
}

/// Gives every file the reader that checks it against the table log.
struct VerifiedReaders(SegmentReaderFactory);

impl fmt::Debug for VerifiedReaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedReaders")
    }
}

impl ParquetFileReaderFactory for VerifiedReaders {
    fn create_reader(
        &self,
        _: usize,
        file: PartitionedFile,
        _: Option<usize>,
        _: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let segment = file.extension::<Arc<SegmentMeta>>().map(Arc::clone);
        let segment = segment.ok_or_else(|| internal_datafusion_err!("a scanned file has no segment"))?;
        Ok(Box::new(self.0.reader(segment)))
    }
}
