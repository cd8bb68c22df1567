//! Many streams at once: when each token was sent, and when it arrived.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{bail, ensure};
use tokio::time::{Instant, sleep_until};

use crate::mock::{SENT, clock_us};
use crate::stats::{Sample, micros};
use crate::wire::Connection;

/// Streams that run beside each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams<'a> {
    pub(crate) request: &'a [u8],
    pub(crate) count: usize,
    /// What each must bring.
    pub(crate) tokens: usize,
    /// From the start of the first to the start of the last.
    pub(crate) spread: Duration,
}

/// What was heard; times in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// Streams that failed, or ended before their end.
    pub(crate) cut: usize,
    pub(crate) first_failure: Option<String>,
    /// From each request to its first token.
    pub(crate) first_token: Vec<f64>,
    /// The gap between two tokens when they arrived, less the gap when they were sent: what the way has done to it. In this the
    /// mock's own unevenness is not contained.
    pub(crate) stretch: Vec<f64>,
    /// From the sending of each token to its arrival.
    pub(crate) travel: Vec<f64>,
}

impl Heard {
    fn add(&mut self, other: Self) {
        self.cut += other.cut;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.first_token.extend(other.first_token);
        self.stretch.extend(other.stretch);
        self.travel.extend(other.travel);
    }

    /// How much gaps were changed, in either direction.
    pub(crate) fn jitter(&self) -> Sample {
        Sample::of(self.stretch.iter().map(|s| s.abs()).collect())
    }

    /// How much gaps were lengthened.
    pub(crate) fn added(&self) -> Sample {
        Sample::of(self.stretch.iter().map(|s| s.max(0.0)).collect())
    }
}

impl Streams<'_> {
    pub(crate) fn run(&self, addr: SocketAddr) -> anyhow::Result<Heard> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut open = Vec::with_capacity(self.count);
            for _ in 0..self.count {
                open.push(Connection::open(addr).await?);
            }
            let start = Instant::now();
            let listening = open.into_iter().enumerate().map(|(nth, connection)| async move {
                if !self.spread.is_zero() {
                    sleep_until(start + self.spread.mul_f64(nth as f64 / self.count as f64)).await;
                }
                self.listen(connection).await
            });
            let mut heard = Heard::default();
            for stream in futures_util::future::join_all(listening).await {
                match stream {
                    Ok(stream) => heard.add(stream),
                    Err(error) => {
                        heard.cut += 1;
                        heard.first_failure.get_or_insert_with(|| format!("{error:#}"));
                    }
                }
            }
            Ok(heard)
        })
    }

    async fn listen(&self, mut connection: Connection) -> anyhow::Result<Heard> {
        // The mock's clock is this one too, but an `Instant` does not tell what it is.
        let (asked, asked_us) = (std::time::Instant::now(), clock_us() as f64);
        connection.send(self.request).await?;
        let status = connection.head().await?;
        let mut text = Vec::new();
        if status != 200 {
            while connection.piece(&mut text).await? {}
            bail!("{status} {}", String::from_utf8_lossy(&text));
        }
        let room = || Vec::with_capacity(self.tokens);
        let mut heard = Heard { stretch: room(), travel: room(), ..Heard::default() };
        let (mut before, mut tokens, mut done) = (None, 0, false);
        while connection.piece(&mut text).await? {
            let mut parsed = 0;
            while let Some(end) = memchr::memmem::find(&text[parsed..], b"\n\n") {
                let event = &text[parsed..parsed + end];
                parsed += end + 2;
                done |= event.ends_with(b"[DONE]");
                let Some(sent) = sent_us(event) else { continue };
                tokens += 1;
                let at = connection.read_at;
                heard.travel.push(asked_us + micros(at - asked) - sent);
                match before.replace((at, sent)) {
                    None => heard.first_token.push(micros(at - asked)),
                    Some((last_at, last_sent)) => heard.stretch.push(micros(at - last_at) - (sent - last_sent)),
                }
            }
            text.drain(..parsed);
        }
        ensure!(done, "the stream has no end mark, after {tokens} tokens");
        ensure!(tokens == self.tokens, "the stream brought {tokens} tokens of {}", self.tokens);
        Ok(heard)
    }
}

/// The mock's clock when it sent this token, if it is one.
fn sent_us(event: &[u8]) -> Option<f64> {
    let at = memchr::memmem::find(event, SENT.as_bytes())? + SENT.len();
    let digits = event[at..].split(|b| !b.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
