//! Rows and columns for a person: names on top, numbers to the right, nothing wider than it needs to be.

use std::io::Write;

use serde_json::Value;

/// Longer cells are cut, and marked.
const CELL_WIDTH_MAX: usize = 120;

/// Writes `rows` under `columns` (name and type).
pub(crate) fn write(
    out: &mut impl Write,
    columns: &[(String, String)],
    rows: &[Vec<Value>],
) -> std::io::Result<()> {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, (name, _))| {
            let widest =
                cells.iter().filter_map(|row| row.get(index)).map(|cell| width(cell)).max().unwrap_or(0);
            widest.max(width(name))
        })
        .collect();
    let line = |left: &str, middle: &str, right: &str| {
        let bars: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}", bars.join(middle))
    };
    writeln!(out, "{}", line("┌", "┬", "┐"))?;
    write!(out, "│")?;
    for ((name, _), width) in columns.iter().zip(&widths) {
        write!(out, " {} │", pad(name, *width, false))?;
    }
    writeln!(out, "\n{}", line("├", "┼", "┤"))?;
    for (row, values) in cells.iter().zip(rows) {
        write!(out, "│")?;
        for ((cell, value), width) in row.iter().zip(values).zip(&widths) {
            write!(out, " {} │", pad(cell, *width, value.is_number()))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", line("└", "┴", "┘"))
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "NULL".to_string(),
        Value::String(text) => text.clone(),
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
        let columns = [("city".to_string(), "STRING".to_string()), ("n".to_string(), "LONG".to_string())];
        let rows = vec![vec![Value::from("Ulm\n"), Value::from(7)], vec![Value::Null, Value::from(1234)]];
        let mut out = Vec::new();
        write(&mut out, &columns, &rows).unwrap();
        let expected = "┌──────┬──────┐\n│ city │ n    │\n├──────┼──────┤\n│ Ulm· │    7 │\n│ NULL │ 1234 │\n└──────┴──────┘\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
