//! The table of the demo.

use std::net::SocketAddr;

/// Name of the demo's table.
pub const TABLE: &str = "rides";
/// Topic of the demo's events.
pub const TOPIC: &str = "rides";

/// The spec of the table `rides`, as YAML, bound to the broker at `broker`.
pub fn rides_spec(broker: SocketAddr) -> String {
    include_str!("rides.yaml").replace("${BROKERS}", &format!("[\"{broker}\"]")).replace("${TOPIC}", TOPIC)
}

/// Queries worth pasting into the demo.
pub const EXAMPLE_QUERIES: [&str; 3] = [
    "SELECT city, count(*) AS orders, avg(distance_km) AS avg_km FROM rides GROUP BY city ORDER BY orders DESC LIMIT 10",
    "SELECT status, count(*) AS events, count(DISTINCT rider_id) AS riders FROM rides \
     WHERE event_time > now() - INTERVAL '1 minute' GROUP BY status ORDER BY events DESC",
    "SELECT currency, sum(fare) AS fares, sum(tip) AS tips, max(fare) AS highest FROM rides \
     WHERE status = 'completed' GROUP BY currency ORDER BY fares DESC LIMIT 10",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spec_is_yaml_without_places_left_open() {
        let text = rides_spec(SocketAddr::from(([127, 0, 0, 1], 9092)));
        assert!(!text.contains("${"));
        let value: serde_json::Value = serde_yaml_ng::from_str(&text).unwrap();
        assert_eq!(value["stream"]["brokers"][0], "127.0.0.1:9092");
        assert_eq!(value["columns"].as_array().unwrap().len(), 15);
    }
}
