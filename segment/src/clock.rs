//! The clock of the wall, where a record carries a time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch; 0 before it.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}
