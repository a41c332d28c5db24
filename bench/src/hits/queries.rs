//! ClickBench's 43 queries: <https://github.com/ClickHouse/ClickBench/blob/main/clickhouse/queries.sql>
//!
//! What differs: names are lower case, dates are written as such, and constants that name a value name one of this table (a user,
//! the hash of a page). Where a query counts rows, its threshold is what it was of ClickBench's 100 million rows; offsets are a
//! tenth. Length is in bytes everywhere, a function of another name in each dialect.

use super::rows::{text_hash, user_id};
use super::sites::DASHBOARD_COUNTER;
use crate::contest::{Compare, Query};
use crate::engines::EngineName;

const SITE: &str =
    "counterid = 62 AND eventdate >= DATE '2013-07-01' AND eventdate <= DATE '2013-07-31' AND isrefresh = 0";
/// A user of middling activity.
const USER_RANK: u64 = 100;

/// Each with what its limit leaves open: the column that it is ordered by, if rows with the same value there are cut off.
const QUERIES: [(&str, Option<Compare>); 43] = [
    ("SELECT count(*) FROM hits", None),
    ("SELECT count(*) FROM hits WHERE advengineid <> 0", None),
    ("SELECT sum(advengineid), count(*), avg(resolutionwidth) FROM hits", None),
    ("SELECT avg(userid) FROM hits", None),
    ("SELECT count(DISTINCT userid) FROM hits", None),
    ("SELECT count(DISTINCT searchphrase) FROM hits", None),
    ("SELECT min(eventdate), max(eventdate) FROM hits", None),
    (
        "SELECT advengineid, count(*) FROM hits WHERE advengineid <> 0 GROUP BY advengineid ORDER BY count(*) DESC",
        None,
    ),
    (
        "SELECT regionid, count(DISTINCT userid) AS u FROM hits GROUP BY regionid ORDER BY u DESC LIMIT 10",
        limit(1),
    ),
    (
        "SELECT regionid, sum(advengineid), count(*) AS c, avg(resolutionwidth), count(DISTINCT userid) FROM hits \
         GROUP BY regionid ORDER BY c DESC LIMIT 10",
        limit(2),
    ),
    (
        "SELECT mobilephonemodel, count(DISTINCT userid) AS u FROM hits WHERE mobilephonemodel <> '' \
         GROUP BY mobilephonemodel ORDER BY u DESC LIMIT 10",
        limit(1),
    ),
    (
        "SELECT mobilephone, mobilephonemodel, count(DISTINCT userid) AS u FROM hits WHERE mobilephonemodel <> '' \
         GROUP BY mobilephone, mobilephonemodel ORDER BY u DESC LIMIT 10",
        limit(2),
    ),
    (
        "SELECT searchphrase, count(*) AS c FROM hits WHERE searchphrase <> '' GROUP BY searchphrase ORDER BY c DESC LIMIT 10",
        limit(1),
    ),
    (
        "SELECT searchphrase, count(DISTINCT userid) AS u FROM hits WHERE searchphrase <> '' \
         GROUP BY searchphrase ORDER BY u DESC LIMIT 10",
        limit(1),
    ),
    (
        "SELECT searchengineid, searchphrase, count(*) AS c FROM hits WHERE searchphrase <> '' \
         GROUP BY searchengineid, searchphrase ORDER BY c DESC LIMIT 10",
        limit(2),
    ),
    ("SELECT userid, count(*) FROM hits GROUP BY userid ORDER BY count(*) DESC LIMIT 10", limit(1)),
    (
        "SELECT userid, searchphrase, count(*) FROM hits GROUP BY userid, searchphrase ORDER BY count(*) DESC LIMIT 10",
        limit(2),
    ),
    (
        "SELECT userid, searchphrase, count(*) FROM hits GROUP BY userid, searchphrase LIMIT 10",
        Some(Compare::Count),
    ),
    (
        "SELECT userid, extract(minute FROM eventtime) AS m, searchphrase, count(*) FROM hits \
         GROUP BY userid, m, searchphrase ORDER BY count(*) DESC LIMIT 10",
        limit(3),
    ),
    ("SELECT userid FROM hits WHERE userid = {user}", None),
    ("SELECT count(*) FROM hits WHERE url LIKE '%google%'", None),
    (
        "SELECT searchphrase, min(url), count(*) AS c FROM hits WHERE url LIKE '%google%' AND searchphrase <> '' \
         GROUP BY searchphrase ORDER BY c DESC LIMIT 10",
        limit(2),
    ),
    (
        "SELECT searchphrase, min(url), min(title), count(*) AS c, count(DISTINCT userid) FROM hits \
         WHERE title LIKE '%Google%' AND url NOT LIKE '%.google.%' AND searchphrase <> '' \
         GROUP BY searchphrase ORDER BY c DESC LIMIT 10",
        limit(3),
    ),
    ("SELECT * FROM hits WHERE url LIKE '%google%' ORDER BY eventtime LIMIT 10", limit(3)),
    (
        "SELECT searchphrase FROM hits WHERE searchphrase <> '' ORDER BY eventtime LIMIT 10",
        Some(Compare::Count),
    ),
    ("SELECT searchphrase FROM hits WHERE searchphrase <> '' ORDER BY searchphrase LIMIT 10", None),
    (
        "SELECT searchphrase FROM hits WHERE searchphrase <> '' ORDER BY eventtime, searchphrase LIMIT 10",
        None,
    ),
    (
        "SELECT counterid, avg({length}(url)) AS l, count(*) AS c FROM hits WHERE url <> '' \
         GROUP BY counterid HAVING count(*) > {many} ORDER BY l DESC LIMIT 25",
        limit(1),
    ),
    (
        r"SELECT regexp_replace(referer, '^https?://(?:www\.)?([^/]+)/.*$', '\1') AS k, avg({length}(referer)) AS l, count(*) AS c, min(referer) FROM hits WHERE referer <> '' GROUP BY k HAVING count(*) > {many} ORDER BY l DESC LIMIT 25",
        limit(1),
    ),
    ("{sums}", None),
    (
        "SELECT searchengineid, clientip, count(*) AS c, sum(isrefresh), avg(resolutionwidth) FROM hits \
         WHERE searchphrase <> '' GROUP BY searchengineid, clientip ORDER BY c DESC LIMIT 10",
        limit(2),
    ),
    (
        "SELECT watchid, clientip, count(*) AS c, sum(isrefresh), avg(resolutionwidth) FROM hits \
         WHERE searchphrase <> '' GROUP BY watchid, clientip ORDER BY c DESC LIMIT 10",
        limit(2),
    ),
    (
        "SELECT watchid, clientip, count(*) AS c, sum(isrefresh), avg(resolutionwidth) FROM hits \
         GROUP BY watchid, clientip ORDER BY c DESC LIMIT 10",
        limit(2),
    ),
    ("SELECT url, count(*) AS c FROM hits GROUP BY url ORDER BY c DESC LIMIT 10", limit(1)),
    ("SELECT 1, url, count(*) AS c FROM hits GROUP BY 1, url ORDER BY c DESC LIMIT 10", limit(2)),
    (
        "SELECT clientip, clientip - 1, clientip - 2, clientip - 3, count(*) AS c FROM hits \
         GROUP BY clientip, clientip - 1, clientip - 2, clientip - 3 ORDER BY c DESC LIMIT 10",
        limit(4),
    ),
    (
        "SELECT url, count(*) AS pageviews FROM hits WHERE {site} AND dontcounthits = 0 AND url <> '' \
         GROUP BY url ORDER BY pageviews DESC LIMIT 10",
        limit(1),
    ),
    (
        "SELECT title, count(*) AS pageviews FROM hits WHERE {site} AND dontcounthits = 0 AND title <> '' \
         GROUP BY title ORDER BY pageviews DESC LIMIT 10",
        limit(1),
    ),
    (
        "SELECT url, count(*) AS pageviews FROM hits WHERE {site} AND islink <> 0 AND isdownload = 0 \
         GROUP BY url ORDER BY pageviews DESC LIMIT 10 OFFSET 100",
        offset(1),
    ),
    (
        "SELECT traficsourceid, searchengineid, advengineid, \
         CASE WHEN (searchengineid = 0 AND advengineid = 0) THEN referer ELSE '' END AS src, url AS dst, count(*) AS pageviews \
         FROM hits WHERE {site} GROUP BY traficsourceid, searchengineid, advengineid, src, dst \
         ORDER BY pageviews DESC LIMIT 10 OFFSET 100",
        offset(5),
    ),
    (
        "SELECT urlhash, eventdate, count(*) AS pageviews FROM hits WHERE {site} AND traficsourceid IN (-1, 6) \
         AND refererhash = {hash} GROUP BY urlhash, eventdate ORDER BY pageviews DESC LIMIT 10 OFFSET 10",
        offset(2),
    ),
    (
        "SELECT windowclientwidth, windowclientheight, count(*) AS pageviews FROM hits WHERE {site} AND dontcounthits = 0 \
         AND urlhash = {hash} GROUP BY windowclientwidth, windowclientheight ORDER BY pageviews DESC LIMIT 10 OFFSET 1000",
        offset(2),
    ),
    (
        "SELECT date_trunc('minute', eventtime) AS m, count(*) AS pageviews FROM hits WHERE counterid = 62 \
         AND eventdate >= DATE '2013-07-14' AND eventdate <= DATE '2013-07-15' AND isrefresh = 0 AND dontcounthits = 0 \
         GROUP BY date_trunc('minute', eventtime) ORDER BY date_trunc('minute', eventtime) LIMIT 10 OFFSET 100",
        None,
    ),
];

const fn limit(column: usize) -> Option<Compare> {
    Some(Compare::Limit { column, offset: false })
}

const fn offset(column: usize) -> Option<Compare> {
    Some(Compare::Limit { column, offset: true })
}

/// The queries H01 to H43 for a table of so many rows.
pub(super) fn queries(rows: u64) -> Vec<Query> {
    let numbered = QUERIES.iter().enumerate();
    numbered
        .map(|(index, (template, compare))| query(&format!("H{:02}", index + 1), template, compare, rows))
        .collect()
}

fn query(name: &str, template: &str, compare: &Option<Compare>, rows: u64) -> Query {
    let text = template
        .replace("{site}", SITE)
        .replace("{many}", &(rows / 1_000).to_string())
        .replace("{user}", &user_id(USER_RANK).to_string())
        .replace("{hash}", &text_hash(DASHBOARD_COUNTER, 0).to_string())
        .replace("{sums}", &sums());
    let mut query = Query::new(name, text.replace("{length}", "octet_length"));
    if text.contains("{length}") {
        let dialects = [(EngineName::Duckdb, "strlen"), (EngineName::Clickhouse, "length")];
        query.dialects = dialects.map(|(engine, length)| (engine, text.replace("{length}", length))).to_vec();
    }
    query.compare = compare.clone().unwrap_or(Compare::Rows);
    query
}

/// Ninety sums over one column.
fn sums() -> String {
    let sums: Vec<String> = (0..90).map(|term| format!("sum(resolutionwidth + {term})")).collect();
    format!("SELECT {} FROM hits", sums.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_filled_in() {
        let queries = queries(10_000_000);
        assert_eq!((queries[0].name.as_str(), queries[42].name.as_str()), ("H01", "H43"));
        assert!(queries[27].text(EngineName::Headwater).contains("octet_length(url)"));
        assert!(queries[27].text(EngineName::Clickhouse).contains("> 10000 "));
        for query in &queries {
            for engine in [EngineName::Headwater, EngineName::Duckdb, EngineName::Clickhouse] {
                assert!(!query.text(engine).contains(['{', '}']), "{}", query.name);
            }
        }
    }
}
