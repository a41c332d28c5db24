//! From names to numbers, by functions that never change: what is placed, and on whom.

use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::score::mix;
use crate::cluster::NodeId;

/// What is placed, as a uniformly distributed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacementKey(u64);

impl PlacementKey {
    /// An open partition of a table.
    pub fn partition(table_id: &str, partition: i32) -> Self {
        Self(digest("partition", table_id.as_bytes(), &partition.to_le_bytes()))
    }

    /// A sealed segment.
    pub fn segment(id: Ulid) -> Self {
        // The random half of a ULID is random enough; hashing 100,000 of them costs nothing this way.
        let (high, low) = ((id.0 >> 64) as u64, id.0 as u64);
        Self(mix(mix(high).wrapping_add(low)))
    }

    /// A background job of a table, such as `retention`.
    pub fn job(table_id: &str, job: &str) -> Self {
        Self(digest("job", table_id.as_bytes(), job.as_bytes()))
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }
}

/// What tells a node's draws from those of others.
pub(super) fn node_seed(id: &NodeId) -> u64 {
    digest("node", id.as_str().as_bytes(), &[])
}

/// The first 8 bytes of SHA-256 over the parts, each behind its length.
fn digest(kind: &str, first: &[u8], second: &[u8]) -> u64 {
    let mut hasher = Sha256::new();
    for part in [kind.as_bytes(), first, second] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let bytes = hasher.finalize();
    bytes.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}
