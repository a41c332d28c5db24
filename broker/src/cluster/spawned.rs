//! A service whose work runs on another runtime than its connections, and can know when nobody waits for it any more.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::{Service, ServiceExt};

tokio::task_local! {
    static OVER: CancellationToken;
}

/// Cancelled once the answer to the request that is being served has been read, or nobody waits for it; never outside of one.
pub(crate) fn is_over() -> CancellationToken {
    OVER.try_with(CancellationToken::clone).unwrap_or_default()
}

/// See the module. What a call spawns runs there as well.
#[derive(Clone)]
pub(super) struct Spawned<S> {
    inner: S,
    runtime: Handle,
}

impl<S> Spawned<S> {
    pub(super) fn new(inner: S, runtime: Handle) -> Self {
        Self { inner, runtime }
    }
}

impl<S, B> Service<Request<Body>> for Spawned<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    Response<B>: IntoResponse + Send,
    B: 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each call waits for its own clone.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = self.inner.clone();
        let over = CancellationToken::new();
        let served = over.clone().drop_guard();
        let task = self.runtime.spawn(OVER.scope(over, inner.oneshot(request)));
        // A caller that goes away ends the work.
        let guard = AbortOnDrop(task.abort_handle());
        Box::pin(async move {
            let _guard = guard;
            Ok(match task.await {
                Ok(Ok(response)) => {
                    response.into_response().map(|body| Body::new(Served { body, _served: served }))
                }
                Ok(Err(never)) => match never {},
                Err(error) => {
                    tracing::error!(%error, "a node request met a bug and was stopped");
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
            })
        })
    }
}

/// The body of an answer, whose end is that of its request.
struct Served {
    body: Body,
    _served: DropGuard,
}

impl HttpBody for Served {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
