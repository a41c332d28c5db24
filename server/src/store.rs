//! The object store that a configuration names.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::Url;

use crate::config::StoreConfig;
use crate::store_metrics::CountedStore;

/// A store and the directory inside it under which `tables/` lies.
pub struct Store {
    /// The store.
    pub objects: Arc<dyn ObjectStore>,
    /// Prefix inside the store.
    pub root: Path,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("store {url}: {reason}")]
pub struct StoreError {
    url: String,
    reason: String,
}

/// What a store's URL may be.
const SCHEMES: &str = "file:///path, s3://bucket/prefix or memory://";
const NO_CREDENTIALS: &str = "no credentials were given, so the machine's own were looked for; set AWS_ACCESS_KEY_ID and \
                              AWS_SECRET_ACCESS_KEY, or store.options.aws_access_key_id and aws_secret_access_key";

/// Opens the store. A `file://` directory is created; `file://./relative` is taken from the working directory.
pub fn open(config: &StoreConfig) -> Result<Store, StoreError> {
    let failed =
        |reason: &dyn std::fmt::Display| StoreError { url: config.url.clone(), reason: reason.to_string() };
    if let Some(directory) = config.url.strip_prefix("file://") {
        std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
        let store = LocalFileSystem::new_with_prefix(directory).map_err(|error| failed(&error))?;
        return Ok(Store { objects: counted(store), root: Path::default() });
    }
    if !config.url.contains("://") {
        // A path is what is meant most often.
        let path = if config.url.starts_with('/') { "" } else { "./" };
        return Err(failed(&format!("is no URL; write file://{path}{}, or {SCHEMES}", config.url)));
    }
    let url = Url::parse(&config.url).map_err(|error| failed(&error))?;
    if url.scheme() == "memory" {
        return Ok(Store { objects: counted(InMemory::new()), root: Path::default() });
    }
    let root = match ObjectStoreScheme::parse(&url) {
        Ok((ObjectStoreScheme::AmazonS3, root)) => root,
        Err(error) if url.scheme().starts_with("s3") => return Err(failed(&error)),
        _ => return Err(failed(&format!("{}:// is not supported; use {SCHEMES}", url.scheme()))),
    };
    let builder = s3_builder(config).map_err(|error| failed(&error))?;
    let store =
        builder.with_conditional_put(S3ConditionalPut::ETagMatch).build().map_err(|error| failed(&error))?;
    Ok(Store { objects: counted(store), root })
}

fn s3_builder(config: &StoreConfig) -> object_store::Result<AmazonS3Builder> {
    let builder = AmazonS3Builder::from_env().with_url(config.url.as_str());
    config
        .options
        .iter()
        .try_fold(builder, |builder, (key, value)| Ok(builder.with_config(key.parse()?, value)))
}

/// What to do about a store that refuses everything; `None` if nothing speaks against it. Where nothing says who asks, the store's
/// client looks for credentials where a machine of Amazon's has them, and what it says of that is no help anywhere else.
pub fn hint(config: &StoreConfig) -> Option<&'static str> {
    let is_s3 = Url::parse(&config.url).is_ok_and(|url| url.scheme().starts_with("s3"));
    let builder = s3_builder(config).ok().filter(|_| is_s3)?;
    let keys = [
        AmazonS3ConfigKey::AccessKeyId,
        AmazonS3ConfigKey::WebIdentityTokenFile,
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ];
    let is_unsigned = builder.get_config_value(&AmazonS3ConfigKey::SkipSignature);
    let is_anonymous = is_unsigned.is_some_and(|value| value == "true");
    let is_given = is_anonymous || keys.iter().any(|key| builder.get_config_value(key).is_some());
    (!is_given).then_some(NO_CREDENTIALS)
}

fn counted(store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    Arc::new(CountedStore(Arc::new(store)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, options: &[(&str, &str)]) -> StoreConfig {
        let options = options.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        StoreConfig { url: url.into(), options }
    }

    #[test]
    fn what_is_no_store_says_which_there_are() {
        for (url, said) in [
            ("/tmp/x", "write file:///tmp/x, or"),
            ("data/x", "write file://./data/x, or"),
            ("ftp://x", "ftp:// is not supported"),
            ("gs://bucket/x", "gs:// is not supported"),
        ] {
            let error = open(&config(url, &[])).err().unwrap().to_string();
            assert!(error.contains(said) && error.contains("s3://bucket/prefix or memory://"), "{error}");
        }
        assert!(open(&config("memory://", &[])).is_ok());
    }

    #[test]
    fn a_store_without_credentials_is_known_as_one() {
        let region = ("aws_region", "eu-1");
        let key = [region, ("aws_access_key_id", "a"), ("aws_secret_access_key", "b")];
        let hint = |options: &[(&str, &str)]| hint(&config("s3://bucket/x", options));
        assert_eq!(hint(&key), None);
        assert_eq!(super::hint(&config("memory://", &[])), None);
        assert_eq!(hint(&[region, ("aws_skip_signature", "true")]), None);
        if std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
            assert_eq!(hint(&[region]), Some(NO_CREDENTIALS));
        }
    }
}
