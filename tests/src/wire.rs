//! HTTP as bytes, for requests that no client library would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection, used for one request after the other.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    buffer: Vec<u8>,
}

/// An answer as it came.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// The server will not answer again on this connection.
    pub closes: bool,
}

impl Wire {
    pub async fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, buffer: Vec::new() }
    }

    /// Sends bytes as they are; a server that has hung up already is no failure.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// Says that nothing more comes.
    pub async fn finish(&mut self) {
        let _ = self.socket.shutdown().await;
    }

    /// The next answer; nothing when the connection ends without one.
    pub async fn reply(&mut self) -> Option<Raw> {
        self.within(true).await
    }

    /// The next answer, which is to a HEAD and so has no body whatever its length says.
    pub async fn reply_to_head(&mut self) -> Option<Raw> {
        self.within(false).await
    }

    async fn within(&mut self, has_body: bool) -> Option<Raw> {
        tokio::time::timeout(Duration::from_secs(20), self.read(has_body)).await.expect("the server answers or hangs up")
    }

    async fn read(&mut self, has_body: bool) -> Option<Raw> {
        let end = self.find(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let status = head.get(9..12)?.parse().ok()?;
        let lower = head.to_ascii_lowercase();
        let field = |name: &str| lower.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim_matches([':', ' ']).to_owned());
        let mut raw = Raw { status, head, closes: field("connection").is_some_and(|v| v == "close"), ..Raw::default() };
        if !has_body {
            return Some(raw);
        }
        if let Some(length) = field("content-length") {
            raw.body = self.take(length.parse().ok()?).await?;
        } else if field("transfer-encoding").is_some() {
            loop {
                let line = self.find(b"\r\n").await?;
                let size = usize::from_str_radix(std::str::from_utf8(&self.buffer[..line]).ok()?, 16).ok()?;
                self.buffer.drain(..line + 2);
                raw.body.extend(self.take(size).await?);
                self.take(2).await?;
                if size == 0 {
                    break;
                }
            }
        }
        Some(raw)
    }

    async fn find(&mut self, what: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.buffer.windows(what.len()).position(|w| w == what) {
                return Some(at);
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < bytes {
            self.more().await?;
        }
        Some(self.buffer.drain(..bytes).collect())
    }

    async fn more(&mut self) -> Option<()> {
        self.socket.read_buf(&mut self.buffer).await.ok().filter(|n| *n > 0).map(|_| ())
    }
}
