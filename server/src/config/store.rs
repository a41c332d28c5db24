//! `[store]`: where tables live. An option of the store may be a key to it, so only those are shown that are known to be none.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Options that are no secrets, by their names without `aws_`, in lower case.
const SHOWN: [&str; 35] = [
    "allow_http",
    "allow_invalid_certificates",
    "bucket",
    "bucket_name",
    "checksum_algorithm",
    "conditional_put",
    "connect_timeout",
    "copy_if_not_exists",
    "default_region",
    "disable_tagging",
    "endpoint",
    "endpoint_url",
    "endpoint_url_s3",
    "endpoint_url_sts",
    "http1_only",
    "http2_keep_alive_interval",
    "http2_keep_alive_timeout",
    "http2_keep_alive_while_idle",
    "http2_max_frame_size",
    "http2_only",
    "imdsv1_fallback",
    "metadata_endpoint",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "randomize_addresses",
    "region",
    "request_payer",
    "s3_express",
    "server_side_encryption",
    "skip_signature",
    "sse_bucket_key_enabled",
    "timeout",
    "unsigned_payload",
    "user_agent",
    "virtual_hosted_style_request",
];
/// What stands in the place of any other.
const HIDDEN: &str = "…";

/// Where tables live.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `file:///path`, `s3://bucket/prefix` or `memory://` (gone when the process ends).
    pub url: String,
    /// Options of the store by their `object_store` names, such as `aws_endpoint` or `aws_region`. Credentials come
    /// from the environment (`AWS_ACCESS_KEY_ID`, …).
    #[serde(serialize_with = "write_shown")]
    pub options: BTreeMap<String, String>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: "file://./headwater-data".into(), options: BTreeMap::new() }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: BTreeMap<_, _> = shown(&self.options).collect();
        f.debug_struct("StoreConfig").field("url", &self.url).field("options", &options).finish()
    }
}

/// The options with what may be a secret hidden.
fn shown(options: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    options.iter().map(|(name, value)| {
        let lower = name.to_ascii_lowercase();
        let is_shown = SHOWN.contains(&lower.strip_prefix("aws_").unwrap_or(&lower));
        // An address may name who asks, and their password.
        let value = if is_shown && !value.contains('@') { value.as_str() } else { HIDDEN };
        (name.as_str(), value)
    })
}

fn write_shown<S: Serializer>(options: &BTreeMap<String, String>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(shown(options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn options_are_shown_that_are_known_to_be_no_secrets() {
        let options = [
            ("aws_region", "eu-1", true),
            ("AWS_ENDPOINT", "http://s3:9000", true),
            ("endpoint", "http://ada:hunter2@s3:9000", false),
            ("aws_access_key_id", "hunter2", false),
            ("secret_access_key", "hunter2", false),
            ("aws_session_token", "hunter2", false),
            ("aws_sse_customer_key_base64", "hunter2", false),
            ("proxy_url", "hunter2", false),
            ("what_comes_next", "hunter2", false),
        ];
        let settings = options.map(|(name, value, _)| (format!("store.options.{name}"), value.to_string()));
        let config = Config::load(None, std::iter::empty(), &settings).unwrap();
        // What counts is whole.
        assert_eq!(config.store.options["secret_access_key"], "hunter2");
        let json = serde_json::to_string(&config).unwrap();
        for text in [config.to_toml(), format!("{config:?}"), json] {
            assert!(!text.contains("hunter2") && text.contains(HIDDEN), "{text}");
            for (name, value, is_shown) in options {
                assert!(text.contains(name) && (!is_shown || text.contains(value)), "{name}: {text}");
            }
        }
    }
}
