//! Number literals of JSON: scanned once, then read as an integer, a float or an exact decimal.
//!
//! Invariant: while at most 19 digits stand before the exponent the value is `mantissa * 10^exponent` and no
//! conversion reads the text again; longer literals are `exact == false` and go back to their text.

/// A scanned number literal; its text is kept by whoever scanned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    negative: bool,
    /// Whether `mantissa` holds all digits.
    exact: bool,
    mantissa: u64,
    /// Power of ten of the last digit before the exponent.
    exponent: i64,
}

/// Exponents are held at this bound: far beyond the digits of any message, and far from overflowing.
const EXPONENT_MAX: i64 = 1 << 40;
/// Ten to any twenty digits or more does not fit u64.
const EXACT_DIGITS_MAX: usize = 19;
/// The most digits that an i128 holds whatever they are.
const DECIMAL_DIGITS_MAX: u32 = 38;
/// The powers of ten that f64 holds exactly.
const POWERS_F64: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// The powers of ten that up to eight digits are shifted by.
const POWERS_U64: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

const OUT_OF_RANGE: &str = "out of range";
const HAS_FRACTION: &str = "not an integer";
const TOO_MANY_DIGITS: &str = "more digits than the precision";
const TOO_MANY_DECIMALS: &str = "more fractional digits than the scale";

impl Number {
    /// Reads the literal that `bytes` begin with. Returns it with its length, or how many bytes of it were right.
    #[inline]
    pub(super) fn scan(bytes: &[u8]) -> Result<(Self, usize), usize> {
        let negative = bytes.first() == Some(&b'-');
        let start = usize::from(negative);
        let (mut mantissa, mut exponent) = (0, 0);
        let mut at = digits(bytes, start, &mut mantissa);
        let mut count = at - start;
        if count == 0 {
            return Err(at);
        }
        if count > 1 && bytes[start] == b'0' {
            return Err(start + 1);
        }
        if bytes.get(at) == Some(&b'.') {
            let end = digits(bytes, at + 1, &mut mantissa);
            let decimals = end - (at + 1);
            if decimals == 0 {
                return Err(end);
            }
            count += decimals;
            exponent = -(decimals as i64);
            at = end;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            let (power, length) = scan_exponent(&bytes[at + 1..]).map_err(|right| at + 1 + right)?;
            exponent += power;
            at += 1 + length;
        }
        Ok((Self { negative, exact: count <= EXACT_DIGITS_MAX, mantissa, exponent }, at))
    }

    /// Reads a text that is one number literal and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match Self::scan(text.as_bytes()) {
            Ok((number, length)) if length == text.len() => Some(number),
            _ => None,
        }
    }

    /// The value as an integer, if it is one; `text` is the literal.
    #[inline]
    pub(super) fn integer(&self, text: &str) -> Result<i64, &'static str> {
        if self.exact && self.exponent == 0 {
            let value = i128::from(self.mantissa);
            return i64::try_from(if self.negative { -value } else { value }).map_err(|_| OUT_OF_RANGE);
        }
        match self.decimal(text, DECIMAL_DIGITS_MAX, 0) {
            Ok(value) => i64::try_from(value).map_err(|_| OUT_OF_RANGE),
            Err(TOO_MANY_DECIMALS) => Err(HAS_FRACTION),
            Err(_) => Err(OUT_OF_RANGE),
        }
    }

    /// The nearest f64, if it is finite; `text` is the literal. -0 is 0: SQL says that they are equal, and whoever compares bits
    /// (sets, hashes) must not say otherwise.
    #[inline]
    pub(super) fn double(&self, text: &str) -> Result<f64, &'static str> {
        // Both operands are exact, so the one rounding of the operation is the right one (Clinger 1990).
        let power = POWERS_F64.get(self.exponent.unsigned_abs() as usize);
        if let (true, Some(power)) = (self.exact && self.mantissa <= 1 << 53, power) {
            let mantissa = self.mantissa as f64;
            let magnitude = if self.exponent < 0 { mantissa / power } else { mantissa * power };
            return Ok(if self.negative { 0.0 - magnitude } else { magnitude });
        }
        let value = text.parse().ok().filter(|value: &f64| value.is_finite());
        value.map(|value| value + 0.0).ok_or(OUT_OF_RANGE)
    }

    /// The nearest f32, if it is finite, and 0 for -0; `text` is the literal.
    #[inline]
    pub(super) fn float(&self, text: &str) -> Result<f32, &'static str> {
        let value = text.parse().ok().filter(|value: &f32| value.is_finite());
        value.map(|value| value + 0.0).ok_or(OUT_OF_RANGE)
    }

    /// The unscaled value of DECIMAL(precision, scale), exactly; `text` is the literal.
    pub(super) fn decimal(&self, text: &str, precision: u32, scale: u32) -> Result<i128, &'static str> {
        let (magnitude, exponent) = match self.exact {
            true => (u128::from(self.mantissa), self.exponent),
            false => {
                let (magnitude, trailing_zeros) = significand(text).ok_or(TOO_MANY_DIGITS)?;
                (magnitude, self.exponent + trailing_zeros)
            }
        };
        if magnitude == 0 {
            return Ok(0);
        }
        let shift = exponent + i64::from(scale);
        let power = u32::try_from(shift.unsigned_abs()).ok().and_then(|power| 10u128.checked_pow(power));
        let unscaled = match (shift < 0, power) {
            (false, Some(power)) => magnitude.checked_mul(power).ok_or(TOO_MANY_DIGITS)?,
            (false, None) => return Err(TOO_MANY_DIGITS),
            (true, Some(power)) if magnitude.is_multiple_of(power) => magnitude / power,
            (true, _) => return Err(TOO_MANY_DECIMALS),
        };
        if unscaled >= 10u128.pow(precision.min(DECIMAL_DIGITS_MAX)) {
            return Err(TOO_MANY_DIGITS);
        }
        let unscaled = unscaled as i128;
        Ok(if self.negative { -unscaled } else { unscaled })
    }
}

/// Appends the digits at `at` to `mantissa` (which wraps when there are too many) and returns where they end.
#[inline]
fn digits(bytes: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let (count, value) = leading_digits(*chunk);
        *mantissa = mantissa.wrapping_mul(POWERS_U64[count]).wrapping_add(value);
        at += count;
        if count < 8 {
            return at;
        }
    }
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// How many of eight bytes are digits before the first that is not, and their value. No branch depends on the count.
#[inline]
fn leading_digits(bytes: [u8; 8]) -> (usize, u64) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let digits = u64::from_le_bytes(bytes) ^ (ONES * b'0' as u64);
    // The lowest bit set is the high bit of the first byte of 10 or more; bytes above it may be wrong through carries.
    let others = (digits.wrapping_add(ONES * 0x76) | digits) & (ONES << 7);
    let count = others.trailing_zeros() / 8;
    // Zero digits come in from below, before the digits; what is not a digit is shifted out.
    let padded = digits.checked_shl(64 - 8 * count).unwrap_or(0);
    let pairs = padded.wrapping_mul(10).wrapping_add(padded >> 8) & 0x00FF_00FF_00FF_00FF;
    let quads = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_FFFF_0000_FFFF;
    (count as usize, quads.wrapping_mul(10_000).wrapping_add(quads >> 32) & 0xFFFF_FFFF)
}

/// Reads what follows the `e`: an optional sign and digits. Returns the power held at [`EXPONENT_MAX`], and the length.
fn scan_exponent(bytes: &[u8]) -> Result<(i64, usize), usize> {
    let sign = match bytes.first() {
        Some(b'-') => -1,
        _ => 1,
    };
    let start = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let count = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return Err(start);
    }
    let power = bytes[start..start + count]
        .iter()
        .fold(0i64, |power, digit| (power * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX));
    Ok((sign * power, start + count))
}

/// The digits of a literal without their trailing zeros, and how many of those there were. `None`: over 38 digits.
fn significand(text: &str) -> Option<(u128, i64)> {
    let (mut magnitude, mut length, mut zeros) = (0u128, 0u32, 0u32);
    for digit in text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).filter(u8::is_ascii_digit) {
        if digit == b'0' {
            zeros += u32::from(magnitude != 0);
            continue;
        }
        length = length.checked_add(zeros + 1).filter(|length| *length <= DECIMAL_DIGITS_MAX)?;
        magnitude = magnitude * 10u128.pow(zeros + 1) + u128::from(digit - b'0');
        zeros = 0;
    }
    Some((magnitude, i64::from(zeros)))
}
