//! Text that is rewritten before it is stored: escapes, UUIDs and base64, all into borrowed scratch space.
//!
//! Invariant: [`space_needed`] bytes are enough for whatever one value of that length becomes, so nothing here allocates.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where the hyphens of a UUID stand.
const UUID_HYPHENS: [usize; 4] = [8, 13, 18, 23];
/// Characters of a UUID with hyphens.
const UUID_LENGTH: usize = 36;

/// The scratch bytes that one value, or all elements of one array, of `length` bytes of JSON may take: unescaping
/// never lengthens, a UUID grows by four characters, base64 shrinks, and a value is rewritten at most twice.
pub(super) fn space_needed(length: usize) -> usize {
    2 * length + UUID_LENGTH
}

/// Scratch bytes, handed out piece by piece; every piece lives as long as the whole.
pub(super) struct Space<'v>(&'v mut [u8]);

impl<'v> Space<'v> {
    pub(super) fn new(bytes: &'v mut [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, length: usize) -> &'v mut [u8] {
        let (taken, rest) = std::mem::take(&mut self.0)
            .split_at_mut_checked(length)
            .expect("space_needed covers every rewriting of a value");
        self.0 = rest;
        taken
    }
}

/// Replaces the escapes of a string's content, which the scanner has found valid.
pub(super) fn unescape<'v>(content: &str, space: &mut Space<'v>) -> &'v str {
    let out = space.take(content.len());
    let (mut length, mut rest) = (0, content);
    while let Some((plain, escape)) = rest.split_once('\\') {
        out[length..length + plain.len()].copy_from_slice(plain.as_bytes());
        length += plain.len();
        let (character, consumed) = unescape_one(escape.as_bytes());
        length += character.encode_utf8(&mut out[length..]).len();
        rest = &escape[consumed..];
    }
    out[length..length + rest.len()].copy_from_slice(rest.as_bytes());
    std::str::from_utf8(&out[..length + rest.len()])
        .expect("characters encoded as UTF-8, one after the other")
}

/// The character that the escape after a backslash means, and the length of the escape.
fn unescape_one(escape: &[u8]) -> (char, usize) {
    let simple = match escape.first() {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(escape).unwrap_or((char::REPLACEMENT_CHARACTER, escape.len())),
        Some(other) => char::from(*other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (simple, escape.len().min(1))
}

/// Reads `uXXXX`, or `uXXXX\uXXXX` for a surrogate pair: the character, and the length of the escape. `None` if the
/// digits are not hexadecimal or a surrogate stands alone.
pub(super) fn unicode_escape(escape: &[u8]) -> Option<(char, usize)> {
    let first = hexadecimal(escape.get(1..5)?)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 5));
    }
    let second = escape.get(5..11)?.strip_prefix(b"\\u").and_then(hexadecimal)?;
    match (first, second) {
        (0xD800..=0xDBFF, 0xDC00..=0xDFFF) => {
            Some((char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))?, 11))
        }
        _ => None,
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// A UUID as 36 characters in lower case; a text that is so already is returned as it is.
pub(super) fn uuid<'v>(text: &'v str, space: &mut Space<'v>) -> Option<&'v str> {
    let bytes = text.as_bytes();
    let is_hyphenated = bytes.len() == UUID_LENGTH && UUID_HYPHENS.iter().all(|at| bytes[*at] == b'-');
    if !is_hyphenated && bytes.len() != UUID_LENGTH - UUID_HYPHENS.len() {
        return None;
    }
    let hyphens = if is_hyphenated { UUID_HYPHENS.len() } else { 0 };
    let (digits, lower) = bytes.iter().fold((0, 0), |(digits, lower), byte| {
        (digits + usize::from(byte.is_ascii_hexdigit()), lower + usize::from(!byte.is_ascii_uppercase()))
    });
    if digits != bytes.len() - hyphens {
        return None;
    }
    if is_hyphenated && lower == bytes.len() {
        return Some(text);
    }
    let out = space.take(UUID_LENGTH);
    let mut source = bytes.iter().filter(|byte| **byte != b'-');
    for (at, slot) in out.iter_mut().enumerate() {
        *slot = match UUID_HYPHENS.contains(&at) {
            true => b'-',
            false => source.next()?.to_ascii_lowercase(),
        };
    }
    std::str::from_utf8(out).ok()
}

/// The bytes of standard base64, with or without padding.
pub(super) fn base64<'v>(text: &str, space: &mut Space<'v>) -> Option<&'v [u8]> {
    let out = space.take(text.len().div_ceil(4) * 3);
    let length = BASE64.decode_slice(text, out).ok()?;
    Some(&out[..length])
}
