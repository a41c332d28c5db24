//! Which codec a column's pages get, by what it saves on a sample.
//!
//! zstd decodes at about 1 GB/s per core whatever its level, plain bytes at the speed of memory: where little is saved, nothing
//! is compressed.

use parquet::basic::{Compression, ZstdLevel};

use crate::{Result, SegmentError};

/// What zstd must leave of the bytes, at most, to be worth its decoding.
const ZSTD_RATIO_MAX: f64 = 0.9;
/// What zstd-3 must leave of zstd-1's bytes, at most, to be worth its encoding.
const SLOW_RATIO_MAX: f64 = 0.95;
const FAST_LEVEL: i32 = 1;
const SLOW_LEVEL: i32 = 3;

/// How pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// Not at all.
    Plain,
    /// zstd of this level.
    Zstd(i32),
}

/// Some bytes of a column, and how many bytes like them it has.
pub(super) struct Sample<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) stands_for: f64,
}

impl Codec {
    /// The codec for pages of which `samples` are typical.
    pub(super) fn choose(samples: &[Sample<'_>]) -> Result<Self> {
        let plain: f64 = samples.iter().map(|sample| sample.stands_for).sum();
        let with = |level: i32| -> Result<f64> {
            let mut pages = Pages::new(Self::Zstd(level))?;
            let mut total = 0.0;
            for sample in samples.iter().filter(|sample| !sample.bytes.is_empty()) {
                let compressed = pages.compress(sample.bytes)?.len() as f64;
                total += compressed / sample.bytes.len() as f64 * sample.stands_for;
            }
            Ok(total)
        };
        Ok(Self::decide(plain, with(FAST_LEVEL)?, with(SLOW_LEVEL)?))
    }

    /// The choice between sizes in bytes.
    pub(super) fn decide(plain: f64, fast: f64, slow: f64) -> Self {
        match (fast.min(slow) < plain * ZSTD_RATIO_MAX, slow < fast * SLOW_RATIO_MAX) {
            (false, _) => Self::Plain,
            (true, false) => Self::Zstd(FAST_LEVEL),
            (true, true) => Self::Zstd(SLOW_LEVEL),
        }
    }

    /// As Parquet names it.
    pub(super) fn parquet(self) -> Result<Compression> {
        Ok(match self {
            Self::Plain => Compression::UNCOMPRESSED,
            Self::Zstd(level) => Compression::ZSTD(ZstdLevel::try_new(level)?),
        })
    }
}

/// Compresses pages one after the other.
pub(super) struct Pages {
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Pages {
    pub(super) fn new(codec: Codec) -> Result<Self> {
        let zstd = match codec {
            Codec::Plain => None,
            Codec::Zstd(level) => Some(zstd::bulk::Compressor::new(level).map_err(failed)?),
        };
        Ok(Self { zstd })
    }

    /// The page as it goes into the file.
    pub(super) fn compress(&mut self, page: &[u8]) -> Result<Vec<u8>> {
        match &mut self.zstd {
            None => Ok(page.to_vec()),
            Some(zstd) => zstd.compress(page).map_err(failed),
        }
    }
}

fn failed(error: std::io::Error) -> SegmentError {
    SegmentError::Refused(format!("a page could not be compressed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(bytes: &[u8]) -> Codec {
        Codec::choose(&[Sample { bytes, stands_for: bytes.len() as f64 }]).unwrap()
    }

    #[test]
    fn what_does_not_shrink_stays_as_it_is() {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..50_000)
            .map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert_eq!(choose(&noise), Codec::Plain);
        assert_eq!(choose(&[]), Codec::Plain);
        assert_ne!(choose(&b"Lisbon, Berlin, ".repeat(999)), Codec::Plain);
    }

    #[test]
    fn the_slow_level_must_pay() {
        assert_eq!(Codec::decide(100.0, 91.0, 91.0), Codec::Plain);
        assert_eq!(Codec::decide(100.0, 80.0, 78.0), Codec::Zstd(1));
        assert_eq!(Codec::decide(100.0, 80.0, 70.0), Codec::Zstd(3));
        assert_eq!(Codec::decide(100.0, 95.0, 80.0), Codec::Zstd(3));
    }

    #[test]
    fn samples_count_by_what_they_stand_for() {
        let (shrinks, noise) = (b"abcd".repeat(1000), (0..=255).collect::<Vec<u8>>());
        let of = |shrinking: f64, noisy: f64| {
            let samples = [
                Sample { bytes: &shrinks, stands_for: shrinking },
                Sample { bytes: &noise, stands_for: noisy },
            ];
            Codec::choose(&samples).unwrap()
        };
        assert_eq!(of(1000.0, 1e6), Codec::Plain);
        assert_ne!(of(1e6, 1000.0), Codec::Plain);
    }
}
