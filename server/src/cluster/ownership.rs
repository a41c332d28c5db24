//! What of each table this node consumes and takes care of: from the members, without asking anybody.
//!
//! What the others serve already is in their facts: `live/<table>` names the partitions that a node has caught up with.

use std::collections::BTreeSet;
use std::sync::Arc;

use headwater_broker::cluster::placement::{Placement, PlacementKey};
use headwater_ingest::ownership::{Ownership, Rank};
use headwater_segment::live::Tables;
use parking_lot::Mutex;

use super::NodeId;
use super::membership::{Members, Membership};

/// The name of the background work of a table, which is placed as a whole.
const JOBS: &str = "maintenance";

/// The prefix of the fact that names the partitions of a table that a node serves.
pub(crate) const LIVE_FACT: &str = "live/";

/// See the module.
pub(crate) struct ClusterOwnership {
    membership: Arc<dyn Membership>,
    tables: Arc<Tables>,
    /// Placement on the members of an epoch.
    placed: Mutex<Option<(u64, Arc<Placement>)>>,
}

impl ClusterOwnership {
    pub(crate) fn new(membership: Arc<dyn Membership>, tables: Arc<Tables>) -> Self {
        Self { membership, tables, placed: Mutex::default() }
    }

    fn placement(&self, members: &Members) -> Arc<Placement> {
        let mut placed = self.placed.lock();
        if let Some((epoch, placement)) = placed.as_ref()
            && *epoch == members.epoch
        {
            return Arc::clone(placement);
        }
        let placement = Arc::new(members.placement());
        *placed = Some((members.epoch, Arc::clone(&placement)));
        placement
    }

    fn replication(&self, table: &str) -> usize {
        self.tables.get(table).map_or(1, |table| table.spec().replication)
    }
}

impl Ownership for ClusterOwnership {
    fn rank(&self, table: &str, table_id: &str, partition: i32) -> Rank {
        let placement = self.placement(&self.membership.members());
        let key = PlacementKey::partition(table_id, partition);
        match placement.rank(key, self.replication(table), self.membership.this()) {
            Some(0) => Rank::Primary,
            Some(place) => Rank::Standby(u8::try_from(place).unwrap_or(u8::MAX)),
            None => Rank::None,
        }
    }

    fn runs_jobs(&self, _: &str, table_id: &str) -> bool {
        let placement = self.placement(&self.membership.members());
        placement.rank(PlacementKey::job(table_id, JOBS), 1, self.membership.this()) == Some(0)
    }

    fn is_served_by_owners(&self, table: &str, table_id: &str, partition: i32) -> bool {
        let members = self.membership.members();
        let key = PlacementKey::partition(table_id, partition);
        let owners: BTreeSet<NodeId> =
            self.placement(&members).owners(key, self.replication(table)).into_iter().collect();
        let fact = format!("{LIVE_FACT}{table}");
        let serves = |owner: &NodeId| {
            let live = members.get(owner).and_then(|member| member.facts.get(&fact));
            live.is_some_and(|live| lists(live, partition))
        };
        !owners.is_empty() && owners.iter().all(serves)
    }

    fn is_served_elsewhere(&self, table: &str, partition: i32) -> bool {
        let members = self.membership.members();
        let fact = format!("{LIVE_FACT}{table}");
        let others = members.data_nodes().filter(|member| member.info.id != *self.membership.this());
        let mut live = others.filter_map(|member| member.facts.get(&fact));
        live.any(|live| lists(live, partition))
    }
}

/// Partitions, ascending, as text: `0-3,7`.
pub(crate) fn listing(partitions: impl Iterator<Item = i32>) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for partition in partitions {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(partition) => *last = partition,
            _ => ranges.push((partition, partition)),
        }
    }
    let text = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    text.collect::<Vec<_>>().join(",")
}

fn lists(listing: &str, partition: i32) -> bool {
    listing.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = first.parse::<i32>().ok().zip(last.parse::<i32>().ok());
        bounds.is_some_and(|(first, last)| (first..=last).contains(&partition))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_as_text() {
        for (partitions, text) in
            [(vec![], ""), (vec![3], "3"), (vec![0, 1, 2, 3, 7, 9, 10], "0-3,7,9-10"), (vec![-1, 5], "-1,5")]
        {
            assert_eq!(listing(partitions.iter().copied()), text);
            for partition in 0..12 {
                assert_eq!(lists(text, partition), partitions.contains(&partition), "{text} {partition}");
            }
        }
        assert!(!lists("garbage,1-x,-", 1));
    }
}
