//! Whether this machine's clock agrees with another's.
//!
//! What hangs on it: freshness in every answer, which open segments are old, when garbage may be deleted, and whether an S3
//! server takes a signature at all (15 minutes).

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::report::Outcome;

/// From here on figures of freshness are wrong by more than they say.
const ODD: Duration = Duration::from_secs(2);
/// From here on signatures and grace periods are in danger.
const BAD: Duration = Duration::from_secs(300);

/// How far this clock is ahead of another one that showed `there` at some moment between `before` and `after` here, in
/// milliseconds; negative: behind. The other one shows steps of `step` and has rounded down. Zero while the two may agree.
fn ahead_ms(before: DateTime<Utc>, there: DateTime<Utc>, after: DateTime<Utc>, step: Duration) -> i64 {
    let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    let surely_ahead = (before - there).num_milliseconds().saturating_sub(step_ms);
    let surely_behind = (there - after).num_milliseconds();
    if surely_ahead > 0 {
        surely_ahead
    } else if surely_behind > 0 {
        -surely_behind
    } else {
        0
    }
}

/// Compares; see [`ahead_ms`].
pub(super) fn compare(
    before: DateTime<Utc>,
    there: DateTime<Utc>,
    after: DateTime<Utc>,
    step: Duration,
) -> Outcome {
    let ahead_ms = ahead_ms(before, there, after, step);
    let apart = Duration::from_millis(ahead_ms.unsigned_abs());
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let seen = format!("this machine's clock is {:.1} s {side} the store's", apart.as_secs_f64());
    let fix = "synchronise the clocks of all machines (chrony, systemd-timesyncd)";
    match apart {
        Duration::ZERO => {
            Outcome::ok(format!("agrees with the store's, as far as {} s show it", step.as_secs().max(1)))
        }
        apart if apart >= BAD => Outcome::failure(seen, fix),
        apart if apart >= ODD => Outcome::warning(seen, fix),
        _ => Outcome::ok(seen),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_700_000_000_000 + ms).unwrap()
    }

    const STEP: Duration = Duration::from_secs(1);

    #[test]
    fn only_what_is_sure_counts() {
        // Asked at 5,000, answered at 5,400 here.
        for (there, ahead) in [
            (5_000, 0),
            (5_400, 0),
            // Rounded down from anything up to 4,999.
            (4_000, 0),
            (3_000, 1_000),
            (0, 4_000),
            (5_401, -1),
            (9_400, -4_000),
        ] {
            assert_eq!(ahead_ms(at(5_000), at(there), at(5_400), STEP), ahead, "{there}");
        }
    }

    #[test]
    fn verdicts_by_distance() {
        for (there_ms, verdict, text) in [
            (0, Verdict::Ok, "agrees"),
            (1_500, Verdict::Ok, "1.5 s behind"),
            (2_000, Verdict::Warning, "2.0 s behind"),
            (-10_000, Verdict::Warning, "9.0 s ahead of"),
            (400_000, Verdict::Failure, "400.0 s behind"),
            (-3_600_000, Verdict::Failure, "3599.0 s ahead of"),
        ] {
            let outcome = compare(at(0), at(there_ms), at(0), STEP);
            assert_eq!(outcome.verdict, verdict, "{there_ms}");
            assert!(outcome.seen.contains(text), "{}", outcome.seen);
            assert_eq!(outcome.fix.is_some(), verdict != Verdict::Ok);
        }
    }
}
