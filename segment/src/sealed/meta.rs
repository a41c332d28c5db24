//! What the table log knows about a sealed segment, as a Delta `add` action and back.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use deltalake_core::kernel::Add;
use object_store::path::Path;
use ulid::Ulid;

use super::stats::ColumnStats;
use super::stats_json;
use crate::schema::TableSchema;
use crate::{Result, SegmentError};

const TAG_FORMAT_VERSION: &str = "headwater.format_version";
const TAG_ID: &str = "headwater.id";
const TAG_PARTITION: &str = "headwater.partition";
const TAG_FROM: &str = "headwater.from";
const TAG_TO: &str = "headwater.to";
const TAG_ROWS: &str = "headwater.rows";
const TAG_INDEX_OFFSET: &str = "headwater.index_offset";
const TAG_INDEX_LENGTH: &str = "headwater.index_length";
const TAG_TAIL_CRC32C: &str = "headwater.tail_crc32c";
const TAG_SEALED_AT: &str = "headwater.sealed_at";
const TAG_DEAD_LETTERS: &str = "headwater.dead_letters";
const TAG_INDEX_SETTINGS: &str = "headwater.index_settings";
const TAG_INEXACT: &str = "headwater.inexact";

/// A sealed segment as the table log records it: enough to prune it, to find it and to verify it.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentMeta {
    /// Path of the object, relative to the table's root.
    pub path: String,
    /// Identity; its time is when the object was made: when the segment was sealed, or, if it was written anew, when that was.
    pub id: Ulid,
    /// Kafka partition.
    pub partition: i32,
    /// First offset covered.
    pub from: i64,
    /// End of the offsets covered, exclusive.
    pub to: i64,
    /// Rows.
    pub rows: u64,
    /// Length of the object in bytes.
    pub size_bytes: u64,
    /// Version of the object's format.
    pub format_version: u32,
    /// When its rows were sealed, milliseconds since the epoch. A segment that takes another's place keeps the other's.
    pub sealed_at_ms: i64,
    /// Where the index block begins, in bytes; the data end there.
    pub index_offset: u64,
    /// Length of the index block in bytes; the tail begins behind it.
    pub index_length: u64,
    /// CRC32C of the tail: the page index and the Parquet footer.
    pub tail_crc32c: u32,
    /// Dead letters recorded for the range.
    pub dead_letters: u64,
    /// The [index settings](TableSchema::index_settings) that it was written under.
    pub index_settings: u32,
    /// What is known about each column, by schema order.
    pub columns: Vec<ColumnStats>,
}

impl SegmentMeta {
    /// Path of a segment's object, relative to the table's root; a listing is in offset order.
    pub fn path_of(partition: i32, from: i64, to: i64, id: Ulid) -> String {
        format!("data/{partition}/{from:020}-{to:020}-{id}.parquet")
    }

    /// The identity that a segment's path ends with; `None` if it is no path of a segment.
    pub(crate) fn id_of_path(path: &str) -> Option<Ulid> {
        let name = path.strip_prefix("data/")?.split_once('/')?.1.strip_suffix(".parquet")?;
        name.rsplit_once('-')?.1.parse().ok()
    }

    /// Where the object lies in the store, for the table at `root`.
    pub fn location(&self, root: &Path) -> Path {
        root.parts().chain(Path::from(self.path.as_str()).parts()).collect()
    }

    /// The `add` action that makes the segment part of its table.
    ///
    /// # Errors
    /// `Refused` if the object is longer than a Delta log can say.
    pub fn to_add(&self, schema: &TableSchema) -> Result<Add> {
        let refused = |message: String| SegmentError::Refused(format!("segment {}: {message}", self.path));
        let stats = stats_json::to_json(schema, self.rows, &self.columns).map_err(refused)?;
        let size = i64::try_from(self.size_bytes).map_err(|_| refused("it is too long".into()))?;
        Ok(Add {
            path: self.path.clone(),
            size,
            modification_time: self.sealed_at_ms,
            data_change: true,
            stats: Some(stats),
            tags: Some(self.tags(schema)),
            ..Add::default()
        })
    }

    fn tags(&self, schema: &TableSchema) -> HashMap<String, Option<String>> {
        let mut tags = HashMap::new();
        let mut put = |tag: &str, value: &dyn Display| tags.insert(tag.to_string(), Some(value.to_string()));
        put(TAG_FORMAT_VERSION, &self.format_version);
        put(TAG_ID, &self.id);
        put(TAG_PARTITION, &self.partition);
        put(TAG_FROM, &self.from);
        put(TAG_TO, &self.to);
        put(TAG_ROWS, &self.rows);
        put(TAG_INDEX_OFFSET, &self.index_offset);
        put(TAG_INDEX_LENGTH, &self.index_length);
        put(TAG_TAIL_CRC32C, &format_args!("{:08x}", self.tail_crc32c));
        put(TAG_SEALED_AT, &self.sealed_at_ms);
        put(TAG_DEAD_LETTERS, &self.dead_letters);
        if self.index_settings != 0 {
            put(TAG_INDEX_SETTINGS, &self.index_settings);
        }
        let columns = schema.columns().iter().zip(&self.columns);
        let inexact: Vec<&str> =
            columns.filter(|(_, stats)| !stats.exact).map(|(column, _)| column.name.as_str()).collect();
        if !inexact.is_empty() {
            put(TAG_INEXACT, &serde_json::Value::from(inexact));
        }
        tags
    }

    /// Reads a segment back from its `add` action. Statistics that are missing are unknown; columns that the schema gained
    /// since have none.
    ///
    /// # Errors
    /// `Corrupt`, naming the object and the tag, if a tag is missing or malformed, or the statistics are not JSON.
    pub fn from_add(add: &Add, schema: &TableSchema) -> Result<Self> {
        let tags = Tags { path: &add.path, tags: add.tags.as_ref() };
        let inexact: Vec<String> = match tags.get(TAG_INEXACT) {
            Some(text) => serde_json::from_str(text).map_err(|_| tags.corrupt(TAG_INEXACT))?,
            None => Vec::new(),
        };
        let columns = stats_json::from_json(schema, add.stats.as_deref(), &inexact)
            .map_err(|error| SegmentError::Corrupt(format!("segment {}: statistics: {error}", add.path)))?;
        let tail_crc32c = tags.get(TAG_TAIL_CRC32C).and_then(|text| u32::from_str_radix(text, 16).ok());
        let meta = Self {
            path: add.path.clone(),
            id: tags.parse(TAG_ID)?,
            partition: tags.parse(TAG_PARTITION)?,
            from: tags.parse(TAG_FROM)?,
            to: tags.parse(TAG_TO)?,
            rows: tags.parse(TAG_ROWS)?,
            size_bytes: u64::try_from(add.size)
                .map_err(|_| SegmentError::Corrupt(format!("segment {}: size {}", add.path, add.size)))?,
            format_version: tags.parse(TAG_FORMAT_VERSION)?,
            sealed_at_ms: tags.parse(TAG_SEALED_AT)?,
            index_offset: tags.parse(TAG_INDEX_OFFSET)?,
            index_length: tags.parse(TAG_INDEX_LENGTH)?,
            tail_crc32c: tail_crc32c.ok_or_else(|| tags.corrupt(TAG_TAIL_CRC32C))?,
            dead_letters: tags.parse(TAG_DEAD_LETTERS)?,
            index_settings: match tags.get(TAG_INDEX_SETTINGS) {
                Some(_) => tags.parse(TAG_INDEX_SETTINGS)?,
                None => 0,
            },
            columns,
        };
        if meta.partition < 0 || meta.from < 0 || meta.to <= meta.from {
            return Err(SegmentError::Corrupt(format!(
                "segment {}: partition {}, offsets {} to {} are no range",
                meta.path, meta.partition, meta.from, meta.to
            )));
        }
        Ok(meta)
    }
}

struct Tags<'a> {
    path: &'a str,
    tags: Option<&'a HashMap<String, Option<String>>>,
}

impl<'a> Tags<'a> {
    fn get(&self, tag: &str) -> Option<&'a str> {
        self.tags?.get(tag)?.as_deref()
    }

    fn parse<T: FromStr>(&self, tag: &str) -> Result<T> {
        self.get(tag).and_then(|text| text.parse().ok()).ok_or_else(|| self.corrupt(tag))
    }

    fn corrupt(&self, tag: &str) -> SegmentError {
        SegmentError::Corrupt(format!(
            "segment {}: the tag {tag} of its add action is missing or malformed; was it added by another writer?",
            self.path
        ))
    }
}
