//! Random and mutated bytes, and mutated statements: the server answers or hangs up, and serves the next client.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};

use super::fuzzing::{
    self, STATEMENTS, THREAD, THREAD_OF_OTHERS, counts, mutate, mutate_text, seeds_of, words_of,
};
use super::*;

const SEEDS: u64 = 1_000;
/// A connection whose client is gone, or a statement, ends within this time. A session may be in the middle of planning.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Statements that mean something to this door alone.
const OWN_STATEMENTS: [&str; 8] = [
    "COPY (SELECT id, city FROM orders) TO STDOUT WITH (FORMAT csv, HEADER, NULL '-')",
    "COPY public.orders (id, city) TO STDOUT DELIMITER AS ';' CSV HEADER QUOTE AS '|'",
    "SELECT c.oid, c.tableoid, 'now'::regproc::oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace",
    "SELECT k FROM pg_constraint c, unnest(c.conkey) AS k",
    "SELECT x.indrelid, k FROM pg_class c LEFT JOIN pg_index x ON x.indrelid = c.oid LEFT JOIN unnest(x.indkey) AS k ON true",
    "SELECT format_type(1700, 655366), pg_cancel_backend(0)",
    "SELECT pid, state, query FROM pg_stat_activity WHERE pid = pg_backend_pid() AND usename = current_user",
    "SELECT a.attname, a.atttypid::regtype FROM pg_attribute a WHERE a.attrelid = 'orders'::regclass AND a.attnum > 0",
];

/// A conversation that touches every message.
fn conversation() -> Vec<Vec<u8>> {
    let message =
        |kind: u8, body: Vec<u8>| [vec![kind], (body.len() as u32 + 4).to_be_bytes().into(), body].concat();
    let bind = [
        text("p"),
        text("s"),
        vec![0, 1, 0, 1, 0, 1, 0, 0, 0, 8],
        7_i64.to_be_bytes().into(),
        vec![0, 1, 0, 1],
    ];
    vec![
        message(b'Q', text("SELECT 1, 'a', now(); BEGIN; SHOW timezone")),
        message(b'P', [text("s"), text("SELECT $1 + 1"), vec![0, 1, 0, 0, 0, 20]].concat()),
        message(b'D', text("Ss")),
        message(b'B', bind.concat()),
        message(b'D', text("Pp")),
        message(b'E', [text("p"), vec![0, 0, 0, 1]].concat()),
        message(b'H', Vec::new()),
        message(b'C', text("Pp")),
        message(b'S', Vec::new()),
        message(b'Q', text("DECLARE c CURSOR FOR SELECT 1; FETCH c; CLOSE ALL; ROLLBACK")),
        message(b'd', vec![1, 2, 3]),
        message(b'p', text("secret")),
    ]
}

/// Sends, reads whatever comes, and hangs up; then the server's side ends, too, and not by a panic.
async fn throw(server: &Arc<Server>, seed: u64, starts: bool, bytes: Vec<u8>) {
    let (io, other) = tokio::io::duplex(1 << 20);
    let from = Ipv4Addr::LOCALHOST.into();
    let serving = tokio::spawn(connection::serve(Arc::clone(server), Box::new(other), from));
    let mut client = Client { io, key: Vec::new() };
    if starts {
        client.raw(&startup(&[("user", "alice")])).await;
        client.until_ready().await;
    }
    let (mut reader, mut writer) = tokio::io::split(client.io);
    let reading = tokio::spawn(async move {
        let mut sink = Vec::new();
        // How it ends does not matter.
        let _ = reader.read_to_end(&mut sink).await;
    });
    let _ = writer.write_all(&bytes).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    drop(writer);
    reading.abort();
    let ended = timeout(ENDS_WITHIN, serving).await;
    ended.unwrap_or_else(|_| panic!("seed {seed}: the connection goes on")).unwrap();
}

/// What is sent before or after a session has begun.
fn bytes_of(seed: u64, random: &mut StdRng) -> (bool, Vec<u8>) {
    let mut bytes: Vec<u8> = match seed % 3 {
        0 => {
            let mut bytes = vec![0; random.random_range(1..300)];
            random.fill_bytes(&mut bytes);
            bytes
        }
        1 => conversation().concat(),
        _ => {
            let mut messages = conversation();
            let at = random.random_range(0..messages.len());
            messages.swap(0, at);
            messages.concat()
        }
    };
    let starts = !seed.is_multiple_of(5);
    if !starts && seed.is_multiple_of(2) {
        bytes = startup(&[("user", "alice"), ("options", "-c statement_timeout=1s")]);
    }
    mutate(random, &mut bytes);
    (starts, bytes)
}

#[test]
fn no_bytes_bring_the_server_down() {
    fuzzing::run(async {
        let limits =
            PostgresLimits { startup_ms_max: 1000, message_bytes_max: 1 << 20, ..PostgresLimits::default() };
        let server = server_with(Arc::new(OpenAccess), limits).await;
        for seed in fuzzing::seeds(SEEDS) {
            let (starts, bytes) = bytes_of(seed, &mut StdRng::seed_from_u64(seed));
            throw(&server, seed, starts, bytes).await;
        }
        let mut client = Client::start(&server).await;
        assert_eq!(client.rows("SELECT 'alive'").await, [[Some("alive".into())]]);
    });
}

#[test]
fn every_text_is_answered() {
    fuzzing::run(async {
        let server = server_with(Arc::new(OpenAccess), PostgresLimits::default()).await;
        let mut client = Client::start(&server).await;
        client.query("SET statement_timeout = '2s'").await;
        let mut failures = Vec::new();
        for seed in fuzzing::seeds(SEEDS) {
            let mut random = StdRng::seed_from_u64(seed);
            let statements: &[&str] = if random.random_bool(0.3) { &OWN_STATEMENTS } else { &STATEMENTS };
            let statement = statements.choose(&mut random).unwrap();
            // A text ends at its first zero.
            let sql = mutate_text(&mut random, statement).replace('\0', "");
            let replies = match seed % 3 {
                0 => {
                    client.parse("", &sql, &[]).await;
                    client.send(b'D', &text("S")).await;
                    client.sync().await
                }
                _ => timeout(ENDS_WITHIN, client.query(&sql)).await.unwrap(),
            };
            assert!(kinds(&replies).ends_with('Z'), "seed {seed}: {sql}: {}", kinds(&replies));
            // So is answered what nobody has thought of, and a panic of the planner's.
            if code_of(&replies) == "XX000" {
                failures.push(format!("seed {seed}: {sql}: {}", error_of(&replies).unwrap()[&'M']));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
        client.query("ROLLBACK").await;
        assert_eq!(client.rows("SELECT 'alive'").await, [[Some("alive".into())]]);
    });
}

#[test]
fn panics_that_count() {
    let (own, library) = (Some("http::fuzz::none"), "/home/builder/.cargo/registry/src/x/src/lib.rs");
    for (file, thread, expected) in [
        (file!(), Some("headwater-query"), true),
        ("segment/src/index/bloom.rs", Some("headwater-query"), true),
        ("segment/src/index/bloom.rs", None, true),
        (library, Some("headwater-query"), false),
        (library, Some(THREAD), true),
        (library, own, true),
        (file!(), own, true),
        (file!(), Some("http::tests::another"), false),
        (file!(), Some(THREAD_OF_OTHERS), false),
    ] {
        assert_eq!(counts(file, thread, own), expected, "{file} {thread:?}");
    }
}

#[test]
fn a_seed_decides_what_is_sent() {
    assert_eq!((seeds_of("2000"), seeds_of("17..18"), seeds_of("x")), (Some(0..2000), Some(17..18), None));
    assert_eq!(words_of("a_1 >= 'é'").concat(), "a_1 >= 'é'");
    let made = |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = STATEMENTS[1].as_bytes().to_vec();
        mutate(&mut random, &mut bytes);
        (bytes, mutate_text(&mut random, STATEMENTS[1]))
    };
    assert_eq!(made(7), made(7));
    let different = (0..100).filter(|seed| made(*seed).1 != STATEMENTS[1]).count();
    assert!(different > 90, "{different}");
}
