//! One connection of a client, and for how long it may do nothing.
//!
//! hyper bounds heads of HTTP/1 by size, number and time. What it does not bound is watched here: a connection that never sends
//! a whole request (the first bytes decide between HTTP/1 and 2, and may not come), one on which nothing is under way, such as
//! HTTP/2 without streams, and one whose client leaves an answer unread: in its socket, or by the window of an HTTP/2 stream.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, header};
use headwater_broker::access::Peer;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A connection must have sent its first request within this time, TLS included.
pub(super) const FIRST_REQUEST_WAIT: Duration = Duration::from_secs(10);
/// A head of HTTP/1 must be there within this time, counted from the end of the answer before it: longer than [`IDLE`], which
/// ends idle connections.
const HEAD_WAIT: Duration = Duration::from_secs(80);
/// A client's connection on which nothing is under way for so long is closed.
const IDLE: Duration = Duration::from_secs(75);
/// That of a node; nodes let go of theirs earlier by themselves.
const NODE_IDLE: Duration = Duration::from_secs(600);
/// A client that takes not a byte of what is written to it for so long is let go.
const BLOCKED_MAX: Duration = Duration::from_secs(60);
/// A client that does not want the next piece of an answer for so long is let go: pieces have some megabytes at most.
const UNREAD_MAX: Duration = Duration::from_secs(300);
/// Between two looks at a connection on which something is under way.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What is under way when a connection is to close may go on for so long, if it is only the closing itself.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// A silent HTTP/2 client is asked so often whether it is there, and must say so within the second.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a head: request line with its query string, and headers.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// A node that sends nothing is asked so often whether it is there.
const NODE_PING_EVERY: Duration = Duration::from_secs(2);
/// A node that does not answer that within this time is gone, and with it whatever it has asked for.
const NODE_PING_WAIT: Duration = Duration::from_secs(3);
/// Streams that a client opens and resets before they were looked at ("rapid reset"); one more ends the connection.
const RESETS_MAX: usize = 64;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Anybody.
    Client,
    /// Another node, whose requests have deadlines, and which may have to hold an answer back for a client of its own.
    Node,
}

/// What is under way on a connection.
#[derive(Debug)]
struct Activity {
    caller: Caller,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// By a number of their own: since when the last piece of the answer is with the transport, and no other one is wanted.
    requests: BTreeMap<u64, Option<Instant>>,
    /// How many there have been.
    begun: u64,
    /// When the last one ended.
    since: Instant,
    /// Since when the other side takes nothing.
    blocked: Option<Instant>,
}

impl Activity {
    fn new(caller: Caller) -> Arc<Self> {
        let state = State { requests: BTreeMap::new(), begun: 0, since: Instant::now(), blocked: None };
        Arc::new(Self { caller, state: Mutex::new(state) })
    }

    fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state.lock();
        state.begun += 1;
        let number = state.begun;
        state.requests.insert(number, None);
        UnderWay { activity: Arc::clone(self), number }
    }

    /// Until when it may go on as it is; `None`: as long as it likes.
    fn until(&self) -> Option<Instant> {
        let state = self.state.lock();
        let idle = if self.caller == Caller::Client { IDLE } else { NODE_IDLE };
        let wait = if state.begun > 0 { idle } else { FIRST_REQUEST_WAIT };
        let idle = state.requests.is_empty().then(|| state.since + wait);
        let blocked = state.blocked.map(|since| since + BLOCKED_MAX);
        let unread = state.requests.values().flatten().min().map(|since| *since + UNREAD_MAX);
        [idle, blocked, unread].into_iter().flatten().min()
    }

    /// Returns when it has been idle, or unread, for too long.
    async fn over(&self) {
        loop {
            let (now, until) = (Instant::now(), self.until());
            match until {
                Some(until) if until <= now => return,
                // Looked at again: what is under way may come to a halt. To close a connection some seconds late harms nobody.
                until => {
                    tokio::time::sleep_until(until.unwrap_or(now + LOOK_EVERY).min(now + LOOK_EVERY)).await
                }
            }
        }
    }

    /// Notes whether the other side takes what is written to it. Of a node that is of no use, and fragments pass here.
    fn note_blocked(&self, is_blocked: bool) {
        if self.caller == Caller::Node {
            return;
        }
        let mut state = self.state.lock();
        match is_blocked {
            true => state.blocked = state.blocked.or_else(|| Some(Instant::now())),
            false => state.blocked = None,
        }
    }
}

/// A request, until the last byte of its answer was taken.
struct UnderWay {
    activity: Arc<Activity>,
    number: u64,
}

impl UnderWay {
    /// Notes whether the transport has just taken a piece of the answer; else it wants one.
    fn note_taken(&self, is_taken: bool) {
        if self.activity.caller == Caller::Node {
            return;
        }
        let since = is_taken.then(Instant::now);
        self.activity.state.lock().requests.insert(self.number, since);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.activity.state.lock();
        state.requests.remove(&self.number);
        state.since = Instant::now();
    }
}

/// Serves `router` on one connection, until its end, its idleness, or `stop`; requests that run by then finish.
pub(super) async fn serve<I>(io: I, peer: SocketAddr, caller: Caller, router: Router, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Activity::new(caller);
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request: Request<Incoming>| answer(router.clone(), request, peer, activity.begin()))
    };
    let builder = limited(caller);
    let io = Watched { io, activity: Arc::clone(&activity) };
    let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service));
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = activity.over() => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(CLOSE_WAIT, serving).await {
                Ok(served) => served,
                Err(_) => Ok(()),
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(error, %peer, ?caller, "a connection ended");
    }
}

fn limited(caller: Caller) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new());
    if caller == Caller::Node {
        http2.keep_alive_interval(NODE_PING_EVERY).keep_alive_timeout(NODE_PING_WAIT);
        return builder;
    }
    http2.keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_WAIT);
    http2.max_concurrent_streams(STREAMS_MAX).max_header_list_size(HEAD_BYTES_MAX as u32);
    http2.max_pending_accept_reset_streams(RESETS_MAX).max_local_error_reset_streams(RESETS_MAX);
    let mut http1 = builder.http1();
    http1.timer(TokioTimer::new()).header_read_timeout(HEAD_WAIT);
    http1.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    builder
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
    under_way: UnderWay,
) -> Result<Response<Counted>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    // hyper takes a Content-Length away that stands beside it. A proxy that went by that one would take the rest of the body
    // for another request, so nothing may follow on this connection.
    let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = router.oneshot(request).await?;
    if is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Counted { body, under_way }))
}

/// An answer's body, under way until it is dropped.
struct Counted {
    body: Body,
    under_way: UnderWay,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.under_way.note_taken(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that notes whether the other side takes what is written.
struct Watched<I> {
    io: I,
    activity: Arc<Activity>,
}

impl<I> Watched<I> {
    fn noted<T>(&self, written: Poll<T>) -> Poll<T> {
        self.activity.note_blocked(written.is_pending());
        written
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, pieces);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.noted(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_from_the_end_of_the_last_answer() {
        for (caller, idle) in [(Caller::Client, IDLE), (Caller::Node, NODE_IDLE)] {
            let activity = Activity::new(caller);
            let began = activity.state.lock().since;
            assert_eq!(activity.until(), Some(began + FIRST_REQUEST_WAIT));
            let first = activity.begin();
            let second = activity.begin();
            assert_eq!(activity.until(), None);
            drop(first);
            assert_eq!(activity.until(), None);
            let before = Instant::now();
            drop(second);
            let until = activity.until().unwrap();
            assert!(until >= before + idle && until <= Instant::now() + idle);
        }
    }

    #[test]
    fn a_client_that_leaves_an_answer_unread_is_let_go() {
        let activity = Activity::new(Caller::Client);
        let (quick, slow) = (activity.begin(), activity.begin());
        slow.note_taken(true);
        let unread = activity.until().unwrap();
        assert!(unread > Instant::now() + UNREAD_MAX - Duration::from_secs(5));
        quick.note_taken(true);
        quick.note_taken(false);
        assert_eq!(activity.until(), Some(unread), "the other one is as it was");
        activity.note_blocked(true);
        let blocked = activity.until().unwrap();
        assert!(blocked < unread);
        activity.note_blocked(true);
        assert_eq!(activity.until(), Some(blocked), "since the first time");
        activity.note_blocked(false);
        slow.note_taken(false);
        assert_eq!(activity.until(), None);
        // A node may have to hold an answer back.
        let activity = Activity::new(Caller::Node);
        let request = activity.begin();
        request.note_taken(true);
        activity.note_blocked(true);
        assert_eq!(activity.until(), None);
    }
}
