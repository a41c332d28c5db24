//! What the fuzzers of listeners have in common: seeds, mutations, and a watch over panics.
//!
//! Its own tests stand with the first of its users, `broker/src/postgres/tests/fuzz.rs`: every user has a copy of this module.
//!
//! A seed decides every byte that is sent. `HEADWATER_FUZZ_SEEDS` asks for more of them than a test runs by itself, or for one
//! alone: `2000`, `17..18`.

use std::future::Future;
use std::ops::Range;
use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

const SEEDS_VARIABLE: &str = "HEADWATER_FUZZ_SEEDS";
/// Name of the threads that a fuzzer runs on.
pub(crate) const THREAD: &str = "fuzz";
/// Name of those that tests without a runtime of their own run on.
pub(crate) const THREAD_OF_OTHERS: &str = "tokio-rt-worker";

/// Statements over the table of [`SPEC`] that mean something, each of another kind.
pub(crate) const STATEMENTS: [&str; 22] = [
    "SELECT 1, 'a', NULL, 1.5, -2e3, TRUE",
    "SELECT * FROM orders WHERE city = 'Ulm' AND price > 1.25 ORDER BY at DESC NULLS LAST LIMIT 5 OFFSET 1",
    "SELECT city, count(*) AS n, sum(price), avg(price), min(at), max(at) FROM orders GROUP BY city HAVING count(*) > 1",
    "WITH a AS (SELECT city, id FROM orders), b AS (SELECT city FROM a) SELECT a.id FROM a JOIN b ON a.city = b.city",
    "SELECT id, row_number() OVER (PARTITION BY city ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM orders",
    "SELECT city FROM orders UNION ALL SELECT 'x' EXCEPT SELECT 'y' INTERSECT SELECT 'z'",
    "SELECT CASE WHEN id IS NULL THEN 'a' WHEN id BETWEEN 1 AND 9 THEN 'b' ELSE 'c' END FROM orders",
    "SELECT CAST('12' AS INT), '1'::DOUBLE, CAST(NULL AS DECIMAL(38, 10)), TRY_CAST('x' AS TIMESTAMP(3))",
    "SELECT date_trunc('hour', at), extract(year FROM at), at + INTERVAL '1 day 2 hours', now() - at FROM orders",
    "SELECT to_char(at, 'YYYY-MM-DD HH24:MI'), to_timestamp('2026', 'YYYY'), at AT TIME ZONE 'Europe/Berlin' FROM orders",
    "SELECT DATETRUNC('week', at), DATETIMECONVERT(1, '1:MILLISECONDS:EPOCH', '1:DAYS:EPOCH', '1:DAYS') FROM orders",
    "SELECT JSONEXTRACTSCALAR(body, '$.a[0].b', 'LONG', 0), JSONPATHEXISTS(body, '$..x'), body ->> 'a' FROM orders",
    "SELECT DISTINCTCOUNT(city), PERCENTILE(price, 95), FIRSTWITHTIME(id, at, 'LONG'), LISTAGG(city, ',') FROM orders",
    "SELECT REGEXPEXTRACT(city, '([a-z]+)-(\\d*)', 1), city LIKE 'a\\_%', city SIMILAR TO 'a|b', city ~ '^x' FROM orders",
    "SELECT unnest(tags), tags[1], cardinality(tags), ARRAYLENGTH(tags), [1, 2, NULL] FROM orders",
    "SELECT split_part(city, '-', 2), substr(city, 2, 3), upper(trim(city)), '\\x00ff'::bytea FROM orders",
    "SELECT * FROM orders a WHERE EXISTS (SELECT 1 FROM orders b WHERE b.id = a.id) AND id IN (1, 2, (SELECT 3))",
    "SELECT $partition, max($offset) AS newest FROM orders WHERE id = $1 OR city = $2 GROUP BY $partition ORDER BY 1",
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'",
    "SELECT * FROM system.partitions, system.queries, system.gaps",
    "EXPLAIN ANALYZE SELECT count(DISTINCT city) FILTER (WHERE price > 0) FROM orders GROUP BY ROLLUP (city)",
    "SET timeoutMs = 100; SELECT \"city\" AS 'c', COUNT(\"*\") FROM default.orders OPTION(useNulls=true) -- done",
];

/// The table of [`STATEMENTS`].
pub(crate) const SPEC: &str = "name: orders
stream: {topic: orders, brokers: ['localhost:9092']}
columns:
  - {name: id, type: LONG, nullable: false}
  - {name: city, type: STRING}
  - {name: price, type: 'DECIMAL(10,2)'}
  - {name: at, type: TIMESTAMP(3)}
  - {name: tags, type: ARRAY<STRING>}
  - {name: ref, type: UUID}
  - {name: body, type: JSON}
  - {name: itemCount, type: INT}
time_column: at
";

/// What SQL, JSON and YAML are made of. Nothing among it makes a short statement run for long or take much memory.
#[rustfmt::skip]
const PIECES: [&str; 80] = [
    "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "UNION ALL", "WITH", "AS", "JOIN", "ON", "LATERAL", "OVER (",
    "CASE", "WHEN", "END", "EXISTS (", "IN (", "LIKE", "SIMILAR TO", "ESCAPE", "BETWEEN", "IS NOT NULL", "NOT", "NULL", "DISTINCT",
    "INTERVAL", "DATE", "TIMESTAMP", "AT TIME ZONE", "CAST(", "::", "EXPLAIN", "SET", "OPTION(", "VALUES (", "orders", "city", "price",
    "at", "tags", "body", "count(*)", "$1", "$99999999999", "$offset", "(", ")", "[", "]", "{", "}", ",", ";", ":", ".", "'", "\"", "`",
    "--", "/*", "\\", "\u{0}", "\u{feff}", "\u{202e}", "é", "🦀", "-1", "0", "9223372036854775808", "1e309", "0.1", "0x1f", "true", "&a",
    "*a", "\\ud800", "%", "||",
];

/// Which seeds to run.
pub(crate) fn seeds(by_itself: u64) -> Range<u64> {
    match std::env::var(SEEDS_VARIABLE) {
        Ok(text) => seeds_of(&text).unwrap_or_else(|| panic!("{SEEDS_VARIABLE}={text}: use 2000 or 17..18")),
        Err(_) => 0..by_itself,
    }
}

pub(crate) fn seeds_of(text: &str) -> Option<Range<u64>> {
    match text.split_once("..") {
        Some((first, end)) => Some(first.parse().ok()?..end.parse().ok()?),
        None => Some(0..text.parse().ok()?),
    }
}

/// Flips, inserts, removes and repeats some bytes.
pub(crate) fn mutate(random: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..6) {
        if bytes.is_empty() {
            return;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at] = random.random(),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 => bytes.insert(at, random.random()),
            3 => {
                bytes.remove(at);
            }
            _ => {
                let end = random.random_range(at..bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
}

/// Removes, repeats, swaps and replaces some words and signs.
pub(crate) fn mutate_text(random: &mut StdRng, text: &str) -> String {
    let mut words = words_of(text);
    // Of many changes nothing is left that is looked at any further.
    for _ in 0..random.random_range(1..4) {
        let piece = *PIECES.choose(random).expect("there are pieces");
        if words.is_empty() {
            return piece.to_owned();
        }
        let (at, other) = (random.random_range(0..words.len()), random.random_range(0..words.len()));
        match random.random_range(0..6) {
            0 => {
                words.remove(at);
            }
            1 => words[at] = piece,
            2 => words.insert(at, piece),
            3 => words.swap(at, other),
            4 => words.insert(at, words[other]),
            _ => words.truncate(at + 1),
        }
    }
    words.concat()
}

/// Names and numbers, white space, and every other character by itself.
pub(crate) fn words_of(text: &str) -> Vec<&str> {
    let kind = |c: char| match c {
        _ if c.is_alphanumeric() || c == '_' => 1,
        _ if c.is_whitespace() => 2,
        _ => 3,
    };
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match kind(first) {
            3 => first.len_utf8(),
            same => rest.find(|c| kind(c) != same).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after;
    }
    words
}

/// Runs a fuzzer on threads of its own, and fails if anything panics on them, or in a file of ours on another one that it may
/// have led there. The hook stays: nobody may take another one's away.
pub(crate) fn run(fuzzing: impl Future<Output = ()>) {
    let panics = watch_panics();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).thread_name(THREAD).enable_all().build().unwrap();
    runtime.block_on(fuzzing);
    runtime.shutdown_timeout(Duration::from_secs(10));
    let panics = panics.lock();
    assert!(panics.is_empty(), "{} panics: {panics:#?}", panics.len());
}

/// What panics from now on.
fn watch_panics() -> Arc<Mutex<Vec<String>>> {
    // Of two that take the hook and then set theirs, one would be lost.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock();
    let panics: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, before) = (Arc::clone(&panics), panic::take_hook());
    let own = thread::current().name().map(str::to_owned);
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if info.location().is_some_and(|at| counts(at.file(), thread::current().name(), own.as_deref())) {
            seen.lock().push(info.to_string());
        }
        before(info);
    }));
    panics
}

/// Whether a panic is the fuzzer's. Tests that run in the same process panic, too, some on purpose: on their own threads, which
/// have their names, or on those of a runtime that has no name of its own. A library that panics on threads of the engine is not
/// counted: the engine catches it, and answers with a failure.
pub(crate) fn counts(file: &str, thread: Option<&str>, own: Option<&str>) -> bool {
    match thread {
        Some(THREAD) => true,
        thread if thread == own => true,
        Some(name) if name == THREAD_OF_OTHERS || name.contains("::") => false,
        // Cargo names files of the workspace by their path in it, and those of libraries by where they are.
        _ => Path::new(file).is_relative(),
    }
}
