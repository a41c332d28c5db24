//! The yardsticks: what parsing alone costs, on one thread, message by message, the results thrown away.

use std::hint::black_box;
use std::time::Instant;

use super::Measured;
use super::preload::SEED;
use crate::events::{Events, preloaded_time};
use crate::{Result, process};

/// Name of the parser that the target is about.
pub(super) const YARDSTICK: &str = "simd-json alone";

type Parse = fn(&mut [u8], &[usize]) -> Result<()>;

/// The parsers: `(name, what parses every message of these lengths)`.
pub(super) const PARSERS: [(&str, Parse); 2] = [(YARDSTICK, simd_json_tape), ("sonic-rs alone", sonic_value)];

/// More tells nothing new and would have to be held in memory.
const SAMPLE_EVENTS_MAX: u64 = 1_000_000;

/// The first events of the topic, in memory.
pub(super) struct Sample {
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// Of all events, not only those in the sample.
    pub(super) bytes_of_all: u64,
    text: Vec<u8>,
    lengths: Vec<usize>,
}

impl Sample {
    /// The sample of a topic with `events` events.
    pub(super) fn new(events: u64) -> Self {
        let mut stream = Events::new(SEED);
        let (mut text, mut lengths, mut bytes_of_all) = (Vec::new(), Vec::new(), 0);
        for number in 0..events {
            let event = stream.next(&preloaded_time(number));
            bytes_of_all += event.len() as u64;
            if number < SAMPLE_EVENTS_MAX {
                text.extend_from_slice(event);
                lengths.push(event.len());
            }
        }
        Self { events: lengths.len() as u64, bytes: text.len() as u64, bytes_of_all, text, lengths }
    }

    /// One pass of a parser.
    pub(super) fn measure(&self, parse: Parse) -> Result<Measured> {
        // simd-json writes into its input, so every pass has a copy; making it is not measured.
        let mut text = self.text.clone();
        let (cpu_before, began) = (process::cpu_time(std::process::id())?, Instant::now());
        parse(&mut text, &self.lengths)?;
        let seconds = began.elapsed().as_secs_f64();
        let cpu_seconds = (process::cpu_time(std::process::id())? - cpu_before).as_secs_f64();
        // The kernel counts CPU time in hundredths of a second; on an idle machine one thread's is the time that passed.
        let cpu_seconds = if (seconds - cpu_seconds).abs() < 0.05 { seconds } else { cpu_seconds };
        Ok(Measured { seconds, cpu_seconds, peak_memory_bytes: None })
    }
}

/// To a tape, with all buffers kept from message to message: the least that this parser can do.
fn simd_json_tape(mut text: &mut [u8], lengths: &[usize]) -> Result<()> {
    let mut buffers = simd_json::Buffers::new(1024);
    let mut tape = simd_json::Tape::null();
    for length in lengths {
        let (message, rest) = text.split_at_mut(*length);
        text = rest;
        simd_json::fill_tape(message, &mut buffers, &mut tape)?;
        black_box(&tape);
    }
    Ok(())
}

fn sonic_value(mut text: &mut [u8], lengths: &[usize]) -> Result<()> {
    for length in lengths {
        let (message, rest) = text.split_at_mut(*length);
        text = rest;
        black_box(sonic_rs::from_slice::<sonic_rs::Value>(message)?);
    }
    Ok(())
}
