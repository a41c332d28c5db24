//! librdkafka properties of a table's stream: ours first, then the spec's, with secrets resolved.
//!
//! Specs come from clients, and name both the secret and the brokers that it is sent to. So a server says which variables and
//! files they may [refer to](References); a process that serves nobody reads with the rights of whoever runs it.

use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use headwater_segment::spec::{PropertyValue, StreamSpec};
use rdkafka::ClientConfig;

use crate::error::{IngestError, Result};

/// How the names of variables begin that are the server's own: its secrets, and its store's.
const OWN_VARIABLES: [&str; 2] = ["HEADWATER_", "AWS_"];
/// Holds the environment of this process, and much else.
const SYSTEM: &str = "/proc";

/// What the stream properties of specs may refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Environment variables; a `*` at the end of a name stands for any ending.
    pub env: Vec<String>,
    /// Directories below which the files are.
    pub dirs: Vec<PathBuf>,
}

static ALLOWED: OnceLock<References> = OnceLock::new();

/// From now on the streams of this process refer to nothing else. Only the first call counts.
pub fn restrict_references(allowed: References) {
    // An error says that there are some already.
    let _ = ALLOWED.set(allowed);
}

impl References {
    /// The value of `property`, or which setting keeps it from being read.
    fn resolve(&self, property: &str, value: &PropertyValue) -> Result<String, String> {
        match value {
            PropertyValue::Literal(_) => value.resolve(property),
            PropertyValue::Env { env } if OWN_VARIABLES.iter().any(|own| env.starts_with(own)) => {
                Err(format!(
                    "property {property}: environment variable {env} is the server's own, whatever ingest.secret_env says; give \
                     the stream's secret another name"
                ))
            }
            PropertyValue::Env { env } if self.env.iter().any(|allowed| fits(allowed, env)) => {
                value.resolve(property)
            }
            PropertyValue::Env { env } => Err(format!(
                "property {property}: environment variable {env} is none that specs may refer to; name it in the server's setting \
                 ingest.secret_env"
            )),
            PropertyValue::File { file } => match self.place_of(file) {
                Some(file) => PropertyValue::File { file }.resolve(property),
                None => Err(format!(
                    "property {property}: file {file} is in no directory that specs may refer to; name its directory in the \
                     server's setting ingest.secret_dirs"
                )),
            },
        }
    }

    /// Where the file is, with every link followed, if that is below one of the directories.
    fn place_of(&self, file: &str) -> Option<String> {
        let file = Path::new(file);
        let found = file.canonicalize().or_else(|error| {
            // Whether a file exists is told of allowed places only.
            let is_plain = file.is_absolute() && !file.components().any(|part| part == Component::ParentDir);
            if is_plain { Ok(file.to_path_buf()) } else { Err(error) }
        });
        let found = found.ok().filter(|found| !found.starts_with(SYSTEM))?;
        let is_below = |dir: &Path| found.starts_with(dir) && found != dir;
        // A mounted secret is a link to a directory that changes.
        let is_allowed = |dir: &PathBuf| dir.canonicalize().is_ok_and(|dir| is_below(&dir)) || is_below(dir);
        self.dirs.iter().any(is_allowed).then(|| found.to_str().map(str::to_owned)).flatten()
    }
}

/// Whether a name is `allowed`, or begins as it says before its `*`.
fn fits(allowed: &str, name: &str) -> bool {
    allowed.strip_suffix('*').map_or(name == allowed, |beginning| name.starts_with(beginning))
}

/// Properties for reading the stream. Secrets are resolved now, so a rotated file is seen at the next start.
pub fn consumer_config(stream: &StreamSpec) -> Result<ClientConfig> {
    let mut config = client_config(stream)?;
    let ours = [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // A missing offset is never silently replaced: the table log records the gap, or the partition stops.
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("isolation.level", "read_committed"),
        ("allow.auto.create.topics", "false"),
        // Every message is checked by the broker on append; this finds what the network or memory broke since.
        ("check.crcs", "true"),
    ];
    let defaults = [
        ("fetch.wait.max.ms", "100"),
        ("fetch.error.backoff.ms", "100"),
        ("fetch.queue.backoff.ms", "5"),
        ("queued.min.messages", "100000"),
        ("queued.max.messages.kbytes", "65536"),
        ("fetch.message.max.bytes", "4194304"),
        ("fetch.max.bytes", "67108864"),
        ("receive.message.max.bytes", "134217728"),
        ("reconnect.backoff.max.ms", "2000"),
        ("topic.metadata.refresh.interval.ms", "30000"),
    ];
    for (key, value) in defaults {
        if !stream.properties.contains_key(key) {
            config.set(key, value);
        }
    }
    for (key, value) in ours {
        config.set(key, value);
    }
    Ok(config)
}

/// Properties for producing to the stream's brokers (dead letters).
pub fn producer_config(stream: &StreamSpec) -> Result<ClientConfig> {
    let mut config = client_config(stream)?;
    config.set("acks", "all").set("enable.idempotence", "true").set("message.max.bytes", "104857600");
    Ok(config)
}

fn client_config(stream: &StreamSpec) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stream.brokers.join(",")).set("client.id", "headwater");
    for (key, value) in &stream.properties {
        let resolved = match ALLOWED.get() {
            Some(allowed) => allowed.resolve(key, value),
            None => value.resolve(key),
        };
        let value = resolved.map_err(|reason| IngestError::Config { topic: stream.topic.clone(), reason })?;
        config.set(key, value);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn variable(env: &str) -> PropertyValue {
        PropertyValue::Env { env: env.into() }
    }

    fn file(path: &Path) -> PropertyValue {
        PropertyValue::File { file: path.display().to_string() }
    }

    #[test]
    fn variables_are_named_and_the_servers_own_are_never_read() {
        let resolve = |allowed: &[&str], env: &str| {
            let env_allowed = allowed.iter().map(|name| (*name).to_string()).collect();
            let references = References { env: env_allowed, dirs: Vec::new() };
            references.resolve("sasl.password", &variable(env))
        };
        let path = std::env::var("PATH").unwrap();
        for allowed in [&["PATH"][..], &["KAFKA_*", "PA*"], &["*"]] {
            assert_eq!(resolve(allowed, "PATH"), Ok(path.clone()), "{allowed:?}");
        }
        for allowed in [&[][..], &["KAFKA_*"], &["PAT"], &["PATHS*"], &["path"]] {
            let reason = resolve(allowed, "PATH").unwrap_err();
            assert!(reason.contains("sasl.password") && reason.contains("ingest.secret_env"), "{reason}");
            assert!(!reason.contains(&path), "{reason}");
        }
        for own in ["AWS_SECRET_ACCESS_KEY", "HEADWATER_CLUSTER_SECRET"] {
            for allowed in [own, "*", "AWS_*", "HEADWATER_*"] {
                let reason = resolve(&[allowed], own).unwrap_err();
                assert!(reason.contains("sasl.password") && reason.contains(own), "{reason}");
                assert!(reason.contains("the server's own"), "{reason}");
            }
        }
        // One that may be read, and is not there, is another fault.
        assert!(!resolve(&["KAFKA_*"], "KAFKA_OF_NOBODY").unwrap_err().contains("ingest.secret_env"));
        let literal = PropertyValue::Literal("x".into());
        assert_eq!(References::default().resolve("client.id", &literal), Ok("x".into()));
    }

    #[test]
    fn files_are_below_a_directory_wherever_links_lead() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("secrets/deep")).unwrap();
        fs::write(at("secrets/deep/password"), "right\n").unwrap();
        fs::write(at("outside"), "wrong").unwrap();
        fs::create_dir(at("secrets-of-others")).unwrap();
        fs::write(at("secrets-of-others/password"), "wrong").unwrap();
        symlink(at("outside"), at("secrets/out")).unwrap();
        symlink(at("secrets/deep/password"), at("secrets/in")).unwrap();
        symlink(at("secrets"), at("mounted")).unwrap();
        for dir in ["secrets", "mounted"] {
            let references = References { env: Vec::new(), dirs: vec![at("none"), at(dir)] };
            let resolve = |path: &Path| references.resolve("ssl.key.pem", &file(path));
            for path in ["secrets/deep/password", "secrets/in", "mounted/deep/../in"] {
                assert_eq!(resolve(&at(path)), Ok("right".into()), "{dir}: {path}");
            }
            for path in [
                at("outside"),
                at("secrets/out"),
                at("secrets/../outside"),
                at("secrets"),
                at("secrets-of-others/password"),
                at("secrets/../gone"),
                at("gone"),
                PathBuf::from("/proc/self/environ"),
                PathBuf::from("/etc/passwd"),
                PathBuf::from("secrets/in"),
                PathBuf::new(),
            ] {
                let reason = resolve(&path).unwrap_err();
                assert!(reason.contains("ssl.key.pem"), "{reason}");
                assert!(reason.contains("ingest.secret_dirs") && !reason.contains("wrong"), "{reason}");
            }
            let missing = resolve(&at(dir).join("missing")).unwrap_err();
            assert!(missing.contains("No such file"), "{missing}");
        }
        let all = References { env: Vec::new(), dirs: vec!["/".into()] };
        assert!(all.resolve("sasl.password", &file(Path::new("/proc/self/environ"))).is_err());
        assert!(all.resolve("sasl.password", &file(&at("outside"))).is_ok());
    }
}
