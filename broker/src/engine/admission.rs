//! Who may run now, who waits, who is sent away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{QueryError, QueryErrorKind};

/// A bounded queue before a bounded number of running queries; first come, first served.
#[derive(Debug)]
pub(super) struct Admission {
    slots: Arc<Semaphore>,
    concurrent_max: usize,
    waiting: AtomicUsize,
    queue_max: usize,
}

/// Leaves the queue, also when the wait is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Admission {
    pub(super) fn new(concurrent_max: usize, queue_max: usize) -> Self {
        let concurrent_max = concurrent_max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            slots: Arc::new(Semaphore::new(concurrent_max)),
            concurrent_max,
            waiting: AtomicUsize::new(0),
            queue_max,
        }
    }

    /// Waits for a slot; the slot is free again when the permit is dropped. Fails at once if the queue is full, and when
    /// the engine drains.
    pub(super) async fn admit(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= self.queue_max {
            return Err(overloaded(format!(
                "{} queries are running and {} are waiting; try again later",
                self.concurrent_max, self.queue_max
            )));
        }
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_| overloaded("this node is shutting down; ask another one".into()))
    }

    /// Admits nobody any more.
    pub(super) fn close(&self) {
        self.slots.close();
    }
}

fn overloaded(message: String) -> QueryError {
    QueryError::new(QueryErrorKind::Overloaded, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bounds_the_running_and_the_waiting() {
        let admission = Arc::new(Admission::new(1, 1));
        let running = admission.admit().await.unwrap();
        let waiting = {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move { admission.admit().await })
        };
        while admission.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(admission.admit().await.unwrap_err().kind, QueryErrorKind::Overloaded);
        drop(running);
        let second = waiting.await.unwrap().unwrap();
        assert_eq!(admission.waiting.load(Ordering::Acquire), 0);
        drop(second);
        admission.close();
        assert_eq!(admission.admit().await.unwrap_err().kind, QueryErrorKind::Overloaded);
    }
}
