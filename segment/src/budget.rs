//! The node's budget for memory that holds rows not sealed yet.
//!
//! One [`MemoryBudget`] per process. Every allocation of a mutable segment is charged while it lives, so
//! `used` is what is really held, including buffers that a running query keeps after its segment is gone.
//! The budget refuses nothing: a row that was fetched is always taken. Backpressure is the consumer's
//! decision: it pauses fetching while memory is [short](MemoryBudget::is_short), which is from the high mark on until no longer
//! above the low one, and the same for all who ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Consumption pauses above this share of the limit.
const HIGH_MARK_PERCENT: u128 = 85;
/// Consumption resumes below this share of the limit.
const LOW_MARK_PERCENT: u128 = 60;

/// Lock-free accounting of mutable memory, in bytes.
#[derive(Debug)]
pub struct MemoryBudget {
    used: AtomicU64,
    /// The high mark was passed, and the low one not reached since.
    was_high: AtomicBool,
    limit: u64,
    high: u64,
    low: u64,
}

impl MemoryBudget {
    /// A budget of `bytes_max`; its high mark is 85 % and its low mark 60 % of that.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        let share = |percent: u128| (u128::from(bytes_max) * percent / 100) as u64;
        Arc::new(Self {
            used: AtomicU64::new(0),
            was_high: AtomicBool::new(false),
            limit: bytes_max,
            high: share(HIGH_MARK_PERCENT),
            low: share(LOW_MARK_PERCENT),
        })
    }

    /// Adds bytes that were allocated.
    pub fn charge(&self, bytes: u64) {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.high {
            self.was_high.store(true, Ordering::Relaxed);
        }
    }

    /// Takes back bytes that were charged before. Never goes below zero.
    pub fn release(&self, bytes: u64) {
        let below = |used: u64| Some(used.saturating_sub(bytes));
        // The closure always returns a value, so the update always succeeds.
        let (Ok(before) | Err(before)) = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below);
        if before.saturating_sub(bytes) <= self.low {
            self.was_high.store(false, Ordering::Relaxed);
        }
    }

    /// Bytes charged now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether more is used than the high mark.
    pub fn above_high(&self) -> bool {
        self.used() > self.high
    }

    /// Whether fetching should pause and the largest segments be sealed: from the high mark on, until no longer above the low one.
    pub fn is_short(&self) -> bool {
        // Charges and releases at the same time may leave a wrong note; between the marks it does no harm.
        self.above_high() || (self.was_high.load(Ordering::Relaxed) && self.used() > self.low)
    }
}

/// What one segment has charged to the budget.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Arc<MemoryBudget>,
    bytes: AtomicU64,
}

impl Account {
    pub(crate) fn new(budget: Arc<MemoryBudget>) -> Arc<Self> {
        Arc::new(Self { budget, bytes: AtomicU64::new(0) })
    }

    /// Bytes held by the segment now.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A charge that lasts as long as the allocation that it stands for: own it beside the memory.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: u64,
}

impl Charge {
    pub(crate) fn new(account: &Arc<Account>, bytes: usize) -> Self {
        let mut charge = Self { account: Arc::clone(account), bytes: 0 };
        charge.resize(bytes);
        charge
    }

    /// Follows an allocation that grew or shrank to `bytes`.
    pub(crate) fn resize(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if bytes >= self.bytes {
            self.account.bytes.fetch_add(bytes - self.bytes, Ordering::Relaxed);
            self.account.budget.charge(bytes - self.bytes);
        } else {
            self.account.bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            self.account.budget.release(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_at_85_and_60_percent() {
        let budget = MemoryBudget::new(1000);
        budget.charge(850);
        assert!(!budget.above_high() && !budget.is_short());
        budget.charge(1);
        assert!(budget.above_high() && budget.is_short());
        budget.release(1);
        assert!(!budget.above_high() && budget.is_short());
        assert_eq!((budget.used(), budget.limit()), (850, 1000));
        budget.release(249);
        assert!(budget.is_short());
        budget.release(1);
        assert!(!budget.is_short());
        budget.charge(200);
        assert!(!budget.is_short(), "that it was short before is over");
    }

    #[test]
    fn release_does_not_wrap() {
        let budget = MemoryBudget::new(u64::MAX);
        budget.release(5);
        assert_eq!(budget.used(), 0);
        assert!(!budget.is_short());
    }

    #[test]
    fn a_charge_follows_its_allocation() {
        let budget = MemoryBudget::new(1000);
        let account = Account::new(Arc::clone(&budget));
        let mut first = Charge::new(&account, 100);
        let second = Charge::new(&account, 50);
        first.resize(10);
        assert_eq!((budget.used(), account.bytes()), (60, 60));
        drop(second);
        assert_eq!((budget.used(), account.bytes()), (10, 10));
        drop(first);
        assert_eq!((budget.used(), account.bytes()), (0, 0));
    }
}
