//! Random and mutated requests of HTTP/1.1 and HTTP/2, from the bytes of a connection to the endpoints over a real engine: nothing
//! panics, a connection ends with its client, whatever is answered is an answer of the protocol, and good requests are
//! answered as before.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};

use self::answers::Answer;
use self::door::{Door, Until};
use self::fuzzing::{STATEMENTS, mutate, mutate_text};
use self::requests::{Request, good_requests};

mod answers;
mod door;
#[path = "../../../broker/tests/common/fuzzing.rs"]
mod fuzzing;
mod http2;
mod requests;

/// Some 10 seconds of two cores in a debug build.
const SEEDS: u64 = 2_000;
/// Connections at once.
const AT_ONCE: usize = 8;
/// A server that has said nothing for so long waits for more, which does not come.
const QUIET: Duration = Duration::from_millis(50);

/// What is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

impl Protocol {
    /// A connection with these requests, the last of which ends it if the protocol knows that.
    fn bytes_of(self, requests: &[Request]) -> Vec<u8> {
        match self {
            Self::Http1 => requests::http1(requests),
            Self::Http2 => http2::conversation(requests).concat(),
        }
    }

    /// Sends one request that is well-formed to HTTP, and so has an answer.
    async fn ask(self, door: &Door, request: Request) -> Result<Answer, String> {
        let sent = self.bytes_of(std::slice::from_ref(&request));
        let came = match self {
            Self::Http1 => door.exchange(&sent, Until::End).await?,
            Self::Http2 => door.exchange(&sent, Until::Seen(http2::is_over)).await?,
        };
        let mut answers = match self {
            Self::Http1 => answers::read(&came)?,
            Self::Http2 => http2::read(&came)?,
        };
        match (answers.pop(), answers.is_empty()) {
            (Some(answer), true) if answer.is_whole => answer.checked(),
            (last, _) => Err(format!("not one whole answer, but {last:?} after {answers:?}")),
        }
    }
}

/// Bytes that may be no request at all.
fn bytes_of(random: &mut StdRng) -> Vec<u8> {
    let good = good_requests();
    let some: Vec<Request> = (0..random.random_range(1..4))
        .map(|_| good.choose(random).expect("there are some").clone())
        .collect();
    let mut bytes = match random.random_range(0..8) {
        0 => {
            let mut bytes = vec![0; random.random_range(1..300)];
            random.fill_bytes(&mut bytes);
            bytes
        }
        1 => {
            let mut bytes = vec![0; random.random_range(1..300)];
            random.fill_bytes(&mut bytes);
            [http2::PREFACE, &bytes].concat()
        }
        2 => requests::http1(&some),
        3 => requests::mutated_head(random, &some[0]),
        4 => return requests::mutated_head(random, &some[0]),
        5 => http2::conversation(&some).concat(),
        6 => http2::mutated(random, &some).concat(),
        _ => return http2::mutated(random, &some).concat(),
    };
    mutate(random, &mut bytes);
    bytes
}

/// Sends them, and reads whatever comes as what it begins like. The statuses of whole answers come back.
async fn throw(door: &Door, bytes: &[u8]) -> Result<Vec<u16>, String> {
    let came = door.exchange(bytes, Until::Quiet(QUIET)).await?;
    let answers = match came.starts_with(b"HTTP/") || came.is_empty() {
        true => answers::read(&came)?,
        false => http2::read(&came)?,
    };
    let whole = answers.into_iter().filter(|answer| answer.is_whole);
    whole.map(|answer| answer.checked().map(|answer| answer.status)).collect()
}

/// A request whose text alone is another one, and which the protocol therefore answers.
fn with_another_text(random: &mut StdRng) -> Request {
    let statement = STATEMENTS.choose(random).expect("there are some");
    if random.random_bool(0.7) {
        let sql = mutate_text(random, statement);
        return requests::asking(random, &sql);
    }
    let mut request = loop {
        let request = good_requests().choose(random).expect("there are some").clone();
        if !request.body.is_empty() {
            break request;
        }
    };
    request.body = match random.random_bool(0.8) {
        true => mutate_text(random, &String::from_utf8_lossy(&request.body)).into_bytes(),
        false => {
            mutate(random, &mut request.body);
            request.body
        }
    };
    request
}

/// Each good request has the answer that it should have, over both protocols.
async fn serves(door: &Door) {
    for (request, protocol) in
        good_requests().into_iter().flat_map(|one| PROTOCOLS.map(|to| (one.clone(), to)))
    {
        let (what, expected) =
            (format!("{} {} by {protocol:?}", request.method, request.target), request.status);
        let answer = protocol.ask(door, request).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.status, expected, "{what}: {answer:?}");
    }
}

#[test]
fn no_request_brings_the_server_down() {
    fuzzing::run(async {
        let doors = [Door::open().await, Door::guarded().await];
        serves(&doors[0]).await;
        serves(&doors[1]).await;
        let outcomes = futures::stream::iter(fuzzing::seeds(SEEDS)).map(|seed| {
            let (mut random, door) = (StdRng::seed_from_u64(seed), &doors[usize::from(seed % 5 == 0)]);
            async move {
                let outcome = match seed % 2 {
                    0 => throw(door, &bytes_of(&mut random)).await,
                    _ => {
                        let protocol = *PROTOCOLS.choose(&mut random).expect("there are two");
                        let request = with_another_text(&mut random);
                        let body = String::from_utf8_lossy(&request.body).into_owned();
                        let asked = protocol.ask(door, request).await.map(|answer| vec![answer.status]);
                        asked.map_err(|error| format!("{protocol:?}: {body}: {error}"))
                    }
                };
                outcome.map_err(|error| format!("seed {seed}: {error}"))
            }
        });
        let outcomes: Vec<Result<Vec<u16>, String>> = outcomes.buffer_unordered(AT_ONCE).collect().await;
        let failures: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert!(failures.is_empty(), "{failures:#?}");
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        outcomes.iter().flatten().flatten().for_each(|status| *statuses.entry(*status).or_default() += 1);
        println!("{} connections: {statuses:?}", outcomes.len());
        // What is sent is neither noise to the server nor as good as before.
        let is_met = |status| statuses.get(&status).is_some_and(|count| *count > outcomes.len() / 10);
        assert!(outcomes.len() < 500 || (is_met(200) && is_met(400) && statuses.len() > 5));
        serves(&doors[0]).await;
        serves(&doors[1]).await;
    });
}
