//! The object store that a configuration names.

use std::sync::Arc;

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

/// Opens the store. A `file://` directory is created; `file://./relative` is taken from the working directory.
pub fn open(config: &StoreConfig) -> Result<Store, StoreError> {
    let failed =
        |reason: &dyn std::fmt::Display| StoreError { url: config.url.clone(), reason: reason.to_string() };
    if let Some(directory) = config.url.strip_prefix("file://") {
        std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
        let store = LocalFileSystem::new_with_prefix(directory).map_err(|error| failed(&error))?;
        return Ok(Store { objects: counted(store), root: Path::default() });
    }
    let url = Url::parse(&config.url).map_err(|error| failed(&error))?;
    if url.scheme() == "memory" {
        return Ok(Store { objects: counted(InMemory::new()), root: Path::default() });
    }
    let (scheme, root) = ObjectStoreScheme::parse(&url).map_err(|error| failed(&error))?;
    if scheme != ObjectStoreScheme::AmazonS3 {
        return Err(failed(&"use file:///path, s3://bucket/prefix or memory://"));
    }
    let mut builder = object_store::aws::AmazonS3Builder::from_env().with_url(url.as_str());
    for (key, value) in &config.options {
        let key = key.parse().map_err(|error: object_store::Error| failed(&error))?;
        builder = builder.with_config(key, value);
    }
    let store = builder
        .with_conditional_put(object_store::aws::S3ConditionalPut::ETagMatch)
        .build()
        .map_err(|error| failed(&error))?;
    Ok(Store { objects: counted(store), root })
}

fn counted(store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    Arc::new(CountedStore(Arc::new(store)))
}
