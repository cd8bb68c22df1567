//! Sockets and limits.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::App;
use super::front::answer;
use super::reading::Bodies;
use super::socket::Socket;

/// What a connection may cost before its request has been understood, and after its answer has been made.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub header_bytes: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    /// How long a client may take nothing of what is there for it.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(120),
        }
    }
}

/// Requests at once on one connection of HTTP/2. A client that wants more opens another, as one of HTTP/1 does for each.
const STREAMS: u32 = 256;
/// What a client may have sent on one connection of HTTP/2 and one of its streams before it was read.
const WINDOWS: (u32, u32) = (2 << 20, 1 << 20);
/// What is kept for a stream of HTTP/2 whose client reads slowly, besides what its job keeps anyway.
const SEND_BUFFER: usize = 64 << 10;
/// How often a client of HTTP/2 is asked whether it is still there, and how long it may take to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Serves HTTP/1.1, and HTTP/2 without TLS to those who begin with it, until `shutdown`; then lets open requests finish for
/// as long as `linger`.
pub async fn serve(app: Arc<App>, listener: TcpListener, limits: Limits, linger: Duration, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    // Out of file descriptors, most likely: waiting lets others finish.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = shutdown.cancelled() => break,
        };
        let _ = socket.set_nodelay(true);
        let end = End { shutdown: shutdown.clone(), cut: cut.clone() };
        connections.spawn(connection(app.clone(), socket, limits, end));
    }
    connections.close();
    if tokio::time::timeout(linger, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are cut");
        cut.cancel();
        connections.wait().await;
    }
}

/// How a connection is told to end: in good order, and at once.
struct End {
    shutdown: CancellationToken,
    cut: CancellationToken,
}

async fn connection(app: Arc<App>, socket: TcpStream, limits: Limits, end: End) {
    let opened = tokio::select! {
        opened = tokio::time::timeout(limits.header_timeout, Socket::open(socket, limits.write_timeout)) => opened,
        // Nothing has been asked on it.
        () = end.shutdown.cancelled() => return,
    };
    let Ok(Some((socket, is_http2))) = opened else { return };
    let io = TokioIo::new(socket);
    if !is_http2 {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes.max(8192))
            .serve_connection(io, service_fn(move |request| answer(app.clone(), request, limits)));
        return end.drive(connection, http1::Connection::graceful_shutdown).await;
    }
    let bodies = Bodies::new(limits.write_timeout);
    let service = {
        let bodies = bodies.clone();
        service_fn(move |request| {
            let (answer, bodies) = (answer(app.clone(), request, limits), bodies.clone());
            async move { answer.await.map(|response| response.map(|body| bodies.watched(body))) }
        })
    };
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX).max(8192))
        .initial_connection_window_size(WINDOWS.0)
        .initial_stream_window_size(WINDOWS.1)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .serve_connection(io, service);
    tokio::select! {
        () = end.drive(connection, http2::Connection::graceful_shutdown) => {}
        () = bodies.left_lying() => tracing::debug!("connection ended: the client does not read"),
    }
}

impl End {
    async fn drive<C: Future<Output = hyper::Result<()>>>(&self, connection: C, in_good_order: impl FnOnce(Pin<&mut C>)) {
        tokio::pin!(connection);
        let finished = tokio::select! {
            finished = connection.as_mut() => finished,
            () = self.shutdown.cancelled() => {
                in_good_order(connection.as_mut());
                tokio::select! {
                    finished = connection => finished,
                    () = self.cut.cancelled() => return,
                }
            }
        };
        if let Err(error) = finished {
            tracing::debug!(%error, "connection ended");
        }
    }
}
