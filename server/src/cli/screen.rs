//! How a command answers: one JSON document for a program, or text for a person, in colour on a terminal.
//!
//! Invariant: standard output carries the answer and nothing else; whatever is said beside it goes to standard error.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use serde_json::Value;

use super::CliError;

/// What answers are made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Tables and sentences for a person.
    #[default]
    Text,
    /// One JSON document; errors, too, on standard error.
    Json,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// To be looked at.
    Odd,
    /// Broken.
    Bad,
    /// A heading.
    Strong,
    /// Beside the point.
    Faint,
}

/// Where a command writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    output: Output,
    coloured: bool,
}

impl Screen {
    /// Standard output: coloured if it is a terminal that shows colours, and nobody has set `NO_COLOR`.
    pub(crate) fn new(output: Output) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let coloured = output == Output::Text && std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb;
        Self { output, coloured }
    }

    /// For tests.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { output: Output::Text, coloured: false }
    }

    pub(crate) fn is_json(self) -> bool {
        self.output == Output::Json
    }

    /// `text`, coloured where colours are shown.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.coloured => return text.to_string(),
            Tone::Good => "32",
            Tone::Odd => "33",
            Tone::Bad => "31",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Writes the answer: `document`, or what `text` makes of it.
    pub(crate) fn answer(
        self,
        document: &Value,
        text: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        match self.output {
            Output::Json => writeln!(out, "{document:#}")?,
            Output::Text => text(&mut out)?,
        }
        Ok(out.flush()?)
    }
}

/// Digits in groups of three.
pub(crate) fn grouped(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// Bytes for a person: three digits and a unit.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567"), (100_000, "100,000")]
        {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(i64::MIN), "-9,223,372,036,854,775,808");
    }

    #[test]
    fn sizes_have_three_digits() {
        let cases =
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (65_536, "64.0 KiB"), (5 << 50, "5120 TiB")];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn without_colours_text_is_as_it_is() {
        assert_eq!(Screen::plain().paint(Tone::Bad, "x"), "x");
        let coloured = Screen { output: Output::Text, coloured: true };
        assert_eq!(coloured.paint(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
