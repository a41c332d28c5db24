//! The oracle of a simulation: replays what landed in the log and compares it with the list of messages.
//!
//! After each step, of everything that happened in it:
//! - sealed segments and gaps tile every partition;
//! - what a seal brings was read with the spec that the table has at that version;
//! - a segment holds exactly the rows of its range, and no range with a row is recorded as empty: none is lost, none is doubled;
//! - no object is deleted that the newest version names, or that a version named less than the grace ago.
//!
//! At the end: every acknowledged commit is in the log, once, and no refused one is.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;
use parking_lot::Mutex;
use ulid::Ulid;

use super::super::actions;
use super::super::state::LogState;
use super::super::stream::GapReason;
use super::Done;
use super::nodes::{PARTITIONS, has_row, place_of, read_from, root, rows_of, segment_of};
use super::store::{Happened, World};
use crate::maintain::garbage::GRACE_MS;
use crate::sealed::SegmentMeta;
use deltalake_core::kernel::Action;

pub(super) struct Checker {
    state: Option<LogState>,
    /// When a segment was no longer named.
    removed_at_ms: BTreeMap<Ulid, i64>,
    committed: Vec<Ulid>,
    /// Entries with several commits.
    shared: u64,
    deleted: u64,
}

impl Checker {
    pub(super) fn new() -> Self {
        Self { state: None, removed_at_ms: BTreeMap::new(), committed: Vec::new(), shared: 0, deleted: 0 }
    }

    pub(super) fn version(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.version)
    }

    /// Looks at what happened since the last look.
    pub(super) fn look(&mut self, world: &Mutex<World>) -> Result<(), String> {
        let mut world = world.lock();
        for (at_ms, happened) in std::mem::take(&mut world.happened) {
            match happened {
                Happened::Written(path) => self.written(&world, at_ms, &path)?,
                Happened::Deleted(path) => self.deleted(at_ms, &path)?,
            }
        }
        match world.violations.first() {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }

    fn written(&mut self, world: &World, at_ms: i64, path: &Path) -> Result<(), String> {
        let Some(version) = version_of(path) else { return Ok(()) };
        let next = self.state.as_ref().map_or(0, |state| state.version + 1);
        if version == next {
            return self.entry(world, at_ms, version);
        }
        // An entry was overwritten: what does the log say now?
        self.state = None;
        self.committed.clear();
        (0..next).try_for_each(|version| self.entry(world, at_ms, version))
    }

    fn entry(&mut self, world: &World, at_ms: i64, version: u64) -> Result<(), String> {
        let path = root().join("_delta_log").join(format!("{version:020}.json"));
        let bytes = world.object(&path).ok_or_else(|| format!("entry {version} is gone"))?;
        let actions = actions::decode("simulation", &bytes).map_err(|error| error.to_string())?;
        let before: BTreeSet<Ulid> = self.named().map(|segment| segment.id).collect();
        let state = LogState::apply(self.state.take(), version, &actions, "simulation");
        self.state = Some(state.map_err(|error| error.to_string())?);
        let mut ids = Vec::new();
        for action in &actions {
            if let Action::CommitInfo(info) = action {
                ids.extend(actions::commit_ids(info));
            }
        }
        self.shared += u64::from(ids.len() > 1);
        self.committed.append(&mut ids);
        for segment in self.named().filter(|segment| !before.contains(&segment.id)) {
            check_rows(world, segment)?;
            self.check_read_with(world, segment)?;
        }
        let after: BTreeSet<Ulid> = self.named().map(|segment| segment.id).collect();
        self.removed_at_ms.extend(before.difference(&after).map(|id| (*id, at_ms)));
        self.check_state()
    }

    /// `segment` has just come.
    fn check_read_with(&self, world: &World, segment: &SegmentMeta) -> Result<(), String> {
        let object = world.object(&segment.location(&root()));
        let places = object.as_ref().and_then(read_from).zip(self.state.as_ref());
        match places.map(|(read, state)| (read, place_of(&state.spec))) {
            Some((read, place)) if *read != *place => {
                Err(format!("{} has values of {read}, and the table has it at {place}", segment.path))
            }
            _ => Ok(()),
        }
    }

    fn named(&self) -> impl Iterator<Item = &SegmentMeta> {
        self.state.iter().flat_map(|state| state.segments.iter()).map(|segment| &**segment)
    }

    fn check_state(&self) -> Result<(), String> {
        let Some(state) = &self.state else { return Ok(()) };
        let snapshot = state.snapshot();
        if let Some(violation) = snapshot.check_tiling().into_iter().next() {
            return Err(format!("version {}: {violation}", state.version));
        }
        for (partition, stream) in snapshot.stream.partitions.range(..PARTITIONS) {
            for gap in stream.gaps.iter().filter(|gap| gap.reason == GapReason::Empty) {
                if let Some(offset) = (gap.from..gap.to).find(|offset| has_row(*partition, *offset)) {
                    return Err(format!(
                        "partition {partition}: offset {offset} is a row and is recorded as empty"
                    ));
                }
            }
        }
        Ok(())
    }

    fn deleted(&mut self, at_ms: i64, path: &Path) -> Result<(), String> {
        self.deleted += 1;
        let Some(id) = segment_of(path) else { return Err(format!("{path} was deleted")) };
        if self.named().any(|segment| segment.id == id) {
            return Err(format!("{path} is gone, and the table names it"));
        }
        match self.removed_at_ms.get(&id) {
            Some(removed_at_ms) if at_ms - removed_at_ms <= GRACE_MS => Err(format!(
                "{path} was deleted inside the grace, {} ms after its removal",
                at_ms - removed_at_ms
            )),
            _ => Ok(()),
        }
    }

    /// The last look.
    pub(super) fn finish(mut self, world: &Mutex<World>) -> Result<Done, String> {
        self.look(world)?;
        let world = world.lock();
        let known: BTreeSet<&Ulid> = self.committed.iter().collect();
        if known.len() != self.committed.len() {
            return Err("a commit is in the log twice".into());
        }
        if let Some(lost) = world.acknowledged.iter().find(|id| !known.contains(id)) {
            return Err(format!("{lost} was acknowledged and is not in the log"));
        }
        if let Some(ghost) = world.refused.iter().find(|id| known.contains(id)) {
            return Err(format!("{ghost} was refused and is in the log"));
        }
        for segment in self.named() {
            check_rows(&world, segment)?;
        }
        Ok(Done {
            versions: self.version(),
            shared: self.shared,
            compactions: world.compactions,
            outdated: world.outdated,
            deleted: self.deleted,
            faults: world.faults,
        })
    }
}

/// The version of an entry's path.
pub(super) fn version_of(path: &Path) -> Option<u64> {
    let in_log = path.as_ref().contains("/_delta_log/");
    path.filename()?.strip_suffix(".json").filter(|_| in_log)?.parse().ok()
}

fn check_rows(world: &World, segment: &SegmentMeta) -> Result<(), String> {
    let Some(object) = world.object(&segment.location(&root())) else {
        return Err(format!("{} is gone, and the table names it", segment.path));
    };
    let expected: Vec<i64> =
        (segment.from..segment.to).filter(|offset| has_row(segment.partition, *offset)).collect();
    let mut rows = rows_of(&object);
    rows.sort_unstable();
    if rows != expected || segment.rows != expected.len() as u64 {
        return Err(format!("{} does not hold its rows: {rows:?} and not {expected:?}", segment.path));
    }
    Ok(())
}
