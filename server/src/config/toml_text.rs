//! TOML that somebody wrote, and what is wrong with it: where, and why, and never what stands there. The line with the fault may
//! hold a hash or a key, and what is printed at a start ends in a log.

use serde::de::DeserializeOwned;

/// Reads `text`. A fault names its line and column.
pub(crate) fn read_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        // Its own form shows the line.
        let message = without_value(error.message());
        let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return message };
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: {message}")
    })
}

/// A message of serde without the value that an error of type quotes.
pub(super) fn without_value(message: &str) -> String {
    let is_of_type = message.starts_with("invalid type: ") || message.starts_with("invalid value: ");
    let Some(value) = message.find(['"', '`']).filter(|_| is_of_type) else { return message.to_string() };
    // The value may say this as well; what was expected comes last.
    let expected = message.rfind(", expected ").filter(|expected| *expected > value);
    format!("{}{}", message[..value].trim_end(), expected.map_or("", |expected| &message[expected..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_fault_has_its_place_and_no_value() {
        let cases = [
            ("[query]\nthreads = \"hunter2\"", "invalid type: string, expected usize"),
            ("[query]\nthreads = \"x, expected hunter2\"", "invalid type: string, expected usize"),
            ("[store]\nurl = 4711", "invalid type: integer, expected a string"),
            ("[store]\nuri = 'hunter2'", "unknown field `uri`"),
            ("[store]\nurl = \"hunter2", ""),
            ("[store]\nurl = hunter2", ""),
        ];
        for (text, expected) in cases {
            let reason = read_toml::<Config>(text).unwrap_err();
            assert!(reason.starts_with("line 2, column ") && reason.contains(expected), "{text}: {reason}");
            assert!(!reason.contains("hunter2") && !reason.contains("4711"), "{text}: {reason}");
        }
    }
}
