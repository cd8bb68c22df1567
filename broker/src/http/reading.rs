//! Whether the client of an HTTP/2 connection takes what is there for it. One stream may lie there unread while the
//! connection lives, so the socket alone cannot tell.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

/// A body is handed out in pieces of at most this, each only when the one before it has been taken.
const PIECE: usize = 64 << 10;

/// The bodies that are being sent on one connection.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    began: Instant,
    patience: Duration,
    open: Arc<Mutex<Vec<Weak<AtomicU64>>>>,
}

impl Bodies {
    pub(super) fn new(patience: Duration) -> Self {
        Self { began: Instant::now(), patience, open: Arc::default() }
    }

    /// The same body, whose reading is watched.
    pub(super) fn watched(&self, body: Body) -> Watched {
        // One that has been sent with its head is not waited for.
        let taken = Arc::new(AtomicU64::new(ASKED));
        if !body.is_end_stream() {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|body| body.strong_count() > 0);
            open.push(Arc::downgrade(&taken));
        }
        Watched { body, rest: Bytes::new(), taken, began: self.began }
    }

    /// Resolves when the client has left one of them lying for too long.
    pub(super) async fn left_lying(&self) {
        loop {
            tokio::time::sleep(self.patience / 4).await;
            let now = millis(self.began);
            let patience = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|body| body.strong_count() > 0);
            let lies = |body: &Weak<AtomicU64>| {
                let since = body.upgrade().map_or(ASKED, |taken| taken.load(Ordering::Relaxed));
                since != ASKED && now.saturating_sub(since) >= patience
            };
            if open.iter().any(lies) {
                return;
            }
        }
    }
}

/// The connection waits for more of the body, rather than the body for the connection.
const ASKED: u64 = u64::MAX;

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
}

/// A body that knows since when nobody has asked for more of it.
#[derive(Debug)]
pub(super) struct Watched {
    body: Body,
    rest: Bytes,
    taken: Arc<AtomicU64>,
    began: Instant,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.taken.store(ASKED, Ordering::Relaxed);
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(piece);
        self.taken.store(millis(self.began), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        all.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            all.set_upper(upper.saturating_add(rest));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_takes_is_noticed_and_one_that_has_nothing_to_give_is_not() {
        let bodies = Bodies::new(Duration::from_secs(10));
        let mut read = bodies.watched(Body::from(vec![b'x'; 3 * PIECE]));
        let waits = bodies.watched(Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()));
        let asked = tokio::spawn(waits.collect());
        let noticed = |within| tokio::time::timeout(Duration::from_secs(within), bodies.left_lying());

        assert!(noticed(60).await.is_err(), "nothing has been handed out");
        assert_eq!(read.frame().await.unwrap().unwrap().into_data().unwrap().len(), PIECE);
        assert!(noticed(9).await.is_err());
        assert!(read.frame().await.is_some());
        assert!(noticed(9).await.is_err(), "it reads, if slowly");
        assert!(noticed(20).await.is_ok());
        drop(read);
        assert!(noticed(60).await.is_err());
        asked.abort();
    }
}
