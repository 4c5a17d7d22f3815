//! Connections: how many, how long, and how much of each.
//!
//! A client that is slow, silent or hostile holds one place for a bounded time; and when all places are taken, the oldest
//! makes room. So a probe always gets in, whoever else is there.

use super::guard::Peer;
use super::live::tell;
use super::patient::Patient;
use super::routes::{Shared, router};
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper1::body::Incoming;
use hyper1::server::conn::http1;
use hyper1::service::service_fn;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Connections at once. When one more comes, the oldest is closed.
pub const CONNECTIONS_MAX: usize = 256;
/// For the head of a request to come, from the connection's begin or the end of the request before.
pub const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// A connection is closed at this age, whatever it does. Streams are asked for again.
pub const AGE_MAX: Duration = Duration::from_secs(600);
/// The head of a request at most.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header fields of a request at most.
pub const HEADERS_MAX: usize = 64;
/// The body of a request at most: none of ours needs one.
pub const BODY_BYTES_MAX: u64 = 1024;
/// What is buffered of a connection, each way.
const BUFFER_BYTES: usize = 16 * 1024;
/// When the process has no descriptor left, this long until the next try.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until `stopped`; what connections are open then ends.
pub(super) async fn serve(
    tcp: Option<std::net::TcpListener>,
    unix: Option<std::os::unix::net::UnixListener>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let router = router(Arc::clone(&shared));
    let telling = tokio::spawn(tell(shared));
    let serving = async {
        let seats = tokio::sync::Mutex::new(Seats::default());
        let listeners = (listener(tcp, TcpListener::from_std), listener(unix, UnixListener::from_std));
        tokio::join!(
            async {
                let Some(listener) = listeners.0 else { return };
                loop {
                    let accepted = listener.accept().await;
                    let client = accepted.map(|(stream, from)| (stream, Peer::Tcp(from.ip())));
                    seat(&seats, client, &router).await;
                }
            },
            async {
                let Some(listener) = listeners.1 else { return };
                loop {
                    let client = listener.accept().await.map(|(stream, _)| (stream, Peer::Socket));
                    seat(&seats, client, &router).await;
                }
            }
        );
        // Without a listener there is nothing to serve but the end.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    telling.abort();
}

fn listener<S, L>(opened: Option<S>, take: impl FnOnce(S) -> io::Result<L>) -> Option<L> {
    opened.and_then(|opened| {
        let taken = take(opened);
        taken.inspect_err(|error| tracing::error!(%error, "a listener cannot be served")).ok()
    })
}

/// Connections that are open, the oldest first.
#[derive(Debug, Default)]
struct Seats(VecDeque<AbortHandle>);

impl Seats {
    /// Makes room for one more.
    fn make_room(&mut self) {
        self.0.retain(|open| !open.is_finished());
        while self.0.len() >= CONNECTIONS_MAX {
            if let Some(oldest) = self.0.pop_front() {
                oldest.abort();
            }
        }
    }
}

async fn seat<S>(seats: &tokio::sync::Mutex<Seats>, accepted: io::Result<(S, Peer)>, router: &Router)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match accepted {
        Ok((stream, peer)) => {
            let mut seats = seats.lock().await;
            seats.make_room();
            seats.0.push_back(tokio::spawn(converse(stream, peer, router.clone())).abort_handle());
        }
        Err(error) => {
            tracing::debug!(%error, "a connection could not be accepted");
            sleep(ACCEPT_RETRY).await;
        }
    }
}

/// One connection, to its end.
async fn converse<S>(stream: S, peer: Peer, router: Router)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| answer(request, peer, router.clone()));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    match timeout(AGE_MAX, served).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::trace!(%error, "a connection ended early"),
    }
}

async fn answer(
    mut request: Request<Incoming>,
    peer: Peer,
    mut router: Router,
) -> Result<Response<Body>, Infallible> {
    let body = request.body().size_hint();
    if body.lower() > BODY_BYTES_MAX {
        let mut refused = Response::new(Body::from("the request's body is too large\n"));
        *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(refused);
    }
    request.extensions_mut().insert(peer);
    let mut response = route(&mut router, request.map(Body::new)).await;
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

async fn route(router: &mut Router, request: Request<Body>) -> Response<Body> {
    match tower_service::Service::call(router, request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::future::pending;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_at_its_age_whatever_it_does() {
        let (near, mut far) = duplex(1024);
        let never = get(async || pending::<&'static str>().await);
        let begun = Instant::now();
        let serving = tokio::spawn(converse(near, Peer::Socket, Router::new().route("/", never)));
        far.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        serving.await.unwrap();
        assert!(begun.elapsed() >= AGE_MAX && begun.elapsed() < AGE_MAX * 2, "{:?}", begun.elapsed());
        assert_eq!(far.read(&mut [0u8; 16]).await.unwrap(), 0, "closed, without an answer");
    }
}
