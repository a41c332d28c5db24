//! What is resident: in memory, and in local files, each within its budget.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::Array;
use parking_lot::RwLock;
use tokio::sync::{Semaphore, SemaphorePermit};
use ulid::Ulid;

use super::dir::{self, Dir, FILE_EXTENSION};
use super::file::{self, Identity};
use super::flight::{Flights, Join};
use super::indexed::Indexed;
use super::load::{self, Wanted};
use super::lru::Lru;
use crate::column::{CodeStore, CodeValues, Codes, Column, PlainStore, SegmentColumns, build_column};
use crate::schema::{self, ColumnType, TableSchema};
use crate::sealed::{BloomFilter, KeptColumn, PostingsEntry, SegmentMeta, SegmentReaderFactory};
use crate::{Result, SegmentError};

/// Segments whose objects are read at a time.
pub(super) const FETCHES_MAX: usize = 8;

/// Where resident columns are kept, and how much of them.
#[derive(Clone, Debug)]
pub struct ResidentConfig {
    /// Directory of the local files, for this process alone; `None` keeps columns in memory only.
    pub dir: Option<PathBuf>,
    /// Most bytes of local files.
    pub disk_bytes_max: u64,
    /// Most bytes of columns and bloom filters that are kept in memory or mapped into it; what running queries hold may come
    /// on top.
    pub memory_bytes_max: u64,
}

/// A column of a segment: the segment, and a hash of the column's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) segment: Ulid,
    pub(super) column: u64,
}

impl Key {
    pub(super) fn new(segment: Ulid, name: &str) -> Self {
        // Fixed, because it names files.
        Self::seeded(segment, name, 0x636f_6c75)
    }

    /// Of a column's bloom filter, which has no file.
    pub(super) fn of_filter(segment: Ulid, name: &str) -> Self {
        Self::seeded(segment, name, 0x626c_6f6f)
    }

    fn seeded(segment: Ulid, name: &str, seed: u64) -> Self {
        let mut hasher = foldhash::quality::FixedState::with_seed(seed).build_hasher();
        hasher.write(name.as_bytes());
        Self { segment, column: hasher.finish() }
    }
}

/// What is in memory of a column. Its name and type are compared when it is taken, so that no hash needs to be trusted.
pub(super) struct Held {
    name: Box<str>,
    data_type: ColumnType,
    kept: Kept,
}

enum Kept {
    Column(Arc<Column>),
    Filter(Arc<BloomFilter>),
}

/// The resident columns of all tables of a process.
pub struct ResidentStore {
    pub(super) dir: Option<Dir>,
    pub(super) memory: RwLock<Lru<Key, Held>>,
    pub(super) files: RwLock<Lru<Key, ()>>,
    flights: Arc<Flights>,
    /// By table: the columns that queries have read.
    pub(super) used: RwLock<HashMap<String, HashSet<String>>>,
    pub(super) fetches: Semaphore,
    decodes: Semaphore,
    decodes_max: usize,
}

impl ResidentStore {
    /// Opens the store: finds the files that an earlier process left, and removes those that are no use.
    ///
    /// # Errors
    /// `Refused` if the directory cannot be used, or another process uses it.
    pub fn open(config: ResidentConfig) -> Result<Arc<Self>> {
        let decodes_max = crate::machine::cpus();
        let dir = config.dir.map(dir::lock).transpose()?;
        let store = Self {
            memory: RwLock::new(Lru::new(config.memory_bytes_max)),
            files: RwLock::new(Lru::new(config.disk_bytes_max)),
            flights: Arc::default(),
            used: RwLock::default(),
            fetches: Semaphore::new(FETCHES_MAX),
            decodes: Semaphore::new(decodes_max),
            decodes_max,
            dir,
        };
        if let Some(dir) = &store.dir {
            let mut found = dir::files_in(&dir.path);
            found.sort_unstable_by_key(|(_, _, modified)| *modified);
            for (key, length, _) in found {
                store.add_file(key, length);
            }
        }
        Ok(Arc::new(store))
    }

    /// `columns` (indexes into the columns of `schema`) of a sealed segment of `table`, in that order. Loads what is missing,
    /// once however many ask. Must be called on a tokio runtime with I/O; a caller that goes away disturbs nobody.
    ///
    /// # Errors
    /// `Refused` if the schema has no such column; `Corrupt` and `Store` as the verified reader says. Not kept: the next call
    /// tries again.
    pub async fn columns(
        self: &Arc<Self>,
        table: &str,
        readers: &SegmentReaderFactory,
        schema: &TableSchema,
        meta: &Arc<SegmentMeta>,
        columns: &[usize],
    ) -> Result<SegmentColumns> {
        if let Some(ready) = self.ready(schema, meta, columns) {
            return Ok(ready);
        }
        let wanted = columns.iter().map(|index| column_of(schema, *index)).collect::<Result<Vec<_>>>()?;
        self.note_used(table, schema, columns);
        self.loaded(readers, meta, &wanted).await
    }

    /// These columns, from wherever they are.
    pub(super) async fn loaded(
        self: &Arc<Self>,
        readers: &SegmentReaderFactory,
        meta: &Arc<SegmentMeta>,
        wanted: &[&schema::Column],
    ) -> Result<SegmentColumns> {
        let mut joined = Vec::with_capacity(wanted.len());
        let mut to_load = Vec::new();
        for &column in wanted {
            let key = Key::new(meta.id, &column.name);
            joined.push(match self.flights.join(key, || self.held(key, column)) {
                Join::Held(column) => Ok(column),
                Join::Wait(waiting) => Err(waiting),
                Join::Load(flight, waiting) => {
                    to_load.push(Wanted { key, column: column.clone(), flight });
                    Err(waiting)
                }
            });
        }
        if !to_load.is_empty() {
            // Apart from this call, which may be cancelled while others wait for the same columns.
            tokio::spawn(load::load(Arc::clone(self), readers.clone(), Arc::clone(meta), to_load));
        }
        let mut found = Vec::with_capacity(joined.len());
        for column in joined {
            found.push(match column {
                Ok(column) => column,
                Err(waiting) => waiting.column().await?,
            });
        }
        Ok(SegmentColumns::even(meta.rows as usize, found))
    }

    /// The same columns without waiting: only if all of them are in memory now.
    pub fn ready(
        &self,
        schema: &TableSchema,
        meta: &SegmentMeta,
        columns: &[usize],
    ) -> Option<SegmentColumns> {
        let memory = self.memory.read();
        let files = self.files.read();
        let mut found = Vec::with_capacity(columns.len());
        for index in columns {
            let column = schema.columns().get(*index)?;
            let key = Key::new(meta.id, &column.name);
            found.push(memory.get(key)?.column_if(column)?);
            // A file goes together with its column in memory, so it is in use as long as that is.
            files.get(key);
        }
        Some(SegmentColumns::even(meta.rows as usize, found))
    }

    /// Remembers that queries read these columns of `table`, so that the next sealed segment comes with them. Queries of
    /// sealed segments are remembered anyway; this is for those that only find open ones.
    pub fn note_used(&self, table: &str, schema: &TableSchema, columns: &[usize]) {
        let names = || columns.iter().filter_map(|index| Some(&schema.columns().get(*index)?.name));
        let is_known = {
            let used = self.used.read();
            used.get(table).is_some_and(|known| names().all(|name| known.contains(name)))
        };
        if !is_known {
            self.used.write().entry(table.to_string()).or_default().extend(names().cloned());
        }
    }

    /// The columns of `schema` that queries have read: those to [keep](crate::sealed::SealRequest::keep) at a seal.
    pub fn used(&self, table: &str, schema: &TableSchema) -> Vec<usize> {
        let used = self.used.read();
        let Some(names) = used.get(table) else { return Vec::new() };
        let columns = schema.columns().iter().enumerate();
        columns.filter(|(_, column)| names.contains(&column.name)).map(|(index, _)| index).collect()
    }

    /// Takes columns that were kept when a segment of `table` was sealed. CPU work: call it on a blocking thread, before the
    /// segment is handed over. What fails here is loaded when it is needed; what is never committed is for
    /// [`forget`](Self::forget).
    pub fn adopt(&self, table: &str, schema: &TableSchema, meta: &SegmentMeta, kept: Vec<KeptColumn>) {
        for kept in kept {
            let Some(column) = schema.columns().get(kept.number) else { continue };
            match adopted(column, meta, kept) {
                Ok(built) => {
                    let key = Key::new(meta.id, &column.name);
                    let index = built.entry.clone();
                    let built = self.keep_in_memory(key, column, built);
                    self.persist(key, &load::identity(meta, column), column, &built, index.as_ref());
                    count_load("seal");
                }
                Err(error) => {
                    tracing::warn!(table, segment = %meta.id, column = column.name, %error, "column not adopted");
                }
            }
        }
    }

    /// Drops what is kept of the segments that are named: they are no longer in the log, or belong to somebody else.
    pub fn forget(&self, is_gone: impl Fn(Ulid) -> bool) {
        // What is dropped may be large, so not under the lock.
        let columns = self.memory.write().remove_all(|key| is_gone(key.segment));
        drop(columns);
        let files = self.files.write().remove_all(|key| is_gone(key.segment));
        files.into_iter().for_each(|(key, ())| self.remove_file(key));
        self.report();
    }

    fn held(&self, key: Key, column: &schema::Column) -> Option<Arc<Column>> {
        self.memory.read().get(key)?.column_if(column)
    }

    /// Writes a column that was just built to its local file, and keeps the file's memory instead of the column's. What fails
    /// leaves the column as it is.
    pub(super) fn persist(
        &self,
        key: Key,
        identity: &Identity,
        schema_column: &schema::Column,
        column: &Column,
        index: Option<&PostingsEntry>,
    ) {
        let index_bytes = index.map_or(0, |index| index.bytes.len() as u64);
        let fits = self.files.read().fits(heap_bytes(column) + index_bytes);
        let Some(path) = self.file_path(key).filter(|_| fits) else {
            return;
        };
        match file::write(&path, identity, column, index).and_then(|_| file::open(&path, identity)) {
            Ok((mapped, length)) => {
                self.keep_counted(key, schema_column, mapped.column, length + mapped.table_bytes);
                self.add_file(key, length);
            }
            Err(error) => {
                tracing::warn!(%error, "a resident column is kept in memory only");
                dir::remove(&path);
            }
        }
    }

    /// Keeps a column that was just built.
    pub(super) fn keep_in_memory(
        &self,
        key: Key,
        schema_column: &schema::Column,
        built: Indexed,
    ) -> Arc<Column> {
        let entry_bytes = built.entry.map_or(0, |entry| entry.bytes.len() as u64);
        let bytes = heap_bytes(&built.column) + entry_bytes + built.table_bytes;
        self.keep_counted(key, schema_column, built.column, bytes)
    }

    fn keep_counted(
        &self,
        key: Key,
        schema_column: &schema::Column,
        column: Column,
        bytes: u64,
    ) -> Arc<Column> {
        let column = Arc::new(column);
        let held = Held {
            name: schema_column.name.as_str().into(),
            data_type: schema_column.data_type.clone(),
            kept: Kept::Column(Arc::clone(&column)),
        };
        self.hold(key, held, bytes);
        column
    }

    fn hold(&self, key: Key, held: Held, bytes: u64) {
        let evicted = self.memory.write().insert(key, held, bytes);
        if !evicted.is_empty() {
            metrics::counter!("headwater_resident_evictions_total", "from" => "memory")
                .increment(evicted.len() as u64);
        }
        self.report();
    }

    /// Keeps a bloom filter that was just read.
    pub(super) fn keep_filter(&self, meta: &SegmentMeta, column: &schema::Column, filter: &Arc<BloomFilter>) {
        let held = Held {
            name: column.name.as_str().into(),
            data_type: column.data_type.clone(),
            kept: Kept::Filter(Arc::clone(filter)),
        };
        self.hold(Key::of_filter(meta.id, &column.name), held, filter.bytes());
    }

    /// The bloom filter of a column, if it is in memory.
    pub(super) fn held_filter(
        &self,
        meta: &SegmentMeta,
        column: &schema::Column,
    ) -> Option<Arc<BloomFilter>> {
        self.memory.read().get(Key::of_filter(meta.id, &column.name))?.filter_if(column)
    }

    /// Whether a column takes no read of its object: it is in memory, or in a local file.
    pub(super) fn is_local(&self, meta: &SegmentMeta, column: &schema::Column) -> bool {
        let key = Key::new(meta.id, &column.name);
        self.has_file(key) || self.held(key, column).is_some()
    }

    /// Maps the file of a column; one that is damaged is removed.
    pub(super) fn open_file(
        &self,
        key: Key,
        identity: Identity,
        schema_column: &schema::Column,
    ) -> Option<Arc<Column>> {
        match file::open(&self.file_path(key)?, &identity) {
            Ok((mapped, length)) => {
                count_load("file");
                self.files.read().get(key);
                Some(self.keep_counted(key, schema_column, mapped.column, length + mapped.table_bytes))
            }
            Err(error) => {
                tracing::warn!(%error, "a resident column is built again");
                metrics::counter!("headwater_resident_files_damaged_total").increment(1);
                self.files.write().remove(key);
                self.remove_file(key);
                None
            }
        }
    }

    pub(super) fn has_file(&self, key: Key) -> bool {
        self.files.read().contains(key)
    }

    /// Counts a file that is there; removes those that are beyond the budget.
    fn add_file(&self, key: Key, length: u64) {
        let evicted = self.files.write().insert(key, (), length);
        if !evicted.is_empty() {
            metrics::counter!("headwater_resident_evictions_total", "from" => "disk")
                .increment(evicted.len() as u64);
        }
        for (evicted, ()) in evicted {
            // Its blocks on disk are free only when nobody maps them.
            let column = self.memory.write().remove(evicted);
            drop(column);
            self.remove_file(evicted);
        }
        self.report();
    }

    fn file_path(&self, key: Key) -> Option<PathBuf> {
        let dir = self.dir.as_ref()?.path.join(key.segment.to_string());
        Some(dir.join(format!("{:016x}.{FILE_EXTENSION}", key.column)))
    }

    fn remove_file(&self, key: Key) {
        if let Some(path) = self.file_path(key) {
            dir::remove(&path);
        }
    }

    /// A turn to read an object.
    pub(super) async fn fetch_turn(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed, so there is always a permit.
        self.fetches.acquire().await.ok()
    }

    /// A turn to decode or verify a column.
    pub(super) async fn decode_turn(&self) -> Option<SemaphorePermit<'_>> {
        self.decodes.acquire().await.ok()
    }

    /// Waits until nothing is decoded or written any more.
    #[cfg(test)]
    pub(super) async fn settle(&self) {
        drop(self.decodes.acquire_many(self.decodes_max as u32).await);
    }

    /// Columns that are decoded at a time.
    pub(super) fn decodes_max(&self) -> usize {
        self.decodes_max
    }

    fn report(&self) {
        metrics::gauge!("headwater_resident_memory_bytes").set(self.memory.read().bytes() as f64);
        metrics::gauge!("headwater_resident_disk_bytes").set(self.files.read().bytes() as f64);
    }
}

impl std::fmt::Debug for ResidentStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResidentStore")
            .field("dir", &self.dir.as_ref().map(|dir| &dir.path))
            .field("memory_bytes", &self.memory.read().bytes())
            .field("disk_bytes", &self.files.read().bytes())
            .finish_non_exhaustive()
    }
}

impl Held {
    fn is_of(&self, wanted: &schema::Column) -> bool {
        *self.name == *wanted.name && self.data_type == wanted.data_type
    }

    fn column_if(&self, wanted: &schema::Column) -> Option<Arc<Column>> {
        match &self.kept {
            Kept::Column(column) if self.is_of(wanted) => Some(Arc::clone(column)),
            _ => None,
        }
    }

    fn filter_if(&self, wanted: &schema::Column) -> Option<Arc<BloomFilter>> {
        match &self.kept {
            Kept::Filter(filter) if self.is_of(wanted) => Some(Arc::clone(filter)),
            _ => None,
        }
    }
}

/// Counts a column that became resident: from the `object`, a local `file`, or at the `seal`.
pub(super) fn count_load(source: &'static str) {
    metrics::counter!("headwater_resident_columns_loaded_total", "source" => source).increment(1);
}

pub(super) fn column_of(schema: &TableSchema, index: usize) -> Result<&schema::Column> {
    schema.columns().get(index).ok_or_else(|| {
        SegmentError::Refused(format!("column {index} of a table with {}", schema.columns().len()))
    })
}

/// A column of a segment that is being sealed.
fn adopted(column: &schema::Column, meta: &SegmentMeta, kept: KeptColumn) -> Result<Indexed> {
    let rows: usize = kept.arrays.iter().map(|array| array.len()).sum();
    if rows as u64 != meta.rows {
        return Err(SegmentError::Refused(format!("{rows} rows of a segment of {}", meta.rows)));
    }
    let built = build_column(&column.data_type, &kept.arrays)?;
    Indexed::new(built, kept.postings, rows).map_err(SegmentError::Refused)
}

/// Memory of a column, in bytes, as if it were not mapped.
pub(super) fn heap_bytes(column: &Column) -> u64 {
    let bytes = match column {
        Column::Plain(plain) => match &plain.values {
            PlainStore::Whole(array) => array.get_array_memory_size(),
            PlainStore::Chunked(pieces) => pieces.iter().map(|piece| piece.get_array_memory_size()).sum(),
        },
        Column::Coded(coded) => {
            let code_bytes = |codes: &Codes| match codes {
                Codes::U8(codes) => codes.len(),
                Codes::U16(codes) => codes.len() * 2,
                Codes::U32(codes) => codes.len() * 4,
                Codes::U64(codes) => codes.len() * 8,
            };
            let codes = match &coded.codes {
                CodeStore::Whole(codes) => code_bytes(codes),
                CodeStore::Chunked(pieces) => pieces.iter().map(code_bytes).sum(),
            };
            let values = match &coded.values {
                CodeValues::Dictionary { values, .. } => values.get_array_memory_size(),
                CodeValues::Linear { .. } => 0,
            };
            codes + values + coded.zones.as_ref().map_or(0, |zones| zones.min.len() * 16)
        }
    };
    bytes as u64
}
