//! Frames of HTTP/2 (RFC 9113): a conversation, what can be wrong with it, and the answers in what a server has sent.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

use super::answers::{Answer, shown};
use super::requests::Request;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// What a frame may have as long as nothing else was agreed on.
const FRAME_BYTES_MAX: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface, and frames with these requests on the streams 1, 3, …
pub(super) fn conversation(requests: &[Request]) -> Vec<Vec<u8>> {
    // A window of 1 MiB for each stream, and as much for all.
    let settings = [&4_u16.to_be_bytes()[..], &(1_u32 << 20).to_be_bytes()].concat();
    let mut frames = vec![PREFACE.to_vec(), frame(SETTINGS, 0, 0, &settings)];
    frames.push(frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes()));
    for (request, stream) in requests.iter().zip((1..).step_by(2)) {
        let is_over = if request.body.is_empty() { END_STREAM } else { 0 };
        frames.push(frame(HEADERS, END_HEADERS | is_over, stream, &block(request)));
        if !request.body.is_empty() {
            frames.push(frame(DATA, END_STREAM, stream, &request.body));
        }
    }
    frames
}

/// Headers as literals that are not indexed (RFC 7541, 6.2.2).
fn block(request: &Request) -> Vec<u8> {
    let mut block = Vec::new();
    let pseudo = [
        (":method", request.method),
        (":scheme", "http"),
        (":path", request.target.as_str()),
        (":authority", "localhost:8099"),
    ];
    let headers = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in pseudo.into_iter().chain(headers) {
        block.push(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of 7 bits (RFC 7541, 5.1).
fn put_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(128 | (rest % 128) as u8);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// A conversation whose frames are there twice, elsewhere or not at all, say what they are not, or have others between them.
pub(super) fn mutated(random: &mut StdRng, requests: &[Request]) -> Vec<Vec<u8>> {
    let mut frames = conversation(requests);
    for _ in 0..random.random_range(1..5) {
        // The preface stays.
        let at = random.random_range(1..frames.len());
        let other = random.random_range(1..frames.len());
        match random.random_range(0..8) {
            0 => frames.insert(at, frames[other].clone()),
            1 => frames.swap(at, other),
            2 if frames.len() > 2 => drop(frames.remove(at)),
            3 => frames[at][random.random_range(0..3)] = random.random(),
            4 => frames[at][3] = random.random_range(0..12),
            5 => frames[at][4] ^= 1 << random.random_range(0..8),
            6 => frames[at][8] = random.random_range(0..8),
            _ => frames.insert(at, odd_frame(random)),
        }
    }
    frames
}

/// A frame that has no place in most conversations.
fn odd_frame(random: &mut StdRng) -> Vec<u8> {
    let stream = random.random_range(0..8);
    let number: [u8; 4] = [0, random.random(), 0, random.random()];
    match random.random_range(0..12) {
        0 => frame(PING, random.random_range(0..2), 0, &[7; 8]),
        1 => frame(PING, 0, stream, &[7; 3]),
        2 => frame(WINDOW_UPDATE, 0, stream, &[0; 4]),
        3 => frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]),
        4 => frame(RESET, 0, stream, &number),
        5 => frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[9]].concat()),
        6 => frame(GO_AWAY, 0, 0, &[&number[..], &[0, 0, 0, 2], b"why not"].concat()),
        7 => frame(CONTINUATION, END_HEADERS, stream, &[0x82]),
        8 => frame(PUSH_PROMISE, END_HEADERS, stream, &[0, 0, 0, 2, 0x82]),
        9 => frame(
            SETTINGS,
            random.random_range(0..2),
            0,
            &[&[0, random.random_range(0..8)][..], &number].concat(),
        ),
        10 => frame(HEADERS, END_HEADERS | PADDED, stream, &[200, 0x82, 0x87, 0x84]),
        _ => frame(random.random(), random.random(), stream, &number),
    }
}

/// Whether the answer on the first stream has ended, one way or the other; also if the connection has.
pub(super) fn is_over(came: &[u8]) -> bool {
    frames_of(came).any(|(kind, flags, stream, _)| match kind {
        GO_AWAY => true,
        RESET => stream == 1,
        DATA | HEADERS => stream == 1 && flags & END_STREAM != 0,
        _ => false,
    })
}

type FrameOf<'a> = (u8, u8, u32, &'a [u8]);

/// The frames that have come whole.
fn frames_of(mut rest: &[u8]) -> impl Iterator<Item = FrameOf<'_>> {
    std::iter::from_fn(move || {
        let head = rest.get(..HEAD_BYTES)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = rest.get(HEAD_BYTES..HEAD_BYTES + length)?;
        rest = &rest[HEAD_BYTES + length..];
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    })
}

/// The answers of all streams, in their order.
pub(super) fn read(came: &[u8]) -> Result<Vec<Answer>, String> {
    let mut answers: BTreeMap<u32, Answer> = BTreeMap::new();
    let mut whole_bytes = 0;
    for (index, (kind, flags, stream, payload)) in frames_of(came).enumerate() {
        whole_bytes += HEAD_BYTES + payload.len();
        let wrong = |what: &str| Err(format!("frame {index}, of kind {kind} on stream {stream}: {what}"));
        if payload.len() > FRAME_BYTES_MAX || kind > CONTINUATION || kind == PUSH_PROMISE {
            return wrong("no server sends this");
        }
        if index == 0 && (kind, flags, stream) != (SETTINGS, 0, 0) {
            return wrong("settings come first");
        }
        // A stream that the client should not have named is reset by the name that it gave.
        if matches!(kind, DATA | HEADERS | CONTINUATION) && stream.is_multiple_of(2) {
            return wrong("it answers no request");
        }
        let known = answers.get_mut(&stream);
        match (kind, known) {
            (HEADERS | DATA, Some(Answer { is_whole: true, .. })) => return wrong("the answer was over"),
            (HEADERS, None) => {
                let status = status_of(payload).ok_or_else(|| format!("no status: {}", shown(payload)))?;
                let is_whole = flags & END_STREAM != 0;
                // A 1xx is followed by the answer.
                if status >= 200 {
                    let answer = Answer { status, headers: Vec::new(), body: Vec::new(), is_whole };
                    answers.insert(stream, answer);
                }
            }
            (DATA, Some(answer)) => {
                answer.body.extend_from_slice(payload);
                answer.is_whole = flags & END_STREAM != 0;
            }
            (HEADERS, Some(answer)) => answer.is_whole = flags & END_STREAM != 0,
            (DATA, None) => return wrong("data before headers"),
            _ => {}
        }
    }
    match came.len() - whole_bytes > HEAD_BYTES + FRAME_BYTES_MAX {
        true => Err(format!("no frame: {}", shown(&came[whole_bytes..]))),
        false => Ok(answers.into_values().collect()),
    }
}

/// The status, which is the first of the headers of an answer (RFC 7541, 6.1 and 6.2, and the static table).
fn status_of(mut block: &[u8]) -> Option<u16> {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    const FIRST: usize = 8;
    // A new size of the dynamic table may stand before it.
    while block.first()? & 0b1110_0000 == 0b0010_0000 {
        let is_long = block[0] & 0b1_1111 == 0b1_1111;
        let more = if is_long { block[1..].iter().position(|byte| byte & 128 == 0)? + 1 } else { 0 };
        block = &block[1 + more..];
    }
    match *block.first()? {
        // In the dynamic table, where an earlier answer has put it: any.
        indexed if indexed >= 0x80 | 62 => Some(599),
        indexed if indexed & 0x80 != 0 => {
            STATIC.get(usize::from(indexed & 0x7f).checked_sub(FIRST)?).copied()
        }
        0x48 | 0x08 | 0x18 => {
            let length = *block.get(1)?;
            let value = block.get(2..2 + usize::from(length & 0x7f))?;
            let text =
                if length & 0x80 != 0 { digits(value) } else { String::from_utf8(value.into()).ok()? };
            text.parse().ok().filter(|status| text.len() == 3 && (100..600).contains(status))
        }
        _ => None,
    }
}

/// Digits by their code of 5 bits (0 to 2) or 6 (RFC 7541, appendix B); `?` ends them where there is another sign.
fn digits(coded: &[u8]) -> String {
    let bits: Vec<u8> = coded.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let (mut text, mut rest) = (String::new(), bits.as_slice());
    let number = |bits: &[u8]| bits.iter().fold(0_u8, |number, bit| number << 1 | bit);
    while rest.len() >= 5 {
        let digit = match (number(&rest[..5]), rest.get(..6).map(number)) {
            (short @ 0..=2, _) => (short, 5),
            (_, Some(long @ 25..=31)) => (long - 25 + 3, 6),
            // Padding, of ones.
            _ if rest.iter().all(|bit| *bit == 1) => break,
            _ => return text + "?",
        };
        text.push(char::from(b'0' + digit.0));
        rest = &rest[digit.1..];
    }
    text
}

#[test]
fn what_is_no_answer_is_seen() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let headers = frame(HEADERS, END_HEADERS, 1, &[0x88]);
    let data = frame(DATA, END_STREAM, 1, b"ab");
    let good = [settings.clone(), headers.clone(), data.clone()];
    let answers = read(&good.concat()).unwrap();
    assert_eq!((answers.len(), answers[0].status, answers[0].body.as_slice()), (1, 200, &b"ab"[..]));
    assert!(answers[0].is_whole && is_over(&good.concat()) && !is_over(&good[..2].concat()));
    for wrong in [
        vec![headers.clone()],
        vec![settings.clone(), data.clone()],
        vec![settings.clone(), headers.clone(), data.clone(), data],
        vec![settings.clone(), frame(HEADERS, END_HEADERS, 2, &[0x88])],
        vec![settings.clone(), frame(HEADERS, END_HEADERS, 1, &[0x82])],
        vec![settings.clone(), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88])],
        vec![settings, vec![255; 20_000]],
        vec![b"nonsense, and no frame".to_vec(), vec![0; 30_000]],
    ] {
        assert!(read(&wrong.concat()).is_err(), "{wrong:?}");
    }
    // 429 and 302, the latter as RFC 7541 (C.6.1) has it.
    assert_eq!(status_of(b"\x08\x03429"), Some(429));
    assert_eq!(status_of(&[0x48, 0x82, 0x64, 0x02]), Some(302));
    assert_eq!(status_of(&[0x20, 0x3f, 0x80, 0x01, 0x8d]), Some(404));
    assert_eq!(status_of(b"\x08\x03999"), None);
}
