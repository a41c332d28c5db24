//! File handles. Connections of clients, mapped segments, files that queries spill to and connections to Kafka and to the store
//! share one limit of the process, and clients must not take what the others need.

/// Handles that are for everything but clients.
const BESIDE: u64 = 1024;

/// Raises the limit as far as the process may, and returns how many of the `wanted` connections there is room for.
pub(crate) fn room_for_connections(wanted: usize) -> usize {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be read; http.connections_max is taken as it is");
            return wanted;
        }
    };
    let room = room(limit, wanted);
    if room < wanted {
        tracing::warn!(
            open_files = limit,
            connections_max = wanted,
            connections = room,
            "fewer files may be open than http.connections_max needs; raise the limit: ulimit -n, LimitNOFILE= or --ulimit nofile"
        );
    }
    room
}

/// Half of a small limit, and all but [`BESIDE`] of a large one.
fn room(limit: u64, wanted: usize) -> usize {
    let room = limit.saturating_sub(BESIDE).max(limit / 2);
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_handles_for_others() {
        assert_eq!(room(1 << 20, 10_000), 10_000);
        assert_eq!(room(4096, 10_000), 3072);
        assert_eq!(room(1024, 10_000), 512);
        assert_eq!(room(0, 10_000), 1);
        assert_eq!(room(u64::MAX, usize::MAX), usize::try_from(u64::MAX - BESIDE).unwrap());
    }
}
