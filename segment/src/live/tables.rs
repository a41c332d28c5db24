//! The tables that this process serves, by name. Reads take no lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::LiveTable;

/// A map of live tables.
#[derive(Default)]
pub struct Tables {
    map: ArcSwap<BTreeMap<String, Arc<LiveTable>>>,
}

impl Tables {
    /// The table of this exact name.
    pub fn get(&self, name: &str) -> Option<Arc<LiveTable>> {
        self.map.load().get(name).cloned()
    }

    /// All tables in the order of their names.
    pub fn list(&self) -> Vec<Arc<LiveTable>> {
        self.map.load().values().cloned().collect()
    }

    /// Adds a table, in the place of one of the same name.
    pub fn insert(&self, table: Arc<LiveTable>) {
        self.map.rcu(|map| {
            let mut next = BTreeMap::clone(map);
            next.insert(table.name().to_string(), table.clone());
            next
        });
    }

    /// Takes a table out.
    pub fn remove(&self, name: &str) {
        self.map.rcu(|map| {
            let mut next = BTreeMap::clone(map);
            next.remove(name);
            next
        });
    }
}
