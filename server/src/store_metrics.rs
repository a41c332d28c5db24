//! The object store with its requests counted: how many of each kind, how long they take, and how many fail.
//!
//! A request counts when it is answered; what is dropped before counts as none. That an object is there already, or not there, is an
//! answer and no failure.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct CountedStore(pub(crate) Arc<dyn ObjectStore>);

impl fmt::Display for CountedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

async fn counted<T>(operation: &'static str, request: impl Future<Output = Result<T>>) -> Result<T> {
    let started = Instant::now();
    let answer = request.await;
    metrics::histogram!("headwater_store_request_duration_seconds", "operation" => operation)
        .record(started.elapsed().as_secs_f64());
    answer.inspect_err(|error| count_error(operation, error))
}

fn count_error(operation: &'static str, error: &Error) {
    let is_answer = matches!(
        error,
        Error::NotFound { .. }
            | Error::AlreadyExists { .. }
            | Error::Precondition { .. }
            | Error::NotModified { .. }
    );
    if !is_answer {
        metrics::counter!("headwater_store_errors_total", "operation" => operation).increment(1);
    }
}

/// Counts the failures of a request whose answer comes in pieces.
fn watched<T: Send + 'static>(
    operation: &'static str,
    answer: BoxStream<'static, Result<T>>,
) -> BoxStream<'static, Result<T>> {
    let count = move |piece: &Result<T>| {
        if let Err(error) = piece {
            count_error(operation, error);
        }
    };
    answer.inspect(count).boxed()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for CountedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        counted("put", self.0.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        counted("put_multipart", self.0.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        counted(if options.head { "head" } else { "get" }, self.0.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        counted("get_ranges", self.0.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        watched("delete", self.0.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        watched("list", self.0.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        watched("list", self.0.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        counted("list", self.0.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        counted("copy", self.0.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        counted("rename", self.0.rename_opts(from, to, options)).await
    }
}
