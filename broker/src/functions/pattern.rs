//! Joda's patterns for dates (`yyyy-MM-dd HH:mm:ss`) as those of our functions (`%Y-%m-%d %H:%M:%S`).

/// A pattern and the zone that its texts are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// As `to_char` and `to_timestamp_millis` take it.
    pub(super) format: String,
    /// What a text lacks to be an instant, and the pattern of it: to be put behind both.
    pub(super) missing: (&'static str, &'static str),
    /// Name of the zone.
    pub(super) zone: String,
}

impl Pattern {
    /// `None` if a letter of the pattern has no counterpart, or the zone is none.
    pub(super) fn read(pattern: &str, zone: &str) -> Option<Self> {
        let zone = zone.trim();
        zone.parse::<arrow::array::timezone::Tz>().ok()?;
        let format = translate(pattern)?;
        let has = |parts: &[&str]| parts.iter().any(|part| format.contains(part));
        let has_day = has(&["%d", "%-d", "%j"]);
        let has_hour = has(&["%H", "%-H", "%I", "%-I"]);
        let has_minute = has(&["%M", "%-M"]);
        let has_month = has(&["%m", "%-m", "%b", "%B", "%j"]);
        let missing = match (has_month, has_day, has_hour, has_minute) {
            (_, true, true, true) => ("", ""),
            (_, true, true, false) => (" 00", " %M"),
            (_, true, false, _) => (" 00:00", " %H:%M"),
            (true, false, ..) => (" 01 00:00", " %d %H:%M"),
            (false, false, ..) => (" 01-01 00:00", " %m-%d %H:%M"),
        };
        Some(Self { format, missing, zone: zone.to_owned() })
    }
}

fn translate(pattern: &str) -> Option<String> {
    let mut format = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            rest = push_quoted(&mut format, quoted)?;
            continue;
        }
        let end = rest.find(|c| c != first).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        match first.is_ascii_alphabetic() {
            true => format.push_str(field(first, run.len())?),
            false => push_text(&mut format, run),
        }
        rest = after;
    }
    (!format.is_empty()).then_some(format)
}

/// Takes the text up to its closing quote; two quotes are one. Returns what follows.
fn push_quoted<'a>(format: &mut String, quoted: &'a str) -> Option<&'a str> {
    let Some(mut after) = quoted.strip_prefix('\'') else {
        let (text, mut after) = quoted.split_once('\'')?;
        push_text(format, text);
        while let Some(again) = after.strip_prefix('\'') {
            let (text, rest) = again.split_once('\'')?;
            format.push('\'');
            push_text(format, text);
            after = rest;
        }
        return Some(after);
    };
    format.push('\'');
    while let Some(rest) = after.strip_prefix("''") {
        format.push('\'');
        after = rest;
    }
    Some(after)
}

fn push_text(format: &mut String, text: &str) {
    format.push_str(&text.replace('%', "%%"));
}

fn field(letter: char, count: usize) -> Option<&'static str> {
    Some(match (letter, count) {
        ('y' | 'Y', 2) => "%y",
        ('y' | 'Y', 1 | 4) => "%Y",
        ('x', 4) => "%G",
        ('M' | 'L', 1) => "%-m",
        ('M' | 'L', 2) => "%m",
        ('M' | 'L', 3) => "%b",
        ('M' | 'L', 4) => "%B",
        ('d', 1) => "%-d",
        ('d', 2) => "%d",
        ('D', 1..=3) => "%j",
        ('w', 1 | 2) => "%V",
        ('E', 1..=3) => "%a",
        ('E', 4) => "%A",
        ('e', 1) => "%u",
        ('H', 1) => "%-H",
        ('H', 2) => "%H",
        ('h', 1) => "%-I",
        ('h', 2) => "%I",
        ('a', 1) => "%p",
        ('m', 1) => "%-M",
        ('m', 2) => "%M",
        ('s', 1) => "%-S",
        ('s', 2) => "%S",
        ('S', 3) => "%3f",
        ('S', 6) => "%6f",
        ('S', 9) => "%9f",
        ('Z' | 'X', 1..=3) => "%z",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("yyyy-MM-dd", Some("%Y-%m-%d")),
            ("yyyyMMddHHmmss", Some("%Y%m%d%H%M%S")),
            ("yyyy-MM-dd'T'HH:mm:ss.SSS", Some("%Y-%m-%dT%H:%M:%S.%3f")),
            ("d/M/yy h:mm a", Some("%-d/%-m/%y %-I:%M %p")),
            ("EEE, dd MMM yyyy", Some("%a, %d %b %Y")),
            ("yyyy 'o''clock' 100%", Some("%Y o'clock 100%%")),
            ("yyyy-QQ", None),
            ("yyyy 'open", None),
            ("", None),
        ];
        for (pattern, expected) in cases {
            let read = Pattern::read(pattern, "UTC").map(|pattern| pattern.format);
            assert_eq!(read.as_deref(), expected, "{pattern}");
        }
        assert_eq!(Pattern::read("yyyy-MM-dd", "Nowhere/City"), None);
        assert_eq!(Pattern::read("yyyy-MM-dd HH:mm", "Europe/Berlin").unwrap().missing, ("", ""));
        assert_eq!(Pattern::read("yyyy-MM", "UTC").unwrap().missing, (" 01 00:00", " %d %H:%M"));
        assert_eq!(Pattern::read("yyyy", "UTC").unwrap().missing.0, " 01-01 00:00");
    }
}
