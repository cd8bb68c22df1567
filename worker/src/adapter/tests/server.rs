//! A model server that does exactly what its script says, and remembers what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::PATIENCE;

#[derive(Clone)]
enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// Until the test says so.
    Gate(Arc<Notify>),
    /// Silent until the client leaves.
    Stall,
    /// The same again and again, until the client leaves.
    Flood(Vec<u8>),
    /// Closes in the middle.
    Cut,
}

/// One reply, or what is served in its place.
#[derive(Clone)]
pub(super) struct Script {
    status: u16,
    headers: String,
    chunked: bool,
    close: bool,
    steps: Vec<Step>,
}

impl Script {
    fn new(status: u16, content_type: &str, chunked: bool) -> Self {
        Self { status, headers: format!("content-type: {content_type}\r\n"), chunked, close: false, steps: Vec::new() }
    }

    /// A reply in one piece.
    pub(super) fn whole(status: u16, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        Self::new(status, content_type, false).send(body)
    }

    pub(super) fn json(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self::whole(status, "application/json", body)
    }

    /// A stream, in pieces that do not care where an event ends.
    pub(super) fn stream(content_type: &str, body: impl AsRef<[u8]>) -> Self {
        body.as_ref().chunks(37).fold(Self::new(200, content_type, true), |script, piece| script.send(piece))
    }

    pub(super) fn sse(body: impl AsRef<[u8]>) -> Self {
        Self::stream("text/event-stream", body)
    }

    /// Each event's data, and OpenAI's end.
    pub(super) fn events(events: &[&str]) -> Self {
        let events: String = events.iter().map(|e| format!("data: {e}\n\n")).collect();
        Self::sse(events + "data: [DONE]\n\n")
    }

    pub(super) fn lines(lines: &[&str]) -> Self {
        Self::stream("application/x-ndjson", lines.iter().map(|l| format!("{l}\n")).collect::<String>())
    }

    /// Closes without a word.
    pub(super) fn hang_up() -> Self {
        let mut script = Self::new(0, "", false);
        script.steps.push(Step::Cut);
        script
    }

    /// Says nothing at all.
    pub(super) fn silent() -> Self {
        Self::new(0, "", false).stall()
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(super) fn send(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Send(bytes.as_ref().to_vec()));
        self
    }

    pub(super) fn pause(mut self, time: Duration) -> Self {
        self.steps.push(Step::Pause(time));
        self
    }

    pub(super) fn gate(mut self, gate: &Arc<Notify>) -> Self {
        self.steps.push(Step::Gate(gate.clone()));
        self
    }

    pub(super) fn stall(mut self) -> Self {
        self.steps.push(Step::Stall);
        self
    }

    pub(super) fn flood(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Flood(bytes.as_ref().to_vec()));
        self
    }

    pub(super) fn flood_slowly(self, bytes: &str) -> Self {
        (0..1_000).fold(self, |script, _| script.send(bytes).pause(Duration::from_millis(5)))
    }

    pub(super) fn cut(mut self) -> Self {
        self.steps.push(Step::Cut);
        self
    }

    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Closes after the reply without having said so.
    pub(super) fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// `false` when the connection is over.
    async fn play(self, socket: &mut TcpStream) -> std::io::Result<bool> {
        if self.status > 0 {
            let length = if self.chunked {
                "transfer-encoding: chunked".to_owned()
            } else {
                let sent = self.steps.iter().map(|s| if let Step::Send(bytes) = s { bytes.len() } else { 0 });
                format!("content-length: {}", sent.sum::<usize>())
            };
            socket.write_all(format!("HTTP/1.1 {} Said\r\n{}{length}\r\n\r\n", self.status, self.headers).as_bytes()).await?;
        }
        for step in self.steps {
            match step {
                Step::Send(bytes) => piece(socket, &bytes, self.chunked).await?,
                Step::Pause(time) => tokio::time::sleep(time).await,
                Step::Gate(gate) => gate.notified().await,
                Step::Stall => return until_closed(socket).await,
                Step::Flood(bytes) => loop {
                    piece(socket, &bytes, self.chunked).await?;
                },
                Step::Cut => return Ok(false),
            }
        }
        if self.chunked {
            socket.write_all(b"0\r\n\r\n").await?;
        }
        Ok(!self.close)
    }
}

async fn piece(socket: &mut TcpStream, bytes: &[u8], chunked: bool) -> std::io::Result<()> {
    if !chunked {
        return socket.write_all(bytes).await;
    }
    let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    socket.write_all(&framed).await
}

async fn until_closed(socket: &mut TcpStream) -> std::io::Result<bool> {
    let mut rest = [0; 1024];
    while socket.read(&mut rest).await? > 0 {}
    Ok(false)
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Connections count from 0.
    pub(super) connection: usize,
    pub(super) head: String,
    pub(super) body: Value,
}

impl Request {
    /// Method and path.
    pub(super) fn line(&self) -> &str {
        self.head.lines().next().unwrap().trim_end_matches(" HTTP/1.1")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name))).map(|(_, value)| value)
    }
}

struct State {
    scripts: Mutex<VecDeque<Script>>,
    /// When the scripts are over.
    after: Option<Script>,
    requests: Mutex<Vec<Request>>,
    asked: watch::Sender<usize>,
    closed: watch::Sender<usize>,
}

pub(super) struct Server {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// One script for each request, in order.
    pub(super) async fn start(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self::run(scripts.into_iter().collect(), None).await
    }

    /// The same for every request.
    pub(super) async fn always(script: Script) -> Self {
        Self::run(VecDeque::new(), Some(script)).await
    }

    async fn run(scripts: VecDeque<Script>, after: Option<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            scripts: Mutex::new(scripts),
            after,
            requests: Mutex::default(),
            asked: watch::Sender::default(),
            closed: watch::Sender::default(),
        });
        let all = state.clone();
        let task = tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (state, number) = (all.clone(), connections.len());
                connections.spawn(async move {
                    let _ = serve(socket, number, &state).await;
                    state.closed.send_modify(|n| *n += 1);
                });
            }
        });
        Self { address, state, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Waits until it has been asked `n` times.
    pub(super) async fn asked(&self, n: usize) {
        reached(&self.state.asked, n, "requests").await;
    }

    /// Waits until `n` connections are over.
    pub(super) async fn closed(&self, n: usize) {
        reached(&self.state.closed, n, "closed connections").await;
    }
}

async fn reached(counter: &watch::Sender<usize>, n: usize, what: &str) {
    let mut counter = counter.subscribe();
    let done = tokio::time::timeout(PATIENCE, counter.wait_for(|have| *have >= n)).await;
    assert!(done.is_ok(), "there never were {n} {what}");
}

async fn serve(mut socket: TcpStream, connection: usize, state: &State) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some((head, body)) = request(&mut socket, &mut buffer).await? else { return Ok(()) };
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        state.requests.lock().unwrap().push(Request { connection, head, body });
        state.asked.send_modify(|n| *n += 1);
        let script = state.scripts.lock().unwrap().pop_front().or_else(|| state.after.clone());
        let script = script.unwrap_or_else(|| Script::json(500, "not in the script"));
        if !script.play(&mut socket).await? {
            return Ok(());
        }
    }
}

async fn request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<(String, Vec<u8>)>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            let whole = end + 4 + length.and_then(|l| l.parse::<usize>().ok()).unwrap_or(0);
            if buffer.len() >= whole {
                let body = buffer[end + 4..whole].to_vec();
                buffer.drain(..whole);
                return Ok(Some((head, body)));
            }
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
