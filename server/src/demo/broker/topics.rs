//! The broker's topics: name, identity and partitions, in memory or under one directory.
//!
//! On disk: `<dir>/<topic>/id` holds the topic's UUID as text, `<dir>/<topic>/<partition>/` its blocks.
//! Invariant: a topic's id never changes; a topic made anew under the same name has another one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use uuid::Uuid;

use super::TopicConfig;
use super::partition::Partition;

/// Partitions of one topic; a limit against slips, not a capacity.
const PARTITIONS_MAX: i32 = 1024;

/// A topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<Arc<Partition>>,
    retention_bytes: u64,
}

/// All topics.
#[derive(Debug)]
pub(super) struct Topics {
    dir: Option<PathBuf>,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Held as long as the broker lives, so that no second one writes to the same files.
    _lock: Option<File>,
}

impl Topics {
    /// Opens the topics of `configs`; those that are in `dir` already keep their records, and grow if
    /// `configs` asks for more partitions.
    pub(super) fn open(dir: Option<PathBuf>, configs: &[TopicConfig]) -> io::Result<Self> {
        let lock = dir.as_deref().map(lock_dir).transpose()?;
        let topics = Self { dir, by_name: RwLock::default(), _lock: lock };
        for config in configs {
            topics.create(config)?;
        }
        Ok(topics)
    }

    /// The topic of that name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.read().get(name).cloned()
    }

    /// The topic of that identity.
    pub(super) fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.by_name.read().values().find(|topic| topic.id == id).cloned()
    }

    /// A partition of a topic.
    pub(super) fn partition(&self, name: &str, partition: i32) -> Option<Arc<Partition>> {
        self.get(name)?.partitions.get(usize::try_from(partition).ok()?).cloned()
    }

    /// Every topic, by name.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.by_name.read().values().cloned().collect()
    }

    /// Creates a topic, or opens what `dir` has of it.
    ///
    /// # Errors
    /// `AlreadyExists` if it is served already, `InvalidInput` for a bad name or partition count.
    pub(super) fn create(&self, config: &TopicConfig) -> io::Result<()> {
        check_name(&config.name)?;
        let mut by_name = self.by_name.write();
        if by_name.contains_key(&config.name) {
            return Err(refused(io::ErrorKind::AlreadyExists, format!("topic {} exists", config.name)));
        }
        let topic = self.load(config)?;
        by_name.insert(config.name.clone(), Arc::new(topic));
        Ok(())
    }

    /// Gives a topic `total` partitions; the new ones are empty.
    pub(super) fn add_partitions(&self, name: &str, total: i32) -> io::Result<()> {
        let mut by_name = self.by_name.write();
        let topic = by_name.get(name).ok_or_else(|| unknown(name))?;
        if usize::try_from(total).is_ok_and(|total| total < topic.partitions.len()) {
            let message = format!("topic {name} has {} partitions and cannot shrink", topic.partitions.len());
            return Err(refused(io::ErrorKind::InvalidInput, message));
        }
        let grown = self.with_partitions(Topic::clone(topic), total)?;
        by_name.insert(name.to_owned(), Arc::new(grown));
        Ok(())
    }

    /// Deletes a topic and makes an empty one of the same name and partition count, with a new identity.
    pub(super) fn recreate(&self, name: &str) -> io::Result<()> {
        let mut by_name = self.by_name.write();
        let old = by_name.get(name).cloned().ok_or_else(|| unknown(name))?;
        if let Some(dir) = &self.dir {
            std::fs::remove_dir_all(dir.join(name))?;
        }
        let partitions = i32::try_from(old.partitions.len()).unwrap_or(PARTITIONS_MAX);
        let new = self.load(&TopicConfig {
            name: name.to_owned(),
            partitions,
            retention_bytes: old.retention_bytes,
        })?;
        by_name.insert(name.to_owned(), Arc::new(new));
        drop(by_name);
        old.partitions.iter().for_each(|partition| partition.changed.notify_waiters());
        Ok(())
    }

    fn load(&self, config: &TopicConfig) -> io::Result<Topic> {
        let (mut id, mut partitions) = (random_id(), config.partitions);
        if let Some(dir) = &self.dir {
            let dir = dir.join(&config.name);
            std::fs::create_dir_all(&dir)?;
            id = stored_id(&dir.join("id"), id)?;
            while dir.join(partitions.to_string()).is_dir() {
                partitions += 1;
            }
        }
        let retention_bytes = config.retention_bytes;
        let topic = Topic { name: config.name.clone(), id, partitions: Vec::new(), retention_bytes };
        self.with_partitions(topic, partitions)
    }

    fn with_partitions(&self, mut topic: Topic, total: i32) -> io::Result<Topic> {
        if !(1..=PARTITIONS_MAX).contains(&total) {
            let message =
                format!("topic {}: {total} partitions; 1 to {PARTITIONS_MAX} are allowed", topic.name);
            return Err(refused(io::ErrorKind::InvalidInput, message));
        }
        for partition in topic.partitions.len()..total as usize {
            let dir = self.dir.as_ref().map(|dir| dir.join(&topic.name).join(partition.to_string()));
            topic.partitions.push(Arc::new(Partition::open(dir, topic.retention_bytes)?));
        }
        Ok(topic)
    }
}

/// The error for a topic that is not there.
pub(super) fn unknown(name: &str) -> io::Error {
    refused(io::ErrorKind::NotFound, format!("there is no topic {name}"))
}

fn refused(kind: io::ErrorKind, message: String) -> io::Error {
    io::Error::new(kind, message)
}

/// Kafka's rule for topic names, which also makes them safe as directory names.
fn check_name(name: &str) -> io::Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=249).contains(&name.len()) && name.chars().all(allowed) && name != "." && name != ".." {
        return Ok(());
    }
    let message = format!("{name:?} is not a topic name: 1 to 249 letters, digits, '.', '_' and '-'");
    Err(refused(io::ErrorKind::InvalidInput, message))
}

fn lock_dir(dir: &Path) -> io::Result<File> {
    std::fs::create_dir_all(dir)?;
    let file = File::create(dir.join("lock"))?;
    file.try_lock().map_err(|error| {
        refused(io::ErrorKind::WouldBlock, format!("{} is used by another process: {error}", dir.display()))
    })?;
    Ok(file)
}

fn random_id() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

/// The id in `path`, which is written with `fresh` if it is not there yet.
fn stored_id(path: &Path, fresh: Uuid) -> io::Result<Uuid> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|error| {
            refused(io::ErrorKind::InvalidData, format!("{} holds no UUID: {error}", path.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::write(path, fresh.to_string())?;
            Ok(fresh)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, partitions: i32) -> TopicConfig {
        TopicConfig { name: name.into(), partitions, retention_bytes: 1 << 20 }
    }

    #[test]
    fn ids_and_partitions_survive_a_restart_and_a_second_broker_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Topics::open(Some(dir.path().into()), &[config("rides", 2)]);
        let topics = open().unwrap();
        let id = topics.get("rides").unwrap().id;
        topics.add_partitions("rides", 5).unwrap();
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(topics);
        let topics = open().unwrap();
        assert_eq!((topics.get("rides").unwrap().id, topics.get("rides").unwrap().partitions.len()), (id, 5));
        topics.recreate("rides").unwrap();
        assert_ne!(topics.get("rides").unwrap().id, id);
        assert_eq!(topics.get("rides").unwrap().partitions.len(), 5);
    }

    #[test]
    fn slips_are_refused() {
        let topics = Topics::open(None, &[config("a", 3)]).unwrap();
        for (name, partitions) in [("a", 1), ("", 1), ("..", 1), ("x/y", 1), ("b", 0), ("b", 100_000)] {
            assert!(topics.create(&config(name, partitions)).is_err(), "{name} {partitions}");
        }
        assert!(topics.add_partitions("a", 2).is_err());
        assert!(topics.recreate("nobody").is_err());
        assert_eq!(topics.all().len(), 1);
    }
}
