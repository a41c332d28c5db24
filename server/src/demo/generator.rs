//! The demo's events: orders of rides in a few hundred cities, skewed as such data is.
//!
//! A pure function of its seed and of the clock that the caller passes in, so that tests and benchmarks get
//! the same events again. What a consumer must cope with is in the stream on purpose: about 1 % of the events
//! are minutes late, 0.5 % are exact duplicates, 0.1 % cannot be decoded, fields are missing where an order
//! has no value for them yet, and few cities, drivers and riders make most of the events.

use std::collections::VecDeque;
use std::io::Write;

use chrono::{DateTime, SecondsFormat};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use uuid::Builder;

use super::cities::{CITIES, City, currency_of};

const LATE: f64 = 0.01;
const LATE_MS_MAX: i64 = 15 * 60_000;
const DUPLICATE: f64 = 0.005;
const UNDECODABLE: f64 = 0.001;

/// Orders under way, held between these bounds.
const ORDERS_MIN: usize = 500;
const ORDERS_MAX: usize = 5_000;
/// An order makes 2.92 events (8 % are cancelled before a driver accepts), so this share of events opens one.
const NEW_ORDER: f64 = 1.0 / 2.92;
/// A duplicate repeats one of this many latest events.
const RECENT: usize = 64;

const DRIVERS_PER_CITY: u64 = 5_000;
const RIDERS: u64 = 2_000_000;

const VEHICLES: [(&str, f64, f64); 5] = [
    ("economy", 0.62, 1.0),
    ("moto", 0.14, 0.6),
    ("comfort", 0.13, 1.4),
    ("xl", 0.08, 1.8),
    ("premium", 0.03, 2.6),
];
const PAYMENTS: [(&str, f64); 4] = [("card", 0.55), ("cash", 0.25), ("wallet", 0.17), ("voucher", 0.03)];
const TAGS: [(&str, f64); 6] = [
    ("surge", 0.12),
    ("airport", 0.06),
    ("pool", 0.05),
    ("scheduled", 0.04),
    ("pet", 0.01),
    ("accessible", 0.01),
];

/// One message for the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Message key: the city.
    pub key: &'static str,
    /// Message value: JSON, but for the few that are broken.
    pub payload: Vec<u8>,
}

/// An order from its request to its end.
#[derive(Debug)]
struct Order {
    id: uuid::Uuid,
    /// Index in `CITIES`.
    city: usize,
    vehicle: &'static str,
    payment: &'static str,
    distance_km: f64,
    fare: f64,
    rider_id: u64,
    /// Once a driver has accepted.
    driver_id: Option<u64>,
    tags: Vec<&'static str>,
}

/// An endless, repeatable stream of events.
#[derive(Debug)]
pub struct Generator {
    random: SmallRng,
    orders: Vec<Order>,
    recent: VecDeque<Event>,
}

impl Generator {
    /// The stream of that seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            orders: Vec::new(),
            recent: VecDeque::with_capacity(RECENT),
        }
    }

    /// The next event, as of `now_ms` (milliseconds since the epoch).
    pub fn next(&mut self, now_ms: i64) -> Event {
        if self.random.random_bool(DUPLICATE) && !self.recent.is_empty() {
            let index = self.random.random_range(0..self.recent.len());
            return self.recent[index].clone();
        }
        let late = self.random.random_bool(LATE);
        let late_ms = if late { self.random.random_range(60_000..LATE_MS_MAX) } else { 0 };
        let mut event = self.advance(now_ms - late_ms);
        if self.random.random_bool(UNDECODABLE) {
            self.damage(&mut event);
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
        event
    }

    /// Opens an order or moves one on.
    fn advance(&mut self, event_ms: i64) -> Event {
        let few = self.orders.len() < ORDERS_MIN;
        if few || (self.orders.len() < ORDERS_MAX && self.random.random_bool(NEW_ORDER)) {
            let order = self.open();
            let event = self.event(&order, "requested", event_ms);
            self.orders.push(order);
            return event;
        }
        let index = self.random.random_range(0..self.orders.len());
        let accepted = self.orders[index].driver_id.is_some();
        let cancelled = self.random.random_bool(if accepted { 0.04 } else { 0.08 });
        if accepted || cancelled {
            let order = self.orders.swap_remove(index);
            return self.event(&order, if cancelled { "cancelled" } else { "completed" }, event_ms);
        }
        let mut order = self.orders.swap_remove(index);
        order.driver_id = Some(order.city as u64 * DRIVERS_PER_CITY + self.zipf(DRIVERS_PER_CITY));
        let event = self.event(&order, "accepted", event_ms);
        self.orders.push(order);
        event
    }

    fn open(&mut self) -> Order {
        let city = self.zipf(CITIES.len() as u64) as usize;
        let (vehicle, _, vehicle_factor) = self.pick(&VEHICLES, |vehicle| vehicle.1);
        let (payment, _) = self.pick(&PAYMENTS, |payment| payment.1);
        // Log-normal around 5 km, as the sum of uniform draws makes it.
        let normal = (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0;
        let distance_km = (5.0 * (0.7 * normal).exp()).clamp(0.4, 80.0);
        let mut tags = Vec::new();
        for (tag, chance) in TAGS {
            if self.random.random_bool(chance) {
                tags.push(tag);
            }
        }
        let surge = if tags.contains(&"surge") { self.random.random_range(1.2..2.5) } else { 1.0 };
        let first_km = currency_of(CITIES[city].country).1;
        let fare = first_km * vehicle_factor * surge * (1.0 + 0.45 * distance_km);
        let id = Builder::from_random_bytes(self.random.random()).into_uuid();
        let rider_id = 1 + self.zipf(RIDERS);
        Order { id, city, vehicle, payment, distance_km, fare, rider_id, driver_id: None, tags }
    }

    /// Writes the event of an order. A field without a value is left out; rating and tip come at the end of a ride.
    fn event(&mut self, order: &Order, status: &str, event_ms: i64) -> Event {
        let mut out = Vec::with_capacity(320);
        let time = DateTime::from_timestamp_millis(event_ms).unwrap_or_default();
        let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let City { name, country } = CITIES[order.city];
        let (id, vehicle, distance_km, fare) = (order.id, order.vehicle, order.distance_km, order.fare);
        let currency = currency_of(country).0;
        let rider_id = order.rider_id;
        // Writing to memory cannot fail.
        let _ =
            write!(out, r#"{{"order_id":"{id}","event_time":"{time}","city":"{name}","country":"{country}""#);
        let _ = write!(out, r#","vehicle":"{vehicle}","status":"{status}","distance_km":{distance_km:.1}"#);
        let _ = write!(out, r#","fare":{fare:.2},"currency":"{currency}","rider_id":{rider_id}"#);
        if let Some(driver_id) = order.driver_id {
            let _ = write!(out, r#","driver_id":{driver_id}"#);
        }
        let completed = status == "completed";
        if completed && self.random.random_bool(0.4) {
            let rating = 5 - self.zipf(5);
            let _ = write!(out, r#","rating":{rating}"#);
        }
        let _ = write!(out, r#","payment":{{"method":"{}""#, order.payment);
        if completed && order.payment != "cash" && self.random.random_bool(0.2) {
            let tip = fare * self.random.random_range(0.05..0.2);
            let _ = write!(out, r#","tip":{tip:.2}"#);
        }
        out.push(b'}');
        if !order.tags.is_empty() {
            let _ = write!(out, r#","tags":["{}"]"#, order.tags.join("\",\""));
        }
        out.push(b'}');
        Event { key: name, payload: out }
    }

    /// Breaks an event in one of the ways in which producers do.
    fn damage(&mut self, event: &mut Event) {
        match self.random.random_range(0..3) {
            0 => {
                let length = self.random.random_range(1..event.payload.len());
                event.payload.truncate(length);
            }
            1 => replace(&mut event.payload, b"\"distance_km\":", b"\"distance_km\":\"far\",\"was\":"),
            _ => replace(&mut event.payload, b"\"event_time\":\"", b"\"event_time\":\"about "),
        }
    }

    /// A rank below `count`, the chance of rank r being about 1 / ((r + 1) ln(count)): Zipf with exponent 1.
    fn zipf(&mut self, count: u64) -> u64 {
        let rank = ((count + 1) as f64).powf(self.random.random::<f64>()) as u64;
        rank.clamp(1, count) - 1
    }

    fn pick<T: Copy>(&mut self, choices: &[T], weight: impl Fn(&T) -> f64) -> T {
        let mut left = self.random.random::<f64>();
        for choice in choices {
            left -= weight(choice);
            if left < 0.0 {
                return *choice;
            }
        }
        choices[0]
    }
}

fn replace(payload: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    if let Some(at) = payload.windows(from.len()).position(|window| window == from) {
        payload.splice(at..at + from.len(), to.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;

    const NOW: i64 = 1_767_225_600_000;
    const COUNT: usize = 200_000;

    #[test]
    fn the_same_seed_gives_the_same_events() {
        let take = |seed| {
            let mut generator = Generator::new(seed);
            (0..3_000).map(|tick| generator.next(NOW + tick)).collect::<Vec<_>>()
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
    }

    #[test]
    fn events_are_skewed_and_faulty_as_documented() {
        let mut generator = Generator::new(1);
        let (mut bytes, mut late, mut undecodable, mut duplicates) = (0, 0, 0, 0);
        let mut seen = BTreeSet::new();
        let mut cities = BTreeMap::<String, usize>::new();
        let mut statuses = BTreeMap::<String, usize>::new();
        for _ in 0..COUNT {
            let event = generator.next(NOW);
            bytes += event.payload.len();
            duplicates += usize::from(!seen.insert(event.payload.clone()));
            let Ok(value) = serde_json::from_slice::<Value>(&event.payload) else {
                undecodable += 1;
                continue;
            };
            let (time, distance) = (value["event_time"].as_str().unwrap(), &value["distance_km"]);
            let Ok(time) = time.parse::<DateTime<chrono::Utc>>() else {
                undecodable += 1;
                continue;
            };
            undecodable += usize::from(!distance.is_number());
            late += usize::from(time.timestamp_millis() < NOW);
            assert_eq!(value["city"], event.key);
            *cities.entry(event.key.to_owned()).or_default() += 1;
            *statuses.entry(value["status"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let share = |count: usize| count as f64 / COUNT as f64;
        assert!((200..300).contains(&(bytes / COUNT)), "{} bytes a message", bytes / COUNT);
        assert!((0.008..0.012).contains(&share(late)), "late {late}");
        assert!((0.004..0.006).contains(&share(duplicates)), "duplicates {duplicates}");
        assert!((0.0005..0.0015).contains(&share(undecodable)), "undecodable {undecodable}");
        assert!(cities.len() > 250, "{} cities", cities.len());
        let top = cities.values().max().copied().unwrap();
        assert!((0.08..0.20).contains(&share(top)), "the largest city has {top}");
        assert_eq!(statuses.keys().collect::<Vec<_>>(), ["accepted", "cancelled", "completed", "requested"]);
        assert!(statuses["requested"] > statuses["completed"], "{statuses:?}");
    }
}
