//! From acknowledgements and answers to figures. Pure.

use std::time::Duration;

use serde::Serialize;

use super::load::{Ack, Load};
use super::probe::Probe;

/// A rate counts as sustained if this share of it was reached ...
const SUSTAINED_SHARE: f64 = 0.98;
/// ... and the events not visible at the end of sending were fewer than arrive in this many seconds.
const SUSTAINED_LAG_SECONDS: f64 = 0.25;

/// Exact percentiles (nearest rank), in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Percentiles {
    pub(super) fn of(mut times_ns: Vec<u64>) -> Self {
        times_ns.sort_unstable();
        let rank = |share: f64| {
            let index = (times_ns.len() as f64 * share).ceil() as usize;
            times_ns.get(index.max(1) - 1).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
        };
        Self { p50: rank(0.5), p99: rank(0.99), p999: rank(0.999), max: rank(1.0) }
    }
}

/// What a run showed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) events: usize,
    pub(super) events_per_second: f64,
    pub(super) freshness_ms: Percentiles,
    pub(super) from_send_ms: Percentiles,
    pub(super) query_ms: Percentiles,
    pub(super) queries_per_second: f64,
    /// Events that were in an answer before their acknowledgement arrived; they count as 0.
    pub(super) events_visible_before_ack: usize,
    pub(super) events_never_visible: usize,
    /// Events acknowledged but not visible when sending ended, and the most at the arrival of any answer.
    pub(super) lag_events_end: u64,
    pub(super) lag_events_max: u64,
    pub(super) sustained: bool,
    pub(super) answers_wrong: usize,
    pub(super) cuts_gone_back: usize,
}

impl Figures {
    pub(super) fn new(load: &Load, probes: &[Probe], warm_up: Duration) -> Self {
        let counted_from_ns = load.began_ns + warm_up.as_nanos() as u64;
        let visible = first_visible(&load.acks, probes);
        let (mut fresh, mut from_send) = (Vec::new(), Vec::new());
        let (mut before_ack, mut never) = (0, 0);
        for (ack, visible_ns) in
            load.acks.iter().zip(&visible).filter(|(ack, _)| ack.sent_ns >= counted_from_ns)
        {
            let Some(visible_ns) = *visible_ns else {
                never += 1;
                continue;
            };
            before_ack += usize::from(visible_ns < ack.acked_ns);
            fresh.push(visible_ns.saturating_sub(ack.acked_ns));
            from_send.push(visible_ns.saturating_sub(ack.sent_ns));
        }
        let counted = |probe: &&Probe| (counted_from_ns..load.ended_ns).contains(&probe.asked_ns);
        let query: Vec<u64> =
            probes.iter().filter(counted).map(|probe| probe.arrived_ns - probe.asked_ns).collect();
        let seconds = load.ended_ns.saturating_sub(load.began_ns) as f64 / 1e9;
        let counted_seconds = (seconds - warm_up.as_secs_f64()).max(f64::MIN_POSITIVE);
        let (lag_events_end, lag_events_max) = lags(&load.acks, probes, load.ended_ns);
        let events_per_second = load.acks.len() as f64 / seconds;
        Self {
            events: load.acks.len(),
            events_per_second,
            freshness_ms: Percentiles::of(fresh),
            from_send_ms: Percentiles::of(from_send),
            queries_per_second: query.len() as f64 / counted_seconds,
            query_ms: Percentiles::of(query),
            events_visible_before_ack: before_ack,
            events_never_visible: never,
            lag_events_end,
            lag_events_max,
            sustained: never == 0
                && events_per_second >= SUSTAINED_SHARE * load.rate as f64
                && (lag_events_end as f64) < SUSTAINED_LAG_SECONDS * load.rate as f64,
            answers_wrong: probes.iter().filter(|probe| probe.rows != probe.cut.iter().sum::<i64>()).count(),
            cuts_gone_back: probes.windows(2).filter(|pair| goes_back(&pair[0], &pair[1])).count(),
        }
    }
}

fn goes_back(earlier: &Probe, later: &Probe) -> bool {
    earlier.cut.iter().zip(&later.cut).any(|(earlier, later)| later < earlier)
}

/// For every event, when the first answer arrived whose cut contains it. The probes are in order of time.
fn first_visible(acks: &[Ack], probes: &[Probe]) -> Vec<Option<u64>> {
    let cut_of = |probe: &Probe, partition: i32| probe.cut.get(partition as usize).copied().unwrap_or(0);
    acks.iter()
        .map(|ack| {
            // Cuts only grow (checked apart), so the first one that contains the offset can be searched for.
            let first = probes.partition_point(|probe| cut_of(probe, ack.partition) <= ack.offset);
            probes.get(first).map(|probe| probe.arrived_ns)
        })
        .collect()
}

/// Events acknowledged and not visible: at `end_ns`, and the most at the arrival of any answer until then.
fn lags(acks: &[Ack], probes: &[Probe], end_ns: u64) -> (u64, u64) {
    let acked_by = |ns: u64| acks.partition_point(|ack| ack.acked_ns <= ns) as u64;
    let visible_in = |probe: &Probe| probe.cut.iter().sum::<i64>().max(0) as u64;
    let until_end = &probes[..probes.partition_point(|probe| probe.arrived_ns <= end_ns)];
    // Against the answer before, which is what the world knows when this one arrives.
    let lags =
        until_end.windows(2).map(|pair| acked_by(pair[1].arrived_ns).saturating_sub(visible_in(&pair[0])));
    let at_end = acked_by(end_ns).saturating_sub(until_end.last().map_or(0, visible_in));
    (at_end, lags.max().unwrap_or(0).max(at_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(sent_ns: u64, acked_ns: u64, partition: i32, offset: i64) -> Ack {
        Ack { sent_ns, acked_ns, partition, offset }
    }

    fn probe(asked_ns: u64, arrived_ns: u64, cut: [i64; 2]) -> Probe {
        Probe { asked_ns, arrived_ns, rows: cut.iter().sum(), cut: cut.to_vec() }
    }

    #[test]
    fn an_event_is_visible_in_the_first_answer_whose_cut_is_above_it() {
        let acks = [ack(0, 10, 0, 0), ack(0, 10, 0, 1), ack(0, 10, 1, 0), ack(0, 10, 1, 1)];
        let probes = [probe(0, 5, [1, 0]), probe(5, 20, [1, 0]), probe(20, 30, [2, 1])];
        assert_eq!(first_visible(&acks, &probes), [Some(5), Some(30), Some(30), None]);
    }

    #[test]
    fn figures_clamp_what_was_visible_before_its_acknowledgement_and_name_what_never_was() {
        let acks = vec![ack(0, 10, 0, 0), ack(0, 10, 0, 1), ack(0, 12, 1, 0), ack(0, 12, 1, 1)];
        let load = Load { rate: 1, acks, bytes: 0, began_ns: 0, ended_ns: 40 };
        let probes = [probe(0, 5, [1, 0]), probe(5, 30, [2, 1])];
        let figures = Figures::new(&load, &probes, Duration::ZERO);
        assert_eq!((figures.events_visible_before_ack, figures.events_never_visible), (1, 1));
        let expected = Percentiles { p50: 18.0 / 1e6, p99: 20.0 / 1e6, p999: 20.0 / 1e6, max: 20.0 / 1e6 };
        assert_eq!(figures.freshness_ms, expected);
        assert_eq!((figures.lag_events_end, figures.lag_events_max), (1, 3));
        assert!(!figures.sustained);
        assert_eq!((figures.answers_wrong, figures.cuts_gone_back), (0, 0));
    }

    #[test]
    fn wrong_answers_are_found() {
        let load = Load { rate: 1, acks: Vec::new(), bytes: 0, began_ns: 0, ended_ns: 1 };
        let mut probes = [probe(0, 5, [3, 0]), probe(5, 30, [2, 1])];
        probes[1].rows = 4;
        let figures = Figures::new(&load, &probes, Duration::ZERO);
        assert_eq!((figures.answers_wrong, figures.cuts_gone_back), (1, 1));
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let percentiles = Percentiles::of((1..=1000).map(|ms| ms * 1_000_000).collect());
        assert_eq!(
            (percentiles.p50, percentiles.p99, percentiles.p999, percentiles.max),
            (500.0, 990.0, 999.0, 1000.0)
        );
        assert!(Percentiles::of(Vec::new()).p50.is_nan());
    }
}
