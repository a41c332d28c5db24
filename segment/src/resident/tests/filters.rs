//! Bloom filters, asked before columns are loaded.

use super::*;
use crate::sealed::Probe;

/// Rows enough for a column that is worth a question.
const MANY: usize = 50_000;

/// One segment with a key per row, which has a filter, and a number, which has none.
async fn keyed() -> Table {
    let mut spec = spec(&[("id", ColumnType::String), ("n", ColumnType::Long)], &[]);
    spec.columns[1].index = Some(IndexSet::default());
    let schema = TableSchema::new(&spec);
    let stream = [
        Arc::new(Int32Array::from(vec![2; MANY])) as ArrayRef,
        Arc::new(Int64Array::from_iter_values(100..100 + MANY as i64)),
        Arc::new(TimestampMicrosecondArray::from(vec![0; MANY]).with_timezone("UTC")),
        new_null_array(&DataType::Utf8View, MANY),
        new_null_array(&DataType::Utf8View, MANY),
    ];
    let ids: StringViewArray = (0..MANY).map(|row| Some(key(row))).collect();
    let numbers = Int64Array::from_iter_values((0..MANY as i64).map(|row| row % 3));
    let columns = [Arc::new(ids) as ArrayRef, Arc::new(numbers)].into_iter().chain(stream);
    let rows = RecordBatch::try_new(schema.arrow().clone(), columns.collect()).unwrap();
    let request =
        SealRequest { rows: vec![rows.clone()], ..request(&schema, Ulid::new(), &rows, Vec::new()) };
    let encoded = encode(request).unwrap();
    let objects = Arc::new(InMemory::new());
    let root = object_store::path::Path::from("tables/events");
    objects.put(&encoded.meta.location(&root), encoded.bytes.into()).await.unwrap();
    let store: Arc<dyn ObjectStore> = Arc::clone(&objects) as _;
    let readers = SegmentReaderFactory::new(store, root, FooterCache::new(1 << 20));
    let segments = vec![(Arc::new(encoded.meta), rows)];
    Table { schema, readers, objects, segments, dir: tempfile::tempdir().unwrap() }
}

fn key(row: usize) -> String {
    let mix = |seed: u64| {
        let mixed = (row as u64 + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    };
    format!("{:016x}{:016x}{:016x}", mix(1), mix(2) ^ (mix(3) >> 7), mix(4) ^ (mix(5) >> 9))
}

impl Table {
    /// Whether the filter of `id` denies some keys; `load` would be loaded otherwise.
    async fn absent(
        &self,
        store: &Arc<ResidentStore>,
        keys: &[String],
        load: Option<&[usize]>,
    ) -> crate::Result<bool> {
        let values: Vec<Probe<'_>> = keys.iter().map(|key| Probe::Bytes(key.as_bytes())).collect();
        let wish = Wish { column: 0, values: &values };
        let meta = &self.segments[0].0;
        let absent = store.is_absent(&self.readers, &self.schema, meta, wish, load).await?;
        if absent {
            assert_eq!(store.is_known_absent(&self.schema, meta, wish), self.keeps_filters(store));
        }
        Ok(absent)
    }

    fn keeps_filters(&self, store: &Arc<ResidentStore>) -> bool {
        store.held_filter(&self.segments[0].0, &self.schema.columns()[0]).is_some()
    }

    async fn damage(&self, place: u64) {
        let location = self.segments[0].0.location(&"tables/events".into());
        let mut bytes = self.objects.get(&location).await.unwrap().bytes().await.unwrap().to_vec();
        bytes[place as usize] ^= 1;
        self.objects.put(&location, bytes.into()).await.unwrap();
    }
}

/// Keys that no row has, none of which this filter takes for one that is there.
fn strangers() -> [String; 2] {
    [key(MANY), key(MANY + 1)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_answers_without_its_column_and_is_kept() {
    let table = keyed().await;
    table.damage(100).await;
    let store = opened(ResidentConfig { dir: None, ..table.config() }).await;
    assert!(table.absent(&store, &strangers(), Some(&[0, 1])).await.unwrap());
    let [first, second] = strangers();
    assert!(!table.absent(&store, &[first, key(7), second], Some(&[0, 1])).await.unwrap());
    assert!(matches!(table.columns(&store, 0, &[0]).await, Err(SegmentError::Corrupt(_))));
    assert!(!table.ready(&store, 0, &[0]), "a filter is no column");

    table.lose_objects().await;
    assert!(table.absent(&store, &strangers(), Some(&[0, 1])).await.unwrap(), "from memory");
    store.forget(|id| id == table.segments[0].0.id);
    assert!(!table.keeps_filters(&store));
    assert!(!table.absent(&store, &strangers(), Some(&[0, 1])).await.unwrap(), "no answer is no denial");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_without_room_answers_once() {
    let table = keyed().await;
    let config = ResidentConfig { dir: None, disk_bytes_max: 0, memory_bytes_max: 1000 };
    let store = opened(config).await;
    assert!(table.absent(&store, &strangers(), Some(&[0])).await.unwrap());
    assert!(!table.keeps_filters(&store));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_read_only_if_that_pays() {
    let table = keyed().await;
    let store = opened(table.config()).await;
    assert!(!table.absent(&store, &strangers(), Some(&[1])).await.unwrap(), "a small column");
    assert!(!table.keeps_filters(&store));
    assert!(table.absent(&store, &strangers(), None).await.unwrap(), "at any cost");

    let store = opened(ResidentConfig { dir: None, ..table.config() }).await;
    table.columns(&store, 0, &[0]).await.unwrap();
    assert!(!table.absent(&store, &strangers(), Some(&[0])).await.unwrap(), "in memory");
    assert!(!table.keeps_filters(&store));
    let unknown = table.absent(&store, &strangers(), Some(&[0, 99])).await;
    assert!(matches!(unknown, Err(SegmentError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_in_a_local_file_needs_no_filter() {
    let table = keyed().await;
    let store = opened(table.config()).await;
    table.columns(&store, 0, &[0]).await.unwrap();
    store.settle().await;
    drop(store);
    let store = opened(table.config()).await;
    assert!(!table.absent(&store, &strangers(), Some(&[0])).await.unwrap());
    assert!(!table.ready(&store, 0, &[0]) && !table.keeps_filters(&store));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_filter_is_an_error() {
    let table = keyed().await;
    let meta = &table.segments[0].0;
    let indexes = table.readers.indexes(Arc::clone(meta)).await.unwrap();
    // It is all that lies between the columns and the index block.
    assert!(indexes.kinds("id").is_empty() && indexes.bloom_bytes("id").unwrap() > 1000);
    table.damage(meta.index_offset - 500).await;
    let store = opened(ResidentConfig { dir: None, ..table.config() }).await;
    for load in [Some(&[0_usize, 1][..]), None] {
        let asked = table.absent(&store, &strangers(), load).await;
        assert!(matches!(asked, Err(SegmentError::Corrupt(_))), "{asked:?}");
    }
    assert!(!table.keeps_filters(&store));
}
