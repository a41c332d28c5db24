//! The machine: memory against budgets, limits of the process, room on disks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater_segment::machine;
use headwater_server::config::Config;

use super::report::{Area, Findings, Outcome, Place};
use crate::cli::screen::{grouped, size};

/// Files and sockets that a node has open under load: segments that are mapped, Kafka and client connections.
const OPEN_FILES_MIN: u64 = 16_384;
/// Below this it does not even serve some hundred clients.
const OPEN_FILES_BAD: u64 = 512;
/// What Linux allows by default; each resident column that is mapped takes one.
const MAPS_MIN: u64 = 65_530;
/// Free room on a disk that is written to, at least.
const DISK_BYTES_MIN: u64 = 1 << 30;
const LIMITS: &str = "/proc/self/limits";
const MAPS: &str = "/proc/sys/vm/max_map_count";

pub(super) async fn check(findings: &Findings, config: &Config) {
    let place = |check, subject: &str| Place::new(Area::Machine, check, subject);
    findings.add(place("memory", ""), memory(&budgets(config), machine::memory_bytes()));
    let limits = std::fs::read_to_string(LIMITS).unwrap_or_default();
    findings.add(place("open_files", ""), open_files(&limits));
    if !config.resident.dir.as_os_str().is_empty() {
        let text = std::fs::read_to_string(MAPS).unwrap_or_default();
        findings.add(place("max_map_count", ""), maps(&text));
    }
    let disks = directories(config).into_iter().map(|directory| async move {
        let place = place("disk", &format!("{} ({})", directory.path.display(), directory.setting));
        let fix = "the disk, or the network behind it, does not answer";
        if let Some((outcome, _)) = findings.within(&place, fix, disk(&directory)).await {
            findings.add(place, outcome);
        }
    });
    futures::future::join_all(disks).await;
}

/// What may be in memory at the same time, by its setting.
fn budgets(config: &Config) -> [(&'static str, u64); 3] {
    [
        ("ingest.memory_bytes_max", config.ingest.memory_bytes_max),
        ("query.memory_bytes_max", config.query.memory_bytes_max),
        ("resident.memory_bytes_max", config.resident.memory_bytes_max),
    ]
}

fn memory(budgets: &[(&'static str, u64)], machine: u64) -> Outcome {
    let total: u64 = budgets.iter().fold(0, |total, (_, bytes)| total.saturating_add(*bytes));
    let seen = format!("budgets of {} on a machine, or in a container, of {}", size(total), size(machine));
    let largest = budgets.iter().max_by_key(|(_, bytes)| *bytes).map_or("", |(setting, _)| *setting);
    if total > machine {
        let fix = format!("the process would be killed under load; lower {largest}, or give it more memory");
        Outcome::failure(seen, fix)
    } else if total > machine / 10 * 9 {
        Outcome::warning(seen, format!("leave a tenth for everything else: lower {largest}"))
    } else {
        Outcome::ok(seen)
    }
}

/// `limits` is the text of [`LIMITS`]. A node raises the soft limit to the hard one by itself.
fn open_files(limits: &str) -> Outcome {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1));
    match hard.map(|hard| (hard, hard.parse::<u64>())) {
        None => Outcome::skipped("this system does not tell"),
        Some(("unlimited", _)) => Outcome::ok("unlimited"),
        Some((text, Err(_))) => Outcome::skipped(format!("{text:?} is no number")),
        Some((_, Ok(hard))) => {
            let seen = format!("at most {}", grouped(hard));
            let fix = "raise it: ulimit -Hn 65536, LimitNOFILE= of systemd, or --ulimit nofile of Docker";
            match hard {
                hard if hard < OPEN_FILES_BAD => Outcome::failure(seen, fix),
                hard if hard < OPEN_FILES_MIN => Outcome::warning(seen, fix),
                _ => Outcome::ok(seen),
            }
        }
    }
}

fn maps(text: &str) -> Outcome {
    match text.trim().parse::<u64>() {
        Ok(maps) if maps < MAPS_MIN => Outcome::warning(
            format!("at most {}", grouped(maps)),
            "resident columns are mapped files: sysctl vm.max_map_count=262144",
        ),
        Ok(maps) => Outcome::ok(format!("at most {}", grouped(maps))),
        Err(_) => Outcome::skipped("this system does not tell"),
    }
}

/// A directory that a node writes to, and how much it may.
struct Directory {
    setting: &'static str,
    path: PathBuf,
    bytes_max: u64,
}

fn directories(config: &Config) -> Vec<Directory> {
    let mut directories = Vec::new();
    let resident = &config.resident;
    if !resident.dir.as_os_str().is_empty() {
        directories.push(Directory {
            setting: "resident.dir",
            path: resident.dir.clone(),
            bytes_max: resident.disk_bytes_max,
        });
    }
    let spill = &config.query;
    let path = match spill.spill_dir.as_os_str().is_empty() {
        true => std::env::temp_dir(),
        false => spill.spill_dir.clone(),
    };
    directories.push(Directory { setting: "query.spill_dir", path, bytes_max: spill.spill_bytes_max });
    if let Some(path) = config.store.url.strip_prefix("file://") {
        directories.push(Directory { setting: "store.url", path: path.into(), bytes_max: 0 });
    }
    directories
}

async fn disk(directory: &Directory) -> Outcome {
    // What is missing is made when the node starts, in what is there.
    let mut there = directory.path.as_path();
    while !there.exists() {
        there = match there.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    if let Err(error) = writable(there) {
        let seen = format!("cannot be written to: {error}");
        let fix = format!("give {} to the user that headwater runs as, or set another", there.display());
        return Outcome::failure(seen, fix);
    }
    of_room(free_bytes(there).await, directory)
}

fn of_room(free: Option<u64>, directory: &Directory) -> Outcome {
    let Some(free) = free else {
        return Outcome::ok("can be written to; `df` does not tell how much is free");
    };
    let seen = format!("can be written to, {} free", size(free));
    if free < DISK_BYTES_MIN {
        return Outcome::failure(seen, "make room, or use another disk");
    }
    if free < directory.bytes_max {
        let fix = format!("it may grow to {}: make room, or lower that limit", size(directory.bytes_max));
        return Outcome::warning(seen, fix);
    }
    Outcome::ok(seen)
}

/// Whether files can be made in a directory: one is made, and deleted.
pub(super) fn writable(directory: &Path) -> std::io::Result<()> {
    let probe = directory.join(format!(".headwater-doctor-{}", ulid::Ulid::new()));
    std::fs::write(&probe, b"x")?;
    std::fs::remove_file(&probe)
}

/// Free bytes on the disk of a directory, as POSIX' `df` tells them.
async fn free_bytes(directory: &Path) -> Option<u64> {
    let asked = tokio::process::Command::new("df").arg("-Pk").arg(directory).kill_on_drop(true).output();
    let answer = tokio::time::timeout(Duration::from_secs(5), asked).await.ok()?.ok()?;
    parse_df(&String::from_utf8_lossy(&answer.stdout))
}

fn parse_df(text: &str) -> Option<u64> {
    let kilobytes: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;

    #[test]
    fn budgets_are_held_against_the_machine() {
        let verdict = |bytes| memory(&[("a", bytes), ("b", 100)], 1000).verdict;
        assert_eq!(verdict(700), Verdict::Ok);
        assert_eq!(verdict(850), Verdict::Warning);
        let outcome = memory(&[("a", 901), ("b", 100)], 1000);
        assert_eq!(outcome.verdict, Verdict::Failure);
        assert!(outcome.fix.unwrap().contains("lower a"));
        assert_eq!(memory(&[("a", u64::MAX), ("b", 7)], 1000).verdict, Verdict::Failure);
        assert_eq!(memory(&budgets(&Config::default()), machine::memory_bytes()).verdict, Verdict::Ok);
    }

    #[test]
    fn limits_are_read_as_linux_writes_them() {
        let line = |hard: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units\nMax open files            256                  {hard}              files\n"
            )
        };
        for (hard, verdict) in [
            ("256", Verdict::Failure),
            ("4096", Verdict::Warning),
            ("65536", Verdict::Ok),
            ("unlimited", Verdict::Ok),
            ("many", Verdict::Skipped),
        ] {
            assert_eq!(open_files(&line(hard)).verdict, verdict, "{hard}");
        }
        assert_eq!(open_files("").verdict, Verdict::Skipped);
        for (text, verdict) in
            [("65530\n", Verdict::Ok), ("1000\n", Verdict::Warning), ("", Verdict::Skipped)]
        {
            assert_eq!(maps(text).verdict, verdict, "{text}");
        }
    }

    #[test]
    fn room_is_held_against_what_may_be_needed() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 100 40 60 40% /\n";
        assert_eq!(parse_df(text), Some(60 << 10));
        for text in ["", "one line", "a\nb c d\n", "a\nb 1 2 x 3% /\n"] {
            assert_eq!(parse_df(text), None, "{text}");
        }
        let directory = Directory { setting: "s", path: "/".into(), bytes_max: 10 << 30 };
        for (free, verdict) in [
            (Some(11 << 30), Verdict::Ok),
            (Some(5 << 30), Verdict::Warning),
            (Some(1 << 20), Verdict::Failure),
            (None, Verdict::Ok),
        ] {
            assert_eq!(of_room(free, &directory).verdict, verdict, "{free:?}");
        }
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_to_fails() {
        let directory = |path: &str| Directory { setting: "resident.dir", path: path.into(), bytes_max: 0 };
        // Whoever runs the tests: nobody makes files there.
        let outcome = disk(&directory("/proc/self/headwater")).await;
        assert_eq!(outcome.verdict, Verdict::Failure, "{}", outcome.seen);
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("a").join("b");
        let outcome = disk(&directory(missing.to_str().unwrap())).await;
        assert_ne!(outcome.seen.find("can be written to"), None, "{}", outcome.seen);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
