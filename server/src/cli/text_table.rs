//! Rows and columns for a person: names on top, numbers to the right, nothing wider than it needs to be.

use std::io::Write;

use serde_json::Value;

use super::screen::{Screen, Tone, grouped};

/// Longer cells are cut, and marked.
const CELL_WIDTH_MAX: usize = 120;

/// How cells are shown.
pub(crate) struct Style<'a> {
    pub(crate) screen: Screen,
    /// Separators in whole numbers. Not in answers to SQL: those are copied into other statements.
    pub(crate) grouped: bool,
    /// What stands in place of NULL.
    pub(crate) null: &'a str,
    /// A cell's colour by its text.
    pub(crate) tone: fn(&str) -> Option<Tone>,
}

impl Style<'_> {
    /// For answers to SQL.
    pub(crate) fn sql(screen: Screen) -> Self {
        Style { screen, grouped: false, null: "NULL", tone: |_| None }
    }

    /// For what the command line itself has to say.
    pub(crate) fn report(screen: Screen) -> Self {
        Style { screen, grouped: true, null: "-", tone: |_| None }
    }

    fn cell(&self, value: &Value) -> String {
        let text = match value {
            Value::Null => self.null.to_string(),
            Value::String(text) => text.clone(),
            Value::Number(number) if self.grouped => match number.as_i64() {
                Some(whole) => grouped(whole),
                None => number.to_string(),
            },
            other => other.to_string(),
        };
        let mut shown = String::new();
        for (count, character) in text.chars().enumerate() {
            if count == CELL_WIDTH_MAX {
                shown.push('…');
                break;
            }
            // A control character could move the cursor, or worse.
            shown.push(if character.is_control() { '·' } else { character });
        }
        shown
    }
}

/// Writes `rows` under the names of columns.
pub(crate) fn write(
    out: &mut (impl Write + ?Sized),
    columns: &[impl AsRef<str>],
    rows: &[Vec<Value>],
    style: &Style<'_>,
) -> std::io::Result<()> {
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|value| style.cell(value)).collect()).collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let widest =
                cells.iter().filter_map(|row| row.get(index)).map(|cell| width(cell)).max().unwrap_or(0);
            widest.max(width(name.as_ref()))
        })
        .collect();
    let line = |left: &str, middle: &str, right: &str| {
        let bars: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}", bars.join(middle))
    };
    writeln!(out, "{}", line("┌", "┬", "┐"))?;
    write!(out, "│")?;
    for (name, width) in columns.iter().zip(&widths) {
        write!(out, " {} │", style.screen.paint(Tone::Strong, &pad(name.as_ref(), *width, false)))?;
    }
    writeln!(out, "\n{}", line("├", "┼", "┤"))?;
    for (row, values) in cells.iter().zip(rows) {
        write!(out, "│")?;
        for ((cell, value), width) in row.iter().zip(values).zip(&widths) {
            let padded = pad(cell, *width, value.is_number());
            let shown = match (style.tone)(cell) {
                Some(tone) => style.screen.paint(tone, &padded),
                None => padded,
            };
            write!(out, " {shown} │")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", line("└", "┴", "┘"))
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn pad(text: &str, to: usize, right: bool) -> String {
    let blanks = " ".repeat(to.saturating_sub(width(text)));
    if right { format!("{blanks}{text}") } else { format!("{text}{blanks}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws() {
        let rows = vec![vec![Value::from("Ulm\n"), Value::from(7)], vec![Value::Null, Value::from(1234)]];
        let draw = |style: &Style<'_>| {
            let mut out = Vec::new();
            write(&mut out, &["city", "n"], &rows, style).unwrap();
            String::from_utf8(out).unwrap()
        };
        let expected = "┌──────┬──────┐\n│ city │ n    │\n├──────┼──────┤\n│ Ulm· │    7 │\n│ NULL │ 1234 │\n└──────┴──────┘\n";
        assert_eq!(draw(&Style::sql(Screen::plain())), expected);
        let expected = "┌──────┬───────┐\n│ city │ n     │\n├──────┼───────┤\n│ Ulm· │     7 │\n│ -    │ 1,234 │\n└──────┴───────┘\n";
        assert_eq!(draw(&Style::report(Screen::plain())), expected);
    }
}
