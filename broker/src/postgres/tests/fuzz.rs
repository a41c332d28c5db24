//! Random and mutated bytes: the server answers or hangs up, and serves the next client.

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::*;

const ROUNDS: u64 = 300;

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

fn mutate(random: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at] = random.random(),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 => bytes.insert(at, random.random()),
            3 if bytes.len() > 1 => {
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

/// Sends, reads whatever comes, and hangs up.
async fn throw(server: &Arc<Server>, starts: bool, bytes: Vec<u8>) {
    let mut client = Client::connect(server, true);
    if starts {
        client.raw(&startup(&[("user", "alice")])).await;
        client.until_ready().await;
    }
    let Client { io, .. } = client;
    let (mut reader, mut writer) = tokio::io::split(io);
    let reading = tokio::spawn(async move {
        let mut sink = Vec::new();
        // How it ends does not matter.
        let _ = reader.read_to_end(&mut sink).await;
    });
    let _ = writer.write_all(&bytes).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    drop(writer);
    reading.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_bring_the_server_down() {
    let panicked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let before = std::panic::take_hook();
    let counter = Arc::clone(&panicked);
    std::panic::set_hook(Box::new(move |info| {
        // Only of this protocol: other tests of the process panic on purpose.
        if info.location().is_some_and(|place| place.file().contains("postgres")) {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        before(info);
    }));
    let limits =
        PostgresLimits { startup_ms_max: 1000, message_bytes_max: 1 << 20, ..PostgresLimits::default() };
    let server = server_with(Arc::new(OpenAccess), limits).await;
    for seed in 0..ROUNDS {
        let mut random = StdRng::seed_from_u64(seed);
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
        let starts = seed % 5 != 0;
        if !starts && seed % 2 == 0 {
            bytes = startup(&[("user", "alice"), ("options", "-c statement_timeout=1s")]);
        }
        mutate(&mut random, &mut bytes);
        throw(&server, starts, bytes).await;
    }
    let mut client = Client::start(&server).await;
    assert_eq!(client.rows("SELECT 'alive'").await, [[Some("alive".into())]]);
    assert_eq!(panicked.load(std::sync::atomic::Ordering::Relaxed), 0);
}
