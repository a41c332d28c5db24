//! Columns that are loaded before a query asks for them: what is missing, and one column at a time.
//!
//! Invariant: nothing that queries have loaded leaves for it. It ends where a quarter of a budget is left.

use std::sync::Arc;

use super::store::{FETCHES_MAX, Key, ResidentStore, column_of, heap_bytes};
use crate::Result;
use crate::schema::TableSchema;
use crate::sealed::{SegmentMeta, SegmentReaderFactory};

impl ResidentStore {
    /// The names of the columns of `table` that queries have read.
    pub fn used_names(&self, table: &str) -> Vec<String> {
        self.used.read().get(table).into_iter().flatten().cloned().collect()
    }

    /// Which of `columns` (indexes into the columns of `schema`) would take a read of the segment's object.
    pub fn missing(&self, schema: &TableSchema, meta: &SegmentMeta, columns: &[usize]) -> Vec<usize> {
        let is_missing = |index: &usize| {
            let Some(column) = schema.columns().get(*index) else { return false };
            // To be looked at here is not to be used.
            let key = Key::new(meta.id, &column.name);
            !self.has_file(key) && !self.memory.read().contains(key)
        };
        columns.iter().copied().filter(is_missing).collect()
    }

    /// Whether there is room for what no query has asked for: a quarter of each budget.
    pub fn has_room(&self) -> bool {
        self.memory.read().has_room() && (self.dir.is_none() || self.files.read().has_room())
    }

    /// The same for a column of a segment: eight bytes a row are more than most have, and text has its dictionary besides.
    pub fn has_room_for(&self, meta: &SegmentMeta) -> bool {
        let bytes = meta.rows.saturating_mul(8);
        self.has_room()
            && self.memory.read().has_free(bytes)
            && (self.dir.is_none() || self.files.read().has_free(bytes))
    }

    /// Whether nobody reads an object at this moment.
    pub fn is_idle(&self) -> bool {
        self.fetches.available_permits() == FETCHES_MAX
    }

    /// Takes for used what an earlier process has left local files of.
    pub fn note_used_of_files<'a>(
        &self,
        table: &str,
        schema: &TableSchema,
        segments: impl Iterator<Item = &'a SegmentMeta>,
    ) {
        let columns = schema.columns();
        let mut used = vec![false; columns.len()];
        for segment in segments {
            for (column, is_used) in columns.iter().zip(&mut used) {
                *is_used |= self.has_file(Key::new(segment.id, &column.name));
            }
        }
        let used: Vec<usize> = (0..columns.len()).filter(|index| used[*index]).collect();
        self.note_used(table, schema, &used);
    }

    /// Loads one column of a sealed segment that no query has asked for yet, unless it is there. Returns its bytes in memory.
    ///
    /// # Errors
    /// As [`columns`](Self::columns).
    pub async fn warm(
        self: &Arc<Self>,
        readers: &SegmentReaderFactory,
        schema: &TableSchema,
        meta: &Arc<SegmentMeta>,
        column: usize,
    ) -> Result<u64> {
        let loaded = self.loaded(readers, meta, &[column_of(schema, column)?]).await?;
        Ok(loaded.columns().iter().map(|column| heap_bytes(column)).sum())
    }
}
