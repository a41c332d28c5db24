//! The events of the benchmarks: flat ride orders of ten columns and about 230 bytes, the same for the same seed.
//!
//! Made so that making one costs some hundred nanoseconds: events come from a pool of rendered ones, and each
//! time an event is taken its order id and its time are written over. Order ids are distinct for ever; the other
//! columns are skewed as such data is (cities and riders by Zipf's law).

use chrono::{DateTime, SecondsFormat};
use headwater_segment::spec::{TableSpec, parse_spec};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::Result;

/// The table.
pub const TABLE: &str = "events";
/// Partitions of the benchmarks' topics.
pub const PARTITIONS: i32 = 4;

const POOL: usize = 16_384;
const CITIES: u64 = 300;
const RIDERS: u64 = 2_000_000;
const DRIVERS: u64 = 400_000;
const VEHICLES: [&str; 5] = ["economy", "moto", "comfort", "extra_large", "premium"];
const STATUSES: [&str; 4] = ["requested", "accepted", "completed", "cancelled"];
const CURRENCIES: [&str; 6] = ["EUR", "USD", "GBP", "BRL", "INR", "JPY"];

const ID_AT: usize = r#"{"order_id":""#.len();
const TIME_AT: usize = ID_AT + 36 + r#"","event_time":""#.len();
const TIME_LENGTH: usize = "2026-01-01T00:00:00.000Z".len();

/// Columns of the table, as the spec names them.
const COLUMNS: [(&str, &str); 10] = [
    ("order_id", "UUID"),
    ("event_time", "TIMESTAMP(3)"),
    ("city", "STRING"),
    ("vehicle", "STRING"),
    ("status", "STRING"),
    ("distance_km", "DOUBLE"),
    ("fare", "DECIMAL(12,2)"),
    ("currency", "STRING"),
    ("rider_id", "LONG"),
    ("driver_id", "LONG"),
];

/// An endless, repeatable stream of events.
pub struct Events {
    pool: Vec<Vec<u8>>,
    taken: u64,
    seed: u64,
}

impl Events {
    /// The stream of that seed.
    pub fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        Self { pool: (0..POOL).map(|_| render(&mut random)).collect(), taken: 0, seed }
    }

    /// The next event, with the time `now` (as [`time_text`] writes it).
    pub fn next(&mut self, now: &[u8; 24]) -> &[u8] {
        let number = self.taken;
        self.taken += 1;
        let event = &mut self.pool[number as usize % POOL];
        write_id(&mut event[ID_AT..ID_AT + 36], splitmix(self.seed.wrapping_add(number)), number);
        event[TIME_AT..TIME_AT + TIME_LENGTH].copy_from_slice(now);
        event
    }
}

/// RFC 3339 in UTC with milliseconds.
pub fn time_text(epoch_ms: i64) -> [u8; 24] {
    let time = DateTime::from_timestamp_millis(epoch_ms).unwrap_or_default();
    let text = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut bytes = *b"1970-01-01T00:00:00.000Z";
    // Years beyond 9999 are longer; nobody benchmarks there.
    if text.len() == bytes.len() {
        bytes.copy_from_slice(text.as_bytes());
    }
    bytes
}

/// The time of event `number` of a preloaded topic: ten events a millisecond.
pub fn preloaded_time(number: u64) -> [u8; 24] {
    time_text(1_767_225_600_000 + (number / 10) as i64)
}

/// The spec of the table over `topic`. Segments are sealed after `seal_rows_max` rows.
pub fn spec_text(kafka: &str, topic: &str, seal_rows_max: u64) -> String {
    let columns = COLUMNS
        .map(|(name, data_type)| format!("  - {{name: {name}, type: \"{data_type}\", nullable: false}}"));
    format!(
        "name: {TABLE}\ncolumns:\n{}\ntime_column: event_time\nsort_key: [city, event_time]\n\
         stream: {{brokers: [\"{kafka}\"], topic: {topic}, start: earliest}}\nseal: {{rows_max: {seal_rows_max}}}\n",
        columns.join("\n")
    )
}

/// The parsed spec, for benchmarks without a server.
///
/// # Errors
/// Never, as long as the spec above is a valid one.
pub fn spec() -> Result<TableSpec> {
    Ok(parse_spec(&spec_text("127.0.0.1:9092", TABLE, 5_000_000))?)
}

fn render(random: &mut SmallRng) -> Vec<u8> {
    let vehicle = VEHICLES[zipf(random, VEHICLES.len() as u64) as usize];
    let status = STATUSES[random.random_range(0..STATUSES.len())];
    let currency = CURRENCIES[zipf(random, CURRENCIES.len() as u64) as usize];
    let city = zipf(random, CITIES);
    let (rider, driver) = (1_000_000 + zipf(random, RIDERS), 100_000 + zipf(random, DRIVERS));
    let distance_km = 0.4 + 30.0 * random.random::<f64>().powi(2);
    let fare = 2.5 + 1.3 * distance_km;
    format!(
        r#"{{"order_id":"00000000-0000-4000-8000-000000000000","event_time":"1970-01-01T00:00:00.000Z","city":"City {city:03}","vehicle":"{vehicle}","status":"{status}","distance_km":{distance_km:.1},"fare":{fare:.2},"currency":"{currency}","rider_id":{rider},"driver_id":{driver}}}"#
    )
    .into_bytes()
}

/// A rank below `count`; the chance of rank r is about 1 / ((r + 1) ln(count)).
fn zipf(random: &mut SmallRng, count: u64) -> u64 {
    let rank = ((count + 1) as f64).powf(random.random::<f64>()) as u64;
    rank.clamp(1, count) - 1
}

fn splitmix(seed: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Writes a UUID of version 4's look: random high digits, the number at the end.
fn write_id(out: &mut [u8], random: u64, number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u64, index: usize| DIGITS[(value >> (4 * index)) as usize & 15];
    for (index, place) in (0..8).chain(9..13).enumerate() {
        out[place] = digit(random, index);
    }
    for (index, place) in (24..36).rev().enumerate() {
        out[place] = digit(number, index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_ten_columns_and_the_size_that_the_figures_name() {
        let mut events = Events::new(1);
        let mut bytes = 0;
        let mut ids = std::collections::HashSet::new();
        for number in 0..20_000 {
            let event = events.next(&preloaded_time(number)).to_vec();
            bytes += event.len();
            let value: serde_json::Value = serde_json::from_slice(&event).unwrap();
            let object = value.as_object().unwrap();
            assert!(
                COLUMNS.iter().map(|column| column.0).eq(object.keys().map(String::as_str)),
                "{object:?}"
            );
            assert!(ids.insert(value["order_id"].as_str().unwrap().to_string()));
        }
        let mean = bytes / 20_000;
        assert!((225..=240).contains(&mean), "{mean} bytes an event");
    }

    #[test]
    fn every_event_fits_the_table() {
        use headwater_ingest::decode::JsonDecoder;
        use headwater_segment::value::{RowSink, Value};
        struct Nothing;
        impl RowSink for Nothing {
            fn set(&mut self, _column: usize, _value: Value<'_>) {}
        }
        let spec = spec().unwrap();
        let schema = headwater_segment::schema::TableSchema::new(&spec);
        let mut decoder = JsonDecoder::new(&schema, &spec);
        let mut events = Events::new(7);
        for number in 0..2_000 {
            decoder.decode(events.next(&preloaded_time(number)), None, &(), &mut Nothing).unwrap();
        }
    }
}
