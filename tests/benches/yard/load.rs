//! The load generator: a closed loop of connections that each wait for an answer before they ask again.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::child::Child;
use crate::stats::{Sample, micros};
use crate::wire::{self, Connection};

/// The model that the mock serves.
pub(crate) const MODEL: &str = "bench-model";

/// A chat request of exactly `size` bytes.
pub(crate) fn chat(size: usize, stream: Option<bool>) -> Vec<u8> {
    let stream = stream.map_or(String::new(), |s| format!(r#""stream":{s},"#));
    let head = format!(r#"{{"model":"{MODEL}",{stream}"messages":[{{"role":"user","content":""#);
    let tail = r#""}]}"#;
    let words = "Which wagon goes to which track, and what has to move before it can? ";
    let text: String = words.chars().cycle().take(size.saturating_sub(head.len() + tail.len())).collect();
    format!("{head}{text}{tail}").into_bytes()
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// No new request after this long.
    Elapsed(Duration),
    /// This many requests in all.
    Requests(u64),
}

/// One run of the loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) request: &'a [u8],
    /// What a good answer has.
    pub(crate) status: u16,
    pub(crate) connections: usize,
    pub(crate) until: Until,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Of each answer, in microseconds.
    pub(crate) latencies: Sample,
}

impl Done {
    /// Good answers per second.
    pub(crate) fn rate(&self) -> f64 {
        (self.requests - self.failed) as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// The same as an error unless every answer was good.
    pub(crate) fn whole(self) -> anyhow::Result<Self> {
        match &self.first_failure {
            None => Ok(self),
            Some(why) => anyhow::bail!("{} of {} requests failed, the first with: {why}", self.failed, self.requests),
        }
    }
}

/// Half of the cores make the load; the rest are for what is measured.
fn threads(connections: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 4).min(connections)
}

impl Load<'_> {
    /// Opens all connections, then starts them at once.
    pub(crate) fn run(&self, addr: SocketAddr) -> anyhow::Result<Done> {
        let threads = threads(self.connections);
        let (start, asked) = (Barrier::new(threads), AtomicU64::new(0));
        let parts = std::thread::scope(|scope| {
            let share = |nth: usize| self.connections / threads + usize::from(nth < self.connections % threads);
            let running: Vec<_> = (0..threads)
                .map(|nth| {
                    scope.spawn({
                        let (start, asked) = (&start, &asked);
                        move || self.share(addr, share(nth), start, asked)
                    })
                })
                .collect();
            running
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the load generator panicked"))))
                .collect::<Vec<_>>()
        });
        let (mut done, mut latencies) = (Done::default(), Vec::new());
        let (mut first, mut last) = (None::<Instant>, None::<Instant>);
        for part in parts {
            let part = part?;
            done.requests += part.latencies.len() as u64 + part.failed;
            done.failed += part.failed;
            done.first_failure = done.first_failure.or(part.first_failure);
            latencies.extend(part.latencies);
            first = Some(first.map_or(part.begun, |f| f.min(part.begun)));
            last = Some(last.map_or(part.ended, |l| l.max(part.ended)));
        }
        done.took = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
        done.latencies = Sample::of(latencies);
        Ok(done)
    }

    /// One thread's connections.
    fn share(&self, addr: SocketAddr, connections: usize, start: &Barrier, asked: &AtomicU64) -> anyhow::Result<Part> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut open = Vec::with_capacity(connections);
            for _ in 0..connections {
                open.push(Connection::open(addr).await);
            }
            start.wait();
            let begun = Instant::now();
            let loops = open.into_iter().map(|connection| async {
                let mut part = Part::new(begun);
                match connection {
                    Ok(connection) => self.repeat(connection, &mut part, asked).await,
                    Err(error) => part.fail(format!("connect: {error}")),
                }
                part
            });
            let mut whole = Part::new(begun);
            for part in futures_util::future::join_all(loops).await {
                whole.add(part);
            }
            whole.ended = Instant::now();
            Ok(whole)
        })
    }

    async fn repeat(&self, mut connection: Connection, part: &mut Part, asked: &AtomicU64) {
        let mut body = Vec::new();
        loop {
            let more = match self.until {
                Until::Elapsed(most) => part.begun.elapsed() < most,
                Until::Requests(most) => asked.fetch_add(1, Relaxed) < most,
            };
            if !more {
                return;
            }
            let sent = Instant::now();
            match connection.call(self.request, &mut body).await {
                Ok(status) if status == self.status => part.latencies.push(micros(sent.elapsed())),
                Ok(status) => part.fail(format!("{status} {}", String::from_utf8_lossy(&body).chars().take(300).collect::<String>())),
                // The connection is of no more use.
                Err(error) => return part.fail(format!("{error:#}")),
            }
        }
    }
}

struct Part {
    begun: Instant,
    ended: Instant,
    latencies: Vec<f64>,
    failed: u64,
    first_failure: Option<String>,
}

impl Part {
    fn new(begun: Instant) -> Self {
        Self { begun, ended: begun, latencies: Vec::new(), failed: 0, first_failure: None }
    }

    fn fail(&mut self, why: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(why);
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}

/// A target's turn: the load, and the processor time that it took.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) done: Done,
    /// Of the target, per request, in microseconds; with what it puts off until after the load.
    pub(crate) cpu_us: f64,
}

pub(crate) fn turn(target: &Child, load: Load<'_>) -> anyhow::Result<Turn> {
    let (done, [cpu_us]) = turn_of([target], load)?;
    Ok(Turn { done, cpu_us })
}

/// The turn of a target that is several processes, of which the first is asked; with the processor time of each.
pub(crate) fn turn_of<const N: usize>(target: [&Child; N], load: Load<'_>) -> anyhow::Result<(Done, [f64; N])> {
    let cpu = || target.iter().map(|child| child.cpu()).collect::<anyhow::Result<Vec<_>>>();
    let (before, addr) = (cpu()?, target[0].addr);
    let done = load.run(addr).and_then(Done::whole).with_context(|| format!("load on {addr}"))?;
    for child in target {
        child.settle()?;
    }
    let after = cpu()?;
    let each = std::array::from_fn(|nth| micros(after[nth].saturating_sub(before[nth])) / done.requests.max(1) as f64);
    Ok((done, each))
}

/// A request to an OpenAI-compatible chat completion.
pub(crate) fn chat_request(size: usize, stream: bool) -> Vec<u8> {
    wire::post("/v1/chat/completions", &chat(size, stream.then_some(true)))
}
