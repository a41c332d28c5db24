//! The world of a simulation: its clock, its randomness and its object store.
//!
//! An operation is submitted when it is first asked for and takes place later, whoever still waits for it by then.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use ulid::Ulid;

use super::check::version_of;
use super::nodes::root;
use super::{Bug, MINUTE_MS};

const START_MS: i64 = 1_700_000_000_000;
/// A put that was given up for lost may land this much later.
const LATE_MS_MAX: u64 = 10 * MINUTE_MS;

/// What changed in the store.
#[derive(Clone, Debug)]
pub(super) enum Happened {
    Written(Path),
    Deleted(Path),
}

enum Kind {
    Put(Path, PutPayload, PutOptions),
    Get(Path, GetOptions),
    List(Option<Path>),
    Delete(Path),
}

enum Answer {
    Put(Result<PutResult>),
    Get(Result<GetResult>),
    List(Result<Vec<ObjectMeta>>),
    Delete(Result<()>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It fails and nothing happens.
    Before,
    /// It happens and is reported as failed.
    After,
    /// It happens, and nobody waits for it.
    Unheard,
}

struct Pending {
    at_ms: i64,
    operation: u64,
    kind: Kind,
    fault: Fault,
}

pub(super) struct World {
    pub(super) now_ms: i64,
    pub(super) bug: Option<Bug>,
    pub(super) is_faulty: bool,
    /// With the time of each.
    pub(super) happened: Vec<(i64, Happened)>,
    /// What programs found wrong.
    pub(super) violations: Vec<String>,
    /// Commits that were acknowledged, and those that were refused.
    pub(super) acknowledged: Vec<Ulid>,
    pub(super) refused: Vec<Ulid>,
    pub(super) compactions: u64,
    /// Seals that were told that the spec has changed.
    pub(super) outdated: u64,
    pub(super) faults: u64,
    random: u64,
    objects: InMemory,
    pending: Vec<Pending>,
    answers: BTreeMap<u64, Answer>,
    operations: u64,
    ids: u128,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        Self {
            now_ms: START_MS,
            bug,
            is_faulty: false,
            happened: Vec::new(),
            violations: Vec::new(),
            acknowledged: Vec::new(),
            refused: Vec::new(),
            compactions: 0,
            outdated: 0,
            faults: 0,
            random: seed,
            objects: InMemory::new(),
            pending: Vec::new(),
            answers: BTreeMap::new(),
            operations: 0,
            ids: 0,
        }
    }

    /// SplitMix64.
    pub(super) fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    pub(super) fn id(&mut self) -> Ulid {
        self.ids += 1;
        Ulid::from_parts(self.now_ms as u64, self.ids)
    }

    /// An object as it is now.
    pub(super) fn object(&self, path: &Path) -> Option<bytes::Bytes> {
        let read = async { self.objects.get(path).await?.bytes().await };
        read.now_or_never()?.ok()
    }

    /// Time passes, and what is due takes place.
    pub(super) fn advance(&mut self, elapsed_ms: i64) {
        let until_ms = self.now_ms + elapsed_ms;
        self.pending.sort_by_key(|pending| (pending.at_ms, pending.operation));
        let due = self.pending.partition_point(|pending| pending.at_ms <= until_ms);
        for pending in self.pending.drain(..due).collect::<Vec<_>>() {
            self.now_ms = self.now_ms.max(pending.at_ms);
            self.take_place(pending);
        }
        self.now_ms = until_ms;
    }

    fn submit(&mut self, kind: Kind) -> u64 {
        self.operations += 1;
        let operation = self.operations;
        if !self.is_faulty {
            self.take_place(Pending { at_ms: self.now_ms, operation, kind, fault: Fault::None });
            return operation;
        }
        let at_ms = self.now_ms + self.draw(3000) as i64;
        let drawn = self.draw(100);
        let mut fault = match (&kind, drawn) {
            (Kind::Put(..), 0..5) => Fault::Before,
            (Kind::Put(..), 5..10) => Fault::After,
            (Kind::Get(..) | Kind::List(_) | Kind::Delete(_), 0..2) => Fault::Before,
            _ => Fault::None,
        };
        if let Kind::Put(path, payload, options) = &kind
            && (10..14).contains(&drawn)
        {
            let late = Kind::Put(path.clone(), payload.clone(), options.clone());
            let at_ms = at_ms + self.draw(LATE_MS_MAX) as i64;
            self.pending.push(Pending { at_ms, operation, kind: late, fault: Fault::Unheard });
            fault = Fault::Before;
        }
        self.faults += u64::from(fault != Fault::None);
        self.pending.push(Pending { at_ms, operation, kind, fault });
        operation
    }

    fn take_place(&mut self, pending: Pending) {
        let Pending { operation, kind, fault, .. } = pending;
        let lost = || Error::Generic { store: "simulated", source: "no answer in time".into() };
        if fault == Fault::Before {
            let answer = match kind {
                Kind::Put(..) => Answer::Put(Err(lost())),
                Kind::Get(..) => Answer::Get(Err(lost())),
                Kind::List(_) => Answer::List(Err(lost())),
                Kind::Delete(_) => Answer::Delete(Err(lost())),
            };
            self.answers.insert(operation, answer);
            return;
        }
        let answer = match (self.perform(kind), fault) {
            (_, Fault::Unheard) => return,
            (Answer::Put(_), Fault::After) => Answer::Put(Err(lost())),
            (answer, _) => answer,
        };
        self.answers.insert(operation, answer);
    }

    /// What the planted fault makes of an entry with several commits.
    fn tamper(&self, path: Path, payload: PutPayload) -> (Path, PutPayload) {
        let is_meant = matches!(self.bug, Some(Bug::OneOfSeveralIsLost | Bug::SeveralAreWrittenTwice));
        let bytes: bytes::Bytes = payload.clone().into();
        let text = std::str::from_utf8(&bytes).ok().filter(|text| is_meant && text.contains(".commitIds"));
        let (Some(text), Some(version)) = (text, version_of(&path)) else { return (path, payload) };
        if self.bug == Some(Bug::OneOfSeveralIsLost) {
            return (path, without_one(text).into());
        }
        let entry = |version: u64| root().join("_delta_log").join(format!("{version:020}.json"));
        let is_taken = self.object(&path).is_some();
        (
            if is_taken && self.object(&entry(version + 1)).is_none() { entry(version + 1) } else { path },
            payload,
        )
    }

    fn perform(&mut self, kind: Kind) -> Answer {
        const READY: &str = "a store in memory does not wait";
        match kind {
            Kind::Put(path, payload, mut options) => {
                if self.bug == Some(Bug::StoreOverwrites) {
                    options.mode = PutMode::Overwrite;
                }
                let (path, payload) = self.tamper(path, payload);
                let put = self.objects.put_opts(&path, payload, options).now_or_never().expect(READY);
                if put.is_ok() {
                    self.happened.push((self.now_ms, Happened::Written(path)));
                }
                Answer::Put(put)
            }
            Kind::Get(path, options) => {
                Answer::Get(self.objects.get_opts(&path, options).now_or_never().expect(READY))
            }
            Kind::List(prefix) => {
                let listed = self.objects.list(prefix.as_ref()).try_collect::<Vec<_>>();
                Answer::List(listed.now_or_never().expect(READY))
            }
            Kind::Delete(path) => {
                let was_there = self.object(&path).is_some();
                let deleted = self.objects.delete(&path).now_or_never().expect(READY);
                if was_there && deleted.is_ok() {
                    self.happened.push((self.now_ms, Happened::Deleted(path)));
                }
                Answer::Delete(deleted)
            }
        }
    }
}

/// An entry without its last segment, and without the last id.
fn without_one(entry: &str) -> String {
    let mut lines: Vec<serde_json::Value> =
        entry.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if let Some(ids) = lines[0]["commitInfo"]["headwater.commitIds"].as_array_mut() {
        ids.pop();
    }
    if let Some(last) = lines.iter().rposition(|line| line.get("add").is_some()) {
        lines.remove(last);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The world's store, as every program sees it.
#[derive(Clone)]
pub(super) struct SimStore(pub(super) Arc<Mutex<World>>);

impl SimStore {
    async fn ask(&self, kind: Kind) -> Answer {
        let operation = self.0.lock().submit(kind);
        std::future::poll_fn(|context| match self.0.lock().answers.remove(&operation) {
            Some(answer) => Poll::Ready(answer),
            None => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await
    }

    fn unasked<T>() -> Result<T> {
        Err(Error::NotImplemented { operation: "simulated".into(), implementer: "simulated".into() })
    }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated")
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated")
    }
}

#[async_trait::async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.ask(Kind::Put(location.clone(), payload, options)).await {
            Answer::Put(answer) => answer,
            _ => Self::unasked(),
        }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Self::unasked()
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.ask(Kind::Get(location.clone(), options)).await {
            Answer::Get(answer) => answer,
            _ => Self::unasked(),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = locations.and_then(move |path| {
            let store = store.clone();
            async move {
                match store.ask(Kind::Delete(path.clone())).await {
                    Answer::Delete(answer) => answer.map(|()| path),
                    _ => Self::unasked(),
                }
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            match store.ask(Kind::List(prefix)).await {
                Answer::List(answer) => answer,
                _ => Self::unasked(),
            }
        };
        listed.map_ok(|objects| futures::stream::iter(objects).map(Ok)).try_flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Self::unasked()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Self::unasked()
    }
}
