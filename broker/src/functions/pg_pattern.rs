//! PostgreSQL's patterns for dates (`YYYY-MM-DD HH24:MI:SS`) as those of our functions (`%Y-%m-%d %H:%M:%S`).

use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::functions::expr_fn::{lower, rpad, upper};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};

/// What a pattern says, by what PostgreSQL writes for it; of those that begin alike the longest comes first.
const FIELDS: [(&str, &str); 24] = [
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("MS", "%3f"),
    ("SS", "%S"),
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
    ("Q", "%q"),
    ("TZH:TZM", "%:z"),
    ("TZHTZM", "%z"),
    ("OF", "%:z"),
    ("TZ", "%Z"),
    ("T", "T"),
];

/// Those whose letters are written in the case of the pattern.
const NAMES: [(&str, &str, Letters); 16] = [
    ("Month", "%B", Letters::PADDED),
    ("MONTH", "%B", Letters { case: Case::Upper, is_padded: true }),
    ("month", "%B", Letters { case: Case::Lower, is_padded: true }),
    ("Mon", "%b", Letters::PLAIN),
    ("MON", "%b", Letters { case: Case::Upper, is_padded: false }),
    ("mon", "%b", Letters { case: Case::Lower, is_padded: false }),
    ("Day", "%A", Letters::PADDED),
    ("DAY", "%A", Letters { case: Case::Upper, is_padded: true }),
    ("day", "%A", Letters { case: Case::Lower, is_padded: true }),
    ("Dy", "%a", Letters::PLAIN),
    ("DY", "%a", Letters { case: Case::Upper, is_padded: false }),
    ("dy", "%a", Letters { case: Case::Lower, is_padded: false }),
    ("AM", "%p", Letters::PLAIN),
    ("PM", "%p", Letters::PLAIN),
    ("am", "%P", Letters::PLAIN),
    ("pm", "%P", Letters::PLAIN),
];

/// What begins like a field and is another one, which our functions cannot say.
const UNSAYABLE: [&str; 2] = ["SSSS", "YYYYY"];
/// Letters of the longest name of a month or a day; PostgreSQL fills the shorter ones up.
const NAME_LETTERS: i64 = 9;
/// Pieces of a pattern at most: each becomes a call.
const PIECES_MAX: usize = 50;
/// Numbers that `FM` writes without the zeros before them.
const WITH_ZEROS: [&str; 7] = ["%H", "%I", "%M", "%S", "%m", "%d", "%j"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    AsItIs,
    Upper,
    Lower,
}

/// How a name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Letters {
    case: Case,
    is_padded: bool,
}

impl Letters {
    const PLAIN: Self = Self { case: Case::AsItIs, is_padded: false };
    const PADDED: Self = Self { case: Case::AsItIs, is_padded: true };
}

/// A part of a pattern: what our functions write for it, and what is then made of its letters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    format: String,
    letters: Letters,
}

/// The pieces of a pattern; `None` if it is none of PostgreSQL's.
///
/// # Errors
/// Of planning, if it has letters that mean something which our functions cannot say: they would be written as they are.
pub(super) fn read(pattern: &str) -> Result<Option<Vec<Piece>>> {
    // What has this sign is a pattern of these functions already.
    if pattern.contains('%') || !pattern.contains(|letter: char| letter.is_ascii_alphabetic()) {
        return Ok(None);
    }
    let (mut pieces, mut rest, mut trims) = (Vec::new(), pattern, false);
    while let Some(first) = rest.chars().next() {
        if pieces.len() > PIECES_MAX {
            return plan_err!("a pattern for dates names at most {PIECES_MAX} months and days");
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let Some((text, after)) = quoted.split_once('"') else {
                return plan_err!("{pattern:?} is no pattern for dates: a quote is left open");
            };
            push(&mut pieces, text, Letters::PLAIN);
            rest = after;
        } else if let Some(after) = strip(rest, "FM") {
            (trims, rest) = (true, after);
        } else if let Some((format, letters, after)) = field(rest) {
            match trims {
                true if WITH_ZEROS.contains(&format) => {
                    push(&mut pieces, &format.replace('%', "%-"), letters);
                }
                true => push(&mut pieces, format, Letters { is_padded: false, ..letters }),
                false => push(&mut pieces, format, letters),
            }
            (trims, rest) = (false, after);
        } else if first.is_ascii_alphabetic() {
            return plan_err!(
                "{rest:?} is no field of a pattern for dates that is known here; those are YYYY, MM, DD, HH24, MI, SS, MS, US, Q, \
                 IYYY, IW, Month, Mon, Day, Dy, AM and their like, or %Y, %m, …; letters stand in double quotes"
            );
        } else {
            push(&mut pieces, first.encode_utf8(&mut [0; 4]), Letters::PLAIN);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(Some(pieces))
}

/// Plain pieces that follow each other are one.
fn push(pieces: &mut Vec<Piece>, format: &str, letters: Letters) {
    match pieces.last_mut() {
        Some(last) if last.letters == Letters::PLAIN && letters == Letters::PLAIN => {
            last.format.push_str(format)
        }
        _ => pieces.push(Piece { format: format.to_owned(), letters }),
    }
}

fn field(rest: &str) -> Option<(&'static str, Letters, &str)> {
    if UNSAYABLE.iter().any(|word| strip(rest, word).is_some()) {
        return None;
    }
    let name =
        NAMES.iter().find_map(|(name, format, letters)| Some((*format, *letters, rest.strip_prefix(name)?)));
    // A number has one spelling whatever the case of its letters.
    let number =
        || FIELDS.iter().find_map(|(name, format)| Some((*format, Letters::PLAIN, strip(rest, name)?)));
    name.or_else(number)
}

/// What comes after `word`, in any case.
fn strip<'a>(rest: &'a str, word: &str) -> Option<&'a str> {
    let (begin, after) = rest.split_at_checked(word.len())?;
    begin.eq_ignore_ascii_case(word).then_some(after)
}

/// The call with the pieces for its pattern: `to_char` writes them one after the other, the others read them all at once.
pub(super) fn with_pieces(mut call: ScalarFunction, pieces: Vec<Piece>) -> Expr {
    let is_plain = pieces.iter().all(|piece| piece.letters == Letters::PLAIN);
    if is_plain || call.func.name() != "to_char" {
        let format: String = pieces.into_iter().map(|piece| piece.format).collect();
        call.args.truncate(1);
        call.args.push(lit(format));
        return Expr::ScalarFunction(call);
    }
    let value = call.args.first().cloned();
    let written = pieces.into_iter().map(|Piece { format, letters }| {
        let text = call.func.call(value.iter().cloned().chain([lit(format)]).collect());
        let text = match letters.case {
            Case::AsItIs => text,
            Case::Upper => upper(text),
            Case::Lower => lower(text),
        };
        if letters.is_padded { rpad(vec![text, lit(NAME_LETTERS)]) } else { text }
    });
    let whole = written.reduce(|left, right| binary_expr(left, Operator::StringConcat, right));
    whole.unwrap_or_else(|| lit(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formats of the pieces, those with letters of their own in brackets.
    fn pieces(pattern: &str) -> Option<String> {
        let pieces = read(pattern).unwrap()?.into_iter().map(|Piece { format, letters }| match letters {
            Letters::PLAIN => format,
            Letters { case, is_padded } => format!("[{format} {case:?} {is_padded}]"),
        });
        Some(pieces.collect())
    }

    #[test]
    fn patterns() {
        let cases = [
            ("YYYY-MM-DD HH24:MI:SS.US", Some("%Y-%m-%d %H:%M:%S.%6f")),
            ("yyyy-mm-dd hh24:mi:ss", Some("%Y-%m-%d %H:%M:%S")),
            ("YYYY-MM-DD\"T\"HH24:MI:SS.MS", Some("%Y-%m-%dT%H:%M:%S.%3f")),
            ("YYYY-MM-DDTHH24:MI", Some("%Y-%m-%dT%H:%M")),
            ("DDD, IYYY-IW", Some("%j, %G-%V")),
            ("YYYY-\"Q\"Q", Some("%Y-Q%q")),
            ("Dy, FMDD Mon YYYY FMHH12:MI am", Some("%a, %-d %b %Y %-I:%M %P")),
            ("FMDay, MONTH", Some("%A, [%B Upper true]")),
            ("day dy mon", Some("[%A Lower true] [%a Lower false] [%b Lower false]")),
            ("FMMONTH", Some("[%B Upper false]")),
            ("\"in\" YYYY", Some("in %Y")),
            ("%Y-%m-%d", None),
            ("- -", None),
            ("", None),
            ("ü€ß", None),
        ];
        for (pattern, expected) in cases {
            assert_eq!(pieces(pattern).as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for pattern in
            ["YYYY-WW", "SSSS", "SSSSS", "DDth", "\"open YYYY", "TMMonth", "A.M.", "Y,YYY", "J", "abc"]
        {
            assert!(read(pattern).is_err(), "{pattern}");
        }
    }
}
