//! A broker, a nats-server and three workers, each with its model server and its way to NATS.

use std::path::PathBuf;
use std::time::Duration;

use pullyard_tests::{Answer, Behaviour, ChaosProxy, Client, FakeModel, NatsServer, Setup, TestBroker, TestWorker};

use super::super::rig::joined;
use super::asks::TOKENS;

/// A worker's name, its models, its slots, and whether its model server is the operator's own.
const WORKERS: [(&str, &str, usize, bool); 3] = [("w0", "m, p, e", 4, true), ("w1", "m, k, e", 3, true), ("w2", "p, k, c", 4, false)];

/// Odd requests of each model server that go wrong or take long.
const ODD: usize = 3_000;

pub(super) struct Site {
    pub(super) nats: NatsServer,
    pub(super) broker: TestBroker,
    pub(super) workers: Vec<TestWorker>,
    /// The broker's way to NATS, then the workers'.
    pub(super) ways: Vec<ChaosProxy>,
    models: Vec<FakeModel>,
    pub(super) client: Client,
}

impl Site {
    pub(super) async fn start(slow: u8, dice: &mut fastrand::Rng) -> Self {
        let nats = NatsServer::start().await;
        let mut ways = Vec::new();
        for _ in 0..=WORKERS.len() {
            ways.push(ChaosProxy::start(nats.address()).await);
        }
        let url = |way: &ChaosProxy| format!("nats://{}", way.addr());
        let durability = dice.choice(["flush", "relaxed"]).unwrap();
        let broker = Setup::new(format!(
            "discover: false\nnats: {{servers: \"{}\"}}\nlease: 2s\ndrain_timeout: 1s\nshim: {{hold: 200ms, keep_alive: 1s}}\n\
             retries: {{backoff: 20ms, backoff_max: 500ms, max_attempts: 30, max_attempts_per_target: 10}}\n\
             log: {{segment: 1MB, durability: {durability}}}\nclasses: {{work: [m, p, k], far: [c, p]}}\n",
            url(&ways[0])
        ));
        let broker = broker.start().await;
        let (mut models, mut workers) = (Vec::new(), Vec::new());
        for ((name, serves, slots, local), way) in WORKERS.into_iter().zip(&ways[1..]) {
            let model = FakeModel::start().await.going_on().usually(well());
            model.then(std::iter::repeat_with(|| perhaps(slow, dice)).take(ODD));
            let backend = model.backend(
                &format!("at-{name}"),
                &format!(
                    "models: [{serves}], slots: {slots}, local: {local}, on_leave: cancel, quirks: {{prefill: native}}, \
                     breaker: {{allowed_fails: 10, window: 5s, cooldown: 300ms}}, timeouts: {{first_token: 2s, between_tokens: 1s, attempt: 4s}}"
                ),
            );
            workers.push(TestWorker::start(name, &url(way), &format!("drain_timeout: 1s\nbackends:\n{backend}")));
            models.push(model);
        }
        let client = broker.client();
        joined(&client, &WORKERS.map(|(name, ..)| name)).await;
        Self { nats, broker, workers, ways, models, client }
    }

    /// From now on every request is answered well.
    pub(super) fn models_are_well(&self) {
        self.models.iter().for_each(|model| model.only(well()));
    }

    /// Each model server, with the slots that it was said to have.
    pub(super) fn models(&self) -> impl Iterator<Item = (&FakeModel, usize)> {
        self.models.iter().zip(WORKERS.map(|(_, _, slots, _)| slots))
    }

    /// The model server that is somebody else's.
    pub(super) fn cloud(&self) -> &FakeModel {
        &self.models[2]
    }
}

impl Drop for Site {
    /// Whoever looks for the reason finds everything that was said in `$PULLYARD_KEEP`, and the log as it was.
    fn drop(&mut self) {
        let Some(dir) = std::env::var_os("PULLYARD_KEEP").map(PathBuf::from).filter(|_| std::thread::panicking()) else { return };
        let said = [("broker".to_owned(), self.broker.stderr()), ("nats".to_owned(), self.nats.log())];
        let said = said.into_iter().chain(self.workers.iter().map(|worker| (worker.name().to_owned(), worker.stderr())));
        said.for_each(|(name, text)| drop(std::fs::write(dir.join(name), text)));
        if self.broker.runs() {
            self.broker.kill9();
        }
        let _ = self.broker.command().args(["log", "export", "-o"]).arg(dir.join("log.jsonl")).status();
    }
}

fn well() -> Behaviour {
    Behaviour::Answer(Answer { tokens: TOKENS, gap: Duration::from_millis(2), ..Answer::default() })
}

/// What a request meets: mostly an answer, soon or late.
fn perhaps(slow: u8, dice: &mut fastrand::Rng) -> Behaviour {
    let answer = |wait, gap| {
        Behaviour::Answer(Answer {
            wait: Duration::from_millis(wait),
            gap: Duration::from_millis(gap),
            tokens: TOKENS,
            ..Answer::default()
        })
    };
    match dice.u8(0..100) {
        0..2 => Behaviour::status(500),
        2..3 => Behaviour::status(400),
        3..5 => Behaviour::Refuse(429, vec![("retry-after-ms", "50".into())]),
        5..9 => Behaviour::CutAfter(dice.usize(0..TOKENS)),
        9..10 => Behaviour::StallAfter(dice.usize(0..TOKENS)),
        10..11 => Behaviour::Hang,
        11..12 => Behaviour::Garbage,
        n if n < 12 + slow => answer(dice.u64(100..800), dice.u64(20..200)),
        _ => answer(dice.u64(0..40), dice.u64(0..25)),
    }
}
