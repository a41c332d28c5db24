//! Owners of segments: what placement costs a query, and a node that looks at all of a table.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater_bench::Result;
use headwater_broker::cluster::NodeId;
use headwater_broker::cluster::placement::{MemberState, Placement, PlacementKey, PlacementMember};
use ulid::Ulid;

const SEGMENTS: u64 = 100_000;
const NODES: [u32; 3] = [10, 100, 1_000];

fn placement(nodes: u32) -> Result<Placement> {
    let member = |index| -> Result<PlacementMember> {
        Ok(PlacementMember {
            id: NodeId::new(&format!("node-{index}"))?,
            weight: 1 + index % 3,
            zone: Some(format!("zone-{}", index % 3)),
            state: MemberState::Serving,
        })
    };
    Ok(Placement::new((0..nodes).map(member).collect::<Result<Vec<_>>>()?))
}

fn owners(criterion: &mut Criterion) {
    let keys: Vec<PlacementKey> = (0..SEGMENTS)
        .map(|number| PlacementKey::segment(Ulid::from_parts(1_700_000_000_000 + number, number.into())))
        .collect();
    let mut group = criterion.benchmark_group("placement of 100,000 segments");
    group.throughput(Throughput::Elements(SEGMENTS)).sample_size(10);
    for nodes in NODES {
        let placement = placement(nodes).expect("the names are valid");
        group.bench_function(format!("first owner, {nodes} nodes"), |bencher| {
            bencher.iter(|| keys.iter().filter(|key| black_box(placement.first(**key)).is_some()).count());
        });
        group.bench_function(format!("two owners, {nodes} nodes"), |bencher| {
            bencher.iter(|| keys.iter().map(|key| black_box(placement.owners(*key, 2)).len()).sum::<usize>());
        });
    }
    group.finish();
}

criterion_group!(benches, owners);
criterion_main!(benches);
