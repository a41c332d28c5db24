//! Which requests a broker takes: asked by hand, since librdkafka keeps the answer to itself. Only listeners without TLS and SASL
//! are asked; what others take shows when they are used.
//!
//! ```text
//! request   length i32 | key 18 i16 | version 0 i16 | correlation i32 | client id: length i16, bytes
//! answer    length i32 | correlation i32 | error i16 | count i32 | count × (key i16, min i16, max i16)
//! ```

use std::io;

use headwater_segment::spec::StreamSpec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::report::{Area, Findings, Outcome, Place};
use super::security_of;

const FETCH: i16 = 1;
const METADATA: i16 = 3;
/// From this version on a fetch knows transactions (Kafka 0.11).
const FETCH_MIN: i16 = 4;
/// From this version on metadata names a topic's id (Kafka 2.8).
const METADATA_WITH_IDS: i16 = 10;
/// Bytes of an answer: some hundred kinds of requests take less than 1 KiB.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Asks the first broker that answers.
pub(super) async fn check(findings: &Findings, whose: &str, stream: &StreamSpec) {
    if security_of(stream) != "PLAINTEXT" {
        return;
    }
    for broker in &stream.brokers {
        let Ok(Ok(answer)) = tokio::time::timeout(findings.limit(), ask(broker)).await else { continue };
        let place = Place::new(Area::Kafka, "versions", format!("{whose}, {broker}"));
        findings.add(
            place,
            match parse(&answer) {
                Some(versions) => of_versions(&versions),
                None => Outcome::warning(
                    "does not answer as a Kafka does",
                    "does the port belong to Kafka, and to a listener without TLS?",
                ),
            },
        );
        return;
    }
}

async fn ask(broker: &str) -> io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(broker).await?;
    let client = b"headwater";
    let mut request = Vec::new();
    request.extend(18_i16.to_be_bytes());
    request.extend(0_i16.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    request.extend((client.len() as i16).to_be_bytes());
    request.extend(client);
    connection.write_i32(request.len() as i32).await?;
    connection.write_all(&request).await?;
    let length = usize::try_from(connection.read_i32().await?).unwrap_or(usize::MAX);
    if length > ANSWER_BYTES_MAX {
        // Not Kafka: what is parsed of it is nothing.
        return Ok(Vec::new());
    }
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Key and highest version of each kind of request.
fn parse(answer: &[u8]) -> Option<Vec<(i16, i16)>> {
    let entries = answer.get(10..)?;
    let error = i16::from_be_bytes(answer.get(4..6)?.try_into().ok()?);
    let count = usize::try_from(i32::from_be_bytes(answer.get(6..10)?.try_into().ok()?)).ok()?;
    if error != 0 || count == 0 || entries.len() < count.checked_mul(6)? {
        return None;
    }
    let number = |bytes: &[u8]| i16::from_be_bytes([bytes[0], bytes[1]]);
    Some(
        entries.chunks_exact(6).take(count).map(|entry| (number(&entry[..2]), number(&entry[4..]))).collect(),
    )
}

fn of_versions(versions: &[(i16, i16)]) -> Outcome {
    let highest = |key: i16| versions.iter().find(|(found, _)| *found == key).map_or(-1, |(_, max)| *max);
    let (fetch, metadata) = (highest(FETCH), highest(METADATA));
    let seen =
        format!("{} kinds of requests, fetch up to {fetch}, metadata up to {metadata}", versions.len());
    if fetch < FETCH_MIN {
        return Outcome::failure(seen, "this Kafka is older than 0.11, which headwater needs");
    }
    if metadata < METADATA_WITH_IDS {
        let fix = "with Kafka before 2.8 a topic that is deleted and made anew is not noticed; do not do that, or upgrade";
        return Outcome::warning(seen, fix);
    }
    Outcome::ok(seen)
}

#[cfg(test)]
mod tests {
    use super::super::super::report::Verdict;
    use super::*;

    fn answer(error: i16, versions: &[(i16, i16)]) -> Vec<u8> {
        let mut bytes = 1_i32.to_be_bytes().to_vec();
        bytes.extend(error.to_be_bytes());
        bytes.extend((versions.len() as i32).to_be_bytes());
        for (key, max) in versions {
            bytes.extend(key.to_be_bytes());
            bytes.extend(0_i16.to_be_bytes());
            bytes.extend(max.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn answers_are_read_and_no_bytes_panic() {
        let versions = [(1, 17), (3, 13)];
        let whole = answer(0, &versions);
        assert_eq!(parse(&whole), Some(versions.to_vec()));
        assert_eq!(parse(&answer(35, &versions)), None);
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(parse(&[0xff; 40]), None);
    }

    #[test]
    fn old_brokers_are_told_apart() {
        assert_eq!(of_versions(&[(1, 17), (3, 13)]).verdict, Verdict::Ok);
        assert_eq!(of_versions(&[(1, 11), (3, 9)]).verdict, Verdict::Warning);
        assert_eq!(of_versions(&[(1, 3), (3, 2)]).verdict, Verdict::Failure);
        assert_eq!(of_versions(&[(18, 3)]).verdict, Verdict::Failure);
    }
}
