//! The store over real sealed objects in an object store in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, ListBuilder, RecordBatch, StringViewArray,
    StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::array::{BinaryViewArray, Float64Array, new_null_array};
use arrow::datatypes::{DataType, Field};
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt};
use ulid::Ulid;

use super::*;
use crate::SegmentError;
use crate::column::SegmentColumns;
use crate::column::tests::{check, check_postings, decode};
use crate::schema::{ColumnType, TableSchema};
use crate::sealed::tests::spec;
use crate::sealed::{FooterCache, SealRequest, SegmentMeta, SegmentReaderFactory, encode};
use crate::spec::IndexSet;

mod filters;
mod indexes;

const ROWS: usize = 20_000;

/// A table with these columns, sorted by the first.
fn schema(columns: &[(&str, &str)]) -> TableSchema {
    let columns: Vec<(&str, ColumnType)> =
        columns.iter().map(|(name, data_type)| (*name, data_type.parse().unwrap())).collect();
    let mut spec = spec(&columns, &["city"]);
    for column in spec.columns.iter_mut().filter(|column| column.name == "user") {
        // More values than an index by rule has.
        column.index = Some(IndexSet { inverted: true, ..IndexSet::default() });
    }
    TableSchema::new(&spec)
}

const COLUMNS: [(&str, &str); 7] = [
    ("city", "STRING"),
    ("url", "STRING"),
    ("amount", "DOUBLE"),
    ("user", "LONG"),
    ("raw", "BYTES"),
    ("tags", "ARRAY<STRING>"),
    ("nothing", "STRING"),
];

/// Rows in their sealed order: by city, NULL first, then by offset.
fn rows(schema: &TableSchema, seed: u64) -> RecordBatch {
    let number = |row: usize| (row as u64 + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let every = |n: usize, row: usize| !row.is_multiple_of(n);
    let mut tags = ListBuilder::new(StringViewBuilder::new()).with_field(Field::new(
        "element",
        DataType::Utf8View,
        true,
    ));
    for row in 0..ROWS {
        tags.append_option(
            every(5, row).then(|| (0..row % 3).map(|tag| Some(format!("a rather long tag {tag}")))),
        );
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            (0..ROWS)
                .map(|row| (row > 999).then(|| format!("city {:03}", row / 1000)))
                .collect::<StringViewArray>(),
        ),
        // Distinct and long, so that Parquet gives up its dictionary.
        Arc::new(
            (0..ROWS)
                .map(|row| Some(format!("https://example.org/{:0100}", number(row))))
                .collect::<StringViewArray>(),
        ),
        Arc::new((0..ROWS).map(|row| every(7, row).then(|| number(row) as f64)).collect::<Float64Array>()),
        Arc::new(
            (0..ROWS)
                .map(|row| every(3, row).then(|| (number(row) % 1000) as i64 * 1_000_000))
                .collect::<Int64Array>(),
        ),
        Arc::new(
            (0..ROWS)
                .map(|row| every(9, row).then(|| number(row % 50).to_le_bytes()))
                .collect::<BinaryViewArray>(),
        ),
        Arc::new(tags.finish()),
        new_null_array(&DataType::Utf8View, ROWS),
        Arc::new(Int32Array::from(vec![2; ROWS])),
        Arc::new(Int64Array::from_iter_values(100..100 + ROWS as i64)),
        Arc::new(
            (0..ROWS as i64)
                .map(|row| Some(row * 1000))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        Arc::new((0..ROWS).map(|row| Some(format!("key {}", row % 100))).collect::<StringViewArray>()),
        new_null_array(&DataType::Utf8View, ROWS),
    ];
    RecordBatch::try_new(schema.arrow().clone(), columns).unwrap()
}

/// A store, once tasks of the one before have let go of its directory.
async fn opened(config: ResidentConfig) -> Arc<ResidentStore> {
    for _ in 0..500 {
        if let Ok(store) = ResidentStore::open(config.clone()) {
            return store;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ResidentStore::open(config).unwrap()
}

/// Seals `rows`, out of their order.
fn request<'a>(schema: &'a TableSchema, id: Ulid, rows: &RecordBatch, keep: Vec<usize>) -> SealRequest<'a> {
    let pieces = (0..ROWS).step_by(6000).rev().map(|row| rows.slice(row, 6000.min(ROWS - row)));
    SealRequest {
        schema,
        table: "events",
        partition: 2,
        from: 100,
        to: 1_000_000,
        id,
        dead_letters: 0,
        rows: pieces.collect(),
        keep,
    }
}

/// A table with some segments, and a directory for their columns.
struct Table {
    schema: TableSchema,
    readers: SegmentReaderFactory,
    objects: Arc<InMemory>,
    segments: Vec<(Arc<SegmentMeta>, RecordBatch)>,
    dir: tempfile::TempDir,
}

impl Table {
    async fn new(segments: u64) -> Self {
        Self::with_latency(segments, Duration::ZERO).await
    }

    async fn with_latency(segments: u64, latency: Duration) -> Self {
        let schema = schema(&COLUMNS);
        let objects = Arc::new(InMemory::new());
        let root = object_store::path::Path::from("tables/events");
        let mut sealed = Vec::new();
        for number in 0..segments {
            let rows = rows(&schema, number);
            let id = Ulid::from_parts(1_700_000_000_000, number.into());
            let encoded = encode(request(&schema, id, &rows, Vec::new())).unwrap();
            objects.put(&encoded.meta.location(&root), encoded.bytes.into()).await.unwrap();
            sealed.push((Arc::new(encoded.meta), rows));
        }
        let throttle = ThrottleConfig { wait_get_per_call: latency, ..ThrottleConfig::default() };
        let store: Arc<dyn ObjectStore> = Arc::new(ThrottledStore::new(Arc::clone(&objects), throttle));
        let readers = SegmentReaderFactory::new(store, root, FooterCache::new(1 << 20));
        Self { schema, readers, objects, segments: sealed, dir: tempfile::tempdir().unwrap() }
    }

    fn request(&self, id: Ulid, rows: &RecordBatch, keep: Vec<usize>) -> SealRequest<'_> {
        request(&self.schema, id, rows, keep)
    }

    fn config(&self) -> ResidentConfig {
        let dir = Some(self.dir.path().to_path_buf());
        ResidentConfig { dir, disk_bytes_max: 1 << 30, memory_bytes_max: 1 << 30 }
    }

    fn all(&self) -> Vec<usize> {
        (0..self.schema.columns().len()).collect()
    }

    async fn columns(
        &self,
        store: &Arc<ResidentStore>,
        segment: usize,
        columns: &[usize],
    ) -> crate::Result<SegmentColumns> {
        let meta = &self.segments[segment].0;
        store.columns("events", &self.readers, &self.schema, meta, columns).await
    }

    fn ready(&self, store: &Arc<ResidentStore>, segment: usize, columns: &[usize]) -> bool {
        store.ready(&self.schema, &self.segments[segment].0, columns).is_some()
    }

    fn check(&self, segment: usize, columns: &[usize], found: &SegmentColumns) {
        assert_eq!((found.rows(), found.columns().len()), (ROWS, columns.len()));
        for (index, column) in columns.iter().zip(found.columns()) {
            check(column, ROWS);
            if let Some(coded) = column.coded()
                && let Some(postings) = &coded.postings
            {
                check_postings(coded, postings.as_ref(), ROWS);
            }
            let expected = self.segments[segment].1.column(*index);
            assert_eq!(&decode(column, ROWS), expected, "column {index}");
        }
    }

    /// The columns that have postings, by number.
    fn indexed(&self, store: &Arc<ResidentStore>, segment: usize) -> Vec<usize> {
        let all = self.all();
        let ready = store.ready(&self.schema, &self.segments[segment].0, &all).unwrap();
        let is_indexed =
            |index: &usize| ready.columns()[*index].coded().is_some_and(|coded| coded.postings.is_some());
        all.into_iter().filter(is_indexed).collect()
    }

    /// Loads everything of a segment and compares it.
    async fn check_all(&self, store: &Arc<ResidentStore>, segment: usize) {
        let found = self.columns(store, segment, &self.all()).await.unwrap();
        self.check(segment, &self.all(), &found);
        store.settle().await;
    }

    /// Nothing can be read from the object store any more.
    async fn lose_objects(&self) {
        for (meta, _) in &self.segments {
            let location = meta.location(&object_store::path::Path::from("tables/events"));
            self.objects.delete(&location).await.unwrap();
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = |path: &Path| {
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        let dirs = entries(self.dir.path()).into_iter().filter(|path| path.is_dir());
        let mut files: Vec<PathBuf> = dirs.flat_map(|dir| entries(&dir)).collect();
        files.sort();
        files
    }

    fn file_bytes(&self) -> u64 {
        self.files().iter().map(|file| file.metadata().unwrap().len()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_a_sealed_segment_reads_back() {
    let table = Table::new(1).await;
    let all = table.all();
    for dir in [None, Some(table.dir.path().to_path_buf())] {
        let store = opened(ResidentConfig { dir, ..table.config() }).await;
        assert!(!table.ready(&store, 0, &all));
        table.check_all(&store, 0).await;
        let ready = store.ready(&table.schema, &table.segments[0].0, &[3, 0, 3]).unwrap();
        table.check(0, &[3, 0, 3], &ready);
    }
    let refused =
        table.columns(&opened(ResidentConfig { dir: None, ..table.config() }).await, 0, &[0, 99]).await;
    assert!(matches!(refused, Err(SegmentError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_uses_the_files() {
    let table = Table::new(2).await;
    let store = opened(table.config()).await;
    table.check_all(&store, 0).await;
    table.check_all(&store, 1).await;
    let second = ResidentStore::open(table.config());
    assert!(matches!(second, Err(SegmentError::Refused(_))), "the directory is another's");
    drop(store);

    let files = table.files();
    let junk = [files[0].with_extension("tmp"), files[0].with_file_name("nonsense.col")];
    junk.iter().for_each(|path| std::fs::write(path, "junk").unwrap());
    let other = table.dir.path().join("not ours.col");
    std::fs::write(&other, "not ours").unwrap();
    table.lose_objects().await;
    let store = opened(table.config()).await;
    assert_eq!(table.files(), files);
    assert!(other.exists());
    table.check_all(&store, 0).await;
    table.check_all(&store, 1).await;

    store.forget(|id| id == table.segments[0].0.id);
    assert!(!table.ready(&store, 0, &[0]) && table.ready(&store, 1, &[0]));
    assert!(table.files().len() < files.len());
    assert!(matches!(table.columns(&store, 0, &[0]).await, Err(SegmentError::Store { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_built_again() {
    let table = Table::new(1).await;
    let all = table.all();
    table.check_all(&opened(table.config()).await, 0).await;
    let files = table.files();
    let originals: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    for damage in 0..15_usize {
        for (file, original) in files.iter().zip(&originals) {
            let mut bytes = original.clone();
            // The beginning more often than the rest: that is where the lengths are.
            let place = damage * damage * damage * 7919
                % bytes.len().min(if damage % 2 == 0 { 400 } else { usize::MAX });
            match damage % 3 {
                0 => bytes[place] ^= 1 << (damage % 8),
                1 => bytes.truncate(place),
                _ => bytes[place..].reverse(),
            }
            std::fs::write(file, &bytes).unwrap();
        }
        let store = opened(table.config()).await;
        table.check_all(&store, 0).await;
        drop(store);
        assert_eq!(table.files(), files, "they are there again");
        assert!(
            files.iter().zip(&originals).all(|(file, original)| std::fs::read(file).unwrap() == *original)
        );
    }
    // A whole file of another column, and of another segment.
    std::fs::write(&files[0], &originals[1]).unwrap();
    let store = opened(table.config()).await;
    let found = table.columns(&store, 0, &all).await.unwrap();
    table.check(0, &all, &found);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_askers_share_one_load_and_may_go_away() {
    let table = Arc::new(Table::with_latency(1, Duration::from_millis(100)).await);
    let store = opened(ResidentConfig { dir: None, ..table.config() }).await;
    let ask = |columns: Vec<usize>| {
        let (table, store) = (Arc::clone(&table), Arc::clone(&store));
        tokio::spawn(async move { table.columns(&store, 0, &columns).await })
    };
    let first = ask(vec![0, 1, 3]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let others: Vec<_> = (0..20).map(|number| ask(vec![number % 4, 3])).collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    first.abort();
    let mut of_three = Vec::new();
    for (number, other) in others.into_iter().enumerate() {
        let found = other.await.unwrap().unwrap();
        table.check(0, &[number % 4, 3], &found);
        of_three.push(Arc::clone(&found.columns()[1]));
    }
    assert!(of_three.iter().all(|column| Arc::ptr_eq(column, &of_three[0])), "one load");

    table.lose_objects().await;
    let askers: Vec<_> = (0..3).map(|_| ask(vec![4])).collect();
    for asker in askers {
        let error = asker.await.unwrap().unwrap_err();
        assert!(
            matches!(&error, SegmentError::Store { source: object_store::Error::NotFound { .. }, .. }),
            "{error}"
        );
    }
    table
        .objects
        .put(&table.segments[0].0.location(&"tables/events".into()), sealed_again(&table))
        .await
        .unwrap();
    table.check_all(&store, 0).await;
}

/// The object of the first segment.
fn sealed_again(table: &Table) -> object_store::PutPayload {
    let (meta, rows) = &table.segments[0];
    encode(table.request(meta.id, rows, Vec::new())).unwrap().bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_hold_while_a_query_holds_columns() {
    let table = Table::new(3).await;
    let unlimited = opened(table.config()).await;
    table.check_all(&unlimited, 0).await;
    let segment_bytes = table.file_bytes();
    drop(unlimited);

    let (disk_bytes_max, memory_bytes_max) = (segment_bytes * 3 / 2, segment_bytes * 7 / 4);
    let store = opened(ResidentConfig { disk_bytes_max, memory_bytes_max, ..table.config() }).await;
    let held = table.columns(&store, 0, &table.all()).await.unwrap();
    store.settle().await;
    for segment in [1, 2, 1, 0, 2] {
        table.check_all(&store, segment).await;
        assert!(table.file_bytes() <= disk_bytes_max);
        table.check(0, &table.all(), &held);
    }
    assert!(table.ready(&store, 2, &table.all()), "what was used last is there");
    assert!(!table.ready(&store, 1, &table.all()));
    drop(store);

    // A budget smaller than any column: every query loads, and answers.
    for (disk_bytes_max, memory_bytes_max) in [(0, 1 << 30), (1 << 30, 0), (0, 0)] {
        let config = ResidentConfig { disk_bytes_max, memory_bytes_max, ..table.config() };
        let store = opened(config).await;
        table.check_all(&store, 0).await;
        table.check_all(&store, 0).await;
        assert!(disk_bytes_max > 0 || table.files().is_empty());
        assert_eq!(table.ready(&store, 0, &table.all()), memory_bytes_max > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_queries_used_is_there_when_a_segment_is_sealed() {
    let table = Table::new(2).await;
    let store = opened(table.config()).await;
    let adopt = |segment: usize| {
        let (meta, rows) = &table.segments[segment];
        let keep = store.used("events", &table.schema);
        let kept = encode(table.request(meta.id, rows, keep)).unwrap().kept;
        store.adopt("events", &table.schema, meta, kept);
    };
    adopt(0);
    assert!(!table.ready(&store, 0, &[0]), "nobody has asked for anything");
    table.columns(&store, 0, &[0, 3]).await.unwrap();
    store.note_used("events", &table.schema, &[1]);
    table.lose_objects().await;
    adopt(1);
    let ready = store.ready(&table.schema, &table.segments[1].0, &[0, 1, 3]).unwrap();
    table.check(1, &[0, 1, 3], &ready);
    assert!(!table.ready(&store, 1, &[2]));
    store.note_used("events", &table.schema, &table.all());
    adopt(1);
    let ready = store.ready(&table.schema, &table.segments[1].0, &table.all()).unwrap();
    table.check(1, &table.all(), &ready);
    let indexed = table.indexed(&store, 1);
    assert!([0, 3, 4].iter().all(|column| indexed.contains(column)), "{indexed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_older_than_a_column_reads_as_null() {
    let table = Table::new(1).await;
    let grown: Vec<(&str, &str)> =
        COLUMNS.into_iter().chain([("late", "TIMESTAMP"), ("late list", "ARRAY<INT>")]).collect();
    let grown = schema(&grown);
    let store = opened(table.config()).await;
    // The stream columns have moved, and what is kept of them has not.
    table.check_all(&store, 0).await;
    let meta = &table.segments[0].0;
    let columns = [7, 8, 9, 10, 0];
    let found = store.columns("events", &table.readers, &grown, meta, &columns).await.unwrap();
    assert_eq!(decode(&found.columns()[0], ROWS).null_count(), ROWS);
    assert_eq!(decode(&found.columns()[1], ROWS).null_count(), ROWS);
    assert_eq!(&decode(&found.columns()[2], ROWS), table.segments[0].1.column(7));
    assert_eq!(&decode(&found.columns()[3], ROWS), table.segments[0].1.column(8));
    assert_eq!(
        decode(&found.columns()[4], ROWS).as_string_view(),
        table.segments[0].1.column(0).as_string_view()
    );
    let retyped = schema(&[("city", "BYTES")]);
    assert!(store.ready(&retyped, meta, &[0]).is_none(), "another type is another column");
    assert_eq!(retyped.columns()[0].data_type, ColumnType::Bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_loaded_ahead_and_found_again() {
    let table = Table::new(2).await;
    let store = opened(table.config()).await;
    let meta = |segment: usize| &table.segments[segment].0;
    let warm = async |segment: usize, column: usize| {
        store.warm(&table.readers, &table.schema, meta(segment), column).await
    };
    table.columns(&store, 0, &[1]).await.unwrap();
    assert_eq!(store.missing(&table.schema, meta(1), &[1, 2]), [1, 2]);
    assert!(warm(1, 1).await.unwrap() > 0);
    assert!(warm(1, 2).await.unwrap() > 0);
    assert!(matches!(warm(1, 99).await, Err(SegmentError::Refused(_))));
    store.settle().await;
    assert_eq!(store.missing(&table.schema, meta(1), &[1, 2]), Vec::<usize>::new());
    assert_eq!(store.used("events", &table.schema), [1], "by queries");
    assert!(store.has_room());
    // Whoever has waited for a load hears of it before its task has ended.
    let begun = std::time::Instant::now();
    while !store.is_idle() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "a load goes on");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    table.lose_objects().await;
    let found = table.columns(&store, 1, &[1, 2]).await.unwrap();
    table.check(1, &[1, 2], &found);
    drop((found, store));

    // After a restart the files say what was used.
    let store = opened(table.config()).await;
    assert!(store.used("events", &table.schema).is_empty());
    store.note_used_of_files("events", &table.schema, [meta(0)].into_iter().map(|meta| &**meta));
    assert_eq!(store.used("events", &table.schema), [1]);
}
