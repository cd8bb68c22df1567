//! Random commands against the promises: at most one live lease, one terminal event, attempts within budget, and
//! a live job that equals its replay.

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;
use pullyard_schemas::job::{BodyAt, Envelope, Event, Job, SCHEMA_VERSION, Spec, State, apply};
use pullyard_schemas::{Charge, Failure, FailureKind, JobId, Seq, Timestamp, Token, Usage, WorkerId};

use super::*;

fn spec(targets: usize, max_attempts: u32, live: bool) -> Spec {
    let targets: Vec<Arc<str>> = (0..targets.max(1)).map(|n| format!("model-{n}").into()).collect();
    let json = serde_json::json!({"targets": targets, "max_attempts": max_attempts, "max_attempts_per_target": 2, "timeout_ms": 1000, "size": 1, "live": live});
    serde_json::from_value(json).unwrap()
}

fn worker() -> WorkerId {
    WorkerId("w".into())
}

fn charge() -> Charge {
    Charge { model: "m".into(), backend: "b".into(), usage: Usage::default(), cost_nanos: 1, busy_ms: 1 }
}

fn command() -> impl Strategy<Value = Command> {
    let token = (1u32..6).prop_map(Token);
    let attempt = (token.clone(), 0..3u8).prop_map(|(token, w)| (token, WorkerId(format!("w{w}").into())));
    let kind = prop::sample::select(vec![
        FailureKind::Timeout,
        FailureKind::Busy,
        FailureKind::BadRequest,
        FailureKind::NoModel,
        FailureKind::Drained,
        FailureKind::Cancelled,
    ]);
    prop_oneof![
        4 => attempt.clone().prop_map(|(token, worker)| Command::Start { token, worker, backend: "b".into(), model: "m".into() }),
        2 => attempt.clone().prop_map(|(token, worker)| Command::Complete { token, worker, charge: charge(), finish: None, body: BodyAt::Inline }),
        4 => (attempt, kind, any::<bool>()).prop_map(|((token, worker), kind, delivered)| Command::Fail { token, worker, failure: Failure::new(kind, "x"), charge: Some(charge()), delivered }),
        2 => token.prop_map(|token| Command::LoseLease { token }),
        1 => Just(Command::Cancel { why: "w".into() }),
        1 => Just(Command::Expire),
        1 => Just(Command::Requeue { max_attempts: Some(2) }),
        1 => (0u32..4).prop_map(|to| Command::Reroute { to, why: "x".into() }),
    ]
}

/// A job driven by commands, with all its events.
struct Life {
    job: Option<Job>,
    log: Vec<Envelope>,
    now: Timestamp,
}

impl Life {
    fn new(spec: Spec) -> Self {
        let mut life = Self { job: None, log: Vec::new(), now: Timestamp(1_000) };
        life.give(Command::Submit { spec: Arc::new(spec), body: BodyAt::Inline });
        life
    }

    fn give(&mut self, command: Command) -> Vec<Event> {
        let events = decide(self.job.as_ref(), command, self.now, &Policy::default()).unwrap_or_default();
        for event in &events {
            let seq = Seq(self.log.len() as u64 + 1);
            let envelope = Envelope { seq, at: self.now, v: SCHEMA_VERSION, job: JobId(uuid::Uuid::nil()), event: event.clone() };
            self.job = Some(apply(self.job.take(), &envelope).unwrap());
            self.log.push(envelope);
        }
        events
    }

    fn job(&self) -> &Job {
        self.job.as_ref().unwrap()
    }

    fn start(&mut self) -> Token {
        let token = self.job().next_token;
        self.give(Command::Start { token, worker: worker(), backend: "b".into(), model: "m".into() });
        token
    }
}

proptest! {
    #[test]
    fn promises_hold_over_random_commands(targets in 1usize..4, budget in 1u32..5, live: bool, commands in prop::collection::vec((command(), 0u64..40_000), 0..60)) {
        let mut life = Life::new(spec(targets, budget, live));
        for (command, wait) in commands {
            life.now = Timestamp(life.now.0 + wait);
            life.give(command);
            prop_assert!(life.job().attempts <= life.job().max_attempts);
        }
        let mut live_lease = None;
        let mut billed = HashSet::new();
        let mut terminal = 0;
        let mut replayed = None;
        for envelope in &life.log {
            if envelope.event.charge().is_some() {
                let late = if let Event::Accounted { token, worker, .. } = &envelope.event { Some((*token, worker.clone().unwrap())) } else { None };
                prop_assert!(billed.insert(late.or_else(|| live_lease.clone()).unwrap()), "billed twice");
            }
            match &envelope.event {
                Event::Leased { token, worker, .. } => {
                    prop_assert!(live_lease.is_none(), "two live leases");
                    live_lease = Some((*token, worker.clone()));
                }
                Event::AttemptFailed { .. } | Event::LeaseLost { .. } => live_lease = None,
                Event::Completed { .. } | Event::Cancelled { .. } | Event::Expired => { terminal += 1; live_lease = None; }
                Event::Submitted { .. } | Event::Checkpointed { .. } | Event::Rerouted { .. } | Event::Requeued { .. } | Event::Parked { .. } | Event::Accounted { .. } => {}
                Event::WorkerJoined { .. } | Event::WorkerLeft { .. } => unreachable!("of no job"),
            }
            let stored: Envelope = serde_json::from_str(&serde_json::to_string(envelope).unwrap()).unwrap();
            replayed = Some(apply(replayed, &stored).unwrap());
        }
        prop_assert!(terminal <= 1, "{terminal} terminal events");
        prop_assert_eq!(replayed, life.job);
    }
}

#[test]
fn spent_attempts_on_a_target_lead_to_the_next_one() {
    let mut life = Life::new(spec(2, 4, false));
    for _ in 0..2 {
        let token = life.start();
        life.give(Command::Fail {
            token,
            worker: worker(),
            failure: Failure::new(FailureKind::Backend, "500"),
            charge: None,
            delivered: false,
        });
    }
    assert_eq!(&**life.job().target_name(), "model-1");
    assert!(matches!(life.job().state, State::Deferred { .. } | State::Queued));
}

#[test]
fn a_late_result_is_billed_and_changes_nothing() {
    let mut life = Life::new(spec(1, 3, false));
    let late = life.start();
    life.give(Command::LoseLease { token: late });
    let before = life.job().state.clone();
    let complete = |worker| Command::Complete { token: late, worker, charge: charge(), finish: None, body: BodyAt::Inline };
    assert!(matches!(life.give(complete(worker())).as_slice(), [Event::Accounted { .. }]));
    assert_eq!(life.give(complete(worker())), [], "said twice");
    assert_eq!(life.job().state, before);
}

#[test]
fn a_second_worker_with_the_same_attempt_is_billed_once_and_cannot_end_it() {
    let mut life = Life::new(spec(1, 3, false));
    let token = life.start();
    let fail = || Command::Fail {
        token,
        worker: WorkerId("slower".into()),
        failure: Failure::new(FailureKind::Cancelled, "fenced"),
        charge: Some(charge()),
        delivered: false,
    };
    assert!(matches!(life.give(fail()).as_slice(), [Event::Accounted { .. }]));
    assert_eq!(life.give(fail()), []);
    let complete = || Command::Complete { token, worker: worker(), charge: charge(), finish: None, body: BodyAt::Inline };
    assert!(matches!(life.give(complete()).as_slice(), [Event::Completed { .. }]));
    assert_eq!(life.give(complete()), [], "its charge is known");
}

#[test]
fn an_attempt_of_a_job_that_ended_meanwhile_is_billed_once() {
    for end in [Command::Cancel { why: "asked".into() }, Command::Expire] {
        let mut life = Life::new(spec(1, 3, false));
        let token = life.start();
        life.give(end);
        let fail = || Command::Fail {
            token,
            worker: worker(),
            failure: Failure::new(FailureKind::Cancelled, "x"),
            charge: Some(charge()),
            delivered: false,
        };
        assert!(matches!(life.give(fail()).as_slice(), [Event::Accounted { .. }]));
        assert_eq!(life.give(fail()), []);
    }
}

#[test]
fn text_that_reached_a_live_client_is_never_sent_twice() {
    let mut life = Life::new(spec(2, 5, true));
    let token = life.start();
    life.give(Command::Fail { token, worker: worker(), failure: Failure::new(FailureKind::Backend, "cut"), charge: None, delivered: true });
    assert!(matches!(life.job().state, State::Parked { .. }));
}

#[test]
fn a_drained_attempt_does_not_count() {
    let mut life = Life::new(spec(1, 1, false));
    let token = life.start();
    life.give(Command::Fail {
        token,
        worker: worker(),
        failure: Failure::new(FailureKind::Drained, "stop"),
        charge: None,
        delivered: false,
    });
    assert_eq!(life.job().attempts, 0);
    assert_eq!(life.job().state, State::Queued);
}

#[test]
fn retry_after_is_honoured() {
    let mut life = Life::new(spec(1, 3, false));
    let token = life.start();
    let mut failure = Failure::new(FailureKind::Busy, "429");
    failure.retry_after_ms = Some(90_000);
    life.give(Command::Fail { token, worker: worker(), failure, charge: None, delivered: false });
    assert_eq!(life.job().state, State::Deferred { until: Timestamp(91_000) });
}
