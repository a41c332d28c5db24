//! Dashboards: what they are, where they are kept, and how their viewers see them move.
//!
//! ```text
//! PUT ──▶ read ──▶ Dashboard ──▶ DashboardStore (the server's: versions in the object store)
//!                                     │
//! viewers ◀── frames ── live::LiveHub ┘   one runner per panel and values, however many watch
//!                            │ runs the panel's SQL when there are new rows, at most once per refresh_ms
//!                            ▼
//!                       QueryRunner
//! ```
//!
//! In a panel's SQL `$name` stands for a variable and `$time_from`, `$time_to` for the time range ([`statement`]); their values
//! travel as parameters. What is *not* here: where documents are kept, and how an answer is drawn.

use std::sync::Arc;

use async_trait::async_trait;
use headwater_segment::spec::SpecFault;

pub mod document;
pub mod live;
mod read;
mod statement;

pub use document::Dashboard;
pub use read::{read_dashboard, read_last};

/// In a panel's SQL: the beginning of the time range.
pub const TIME_FROM: &str = "time_from";
/// In a panel's SQL: the end of the time range.
pub const TIME_TO: &str = "time_to";

/// Bytes of a dashboard's id.
pub const ID_BYTES_MAX: usize = 64;

/// Which of all the versions that a dashboard ever had.
///
/// Numbers begin again at 1 when a dashboard was deleted and forgotten, and another is made under its name. So a number says which
/// of two versions is newer, and the tag says which one is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// Counts its changes, from 1.
    pub version: u64,
    /// Unlike that of any other version: `<version>-<writer>`, of characters that may stand in an `ETag`.
    pub tag: Arc<str>,
}

impl Revision {
    /// Version `version`, as `writer` wrote it; no other write has that name.
    pub fn new(version: u64, writer: &str) -> Self {
        // Whoever repairs an object by hand may write anything into it.
        let writer: String = writer.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        Self { version, tag: format!("{version}-{writer}").into() }
    }
}

/// A dashboard as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDashboard {
    /// The document.
    pub dashboard: Dashboard,
    /// Which version of it this is.
    pub revision: Revision,
    /// When this version was written, in milliseconds since the epoch.
    pub updated_at_ms: i64,
}

/// What a list of dashboards says of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DashboardSummary {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its newest version.
    pub revision: Revision,
    /// When that was written, in milliseconds since the epoch.
    pub updated_at_ms: i64,
}

/// What must be there for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No dashboard of this id.
    Absent,
    /// Exactly the version of this [tag](Revision::tag).
    Tag(Arc<str>),
    /// Any version.
    Present,
}

impl Expected {
    /// Whether dashboard `id` may be written over while `present` is there.
    ///
    /// # Errors
    /// [`DashboardError::NotFound`] if there is none and one was expected, [`DashboardError::Conflict`] if another one is there.
    pub fn check(&self, id: &str, present: Option<&Revision>) -> Result<(), DashboardError> {
        let version = present.map(|present| present.version);
        let refused = |reason: String| DashboardError::Conflict { id: id.to_string(), reason, version };
        match (present, self) {
            (None, Self::Absent) | (Some(_), Self::Present) => Ok(()),
            (Some(present), Self::Tag(expected)) if present.tag == *expected => Ok(()),
            (Some(present), Self::Tag(expected)) => {
                let there = &present.tag;
                Err(refused(format!("it has changed since: {expected} was expected, {there} is there")))
            }
            (Some(present), Self::Absent) => {
                Err(refused(format!("it is there already, at version {}", present.version)))
            }
            (None, Self::Present | Self::Tag(_)) => Err(DashboardError::NotFound(id.to_string())),
        }
    }
}

/// Why a dashboard cannot be had or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DashboardError {
    /// The document is wrong.
    #[error("the dashboard has {} fault(s):\n{}", .0.len(), SpecFault::list(.0))]
    Invalid(Vec<SpecFault>),
    /// There is none of this id.
    #[error("there is no dashboard {0}")]
    NotFound(String),
    /// What is there is not what was expected.
    #[error("dashboard {id}: {reason}")]
    Conflict {
        /// Which dashboard.
        id: String,
        /// What is there.
        reason: String,
        /// The version that is there; `None`: there is no such dashboard.
        version: Option<u64>,
    },
    /// There are too many.
    #[error("{0}")]
    Full(String),
    /// The object store could not be reached, or holds what cannot be read.
    #[error("{0}")]
    Unavailable(String),
}

/// Where dashboards are kept; implemented by the server.
#[async_trait]
pub trait DashboardStore: Send + Sync + 'static {
    /// All of them, in the order of their ids.
    async fn list(&self) -> Result<Vec<DashboardSummary>, DashboardError>;
    /// The newest version.
    async fn get(&self, id: &str) -> Result<StoredDashboard, DashboardError>;
    /// Which version is the newest; `None`: there is no such dashboard.
    async fn revision(&self, id: &str) -> Result<Option<Revision>, DashboardError>;
    /// Writes a version, if `expected` is what is there; answers with which it is.
    async fn put(
        &self,
        id: &str,
        dashboard: &Dashboard,
        expected: Expected,
    ) -> Result<Revision, DashboardError>;
    /// Deletes it, if `expected` is what is there.
    async fn delete(&self, id: &str, expected: Expected) -> Result<(), DashboardError>;
}

/// Checks an id: a lower-case letter or a digit, then those, `_` and `-`.
///
/// # Errors
/// What is wrong with it.
pub fn check_id(id: &str) -> Result<(), DashboardError> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_id = id.starts_with(is_plain) && id.chars().all(|c| is_plain(c) || c == '_' || c == '-');
    if is_id && id.len() <= ID_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "must begin with a lower-case letter or a digit and have only those, _ and -, at most {ID_BYTES_MAX}"
    );
    Err(DashboardError::Invalid(vec![SpecFault { path: "id".into(), message }]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_may_stand_in_a_header() {
        assert_eq!(&*Revision::new(3, "01ARZ3NDEK").tag, "3-01ARZ3NDEK");
        assert_eq!(&*Revision::new(3, "by hand,\r\n\"ü\"").tag, "3-byhand");
        assert_ne!(Revision::new(1, "a"), Revision::new(1, "b"));
    }

    #[test]
    fn ids_are_names_of_directories_and_parts_of_urls() {
        for id in ["a", "0", "rides", "my-board_2", &"x".repeat(64)] {
            check_id(id).unwrap();
        }
        for id in ["", "-", "_a", "A", "a/b", "..", "a.b", "ü", "a b", "a%2fb", &"x".repeat(65)] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn what_may_be_written_over_what() {
        let conflict = Err(Some(3));
        let missing = Err(None);
        let revision = |version| Revision::new(version, "w");
        let tag = |revision: Revision| Expected::Tag(revision.tag);
        let cases = [
            (None, Expected::Absent, Ok(())),
            (None, Expected::Present, missing),
            (None, tag(revision(3)), missing),
            (Some(3), Expected::Absent, conflict),
            (Some(3), Expected::Present, Ok(())),
            (Some(3), tag(revision(3)), Ok(())),
            (Some(3), tag(revision(2)), conflict),
            (Some(3), tag(revision(4)), conflict),
            // The same number, of an earlier life.
            (Some(3), tag(Revision::new(3, "v")), conflict),
            (Some(3), Expected::Tag("3".into()), conflict),
        ];
        for (present, expected, outcome) in cases {
            let present = present.map(revision);
            let checked = expected.check("a", present.as_ref()).map_err(|error| match error {
                DashboardError::Conflict { version, .. } => version,
                DashboardError::NotFound(_) => None,
                other => panic!("{other}"),
            });
            assert_eq!(checked, outcome, "{present:?} {expected:?}");
        }
    }
}
