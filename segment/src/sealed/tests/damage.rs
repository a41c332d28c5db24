//! No damage to an object is ever read as data: it is an error that names the object, and never a panic.

use super::*;
use crate::spec::IndexSet;

/// Every type, and every kind of index: one sorted, one by rule, the rest because the spec asks for them.
pub(super) fn schema() -> TableSchema {
    let mut spec = every_type_spec(&["flag", "city"]);
    let all = IndexSet { inverted: true, bloom: true };
    for column in &mut spec.columns {
        column.index = match column.name.as_str() {
            "small" | "day" | "city" | "raw" => Some(all),
            _ => None,
        };
    }
    TableSchema::new(&spec)
}

/// Reads all rows and every index of a segment.
async fn read_everything(
    factory: &SegmentReaderFactory,
    meta: &SegmentMeta,
    schema: &TableSchema,
) -> Result<RecordBatch> {
    let rows = read(factory, meta, schema).await?;
    let mut indexes = factory.indexes(Arc::new(meta.clone())).await?;
    for column in schema.columns() {
        if let Some(postings) = indexes.postings(&column.name).await? {
            for code in 0..u64::from(postings.order().count) {
                assert!(postings.by_code().rows(code).is_some(), "{}", column.name);
            }
        }
        indexes.bloom(&column.name).await?;
    }
    Ok(rows)
}

pub(super) async fn sealed(rows: usize) -> (EncodedSegment, RecordBatch) {
    let schema = schema();

    let offsets: Vec<i64> = (0..rows as i64).map(|nth| 100 + nth).collect();
    let sealed = encode(request(&schema, vec![batch(&schema, &sample_rows(rows), &offsets)])).unwrap();
    let whole = read(&stored(&sealed.meta, sealed.bytes.clone()).await, &sealed.meta, &schema).await.unwrap();
    (sealed, whole)
}

/// Fails unless the object `bytes`, read as `meta` describes it, is reported as corrupt.
async fn assert_corrupt(meta: &SegmentMeta, bytes: Bytes, what: &str) -> String {
    match read_everything(&stored(meta, bytes).await, meta, &schema()).await {
        Err(SegmentError::Corrupt(message)) => {
            assert!(message.contains(&meta.path), "{what}: {message}");
            message
        }
        Err(other) => panic!("{what}: another kind of error: {other}"),
        Ok(_) => panic!("{what}: was read"),
    }
}

#[tokio::test]
async fn every_damaged_byte_is_found() {
    let (sealed, _) = sealed(1500).await;
    assert!(sealed.meta.index_offset > 2 * 65_536, "several blocks");
    let factory = stored(&sealed.meta, sealed.bytes.clone()).await;
    let indexes = factory.indexes(Arc::new(sealed.meta.clone())).await.unwrap();
    assert_eq!(indexes.kinds("flag")[0].0, IndexKind::Sorted);
    assert_eq!(indexes.kinds("small").len(), 1);
    assert!(read_everything(&factory, &sealed.meta, &schema()).await.is_ok());
    let length = sealed.bytes.len();
    let near = |position: u64| position.saturating_sub(40) as usize..(position as usize + 40).min(length);
    let tail = sealed.meta.index_offset + sealed.meta.index_length;
    let positions = (0..length)
        .step_by(997)
        .chain(near(0))
        .chain(near(sealed.meta.index_offset))
        .chain(near(tail))
        .chain(near(length as u64));
    for position in positions {
        let mut damaged = sealed.bytes.to_vec();
        damaged[position] ^= 1 << (position % 8);
        assert_corrupt(&sealed.meta, damaged.into(), &format!("byte {position}")).await;
    }
}

#[tokio::test]
async fn every_truncation_and_extension_is_found() {
    let (sealed, _) = sealed(100).await;
    let length = sealed.bytes.len();
    for cut in (0..length).step_by(499).chain(length - 40..length) {
        let message = assert_corrupt(&sealed.meta, sealed.bytes.slice(..cut), &format!("cut at {cut}")).await;
        assert!(message.contains(&format!("{cut} bytes")), "{message}");
    }
    let longer = [&sealed.bytes[..], b"x"].concat();
    assert_corrupt(&sealed.meta, longer.into(), "longer").await;
}

#[tokio::test]
async fn an_object_cut_after_its_footer_was_cached_is_found() {
    let (sealed, _) = sealed(1500).await;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let location = sealed.meta.location(&Path::from("t"));
    store.put(&location, sealed.bytes.clone().into()).await.unwrap();
    let factory = SegmentReaderFactory::new(store.clone(), Path::from("t"), FooterCache::new(1 << 20));
    read(&factory, &sealed.meta, &schema()).await.unwrap();
    for cut in [0, 5, 70_000] {
        store.put(&location, sealed.bytes.slice(..cut).into()).await.unwrap();
        assert!(
            matches!(read(&factory, &sealed.meta, &schema()).await, Err(SegmentError::Corrupt(_))),
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn what_the_log_says_wrongly_is_refused() {
    let (sealed, _) = sealed(10).await;
    let meta = &sealed.meta;
    let wrong = [
        SegmentMeta { format_version: 2, ..meta.clone() },
        SegmentMeta { index_offset: u64::MAX, ..meta.clone() },
        SegmentMeta { index_length: u64::MAX - meta.index_offset, ..meta.clone() },
        SegmentMeta { index_length: meta.index_length - 1, ..meta.clone() },
        SegmentMeta { index_offset: meta.index_offset - 64, ..meta.clone() },
        SegmentMeta { tail_crc32c: !meta.tail_crc32c, ..meta.clone() },
        SegmentMeta { size_bytes: u64::MAX, ..meta.clone() },
        SegmentMeta { size_bytes: 0, ..meta.clone() },
        SegmentMeta { rows: u64::MAX, ..meta.clone() },
        SegmentMeta { from: meta.from + 1, ..meta.clone() },
        SegmentMeta { id: Ulid::from_parts(0, 0), ..meta.clone() },
    ];
    for wrong in wrong {
        let message = assert_corrupt(&wrong, sealed.bytes.clone(), &format!("{wrong:?}")).await;
        if wrong.format_version == 2 {
            assert!(message.contains("format version 2, this build reads 1"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_missing_object_is_the_stores_error() {
    let (sealed, _) = sealed(10).await;
    let factory =
        SegmentReaderFactory::new(Arc::new(InMemory::new()), Path::from("t"), FooterCache::new(1 << 20));
    let error = read(&factory, &sealed.meta, &schema()).await.unwrap_err();
    assert!(
        matches!(error, SegmentError::Store { source: object_store::Error::NotFound { .. }, .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&sealed.meta.path), "{error}");
}

#[tokio::test]
async fn a_full_footer_cache_forgets_and_reads_again() {
    let (sealed, whole) = sealed(10).await;
    for bytes_max in [0, 1, 20_000, 1 << 20] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        store.put(&sealed.meta.location(&Path::from("t")), sealed.bytes.clone().into()).await.unwrap();
        let factory = SegmentReaderFactory::new(store, Path::from("t"), FooterCache::new(bytes_max));
        for _ in 0..3 {
            assert_eq!(read(&factory, &sealed.meta, &schema()).await.unwrap(), whole);
        }
    }
}
