//! The thirteen queries, as ClickHouse's documentation has them, in words that every dialect takes: conditions on years and
//! weeks are ranges of dates, which each engine can prune by.

use crate::contest::Query;

const YEAR: &str = "EXTRACT(YEAR FROM lo_orderdate)";

/// Flight, conditions.
const FLIGHT_1: [(&str, &str); 3] = [
    (
        "Q1.1",
        "lo_orderdate >= DATE '1993-01-01' AND lo_orderdate < DATE '1994-01-01' AND lo_discount BETWEEN 1 AND 3 AND lo_quantity < 25",
    ),
    (
        "Q1.2",
        "lo_orderdate >= DATE '1994-01-01' AND lo_orderdate < DATE '1994-02-01' AND lo_discount BETWEEN 4 AND 6 AND lo_quantity BETWEEN 26 AND 35",
    ),
    // Week 6 of 1994.
    (
        "Q1.3",
        "lo_orderdate >= DATE '1994-02-07' AND lo_orderdate < DATE '1994-02-14' AND lo_discount BETWEEN 5 AND 7 AND lo_quantity BETWEEN 26 AND 35",
    ),
];

const FLIGHT_2: [(&str, &str); 3] = [
    ("Q2.1", "p_category = 'MFGR#12' AND s_region = 'AMERICA'"),
    ("Q2.2", "p_brand >= 'MFGR#2221' AND p_brand <= 'MFGR#2228' AND s_region = 'ASIA'"),
    ("Q2.3", "p_brand = 'MFGR#2239' AND s_region = 'EUROPE'"),
];

const FLIGHT_3: [(&str, &str, &str); 4] = [
    (
        "Q3.1",
        "nation",
        "c_region = 'ASIA' AND s_region = 'ASIA' AND lo_orderdate >= DATE '1992-01-01' AND lo_orderdate < DATE '1998-01-01'",
    ),
    (
        "Q3.2",
        "city",
        "c_nation = 'UNITED STATES' AND s_nation = 'UNITED STATES' AND lo_orderdate >= DATE '1992-01-01' AND lo_orderdate < DATE '1998-01-01'",
    ),
    (
        "Q3.3",
        "city",
        "(c_city = 'UNITED KI1' OR c_city = 'UNITED KI5') AND (s_city = 'UNITED KI1' OR s_city = 'UNITED KI5') AND lo_orderdate >= DATE '1992-01-01' AND lo_orderdate < DATE '1998-01-01'",
    ),
    // December 1997.
    (
        "Q3.4",
        "city",
        "(c_city = 'UNITED KI1' OR c_city = 'UNITED KI5') AND (s_city = 'UNITED KI1' OR s_city = 'UNITED KI5') AND lo_orderdate >= DATE '1997-12-01' AND lo_orderdate < DATE '1998-01-01'",
    ),
];

const FLIGHT_4: [(&str, &str, &str); 3] = [
    (
        "Q4.1",
        "c_nation",
        "c_region = 'AMERICA' AND s_region = 'AMERICA' AND (p_mfgr = 'MFGR#1' OR p_mfgr = 'MFGR#2')",
    ),
    (
        "Q4.2",
        "s_nation, p_category",
        "c_region = 'AMERICA' AND s_region = 'AMERICA' AND lo_orderdate >= DATE '1997-01-01' AND lo_orderdate < DATE '1999-01-01' AND (p_mfgr = 'MFGR#1' OR p_mfgr = 'MFGR#2')",
    ),
    (
        "Q4.3",
        "s_city, p_brand",
        "s_nation = 'UNITED STATES' AND lo_orderdate >= DATE '1997-01-01' AND lo_orderdate < DATE '1999-01-01' AND p_category = 'MFGR#14'",
    ),
];

/// The queries in order. No answer depends on how ties are ordered: answers are compared as sets of rows.
pub fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for (name, condition) in FLIGHT_1 {
        let sql = format!(
            "SELECT sum(lo_extendedprice * lo_discount) AS revenue FROM lineorder_flat WHERE {condition}"
        );
        queries.push(Query::new(name, sql));
    }
    for (name, condition) in FLIGHT_2 {
        let sql = format!(
            "SELECT sum(lo_revenue) AS revenue, {YEAR} AS order_year, p_brand FROM lineorder_flat WHERE {condition} \
             GROUP BY order_year, p_brand ORDER BY order_year, p_brand"
        );
        queries.push(Query::new(name, sql));
    }
    for (name, place, condition) in FLIGHT_3 {
        let sql = format!(
            "SELECT c_{place}, s_{place}, {YEAR} AS order_year, sum(lo_revenue) AS revenue FROM lineorder_flat WHERE {condition} \
             GROUP BY c_{place}, s_{place}, order_year ORDER BY order_year ASC, revenue DESC"
        );
        queries.push(Query::new(name, sql));
    }
    for (name, keys, condition) in FLIGHT_4 {
        let sql = format!(
            "SELECT {YEAR} AS order_year, {keys}, sum(lo_revenue - lo_supplycost) AS profit FROM lineorder_flat WHERE {condition} \
             GROUP BY order_year, {keys} ORDER BY order_year, {keys}"
        );
        queries.push(Query::new(name, sql));
    }
    queries
}
