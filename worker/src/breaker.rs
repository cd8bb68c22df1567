//! Stops pulling for a backend that fails, and lets one job find out whether it is well again.

use std::collections::VecDeque;
use std::time::Duration;

use pullyard_schemas::JobId;
use tokio::time::Instant;

/// When a backend counts as broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Jobs whose attempts may fail within `window`; one more opens the breaker.
    pub allowed_fails: u32,
    pub window: Duration,
    /// How long nothing is pulled.
    pub cooldown: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { allowed_fails: 3, window: Duration::from_secs(60), cooldown: Duration::from_secs(30) }
    }
}

/// What may be pulled now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    All,
    /// One job, to find out.
    Probe,
    /// Nothing before this moment; `None`: not before the probe has ended.
    Nothing(Option<Instant>),
}

#[derive(Debug)]
enum State {
    Closed {
        /// Each job once, with its latest failure: a job that fails wherever it runs says little about the backend.
        /// `None` where it cannot be the job's fault.
        fails: VecDeque<(Instant, Option<JobId>)>,
    },
    Open {
        until: Instant,
    },
    /// Cooled down; `since` is set while the probe runs.
    Probing {
        since: Option<Instant>,
    },
}

/// Judges a backend by the attempts that it really made.
#[derive(Debug)]
pub struct Breaker {
    options: Options,
    state: State,
}

impl Breaker {
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, state: State::Closed { fails: VecDeque::new() } }
    }

    /// What may be pulled; an open breaker whose time is over asks for its probe.
    pub fn allowance(&mut self, now: Instant) -> Allowance {
        match &self.state {
            State::Closed { .. } => Allowance::All,
            State::Open { until } if *until > now => Allowance::Nothing(Some(*until)),
            State::Open { .. } => {
                self.state = State::Probing { since: None };
                Allowance::Probe
            }
            State::Probing { since: None } => Allowance::Probe,
            State::Probing { since: Some(_) } => Allowance::Nothing(None),
        }
    }

    /// A job was pulled.
    pub fn started(&mut self, now: Instant) {
        if let State::Probing { since: since @ None } = &mut self.state {
            *since = Some(now);
        }
    }

    /// Answers whether this closed the breaker.
    pub fn succeeded(&mut self) -> bool {
        let was_open = !self.is_closed();
        self.state = State::Closed { fails: VecDeque::new() };
        was_open
    }

    /// An attempt ended without telling anything about the backend.
    pub fn undecided(&mut self) {
        if let State::Probing { since } = &mut self.state {
            *since = None;
        }
    }

    /// `job` is whose fault it may be; nobody's, when the backend could not even be asked. Answers whether this opened
    /// the breaker.
    pub fn failed(&mut self, job: Option<JobId>, now: Instant) -> bool {
        match &mut self.state {
            State::Closed { fails } => {
                fails.retain(|(at, of)| (of.is_none() || *of != job) && now.duration_since(*at) <= self.options.window);
                fails.push_back((now, job));
                if fails.len() <= self.options.allowed_fails as usize {
                    return false;
                }
            }
            State::Probing { .. } => {}
            // Attempts that were running when it opened.
            State::Open { .. } => return false,
        }
        self.state = State::Open { until: now + self.options.cooldown };
        true
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(Options { allowed_fails: 2, window: Duration::from_secs(60), cooldown: Duration::from_secs(30) })
    }

    #[test]
    fn it_opens_cools_down_probes_once_and_closes() {
        let (mut breaker, now) = (breaker(), Instant::now());
        assert!(
            !breaker.failed(Some(JobId::new()), now) && !breaker.failed(Some(JobId::new()), now) && breaker.failed(Some(JobId::new()), now)
        );
        assert_eq!(breaker.allowance(now), Allowance::Nothing(Some(now + Duration::from_secs(30))));
        let later = now + Duration::from_secs(31);
        assert_eq!(breaker.allowance(later), Allowance::Probe);
        breaker.started(later);
        assert_eq!(breaker.allowance(later), Allowance::Nothing(None));
        assert!(breaker.succeeded() && !breaker.succeeded());
        assert_eq!(breaker.allowance(later), Allowance::All);
    }

    #[test]
    fn a_failed_probe_opens_it_again() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 0..3 {
            breaker.failed(Some(JobId::new()), now);
        }
        let later = now + Duration::from_secs(31);
        assert_eq!(breaker.allowance(later), Allowance::Probe);
        breaker.started(later);
        assert!(breaker.failed(Some(JobId::new()), later));
        assert_eq!(breaker.allowance(later), Allowance::Nothing(Some(later + Duration::from_secs(30))));
    }

    #[test]
    fn old_failures_are_forgiven() {
        let (mut breaker, now) = (breaker(), Instant::now());
        assert!(!breaker.failed(Some(JobId::new()), now) && !breaker.failed(Some(JobId::new()), now));
        assert!(!breaker.failed(Some(JobId::new()), now + Duration::from_secs(61)));
    }

    #[test]
    fn one_job_that_always_fails_does_not_open_it() {
        let (mut breaker, now, poisoned) = (breaker(), Instant::now(), JobId::new());
        assert!((0..10).all(|_| !breaker.failed(Some(poisoned), now)));
        assert!(!breaker.failed(Some(JobId::new()), now) && breaker.failed(Some(JobId::new()), now));
    }
}
