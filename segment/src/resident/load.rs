//! Loading: local files first, then the byte ranges of what is missing from the sealed object.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryFutureExt, stream};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;

use super::file::Identity;
use super::flight::Flight;
use super::indexed::Indexed;
use super::object::{self, ObjectSchema};
use super::store::{Key, ResidentStore, count_load};
use crate::column::{build_column, null_column};
use crate::schema;
use crate::sealed::{PostingsEntry, SegmentIndexes, SegmentMeta, SegmentReaderFactory, VerifiedReader};
use crate::{Result, SegmentError};

/// Bytes that a load fetches at a time, unless one column has more: they are held until they are decoded.
const FETCH_BYTES_MAX: u64 = 32 << 20;

/// A column to load, and who waits for it.
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) column: schema::Column,
    pub(super) flight: Flight,
}

/// A wanted column in its object.
struct Placed {
    wanted: Wanted,
    place: usize,
    ranges: Vec<Range<u64>>,
}

/// Loads columns of one segment; every flight lands.
pub(super) async fn load(
    store: Arc<ResidentStore>,
    readers: SegmentReaderFactory,
    meta: Arc<SegmentMeta>,
    wanted: Vec<Wanted>,
) {
    let missing = stream::iter(wanted)
        .map(|wanted| open_file(Arc::clone(&store), Arc::clone(&meta), wanted))
        .buffer_unordered(store.decodes_max())
        .filter_map(std::future::ready)
        .collect::<Vec<Wanted>>()
        .await;
    if missing.is_empty() {
        return;
    }
    let _turn = store.fetch_turn().await;
    let mut reader = readers.reader(Arc::clone(&meta));
    let metadata = match reader.get_metadata(None).await {
        Ok(metadata) => metadata,
        Err(error) => return all_fail(missing, unwrapped(error)),
    };
    let mut placed = Vec::new();
    for wanted in missing {
        match object::place_of(&metadata, &wanted.column.name) {
            Some(place) => match object::ranges(&metadata, place) {
                Ok(ranges) => placed.push(Placed { wanted, place, ranges }),
                Err(error) => wanted.flight.land(Err(Arc::new(error))),
            },
            None => {
                let column = null_column(&wanted.column.data_type, meta.rows as usize);
                let column = Indexed::plain(column);
                wanted.flight.land(Ok(store.keep_in_memory(wanted.key, &wanted.column, column)));
            }
        }
    }
    let mut indexes = match readers.indexes(Arc::clone(&meta)).await {
        Ok(indexes) => indexes,
        Err(error) => return all_fail(placed.into_iter().map(|placed| placed.wanted).collect(), error),
    };
    let schema = match ObjectSchema::new(metadata) {
        Ok(schema) => Arc::new(schema),
        Err(error) => {
            let error = SegmentError::Corrupt(format!("segment {}: {error}", meta.path));
            return all_fail(placed.into_iter().map(|placed| placed.wanted).collect(), error);
        }
    };
    for batch in batches(placed) {
        fetch_and_decode(&store, (&mut reader, &mut indexes), &meta, &schema, batch).await;
    }
}

/// Maps the local file of a column, if there is one that is good; otherwise gives the task back.
async fn open_file(store: Arc<ResidentStore>, meta: Arc<SegmentMeta>, wanted: Wanted) -> Option<Wanted> {
    if !store.has_file(wanted.key) {
        return Some(wanted);
    }
    let _turn = store.decode_turn().await;
    let opener = Arc::clone(&store);
    let opened = tokio::task::spawn_blocking(move || {
        match opener.open_file(wanted.key, identity(&meta, &wanted.column), &wanted.column) {
            Some(column) => {
                wanted.flight.land(Ok(column));
                None
            }
            None => Some(wanted),
        }
    });
    // A panic has dropped the flight, which tells those who wait.
    opened.await.ok().flatten()
}

pub(super) fn identity(meta: &SegmentMeta, column: &schema::Column) -> Identity {
    Identity {
        segment: meta.id.to_string(),
        column: column.name.clone(),
        data_type: column.data_type.clone(),
        rows: meta.rows as usize,
    }
}

/// Columns in the order of their bytes, as many at a time as may be fetched.
fn batches(mut placed: Vec<Placed>) -> Vec<Vec<Placed>> {
    placed.sort_by_key(|placed| placed.place);
    let mut batches: Vec<Vec<Placed>> = Vec::new();
    let mut batch_bytes = 0;
    for column in placed {
        let bytes: u64 = column.ranges.iter().map(|range| range.end - range.start).sum();
        match batches.last_mut() {
            Some(batch) if batch_bytes + bytes <= FETCH_BYTES_MAX => {
                batch_bytes += bytes;
                batch.push(column);
            }
            _ => {
                batch_bytes = bytes;
                batches.push(vec![column]);
            }
        }
    }
    batches
}

async fn fetch_and_decode(
    store: &Arc<ResidentStore>,
    (reader, indexes): (&mut VerifiedReader, &mut SegmentIndexes),
    meta: &Arc<SegmentMeta>,
    schema: &Arc<ObjectSchema>,
    batch: Vec<Placed>,
) {
    let ranges: Vec<Range<u64>> = batch.iter().flat_map(|placed| placed.ranges.iter().cloned()).collect();
    let fetched = reader.get_byte_ranges(ranges).map_err(unwrapped);
    let (mut fetched, indexes) = match futures::try_join!(fetched, entries(indexes, meta, &batch)) {
        Ok((fetched, indexes)) => (fetched.into_iter(), indexes),
        Err(error) => return all_fail(batch.into_iter().map(|placed| placed.wanted).collect(), error),
    };
    let is_indexed = indexes.is_some();
    let indexes = indexes.into_iter().flatten().chain(std::iter::repeat(None));
    let tasks = batch.into_iter().zip(indexes).map(|(placed, index)| {
        let starts = placed.ranges.iter().map(|range| range.start);
        // The reader answers every range, in the order in which they were asked for.
        let parts: Vec<(u64, Bytes)> = starts.zip(fetched.by_ref()).collect();
        (placed, parts, index)
    });
    let tasks: Vec<_> = tasks.collect();
    stream::iter(tasks)
        .for_each_concurrent(store.decodes_max(), |(placed, parts, index)| {
            let (store, meta, schema) = (Arc::clone(store), Arc::clone(meta), Arc::clone(schema));
            async move {
                let _turn = store.decode_turn().await;
                let keeper = Arc::clone(&store);
                // A panic drops the flight, which tells those who wait.
                let _ = tokio::task::spawn_blocking(move || {
                    let Wanted { key, column, flight } = placed.wanted;
                    let built = build(&schema, &meta, placed.place, &column, parts, index);
                    let built = match built {
                        Ok(built) => built,
                        Err(error) => return flight.land(Err(Arc::new(error))),
                    };
                    let index = built.entry.clone();
                    let kept = keeper.keep_in_memory(key, &column, built);
                    flight.land(Ok(Arc::clone(&kept)));
                    count_load("object");
                    // Those who wait have the column by now. A file without the index would be without it for ever.
                    if is_indexed {
                        keeper.persist(key, &identity(&meta, &column), &column, &kept, index.as_ref());
                    }
                })
                .await;
            }
        })
        .await;
}

fn build(
    schema: &ObjectSchema,
    meta: &SegmentMeta,
    place: usize,
    column: &schema::Column,
    parts: Vec<(u64, Bytes)>,
    index: Option<PostingsEntry>,
) -> Result<Indexed> {
    let corrupt = |what: String| {
        SegmentError::Corrupt(format!("segment {}, column {}: {what}", meta.path, column.name))
    };
    let arrays = object::decode(schema, place, column, parts).map_err(|error| corrupt(error.to_string()))?;
    let rows: u64 = arrays.iter().map(|array| array.len() as u64).sum();
    if rows != meta.rows {
        return Err(corrupt(format!("it has {rows} rows, the table log says {}", meta.rows)));
    }
    let built = build_column(&column.data_type, &arrays)?;
    let index = index.map(Indexed::detached);
    Indexed::new(built, index, meta.rows as usize).map_err(|what| corrupt(format!("its index: {what}")))
}

/// The index entries of a batch's columns; `None` if the store did not give them, without which the columns read as well.
///
/// # Errors
/// `Corrupt` if they are not what was written.
async fn entries(
    indexes: &mut SegmentIndexes,
    meta: &SegmentMeta,
    batch: &[Placed],
) -> Result<Option<Vec<Option<PostingsEntry>>>> {
    let names: Vec<&str> = batch.iter().map(|placed| placed.wanted.column.name.as_str()).collect();
    match indexes.postings_entries(&names).await {
        Ok(entries) => Ok(Some(entries)),
        Err(error @ SegmentError::Corrupt(_)) => Err(error),
        Err(error) => {
            tracing::warn!(segment = %meta.id, %error, "columns are loaded without their indexes");
            Ok(None)
        }
    }
}

fn all_fail(wanted: Vec<Wanted>, error: SegmentError) {
    let error = Arc::new(error);
    wanted.into_iter().for_each(|wanted| wanted.flight.land(Err(Arc::clone(&error))));
}

/// The segment error that the verified reader put inside a Parquet error.
fn unwrapped(error: ParquetError) -> SegmentError {
    match error {
        ParquetError::External(source) => match source.downcast::<SegmentError>() {
            Ok(error) => *error,
            Err(other) => SegmentError::Parquet(ParquetError::External(other)),
        },
        other => other.into(),
    }
}
