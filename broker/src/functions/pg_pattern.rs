//! PostgreSQL's patterns for dates (`YYYY-MM-DD HH24:MI:SS`) as those of our functions (`%Y-%m-%d %H:%M:%S`).

/// What a pattern says, by what PostgreSQL writes for it; of those that begin alike the longest comes first.
const FIELDS: [(&str, &str); 31] = [
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("SS", "%S"),
    ("MS", "%3f"),
    ("US", "%6f"),
    ("FF3", "%3f"),
    ("FF6", "%6f"),
    ("YYYY", "%Y"),
    ("YY", "%y"),
    ("IYYY", "%G"),
    ("IY", "%g"),
    ("IW", "%V"),
    ("ID", "%u"),
    ("MM", "%m"),
    ("DDD", "%j"),
    ("DD", "%d"),
    ("TZH:TZM", "%:z"),
    ("TZHTZM", "%z"),
    ("OF", "%:z"),
    ("TZ", "%Z"),
    ("Month", "%B"),
    ("Mon", "%b"),
    ("Day", "%A"),
    ("Dy", "%a"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("am", "%P"),
    ("pm", "%P"),
    ("T", "T"),
];

/// Numbers that `FM` writes without the zeros before them.
const PADDED: [&str; 7] = ["%H", "%I", "%M", "%S", "%m", "%d", "%j"];

/// The pattern as `to_char`, `to_timestamp` and `to_date` take it; `None` if it is none of PostgreSQL's, or has letters that
/// mean something which these functions cannot say.
pub(super) fn translate(pattern: &str) -> Option<String> {
    // What has this sign is a pattern of these functions already.
    if pattern.contains('%') {
        return None;
    }
    let (mut format, mut rest, mut has_field, mut trims) = (String::new(), pattern, false, false);
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"')?;
            format.push_str(text);
            rest = after;
        } else if let Some(after) = strip(rest, "FM") {
            (trims, rest) = (true, after);
        } else if let Some((field, after)) = field(rest) {
            match trims && PADDED.contains(&field) {
                true => format.push_str(&field.replace('%', "%-")),
                false => format.push_str(field),
            }
            has_field |= field.starts_with('%');
            (trims, rest) = (false, after);
        } else if first.is_ascii_alphabetic() {
            return None;
        } else {
            format.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    has_field.then_some(format)
}

fn field(rest: &str) -> Option<(&'static str, &str)> {
    FIELDS.iter().find_map(|(written, field)| {
        // A number has one spelling whatever the case of its letters; a name is written in the case of its pattern.
        let is_name =
            written.chars().any(|letter| letter.is_ascii_lowercase()) || ["AM", "PM"].contains(written);
        let after = if is_name { rest.strip_prefix(written) } else { strip(rest, written) };
        Some((*field, after?))
    })
}

/// What comes after `word`, in any case.
fn strip<'a>(rest: &'a str, word: &str) -> Option<&'a str> {
    let (begin, after) = rest.split_at_checked(word.len())?;
    begin.eq_ignore_ascii_case(word).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("YYYY-MM-DD HH24:MI:SS.US", Some("%Y-%m-%d %H:%M:%S.%6f")),
            ("yyyy-mm-dd hh24:mi:ss", Some("%Y-%m-%d %H:%M:%S")),
            ("YYYY-MM-DD\"T\"HH24:MI:SS.MS", Some("%Y-%m-%dT%H:%M:%S.%3f")),
            ("YYYY-MM-DDTHH24:MI", Some("%Y-%m-%dT%H:%M")),
            ("DDD, IYYY-IW", Some("%j, %G-%V")),
            ("Dy, FMDD Mon YYYY FMHH12:MI am", Some("%a, %-d %b %Y %-I:%M %P")),
            ("\"in\" YYYY", Some("in %Y")),
            ("%Y-%m-%d", None),
            ("YYYY-Q", None),
            ("MONTH", None),
            ("\"open YYYY", None),
            ("- -", None),
            ("", None),
            ("ü€ß", None),
        ];
        for (pattern, expected) in cases {
            assert_eq!(translate(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
