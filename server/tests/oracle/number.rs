//! Number literals as sign, digits and power of ten: exact for every length.

pub(crate) struct Decimal {
    negative: bool,
    /// Without leading and trailing zeros; empty for zero.
    digits: String,
    /// Power of ten of the last digit; clipped far beyond what any column holds.
    exponent: i64,
}

impl Decimal {
    /// Whether `text` is a number literal of JSON and nothing else, blanks included.
    pub(crate) fn is_literal(text: &str) -> bool {
        let is_number_like = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let ends_like_one = text.ends_with(|c: char| c.is_ascii_digit());
        is_number_like && ends_like_one && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
    }

    /// `literal` must be one.
    pub(crate) fn parse(literal: &str) -> Self {
        let negative = literal.starts_with('-');
        let (mantissa, power) = literal
            .trim_start_matches('-')
            .split_once(['e', 'E'])
            .unwrap_or_else(|| (literal.trim_start_matches('-'), "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        // Only an exponent of absurd length fails to parse; its sign is all that matters.
        let clip = 1_000_000_000;
        let power = power
            .parse::<i64>()
            .unwrap_or(if power.starts_with('-') { -clip } else { clip })
            .clamp(-clip, clip);
        let exponent = power - fraction.len() as i64 + (all.len() - digits.len()) as i64;
        Self { negative, digits: digits.trim_start_matches('0').to_owned(), exponent }
    }

    /// The value times 10^scale, if it is whole and has at most `precision` digits.
    pub(crate) fn unscaled(&self, precision: u8, scale: i8) -> Option<i128> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let zeros = self.exponent + i64::from(scale);
        let zeros = usize::try_from(zeros).ok()?;
        if self.digits.len() + zeros > usize::from(precision) {
            return None;
        }
        let magnitude: i128 = format!("{}{}", self.digits, "0".repeat(zeros)).parse().unwrap();
        Some(if self.negative { -magnitude } else { magnitude })
    }
}
