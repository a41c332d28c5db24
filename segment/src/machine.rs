//! What the machine has, and what this process takes of it.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};

/// Use over less time than this says little: the operating system counts processor time in hundredths of a second.
const SHORTEST: Duration = Duration::from_secs(1);
/// Use over more time than this says little of now.
const LONGEST: Duration = Duration::from_secs(10);
/// Nobody has looked of late: the use is taken over this time.
const LOOK: Duration = Duration::from_millis(200);

/// Memory of the machine, or less if the container may take less; 4 GiB if that cannot be read. In bytes.
pub fn memory_bytes() -> u64 {
    const UNKNOWN: u64 = 4 << 30;
    // Of cgroups v2, and of v1, where a number above all memory stands for no limit.
    const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    let limits = LIMITS.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    limits.fold(total.unwrap_or(UNKNOWN), u64::min)
}

/// Processors that this process may use; 2 if that cannot be read.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Memory of this process that is in the machine's memory, in bytes; `None` where the system does not say so.
pub fn process_memory_bytes() -> Option<u64> {
    Some(look()?.memory_bytes)
}

/// What this process takes of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessUse {
    /// Processors that it kept busy over the last seconds.
    pub cpus: f64,
    /// Its memory that is in the machine's, in bytes.
    pub memory_bytes: u64,
}

/// What this process takes at present; `None` where the system does not say so. Takes a fifth of a second if nobody has asked for long.
pub async fn process_use() -> Option<ProcessUse> {
    static LAST: LazyLock<Mutex<Meter>> = LazyLock::new(Mutex::default);
    let first = look()?;
    if let Some(known) = LAST.lock().take(first) {
        return Some(known);
    }
    tokio::time::sleep(LOOK).await;
    let second = look()?;
    Some(LAST.lock().between(first, second))
}

/// One look at the process.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    /// Processor time since the process began.
    busy: Duration,
    memory_bytes: u64,
}

fn look() -> Option<Look> {
    let pid = get_current_pid().ok()?;
    let mut system = System::new();
    let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
    let process = system.process(pid)?;
    Some(Look {
        at: Instant::now(),
        busy: Duration::from_millis(process.accumulated_cpu_time()),
        memory_bytes: process.memory(),
    })
}

/// Turns looks into use.
#[derive(Debug, Default)]
struct Meter {
    /// The last look that counted, and the use up to then.
    last: Option<(Look, f64)>,
}

impl Meter {
    /// The use that `now` tells by itself; `None` if the look before is too old for that.
    fn take(&mut self, now: Look) -> Option<ProcessUse> {
        let (before, cpus) = self.last?;
        match now.at.saturating_duration_since(before.at) {
            passed if passed < SHORTEST => Some(ProcessUse { cpus, memory_bytes: now.memory_bytes }),
            passed if passed <= LONGEST => Some(self.between(before, now)),
            _ => None,
        }
    }

    fn between(&mut self, before: Look, now: Look) -> ProcessUse {
        let passed = now.at.saturating_duration_since(before.at).as_secs_f64();
        let cpus = now.busy.saturating_sub(before.busy).as_secs_f64() / passed.max(f64::MIN_POSITIVE);
        self.last = Some((now, cpus));
        ProcessUse { cpus, memory_bytes: now.memory_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_taken_over_a_time_that_tells_something() {
        let began = Instant::now();
        let at = |ms: u64, busy_ms: u64| Look {
            at: began + Duration::from_millis(ms),
            busy: Duration::from_millis(busy_ms),
            memory_bytes: ms,
        };
        let mut meter = Meter::default();
        assert_eq!(meter.take(at(0, 0)), None, "there was no look before");
        assert_eq!(meter.between(at(0, 0), at(200, 100)), ProcessUse { cpus: 0.5, memory_bytes: 200 });
        assert_eq!(meter.take(at(300, 200)), Some(ProcessUse { cpus: 0.5, memory_bytes: 300 }), "too early");
        assert_eq!(meter.take(at(2_200, 4_100)), Some(ProcessUse { cpus: 2.0, memory_bytes: 2_200 }));
        assert_eq!(meter.take(at(12_201, 5_000)), None, "too late");
    }

    #[tokio::test]
    async fn this_process_takes_something() {
        let busy = std::thread::spawn(|| {
            let began = Instant::now();
            while began.elapsed() < 2 * LOOK {
                std::hint::spin_loop();
            }
        });
        let taken = process_use().await.unwrap();
        busy.join().unwrap();
        assert!(taken.cpus > 0.0 && taken.memory_bytes > 1 << 20, "{taken:?}");
        assert!(taken.memory_bytes < memory_bytes() && cpus() > 0, "{taken:?}");
    }
}
