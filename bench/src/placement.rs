//! Placement of 100,000 segments on 10 to 1,000 simulated nodes: what it costs, and what moves when one more node joins.

use std::hint::black_box;
use std::time::Instant;

use headwater_broker::cluster::NodeId;
use headwater_broker::cluster::placement::{MemberState, Placement, PlacementKey, PlacementMember};
use serde::Serialize;
use ulid::Ulid;

use crate::Result;
use crate::report::{Table, grouped};

const SEGMENTS: u64 = 100_000;
const NODES: [u32; 3] = [10, 100, 1_000];

/// Placement on some nodes.
#[derive(Debug, Serialize)]
pub(crate) struct Placed {
    nodes: u32,
    /// The first owner of each segment.
    first_owners_ms: f64,
    /// Both owners of each segment.
    two_owners_ms: f64,
    /// Segments with another first owner once one more node is there, of 1.
    moved: f64,
    /// The new node's share of all weights: what has to move, of 1.
    share: f64,
    /// Segments whose first owner changed from one old node to another.
    moved_in_vain: usize,
}

fn member(index: u32) -> Result<PlacementMember> {
    Ok(PlacementMember {
        id: NodeId::new(&format!("node-{index}"))?,
        weight: 1 + index % 3,
        zone: Some(format!("zone-{}", index % 3)),
        state: MemberState::Serving,
    })
}

/// Measures on each number of nodes.
///
/// # Errors
/// None: the names of the nodes are valid.
pub(crate) fn measure() -> Result<Vec<Placed>> {
    let keys: Vec<PlacementKey> = (0..SEGMENTS)
        .map(|number| PlacementKey::segment(Ulid::from_parts(1_700_000_000_000 + number, number.into())))
        .collect();
    NODES.into_iter().map(|nodes| place(&keys, nodes)).collect()
}

fn place(keys: &[PlacementKey], nodes: u32) -> Result<Placed> {
    let members = (0..=nodes).map(member).collect::<Result<Vec<_>>>()?;
    let (joining, present) = members.split_last().ok_or("there is no node")?;
    let before = Placement::new(present.iter().cloned());
    let after = Placement::new(members.iter().cloned());
    let begun = Instant::now();
    let first: Vec<Option<&NodeId>> = keys.iter().map(|key| black_box(before.first(*key))).collect();
    let first_owners_ms = begun.elapsed().as_secs_f64() * 1e3;
    let begun = Instant::now();
    for key in keys {
        black_box(before.owners(*key, 2));
    }
    let two_owners_ms = begun.elapsed().as_secs_f64() * 1e3;
    let changed = keys.iter().zip(&first).filter_map(|(key, before)| {
        let now = after.first(*key);
        (now != *before).then_some(now)
    });
    let changed: Vec<Option<&NodeId>> = changed.collect();
    let weights: u32 = members.iter().map(|member| member.weight).sum();
    Ok(Placed {
        nodes,
        first_owners_ms,
        two_owners_ms,
        moved: changed.len() as f64 / keys.len() as f64,
        share: f64::from(joining.weight) / f64::from(weights),
        moved_in_vain: changed.iter().filter(|now| **now != Some(&joining.id)).count(),
    })
}

/// The figures as a table.
pub(crate) fn show(placed: &[Placed]) -> String {
    let mut table = Table::new(&[
        "100,000 segments, on nodes",
        "first owners, ms",
        "two owners, ms",
        "moved when one joins, %",
        "its share, %",
        "moved between others",
    ]);
    for placed in placed {
        table.row([
            grouped(placed.nodes.into()),
            format!("{:.1}", placed.first_owners_ms),
            format!("{:.1}", placed.two_owners_ms),
            format!("{:.2}", placed.moved * 100.0),
            format!("{:.2}", placed.share * 100.0),
            placed.moved_in_vain.to_string(),
        ]);
    }
    table.to_string()
}
