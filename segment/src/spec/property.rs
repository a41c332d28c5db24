//! librdkafka properties: which ones a spec may set, and how a value is fetched when the consumer starts. Which variables and
//! files a spec may name is not decided here: whoever reads specs of others asks that first (`ingest`, `kafka::config`).

use std::env::VarError;

use super::PropertyValue;

/// Properties that the engine sets itself, and why a spec can't.
const OWNED: [(&str, &str); 15] = [
    ("bootstrap.servers", "the brokers are named by `stream.brokers`"),
    ("metadata.broker.list", "the brokers are named by `stream.brokers`"),
    ("enable.auto.commit", "offsets are committed in the table log, with the rows"),
    ("auto.commit.enable", "offsets are committed in the table log, with the rows"),
    ("enable.auto.offset.store", "offsets are committed in the table log, with the rows"),
    ("offset.store.method", "offsets are committed in the table log, with the rows"),
    ("offset.store.path", "offsets are committed in the table log, with the rows"),
    ("auto.offset.reset", "a position is never reset silently; see `stream.start` and `stream.on_gap`"),
    ("isolation.level", "only committed messages are read"),
    ("enable.partition.eof", "the engine needs it to know that a partition is read to its end"),
    ("plugin.library.paths", "a spec can't load code"),
    ("ssl.engine.location", "a spec can't load code"),
    ("ssl.engine.id", "a spec can't load code"),
    ("ssl.providers", "a spec can't load code"),
    ("sasl.kerberos.kinit.cmd", "a spec can't run commands"),
];

/// How the names of properties end whose value is a secret.
const SECRET_ENDINGS: [&str; 4] = ["password", "secret", "passphrase", "key.pem"];

/// Checks that a spec may set this property.
pub(super) fn check_property(name: &str) -> Result<(), String> {
    if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| *owned == name) {
        return Err(format!("can't be set: {reason}"));
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    match !name.is_empty() && name.chars().all(allowed) {
        true => Ok(()),
        false => Err("is no librdkafka property; they are written like `session.timeout.ms`".into()),
    }
}

/// Checks that a value does not put a secret into the table log, which lies in the object store.
pub(super) fn check_secrecy(name: &str, value: &PropertyValue) -> Result<(), String> {
    let secret = SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending));
    match value {
        PropertyValue::Literal(_) if secret => {
            Err("is a secret, and specs are stored as they are; write {env: VARIABLE} or {file: /path}"
                .into())
        }
        _ => Ok(()),
    }
}

impl PropertyValue {
    /// The value to give to librdkafka as `property`: the literal, the environment variable's value, or the file's content
    /// without its trailing line break. The error names the property and what could not be read, never a value.
    pub fn resolve(&self, property: &str) -> Result<String, String> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Env { env } => std::env::var(env).map_err(|error| {
                // The system's own message shows the value.
                let fault = match error {
                    VarError::NotPresent => "is not set; set it and start again",
                    VarError::NotUnicode(_) => "is not UTF-8",
                };
                format!("property {property}: environment variable {env} {fault}")
            }),
            Self::File { file } => match std::fs::read_to_string(file) {
                Ok(text) => {
                    let line = text.strip_suffix('\n').unwrap_or(&text);
                    Ok(line.strip_suffix('\r').unwrap_or(line).to_string())
                }
                Err(error) => Err(format!("property {property}: file {file}: {error}")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_loads_code_or_runs_it_is_refused() {
        let refused = [
            "plugin.library.paths",
            "ssl.engine.location",
            "ssl.engine.id",
            "ssl.providers",
            "sasl.kerberos.kinit.cmd",
        ];
        for name in refused {
            assert!(check_property(name).unwrap_err().contains("a spec can't"), "{name}");
        }
        for name in ["ssl.ca.pem", "ssl.keystore.location", "sasl.kerberos.keytab", "security.protocol"] {
            assert_eq!(check_property(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn values_come_from_literal_environment_and_file() {
        assert_eq!(PropertyValue::Literal("x\n".into()).resolve("p"), Ok("x\n".into()));

        let path = std::env::var("PATH").unwrap();
        assert_eq!(PropertyValue::Env { env: "PATH".into() }.resolve("p"), Ok(path));
        let missing =
            PropertyValue::Env { env: "HEADWATER_NO_SUCH_VARIABLE".into() }.resolve("sasl.password");
        let message = missing.unwrap_err();
        assert!(
            message.contains("sasl.password") && message.contains("HEADWATER_NO_SUCH_VARIABLE"),
            "{message}"
        );

        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b" two\nlines\r\n").unwrap();
        let name = file.path().display().to_string();
        assert_eq!(PropertyValue::File { file: name }.resolve("p"), Ok(" two\nlines".into()));
        let message =
            PropertyValue::File { file: "/no/such/file".into() }.resolve("ssl.key.pem").unwrap_err();
        assert!(message.contains("ssl.key.pem") && message.contains("/no/such/file"), "{message}");
    }
}
