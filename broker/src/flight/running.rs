//! The answers under way, by the name of their run: so that another call can cancel them.
//!
//! An entry lives as long as its answer, so there are no more of them than queries.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::access::{Principal, Role};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Running {
    runs: Mutex<HashMap<String, Vec<Run>>>,
}

#[derive(Debug)]
struct Run {
    owner: String,
    cancel: CancellationToken,
}

/// One answer under way.
#[derive(Debug)]
pub(super) struct RunGuard {
    running: Arc<Running>,
    name: String,
    /// Cancelled when somebody asks for it, and when the answer ends.
    pub(super) cancel: CancellationToken,
}

impl Running {
    /// Notes a run. A ticket may be taken more than once, so that several have one name.
    pub(super) fn start(self: &Arc<Self>, name: &str, owner: &Principal) -> RunGuard {
        let cancel = CancellationToken::new();
        let run = Run { owner: owner.name.clone(), cancel: cancel.clone() };
        self.runs.lock().entry(name.to_owned()).or_default().push(run);
        RunGuard { running: Arc::clone(self), name: name.to_owned(), cancel }
    }

    /// Cancels the runs of this name that `who` may cancel: an administrator all, others their own. False if there are none.
    pub(super) fn cancel(&self, name: &str, who: &Principal) -> bool {
        let runs = self.runs.lock();
        let of_name = runs.get(name).into_iter().flatten();
        let theirs = of_name.filter(|run| who.role == Role::Administrator || run.owner == who.name);
        theirs.inspect(|run| run.cancel.cancel()).count() > 0
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        self.cancel.cancel();
        let mut runs = self.running.runs.lock();
        if let Some(of_name) = runs.get_mut(&self.name) {
            of_name.retain(|run| !run.cancel.is_cancelled());
            if of_name.is_empty() {
                runs.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cancelled_by_those_who_may_and_leave_nothing_behind() {
        let of = |name: &str, role| Principal { name: name.into(), role };
        let (ann, bob) = (of("ann", Role::Reader), of("bob", Role::Reader));
        let running = Arc::new(Running::default());
        let (first, second) = (running.start("a", &ann), running.start("a", &ann));
        assert!(!running.cancel("a", &bob) && !running.cancel("b", &ann) && !first.cancel.is_cancelled());
        drop(second);
        assert!(!first.cancel.is_cancelled() && running.cancel("a", &ann) && first.cancel.is_cancelled());
        let third = running.start("c", &ann);
        assert!(running.cancel("c", &of("root", Role::Administrator)));
        drop((first, third));
        assert!(running.runs.lock().is_empty());
    }
}
