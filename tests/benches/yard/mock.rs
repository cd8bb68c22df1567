//! A model server without a model: it paces, holds and refuses as told, and counts what reaches it.
//!
//! Written on bare sockets, because whatever it costs is taken from what is measured beside it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

use crate::child::Child;
use crate::load::MODEL;
use crate::wire;

/// Goes before the time of sending in every streamed token.
pub(crate) const SENT: &str = "sent-at:";

/// How requests are answered.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Behaviour {
    /// What a whole reply takes, or a stream's first token.
    pub(crate) first_ms: u64,
    /// Tokens in a stream.
    pub(crate) tokens: u64,
    pub(crate) gap_ms: u64,
    /// Requests that are worked on at once; 0 is no bound.
    pub(crate) slots: usize,
    /// Whether what comes above the slots gets a 503, or else waits.
    pub(crate) refuse: bool,
    /// Whether each request waits until it is released.
    pub(crate) held: bool,
}

/// What has reached it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) total: u64,
    pub(crate) refused: u64,
    /// The most that were inside at once, whether worked on or waiting.
    pub(crate) most: u64,
    /// From each answer to the arrival of the next request, in microseconds; told only while requests are held.
    pub(crate) pulls_us: Vec<f64>,
}

/// A mock in a process of its own.
#[derive(Debug)]
pub(crate) struct Mock(Child);

impl Mock {
    pub(crate) fn start(behaviour: Behaviour) -> anyhow::Result<Self> {
        Ok(Self(Child::role("mock", &serde_json::to_string(&behaviour)?)?))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// What it has seen since it was last asked.
    pub(crate) fn seen(&self) -> anyhow::Result<Seen> {
        Ok(serde_json::from_str(&wire::ask(self.0.addr, "GET", "/seen", "")?.1)?)
    }

    /// Lets this many held requests go, now or when they come.
    pub(crate) fn release(&self, requests: usize) -> anyhow::Result<()> {
        wire::ask(self.0.addr, "POST", "/release", &requests.to_string())?;
        Ok(())
    }
}

struct Server {
    behaviour: Behaviour,
    /// Every whole reply is the same.
    completion: String,
    slots: Semaphore,
    held: Semaphore,
    inside: AtomicU64,
    seen: Mutex<Seen>,
    answered: Mutex<Option<Instant>>,
}

/// Serves until the process ends.
pub(crate) async fn serve(behaviour: &str) -> anyhow::Result<()> {
    let behaviour: Behaviour = serde_json::from_str(behaviour)?;
    let slots = if behaviour.slots == 0 { Semaphore::MAX_PERMITS } else { behaviour.slots };
    let server = Arc::new(Server {
        behaviour,
        completion: whole("200 OK", COMPLETION),
        slots: Semaphore::new(slots),
        held: Semaphore::new(0),
        inside: AtomicU64::new(0),
        seen: Mutex::default(),
        answered: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let server = server.clone();
        // A client that leaves ends its connection with an error, which is nobody's business.
        tokio::spawn(async move { server.connection(socket).await });
    }
}

impl Server {
    async fn connection(&self, mut socket: TcpStream) -> anyhow::Result<()> {
        let mut buf = BytesMut::with_capacity(64 * 1024);
        while let Some((route, body)) = request(&mut socket, &mut buf).await? {
            match route.as_str() {
                "POST /v1/chat/completions" => self.complete(&mut socket, &body).await?,
                "GET /seen" => {
                    let seen = std::mem::take(&mut *lock(&self.seen));
                    socket.write_all(whole("200 OK", &serde_json::to_string(&seen)?).as_bytes()).await?;
                }
                "POST /release" => {
                    self.held.add_permits(std::str::from_utf8(&body)?.parse()?);
                    socket.write_all(whole("200 OK", "{}").as_bytes()).await?;
                }
                // Everything else that is asked is which models there are.
                _ => {
                    let models = format!(r#"{{"object":"list","data":[{{"id":"{MODEL}","object":"model","owned_by":"bench"}}]}}"#);
                    socket.write_all(whole("200 OK", &models).as_bytes()).await?;
                }
            }
        }
        Ok(())
    }

    async fn complete(&self, socket: &mut TcpStream, body: &[u8]) -> anyhow::Result<()> {
        let begun = Instant::now();
        let Behaviour { first_ms, slots, refuse, held, .. } = self.behaviour;
        let inside = self.enter(begun);
        if refuse && slots > 0 && inside.count > slots as u64 {
            lock(&self.seen).refused += 1;
            drop(inside);
            let busy = r#"{"error":{"message":"every slot is taken","type":"server_error"}}"#;
            return Ok(socket.write_all(whole("503 Service Unavailable", busy).as_bytes()).await?);
        }
        if held {
            self.held.acquire().await?.forget();
        }
        let permit = self.slots.acquire().await?;
        let streamed = memchr::memmem::find(body, br#""stream":true"#).is_some();
        if streamed {
            let usage = memchr::memmem::find(body, br#""include_usage":true"#).is_some();
            self.stream(socket, begun, usage).await?;
            drop((permit, inside));
        } else {
            if first_ms > 0 {
                sleep(Duration::from_millis(first_ms)).await;
            }
            // Given up before the answer is sent: whoever reads it may ask again at once.
            drop((permit, inside));
            socket.write_all(self.completion.as_bytes()).await?;
        }
        if held {
            *lock(&self.answered) = Some(Instant::now());
        }
        Ok(())
    }

    fn enter(&self, now: Instant) -> Inside<'_> {
        let count = self.inside.fetch_add(1, SeqCst) + 1;
        let mut seen = lock(&self.seen);
        seen.total += 1;
        seen.most = seen.most.max(count);
        if let Some(answered) = lock(&self.answered).take() {
            seen.pulls_us.push(crate::stats::micros(now - answered));
        }
        Inside { server: self, count }
    }

    /// Tokens by the clock, not by the last token: a late one does not delay those after it.
    async fn stream(&self, socket: &mut TcpStream, begun: Instant, usage: bool) -> anyhow::Result<()> {
        let Behaviour { first_ms, tokens, gap_ms, .. } = self.behaviour;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        let (mut event, mut frame) = (String::new(), String::new());
        for token in 0..tokens {
            let due = begun + Duration::from_millis(first_ms + token * gap_ms);
            if due > Instant::now() {
                sleep_until(due).await;
            }
            event.clear();
            write!(
                event,
                "data: {HEAD},\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{SENT}{} \"}},\"finish_reason\":null}}]}}\n\n",
                clock_us()
            )?;
            frame.clear();
            write!(frame, "{:x}\r\n{event}\r\n", event.len())?;
            socket.write_all(frame.as_bytes()).await?;
        }
        event.clear();
        write!(event, "data: {HEAD},\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n")?;
        if usage {
            write!(
                event,
                "data: {HEAD},\"choices\":[],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{tokens},\"total_tokens\":{}}}}}\n\n",
                tokens + 9
            )?;
        }
        event.push_str("data: [DONE]\n\n");
        Ok(socket.write_all(format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len()).as_bytes()).await?)
    }
}

/// A request inside; counts itself out.
struct Inside<'a> {
    server: &'a Server,
    count: u64,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.server.inside.fetch_sub(1, SeqCst);
    }
}

/// Method and path, and the body; nothing when the client has left between two requests.
async fn request(socket: &mut TcpStream, buf: &mut BytesMut) -> anyhow::Result<Option<(String, BytesMut)>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(head) = request.parse(buf)? {
            let length = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
            let length: usize = length.map_or(Ok(0), |h| std::str::from_utf8(h.value).unwrap_or_default().parse())?;
            if buf.len() >= head + length {
                let route = format!("{} {}", request.method.unwrap_or_default(), request.path.unwrap_or_default());
                buf.advance(head);
                return Ok(Some((route, buf.split_to(length))));
            }
        }
        if socket.read_buf(buf).await? == 0 {
            return Ok(None);
        }
    }
}

const HEAD: &str = r#"{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench-model""#;

const COMPLETION: &str = concat!(
    r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"bench-model","#,
    r#""choices":[{"index":0,"message":{"role":"assistant","content":"The points are set and the track is clear."},"#,
    r#""logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":10,"total_tokens":19}}"#,
);

fn whole(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// The monotonic clock, in microseconds: the same in every process of the machine.
pub(crate) fn clock_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
