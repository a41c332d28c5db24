//! Writes the inferred spec as YAML with a comment on every decision.
//!
//! Text from messages reaches the file in two ways only: quoted, where everything unusual is escaped, and in comments,
//! where it is replaced. So no message can end a comment or add a key.

use std::fmt::Write;

use headwater_segment::schema::ColumnType;
use headwater_segment::spec::{FieldPath, SealSpec};

use super::{BRACKETS_MAX, Candidate, names_a_time};

/// How much of an example is shown, in characters.
const EXAMPLE_CHARS_MAX: usize = 40;

/// All that was decided.
pub(super) struct Draft<'a> {
    pub(super) table: &'a str,
    pub(super) brokers: &'a str,
    pub(super) topic: &'a str,
    /// Samples that are JSON objects.
    pub(super) messages: usize,
    pub(super) undecodable: usize,
    /// Fields that got no column.
    pub(super) left_out: usize,
    pub(super) columns: &'a [Candidate<'a>],
    pub(super) time_column: Option<usize>,
    pub(super) sort_key: Vec<usize>,
}

impl Draft<'_> {
    /// The spec's text.
    pub(super) fn write(&self) -> String {
        let mut text = String::new();
        self.write_all(&mut text).expect("writing to a String does not fail");
        text
    }

    fn write_all(&self, out: &mut String) -> std::fmt::Result {
        self.write_opening(out)?;
        writeln!(out, "name: {}", plain_or_quoted(self.table))?;
        self.write_columns(out)?;
        self.write_order(out)?;
        self.write_stream(out)?;
        self.write_settings(out)
    }

    fn write_opening(&self, out: &mut String) -> std::fmt::Result {
        let topic = printable(self.topic, EXAMPLE_CHARS_MAX);
        writeln!(
            out,
            "# Inferred from {} messages of the topic {topic}. Read it, correct it, then:",
            self.messages
        )?;
        writeln!(out, "#   headwater table apply -f FILE")?;
        if self.undecodable > 0 {
            writeln!(
                out,
                "# {} more messages are no JSON objects; they would be dead letters.",
                self.undecodable
            )?;
        }
        writeln!(out, "#")?;
        writeln!(out, "# A column may also have:")?;
        writeln!(out, "#   nullable: false   a message without the field is a dead letter")?;
        writeln!(
            out,
            "#   on_error: null    a value that does not fit becomes NULL; without it the message is a dead letter"
        )
    }

    fn write_columns(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "columns:")?;
        if self.columns.is_empty() {
            writeln!(out, "  # No message had a field, so this is the whole message.")?;
            writeln!(out, "  - {{name: message, type: JSON, path: $}}")?;
        }
        for column in self.columns {
            let data_type = column.data_type.to_string();
            write!(
                out,
                "  - {{name: {}, type: {}",
                plain_or_quoted(&column.name),
                plain_or_quoted(&data_type)
            )?;
            if column.path != FieldPath::field(&column.name) {
                write!(out, ", path: {}", plain_or_quoted(&column.path.to_string()))?;
            }
            writeln!(out, "}}  # {}", self.remark(column))?;
        }
        if self.left_out > 0 {
            writeln!(
                out,
                "  # {} more fields are left out: too many, or too odd in name. Add those that you need,",
                self.left_out
            )?;
            writeln!(out, "  # or take the whole message with: - {{name: message, type: JSON, path: $}}")?;
        }
        Ok(())
    }

    /// How often a column has a value, an example, and what else a reader should know.
    fn remark(&self, column: &Candidate<'_>) -> String {
        let observed = column.observed;
        let values = observed.values();
        let mut remark = match values {
            0 => "always null in the samples, so anything is taken".to_string(),
            values if values >= self.messages => format!("in all {} messages", self.messages),
            values => format!("in {:.1} % of the messages", values as f64 * 100.0 / self.messages as f64),
        };
        if let Some(example) = observed.example().filter(|example| brackets(example) <= BRACKETS_MAX) {
            remark.push_str(", such as ");
            remark.push_str(&printable(example, EXAMPLE_CHARS_MAX));
        }
        if column.data_type != ColumnType::String
            && let Some((_, faults)) = observed.nearly_instants()
        {
            remark.push_str(&format!("; {faults} of them not a time: they would be dead letters"));
        }
        if column.data_type == ColumnType::Long && names_a_time(&column.name) && observed.could_be_seconds() {
            remark.push_str(" (seconds since the epoch? TIMESTAMP takes milliseconds or microseconds)");
        }
        remark
    }

    fn write_order(&self, out: &mut String) -> std::fmt::Result {
        let name = |index: &usize| plain_or_quoted(&self.columns[*index].name);
        match &self.time_column {
            Some(index) => writeln!(
                out,
                "# The time of the event, for pruning and retention.\ntime_column: {}",
                name(index)
            )?,
            None => {
                writeln!(out, "# No field looks like a time; $timestamp is the time of the Kafka message.")?
            }
        }
        if self.sort_key.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.sort_key.iter().map(name).collect();
        writeln!(out, "# What queries filter by most should come first.\nsort_key: [{}]", names.join(", "))
    }

    fn write_stream(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "stream:\n  brokers:")?;
        for broker in self.brokers.split(',') {
            writeln!(out, "    - {}", quoted(broker.trim()))?;
        }
        writeln!(out, "  topic: {}", quoted(self.topic))?;
        writeln!(
            out,
            "  start: earliest  # or latest, or {{timestamp: 2026-01-01T00:00:00Z}}; for the first start only"
        )?;
        writeln!(out, "  on_gap: fail     # or skip: go on where the topic no longer has the next offset")?;
        writeln!(out, "  # properties:    # of librdkafka; secrets as {{env: VARIABLE}} or {{file: /path}}")?;
        writeln!(out, "  #   security.protocol: SASL_SSL\n  #   sasl.password: {{env: KAFKA_PASSWORD}}")
    }

    fn write_settings(&self, out: &mut String) -> std::fmt::Result {
        let seal = SealSpec::default();
        writeln!(out, "seal:  # whichever comes first")?;
        writeln!(out, "  rows_max: {}", seal.rows_max)?;
        writeln!(out, "  bytes_max: {}MiB", seal.bytes_max >> 20)?;
        writeln!(out, "  age_max: {}m", seal.age_max.as_secs() / 60)?;
        writeln!(out, "# retention: 30d  # without it, rows are kept for ever")?;
        writeln!(out, "dead_letters: table  # system.dead_letters, or {{topic: NAME}}")
    }
}

/// How many brackets a text opens.
pub(super) fn brackets(text: &str) -> usize {
    text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count()
}

/// Text as a YAML scalar: bare if every YAML reader takes it for text.
fn plain_or_quoted(text: &str) -> String {
    const OTHER_MEANINGS: [&str; 11] =
        ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.<>()".contains(c));
    match bare && !OTHER_MEANINGS.contains(&text.to_ascii_lowercase().as_str()) {
        true => text.to_string(),
        false => quoted(text),
    }
}

/// Text as a double-quoted YAML scalar.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if is_printable(c) => quoted.push(c),
            c => {
                let escaped = match u32::from(c) {
                    code @ ..=0xff => write!(quoted, "\\x{code:02X}"),
                    code => write!(quoted, "\\U{code:08X}"),
                };
                escaped.expect("writing to a String does not fail");
            }
        }
    }
    quoted + "\""
}

/// Text for a comment: one line, nothing that a terminal or a YAML reader takes for more than text.
fn printable(text: &str, chars_max: usize) -> String {
    let mut shown: String =
        text.chars().take(chars_max).map(|c| if is_printable(c) { c } else { '?' }).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push('…');
    }
    shown
}

/// ASCII without controls, and letters and digits of all scripts.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || (c >= '\u{a0}' && c.is_alphanumeric())
}
