//! What `/proc` says about a process: CPU time and memory.

use std::fs;
use std::time::Duration;

use crate::Result;

/// The kernel reports CPU time in these ticks (`USER_HZ`), 100 a second on every Linux that we know of.
const TICKS_PER_SECOND: u64 = 100;

/// User and system time of all threads of a process, those that have ended included.
///
/// # Errors
/// If the process is gone.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses and may hold anything.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).ok_or("/proc/PID/stat has too few fields")?;
    Ok(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

/// The largest resident memory so far, in bytes.
///
/// # Errors
/// If the process is gone.
pub fn peak_memory_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("/proc/PID/status has no VmHWM")?;
    let kilobytes = line.split_whitespace().nth(1).ok_or("VmHWM has no value")?.parse::<u64>()?;
    Ok(kilobytes * 1024)
}
