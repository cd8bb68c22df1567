//! A client's connection that knows which HTTP is spoken on it, and does not wait for ever for somebody who does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// What a client that speaks HTTP/2 without TLS begins with (RFC 9113 §3.4). No request of HTTP/1 begins with its first
/// three letters, so those decide.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TELLING: usize = 3;

/// A connection whose writes fail when nothing at all could be written for `patience`.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// What was read to see which HTTP it is.
    ahead: Bytes,
    patience: Duration,
    /// Runs while the client's side is full.
    late: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// Waits for the first bytes, which say whether it is HTTP/2; nothing when the client has left.
    pub(super) async fn open(mut stream: TcpStream, patience: Duration) -> Option<(Self, bool)> {
        let mut first = [0; PREFACE.len()];
        let mut have = 0;
        // A preface that comes in pieces is waited for only as long as it may still be one.
        while have < TELLING && PREFACE.starts_with(first.get(..have)?) {
            match stream.read(first.get_mut(have..)?).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => have += n,
            }
        }
        let ahead = Bytes::copy_from_slice(first.get(..have)?);
        let http2 = ahead.starts_with(PREFACE.get(..TELLING)?);
        Some((Self { stream, ahead, patience, late: None }, http2))
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.late = None;
            return result;
        }
        let patience = self.patience;
        let late = self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(late.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.ahead.len().min(buf.remaining());
        let (now, _) = self.ahead.split_at(n);
        buf.put_slice(now);
        self.ahead.advance(n);
        if self.ahead.is_empty() {
            // Its memory is not needed as long as the connection is.
            self.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    /// What is read of a connection on which these pieces come one after the other, and whether it counts as HTTP/2.
    async fn opened(pieces: &[&[u8]]) -> Option<(Vec<u8>, bool)> {
        let (mut client, server) = pair().await;
        client.set_nodelay(true).unwrap();
        let open = tokio::spawn(Socket::open(server, Duration::from_secs(9)));
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(client);
        let (mut socket, http2) = open.await.unwrap()?;
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap();
        Some((all, http2))
    }

    #[tokio::test]
    async fn nothing_is_lost_of_what_tells_which_http_it_is() {
        let (one, two) = (b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(), PREFACE.as_slice());
        for (pieces, http2) in [(vec![one], false), (vec![two, b"rest"], true), (vec![b"P", b"R", b"I * HTTP/2.0"], true)] {
            assert_eq!(opened(&pieces).await, Some((pieces.concat(), http2)));
        }
        assert_eq!(opened(&[b"P", b"O"]).await, Some((b"PO".to_vec(), false)));
        assert_eq!(opened(&[b"PR"]).await, None, "it left before it could be told");
        assert_eq!(opened(&[]).await, None);
    }

    #[tokio::test]
    async fn a_write_fails_only_when_nothing_was_taken_for_so_long() {
        let (client, server) = pair().await;
        client.writable().await.unwrap();
        client.try_write(b"GET").unwrap();
        let (mut socket, _) = Socket::open(server, Duration::from_millis(100)).await.unwrap();
        let much = vec![0; 64 << 20];
        let error = socket.write_all(&much).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
