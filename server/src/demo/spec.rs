//! The table of the demo, and its dashboard.

use std::net::SocketAddr;

/// Name of the demo's table.
pub const TABLE: &str = "rides";
/// Topic of the demo's events.
pub const TOPIC: &str = "rides";

/// Id of the demo's dashboard.
pub const DASHBOARD_ID: &str = "rides";
/// The demo's dashboard, as JSON.
pub const DASHBOARD: &str = include_str!("dashboard.json");

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
    use headwater_broker::dashboards::read_dashboard;
    use headwater_segment::spec::parse_spec;

    use super::*;

    #[test]
    fn the_dashboard_is_one_that_can_be_kept() {
        let dashboard = read_dashboard(&serde_json::from_str(DASHBOARD).unwrap()).unwrap();
        assert!(dashboard.panels.iter().all(|panel| panel.sql.contains(TABLE)));
    }

    #[test]
    fn the_spec_is_one_that_a_table_can_be_made_of() {
        let text = rides_spec(SocketAddr::from(([127, 0, 0, 1], 9092)));
        let spec = parse_spec(&text).unwrap();
        assert_eq!((spec.name.as_str(), spec.stream.topic.as_str()), (TABLE, TOPIC));
        assert_eq!(spec.stream.brokers, ["127.0.0.1:9092"]);
        assert_eq!(spec.sort_key, ["city", "event_time"]);
        assert_eq!((spec.seal.rows_max, spec.seal.age_max.as_secs()), (200_000, 30));
    }
}
