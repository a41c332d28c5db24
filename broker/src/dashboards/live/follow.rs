//! Notices that a dashboard that is watched has a newer version, or is gone.
//!
//! **Invariant:** a viewer is told of nothing older than what it has. What the store says of the newest version was true when it
//! looked; a viewer who has read a newer one meanwhile knows better, and the store is asked again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::super::Revision;
use super::documents::Documents;

/// A dashboard whose version is followed as long as this is held.
pub(super) struct Followed {
    known: Arc<watch::Sender<Option<Revision>>>,
    look: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    /// Follows from `revision` on; the store is asked `every` so often, and when [`look`](Self::look) says so.
    pub(super) fn start(
        documents: Arc<Documents>,
        id: String,
        revision: Revision,
        every: Duration,
    ) -> Arc<Self> {
        let known = Arc::new(watch::Sender::new(Some(revision)));
        let look = Arc::new(Notify::new());
        let (knowing, looking) = (Arc::clone(&known), Arc::clone(&look));
        let task = tokio::spawn(async move {
            loop {
                // Whichever comes first.
                let _ = tokio::time::timeout(every, looking.notified()).await;
                let before = knowing.borrow().clone();
                match documents.revision(&id).await {
                    Ok(found) => {
                        knowing.send_if_modified(|known| learn(known, &before, found));
                    }
                    Err(error) => tracing::debug!(dashboard = id, %error, "its version cannot be read"),
                }
            }
        });
        Arc::new(Self { known, look, task: task.abort_handle() })
    }

    /// Asks the store now.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    /// A viewer has read this version.
    pub(super) fn has_read(&self, revision: &Revision) {
        // As of nearly all viewers; not each of them is a reason to ask the store.
        if self.known.borrow().as_ref() == Some(revision) {
            return;
        }
        self.known.send_if_modified(|known| raise(known, revision));
        self.look();
    }

    /// Waits until there is a newer version than `mine`; `None`: the dashboard is gone.
    pub(super) async fn newer_than(&self, mine: &Revision) -> Option<Revision> {
        let mut known = self.known.subscribe();
        let newer = known.wait_for(|known| is_news(known.as_ref(), mine)).await.map(|known| known.clone());
        match newer {
            Ok(newer) => newer,
            // The sender ends only with this.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Takes what the store has said; `before` is what was known when it was asked. Whether that is another than is known.
fn learn(known: &mut Option<Revision>, before: &Option<Revision>, found: Option<Revision>) -> bool {
    // Since then a viewer has read a newer one, and has asked for another look.
    if known != before || *known == found {
        return false;
    }
    *known = found;
    true
}

/// Takes what a viewer has read, if it is newer than what is known.
fn raise(known: &mut Option<Revision>, read: &Revision) -> bool {
    let is_newer = known.as_ref().is_none_or(|known| known.version < read.version);
    if is_newer {
        *known = Some(read.clone());
    }
    is_newer
}

/// Whether what is known is news to who has `mine`.
fn is_news(known: Option<&Revision>, mine: &Revision) -> bool {
    known.is_none_or(|known| known.version > mine.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(version: u64) -> Option<Revision> {
        Some(Revision::new(version, "w"))
    }

    #[test]
    fn only_what_is_newer_is_news() {
        let mine = Revision::new(3, "mine");
        for (known, expected) in
            [(revision(2), false), (revision(3), false), (revision(4), true), (None, true)]
        {
            assert_eq!(is_news(known.as_ref(), &mine), expected, "{known:?}");
        }
    }

    #[test]
    fn what_a_viewer_has_read_counts_if_it_is_newer() {
        for (before, read, after) in [(2, 3, 3), (3, 3, 3), (4, 3, 4)] {
            let mut known = revision(before);
            assert_eq!(raise(&mut known, &Revision::new(read, "w")), before < read);
            assert_eq!(known, revision(after));
        }
        let mut gone = None;
        assert!(raise(&mut gone, &Revision::new(1, "w")) && gone == revision(1));
    }

    #[test]
    fn an_old_word_of_the_store_changes_nothing() {
        // The store was asked at 2; meanwhile a viewer has read 3.
        for late in [None, revision(2), revision(4)] {
            let mut known = revision(3);
            assert!(!learn(&mut known, &revision(2), late));
            assert_eq!(known, revision(3));
        }
        for (found, is_other) in
            [(revision(2), false), (revision(3), true), (revision(1), true), (None, true)]
        {
            let mut known = revision(2);
            assert_eq!(learn(&mut known, &revision(2), found.clone()), is_other);
            assert_eq!(known, found);
        }
    }
}
