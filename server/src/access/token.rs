//! API tokens: 256 random bits, of which only a hash is kept.

use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::TOKEN_PREFIX;

/// A token that was just made. Its debug form does not show it.
pub struct NewToken {
    /// What the client shows.
    pub token: String,
    /// What the configuration keeps.
    pub hash: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewToken")
    }
}

/// Makes a token.
pub fn new_token() -> NewToken {
    let bits: [u8; 32] = rand::random();
    let token = format!("{TOKEN_PREFIX}{}", hex(&bits));
    // A plain hash is enough: there is nothing to guess in 256 random bits.
    let hash = hex(&Sha256::digest(token.as_bytes()));
    NewToken { token, hash }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// When a token ends that is made `now` and lasts for `text`: `90d`, `12h`, or `never`.
///
/// # Errors
/// If it is written in another way, or is no time.
pub fn expiry(text: &str, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, String> {
    if text == "never" {
        return Ok(None);
    }
    let fault = || format!("{text:?} is no time to last: write 90d, 12h, or never");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(fault)?;
    let hours = match unit {
        "d" => 24,
        "h" => 1,
        _ => return Err(fault()),
    };
    let number: i64 = number.parse().map_err(|_| fault())?;
    let lasts = number.checked_mul(hours).filter(|hours| *hours > 0).and_then(chrono::TimeDelta::try_hours);
    lasts.and_then(|lasts| now.checked_add_signed(lasts)).map(Some).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_token_lasts() {
        let now: DateTime<Utc> = "2026-11-21T12:00:00Z".parse().unwrap();
        let until = |text: &str| expiry(text, now).map(|until| until.map(|until| until.to_rfc3339()));
        assert_eq!(until("90d").unwrap().unwrap(), "2027-02-19T12:00:00+00:00");
        assert_eq!(until("12h").unwrap().unwrap(), "2026-11-22T00:00:00+00:00");
        assert_eq!(until("never").unwrap(), None);
        for text in ["", "d", "90", "-1d", "0d", "1w", "9999999999999999d", "1.5d", "é"] {
            assert!(until(text).is_err(), "{text}");
        }
    }
}
