//! HTTP/1.1 as a client that must cost little: one socket, one buffer, no allocation per request.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is still to come of the reply's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Bytes(usize),
    /// The next bytes are a chunk's size.
    Size,
    /// The rest of a chunk, without the line end that follows it.
    Chunk(usize),
    /// The line end behind the last chunk.
    End,
}

/// A connection that is kept alive.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    buf: BytesMut,
    left: Left,
    /// When the newest bytes arrived.
    pub(crate) read_at: Instant,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, buf: BytesMut::with_capacity(16 * 1024), left: Left::Nothing, read_at: Instant::now() })
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.socket.write_all(request).await
    }

    /// Reads a reply's head and gives its status; its body follows with [`Connection::piece`].
    pub(crate) async fn head(&mut self) -> anyhow::Result<u16> {
        loop {
            if let Some((status, length, left)) = head(&self.buf)? {
                self.buf.advance(length);
                self.left = left;
                return Ok(status);
            }
            self.fill().await?;
        }
    }

    /// The next bytes of the body are put behind `into`; `false` when it is over.
    pub(crate) async fn piece(&mut self, into: &mut Vec<u8>) -> anyhow::Result<bool> {
        loop {
            match self.left {
                Left::Nothing => return Ok(false),
                Left::Bytes(0) => self.left = Left::Nothing,
                Left::Bytes(n) => {
                    let took = self.take(n, into).await?;
                    self.left = Left::Bytes(n - took);
                    return Ok(true);
                }
                Left::Size => {
                    let line = self.line().await?;
                    let digits = std::str::from_utf8(&line)?.split(';').next().unwrap_or_default();
                    let size = usize::from_str_radix(digits.trim(), 16).with_context(|| format!("{digits:?} is no chunk size"))?;
                    self.left = if size == 0 { Left::End } else { Left::Chunk(size) };
                }
                Left::Chunk(0) => {
                    self.line().await?;
                    self.left = Left::Size;
                }
                Left::Chunk(n) => {
                    let took = self.take(n, into).await?;
                    self.left = Left::Chunk(n - took);
                    return Ok(true);
                }
                Left::End => {
                    self.line().await?;
                    self.left = Left::Nothing;
                }
            }
        }
    }

    /// Sends a request and reads the whole reply; `body` holds the reply's body afterwards.
    pub(crate) async fn call(&mut self, request: &[u8], body: &mut Vec<u8>) -> anyhow::Result<u16> {
        self.send(request).await?;
        let status = self.head().await?;
        body.clear();
        while self.piece(body).await? {}
        Ok(status)
    }

    async fn take(&mut self, most: usize, into: &mut Vec<u8>) -> anyhow::Result<usize> {
        if self.buf.is_empty() {
            self.fill().await?;
        }
        let took = most.min(self.buf.len());
        into.extend_from_slice(&self.buf[..took]);
        self.buf.advance(took);
        Ok(took)
    }

    async fn line(&mut self) -> anyhow::Result<BytesMut> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buf, b"\r\n") {
                let line = self.buf.split_to(end);
                self.buf.advance(2);
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        if self.socket.read_buf(&mut self.buf).await? == 0 {
            bail!("the connection was closed in the middle of a reply");
        }
        self.read_at = Instant::now();
        Ok(())
    }
}

/// Status, length of the head and what follows it; nothing while the head is not whole.
fn head(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize, Left)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut reply = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = reply.parse(bytes)? else { return Ok(None) };
    let mut left = Left::Nothing;
    for header in reply.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            left = Left::Bytes(std::str::from_utf8(header.value)?.trim().parse()?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            left = Left::Size;
        }
    }
    Ok(Some((reply.code.unwrap_or(0), length, left)))
}

/// A whole request, ready to be sent any number of times.
pub(crate) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let mut request =
        format!("POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len())
            .into_bytes();
    request.extend_from_slice(body);
    request
}

/// One request on a connection of its own, for what is not measured; what answers has a length.
pub(crate) fn ask(addr: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
    let length = body.len();
    exchange(
        addr,
        format!("{method} {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
    )
}

/// The same for a whole request as it goes over the wire.
pub(crate) fn exchange(addr: SocketAddr, request: &[u8]) -> anyhow::Result<(u16, String)> {
    let mut socket = std::net::TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(Duration::from_secs(120)))?;
    socket.write_all(request)?;
    let (mut reply, mut some) = (Vec::new(), [0; 16 * 1024]);
    loop {
        if let Some((status, length, left)) = head(&reply)? {
            let whole = match left {
                Left::Bytes(n) => reply.len() >= length + n,
                Left::Nothing | Left::Size | Left::Chunk(_) | Left::End => true,
            };
            if whole {
                return Ok((status, String::from_utf8_lossy(&reply[length..]).into_owned()));
            }
        }
        match socket.read(&mut some)? {
            0 => bail!("the connection was closed in the middle of a reply"),
            n => reply.extend_from_slice(&some[..n]),
        }
    }
}

/// What is at a path, also where the length of the answer is not told before it.
pub(crate) fn get(addr: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut body = Vec::new();
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n");
        let status = Connection::open(addr).await?.call(request.as_bytes(), &mut body).await?;
        anyhow::ensure!(status == 200, "{path}: {status}");
        Ok(body)
    })
}
