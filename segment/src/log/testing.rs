//! An object store that fails in every way a real one does, by a script or at random from a seed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use ulid::Ulid;

use crate::schema::TableSchema;
use crate::sealed::{ColumnStats, SegmentMeta};

/// A segment as the log would have it, with a row at every offset.
pub(crate) fn segment_meta(
    schema: &TableSchema,
    id: Ulid,
    partition: i32,
    (from, to): (i64, i64),
) -> SegmentMeta {
    SegmentMeta {
        path: SegmentMeta::path_of(partition, from, to, id),
        id,
        partition,
        from,
        to,
        rows: (to - from) as u64,
        size_bytes: 1000,
        format_version: 1,
        sealed_at_ms: id.timestamp_ms() as i64,
        index_offset: 900,
        index_length: 50,
        tail_crc32c: 7,
        dead_letters: 0,
        index_settings: 0,
        columns: vec![ColumnStats::UNKNOWN; schema.columns().len()],
    }
}

/// What happens to a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutFault {
    /// It happens.
    None,
    /// It fails and nothing is written.
    Before,
    /// It is written and reported as failed.
    After,
    /// It is reported as failed, and written later, if its condition still holds then.
    Late,
}

/// How often each fault strikes, in per cent of calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultRates {
    pub(crate) before: u64,
    pub(crate) after: u64,
    pub(crate) late: u64,
    pub(crate) read: u64,
}

#[derive(Debug)]
struct Plan {
    random: u64,
    rates: FaultRates,
    script: VecDeque<PutFault>,
    late: Vec<(Path, PutPayload, PutOptions)>,
    reads_fail: bool,
    puts: usize,
}

impl Plan {
    /// SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn put_fault(&mut self) -> PutFault {
        self.puts += 1;
        if let Some(scripted) = self.script.pop_front() {
            return scripted;
        }
        let FaultRates { before, after, late, .. } = self.rates;
        match self.below(100) {
            drawn if drawn < before => PutFault::Before,
            drawn if drawn < before + after => PutFault::After,
            drawn if drawn < before + after + late => PutFault::Late,
            _ => PutFault::None,
        }
    }
}

/// One process's view of a store that it shares with others: faults strike this view only.
#[derive(Debug)]
pub(crate) struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    plan: Mutex<Plan>,
}

impl FaultStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, seed: u64, rates: FaultRates) -> Arc<Self> {
        let plan = Plan {
            random: seed,
            rates,
            script: VecDeque::new(),
            late: Vec::new(),
            reads_fail: false,
            puts: 0,
        };
        Arc::new(Self { inner, plan: Mutex::new(plan) })
    }

    /// The fate of the next puts.
    pub(crate) fn script(&self, faults: impl IntoIterator<Item = PutFault>) {
        self.plan.lock().script.extend(faults);
    }

    /// Whether reads fail from now on.
    pub(crate) fn fail_reads(&self, fail: bool) {
        self.plan.lock().reads_fail = fail;
    }

    /// How many puts were tried.
    pub(crate) fn puts(&self) -> usize {
        self.plan.lock().puts
    }

    /// The late puts arrive.
    pub(crate) async fn land_late_puts(&self) {
        let late = std::mem::take(&mut self.plan.lock().late);
        for (path, payload, options) in late {
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
    }

    fn error<T>(&self) -> Result<T> {
        Err(Error::Generic { store: "fault", source: "no answer in time".into() })
    }

    /// Other tasks run, and now and then a late put arrives.
    async fn dawdle(&self) {
        let (yields, land) = {
            let mut plan = self.plan.lock();
            (plan.below(4), plan.below(8) == 0)
        };
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        if land {
            self.land_late_puts().await;
        }
    }

    async fn before_read(&self) -> Result<()> {
        self.dawdle().await;
        let fails = {
            let mut plan = self.plan.lock();
            plan.reads_fail || plan.below(100) < plan.rates.read
        };
        if fails { self.error() } else { Ok(()) }
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.dawdle().await;
        let fault = self.plan.lock().put_fault();
        match fault {
            PutFault::None => {
                let result = self.inner.put_opts(location, payload, options).await;
                self.dawdle().await;
                result
            }
            PutFault::Before => self.error(),
            PutFault::After => {
                let _ = self.inner.put_opts(location, payload, options).await;
                self.error()
            }
            PutFault::Late => {
                self.plan.lock().late.push((location.clone(), payload, options));
                self.error()
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.before_read().await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let fails = {
            let mut plan = self.plan.lock();
            plan.reads_fail || plan.below(100) < plan.rates.read
        };
        if fails {
            let error = self.error();
            return futures::stream::once(async move { error }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.before_read().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
