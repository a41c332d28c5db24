//! Random and mutated bytes, and mutated statements: the server answers or hangs up, and serves the next client.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};

use super::fuzzing::{self, STATEMENTS, mutate, mutate_text};
use super::*;

const SEEDS: u64 = 1_000;
/// A connection whose client is gone, or a statement, ends within this time. A session may be in the middle of planning.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

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
        let server = server_over(fuzzing::SPEC, Arc::new(OpenAccess), PostgresLimits::default()).await;
        let mut client = Client::start(&server).await;
        client.query("SET statement_timeout = '2s'").await;
        for seed in fuzzing::seeds(SEEDS) {
            let mut random = StdRng::seed_from_u64(seed);
            let statement = STATEMENTS.choose(&mut random).unwrap();
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
        }
        client.query("ROLLBACK").await;
        assert_eq!(client.rows("SELECT 'alive'").await, [[Some("alive".into())]]);
    });
}
