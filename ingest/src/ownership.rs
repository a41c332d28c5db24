//! Which partitions of a table this node consumes, and whose turn it is to seal them: asked of the cluster, if there is one.
//!
//! The answers are hints. Two nodes may consume the same partition, or believe that it is their turn, at the same time: the
//! table log lets each offset in once, so a wrong answer costs work and never rows.

/// What this node does with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Consumes it, and seals it as soon as a threshold is reached.
    Primary,
    /// Consumes it, and seals what those before it in line have not sealed in time. 1 is first in line.
    Standby(u8),
    /// Leaves it to others.
    None,
}

/// The division of work among the nodes of a cluster.
pub trait Ownership: Send + Sync {
    /// What this node does with a partition, at present. Asked every second or so for each partition, so it must be cheap.
    fn rank(&self, table: &str, table_id: &str, partition: i32) -> Rank;

    /// Whether this node does the background work of a table: retention, index rebuild, compaction, garbage collection.
    fn runs_jobs(&self, table: &str, table_id: &str) -> bool;

    /// Whether the owners of a partition all serve it already, so that a node that is none of them may stop.
    fn is_served_by_owners(&self, table: &str, table_id: &str, partition: i32) -> bool;

    /// Whether another node serves a partition at present, so that there is no hurry to begin with it here.
    fn is_served_elsewhere(&self, table: &str, partition: i32) -> bool;
}

/// Without a cluster: everything is this node's.
pub struct Alone;

impl Ownership for Alone {
    fn rank(&self, _table: &str, _table_id: &str, _partition: i32) -> Rank {
        Rank::Primary
    }

    fn runs_jobs(&self, _table: &str, _table_id: &str) -> bool {
        true
    }

    fn is_served_by_owners(&self, _table: &str, _table_id: &str, _partition: i32) -> bool {
        false
    }

    fn is_served_elsewhere(&self, _table: &str, _partition: i32) -> bool {
        false
    }
}

/// For tests: the same answers for all tables and partitions, which can be changed.
#[cfg(test)]
pub(crate) struct Assigned {
    pub(crate) rank: parking_lot::Mutex<Rank>,
    pub(crate) is_served: std::sync::atomic::AtomicBool,
    pub(crate) is_served_elsewhere: std::sync::atomic::AtomicBool,
}

#[cfg(test)]
impl Assigned {
    pub(crate) fn new(rank: Rank) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            rank: rank.into(),
            is_served: false.into(),
            is_served_elsewhere: false.into(),
        })
    }

    pub(crate) fn set(&self, rank: Rank) {
        *self.rank.lock() = rank;
    }
}

#[cfg(test)]
impl Ownership for Assigned {
    fn rank(&self, _table: &str, _table_id: &str, _partition: i32) -> Rank {
        *self.rank.lock()
    }

    fn runs_jobs(&self, _table: &str, _table_id: &str) -> bool {
        *self.rank.lock() == Rank::Primary
    }

    fn is_served_by_owners(&self, _table: &str, _table_id: &str, _partition: i32) -> bool {
        self.is_served.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn is_served_elsewhere(&self, _table: &str, _partition: i32) -> bool {
        self.is_served_elsewhere.load(std::sync::atomic::Ordering::Relaxed)
    }
}
