//! One attempt, from its delivery to its report.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::work::{Offer, Report};
use pullyard_schemas::{Charge, Failure, FailureKind, Usage, WorkerId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::end::{Broken, Finished};
use crate::run::Executor;
use crate::transport::{Body, Delivery, Word, WorkerEnd};

/// What an attempt needs to know of its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) transport: Arc<dyn WorkerEnd>,
    pub(crate) worker: WorkerId,
    pub(crate) backend: Arc<str>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) extend_every: Duration,
    /// Fires when the worker has to go and cannot wait any longer.
    pub(crate) abort: CancellationToken,
}

/// How it went, for breaker and limits.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) failure: Option<Failure>,
    /// Whether the backend had a part in it.
    pub(crate) asked: bool,
    /// Of prompt and reply.
    pub(crate) tokens: u64,
    pub(crate) output_tokens: u64,
}

/// Output as it is kept: a single line is kept as it came.
#[derive(Default)]
enum Lines {
    #[default]
    None,
    One(Bytes),
    Many(Vec<u8>),
}

impl Lines {
    fn add(&mut self, line: Bytes) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(line),
            Self::One(first) => {
                let mut lines = Vec::with_capacity((first.len() + line.len()) * 8);
                for line in [first, line] {
                    lines.extend_from_slice(&line);
                    lines.push(b'\n');
                }
                Self::Many(lines)
            }
            Self::Many(mut lines) => {
                lines.extend_from_slice(&line);
                lines.push(b'\n');
                Self::Many(lines)
            }
        };
    }

    fn finish(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(line) => line,
            Self::Many(lines) => lines.into(),
        }
    }
}

/// Runs the attempt, holds its delivery meanwhile, and reports. Whatever happens, exactly one report follows `Started`.
pub(crate) async fn run(around: Surroundings, delivery: Box<dyn Delivery>, model: Arc<str>) -> Verdict {
    let offer = delivery.offer().clone();
    let (job, token) = (offer.job, offer.token);
    let transport = around.transport.clone();
    let started = Report::Started { backend: around.backend.clone(), model: model.clone() };
    let word = |report, output| Word { job, token, worker: around.worker.clone(), report, output };
    let kept = transport.report(word(started, Bytes::new()));
    let begun = Instant::now();
    let mut lines = Lines::default();
    let work = async {
        let body = match delivery.body() {
            Body::Ready(body) => Ok(body.clone()),
            Body::Stored(source) => source.fetch(job).await,
        };
        match body {
            Ok(body) => (true, around.execute(&offer, body, &*delivery, &model, &mut lines).await),
            Err(why) => {
                let failure = Failure::new(FailureKind::Backend, format!("the request cannot be read: {why}"));
                (false, Err(Broken::before(failure)))
            }
        }
    };
    // The attempt does not wait until its start is kept, but its end does: so the two arrive in this order.
    let ((), (asked, ended)) = futures_util::join!(kept, work);
    let busy_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let charge = |usage: Usage| Charge {
        model: model.clone(),
        backend: around.backend.clone(),
        usage,
        cost_nanos: around.executor.cost(&model, &usage, busy_ms),
        busy_ms,
    };
    let (report, output, verdict) = match ended {
        Ok(done) => {
            let verdict =
                Verdict { failure: None, asked, tokens: done.usage.prompt + done.usage.completion, output_tokens: done.usage.completion };
            (Report::Completed { charge: charge(done.usage), finish: done.finish }, lines.finish(), verdict)
        }
        Err(broken) => {
            let Failure { kind, message, .. } = &broken.failure;
            if *kind == FailureKind::Cancelled {
                // Somebody wanted that, so nothing failed.
                tracing::info!(%job, attempt = %token, backend = %around.backend, "attempt cancelled");
            } else {
                tracing::info!(%job, attempt = %token, backend = %around.backend, kind = %kind.as_str(), "attempt failed: {message}");
            }
            let tokens = broken.usage.map_or(0, |u| u.prompt + u.completion);
            let output_tokens = broken.usage.map_or(0, |u| u.completion);
            let verdict = Verdict { failure: Some(broken.failure.clone()), asked, tokens, output_tokens };
            // An attempt that no backend worked on used nothing and costs nothing.
            let reached = asked && (broken.usage.is_some() || !idle(broken.failure.kind));
            let charge = reached.then(|| charge(broken.usage.unwrap_or_default()));
            (Report::Failed { failure: broken.failure, charge, delivered: broken.delivered }, Bytes::new(), verdict)
        }
    };
    transport.report(word(report, output)).await;
    delivery.settle();
    verdict
}

/// Whether a backend that failed so did no work.
fn idle(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Connect | FailureKind::Busy | FailureKind::CannotContinue)
}

impl Surroundings {
    async fn execute(
        &self,
        offer: &Offer,
        body: Bytes,
        delivery: &dyn Delivery,
        model: &Arc<str>,
        lines: &mut Lines,
    ) -> Result<Finished, Broken> {
        let cancel = delivery.cancelled();
        let mut number = 0;
        let failure = {
            let mut on_chunk = |chunk: Bytes| {
                if offer.stream {
                    self.transport.output(offer.job, offer.token, number, chunk.clone());
                }
                number += 1;
                lines.add(chunk);
            };
            let work = self.executor.run(model, offer, body, &mut on_chunk, cancel);
            tokio::pin!(work);
            let limit = tokio::time::sleep(Duration::from_millis(offer.timeout_ms));
            tokio::pin!(limit);
            let mut extend = tokio::time::interval_at(Instant::now() + self.extend_every, self.extend_every);
            loop {
                tokio::select! {
                    biased;
                    ended = &mut work => return ended,
                    _ = extend.tick() => delivery.extend(),
                    () = self.abort.cancelled() => break Failure::new(FailureKind::Drained, "the worker is shutting down"),
                    () = &mut limit => {
                        let limit = Duration::from_millis(offer.timeout_ms);
                        break Failure::new(FailureKind::Timeout, format!("backend `{}` took longer than {limit:?}", self.backend));
                    }
                }
            }
        };
        Err(Broken { failure, usage: None, delivered: number > 0 })
    }
}
