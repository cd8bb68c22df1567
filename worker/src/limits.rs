//! Requests and tokens per minute: what an account allows, shared by everyone who uses it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::transport::BoxFuture;

/// How long leave that nobody needs may be kept where there is plenty.
const LONG: Duration = Duration::from_secs(20);
/// The same where others may wait for it.
const SHORT: Duration = Duration::from_secs(1);
/// So many requests that are still free are plenty.
const PLENTY: f64 = 16.0;

/// What one bill and one set of limits belong to. Backends of one account share what it allows, wherever they run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Never a key, nor what a key could be found by.
    pub name: Arc<str>,
    /// Requests per minute.
    pub rpm: Option<u32>,
    /// Tokens per minute, of prompts and replies together.
    pub tpm: Option<u32>,
}

/// Leave for so many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub jobs: usize,
    /// What is not used by then is to be given back, because others may wait for it.
    pub keep: Duration,
}

/// Who may ask an account for how much. What is asked last about an account's limits counts, for everyone.
pub trait Quota: Send + Sync + Debug {
    /// Resolves with leave for one to `jobs` requests; whoever waits longest goes first. Dropped, it has taken nothing.
    ///
    /// # Errors
    /// When it cannot be asked now. Then nothing may be pulled.
    fn take<'a>(&'a self, account: &'a Account, jobs: usize) -> BoxFuture<'a, Result<Grant, String>>;

    /// So many requests were not made after all.
    fn give_back(&self, account: &Account, jobs: usize);

    /// An attempt has used so many tokens.
    fn spend(&self, account: &Account, tokens: u64);
}

/// The accounts of one process, or those that a broker looks after for all its workers.
#[derive(Debug, Default)]
pub struct Accounts {
    buckets: Mutex<HashMap<Arc<str>, Arc<Bucket>>>,
}

#[derive(Debug, Default)]
struct Bucket {
    levels: Mutex<Levels>,
    /// Held by who waits at the front; it hands itself on in order.
    turn: tokio::sync::Mutex<()>,
    given_back: Notify,
}

#[derive(Debug, Default)]
struct Levels {
    rpm: Option<PerMinute>,
    tpm: Option<PerMinute>,
}

impl Accounts {
    fn bucket(&self, account: &Account) -> Arc<Bucket> {
        let bucket = lock(&self.buckets).entry(account.name.clone()).or_default().clone();
        let mut levels = lock(&bucket.levels);
        let now = Instant::now();
        limit(&mut levels.rpm, account.rpm, now);
        limit(&mut levels.tpm, account.tpm, now);
        drop(levels);
        bucket
    }
}

impl Quota for Accounts {
    fn take<'a>(&'a self, account: &'a Account, jobs: usize) -> BoxFuture<'a, Result<Grant, String>> {
        Box::pin(async move {
            let bucket = self.bucket(account);
            let _turn = bucket.turn.lock().await;
            loop {
                let given_back = bucket.given_back.notified();
                let wait = match lock(&bucket.levels).take(jobs, Instant::now()) {
                    Ok(grant) => return Ok(grant),
                    Err(wait) => wait,
                };
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = given_back => {}
                }
            }
        })
    }

    fn give_back(&self, account: &Account, jobs: usize) {
        let bucket = self.bucket(account);
        if let Some(rpm) = &mut lock(&bucket.levels).rpm {
            rpm.give_back(jobs as u64, Instant::now());
        }
        bucket.given_back.notify_waiters();
    }

    fn spend(&self, account: &Account, tokens: u64) {
        let bucket = self.bucket(account);
        if let Some(tpm) = &mut lock(&bucket.levels).tpm {
            tpm.spend(tokens, Instant::now());
        }
    }
}

impl Levels {
    fn take(&mut self, jobs: usize, now: Instant) -> Result<Grant, Duration> {
        let mut jobs = jobs;
        for bucket in [&mut self.rpm, &mut self.tpm].into_iter().flatten() {
            jobs = jobs.min(bucket.ready(now)?);
        }
        let Some(rpm) = &mut self.rpm else { return Ok(Grant { jobs, keep: LONG }) };
        rpm.spend(jobs as u64, now);
        Ok(Grant { jobs, keep: if rpm.level >= PLENTY { LONG } else { SHORT } })
    }
}

fn limit(bucket: &mut Option<PerMinute>, limit: Option<u32>, now: Instant) {
    match (bucket.as_mut(), limit) {
        (_, None) => *bucket = None,
        (None, Some(limit)) => *bucket = Some(PerMinute::new(limit, now)),
        (Some(bucket), Some(limit)) => bucket.set_limit(limit, now),
    }
}

/// A bucket that fills evenly over a minute and holds a minute's worth at the most.
#[derive(Debug)]
struct PerMinute {
    limit: f64,
    /// Below zero when something cost more than was foreseen.
    level: f64,
    at: Instant,
}

impl PerMinute {
    fn new(limit: u32, now: Instant) -> Self {
        Self { limit: f64::from(limit), level: f64::from(limit), at: now }
    }

    fn set_limit(&mut self, limit: u32, now: Instant) {
        self.fill(now);
        self.limit = f64::from(limit);
        self.level = self.level.min(self.limit);
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.duration_since(self.at).as_secs_f64() * self.limit / 60.0;
        self.level = (self.level + gained).min(self.limit);
        self.at = now;
    }

    /// How many whole units are there; when none is, how long until the next.
    fn ready(&mut self, now: Instant) -> Result<usize, Duration> {
        self.fill(now);
        if self.level >= 1.0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a u32")]
            return Ok(self.level as usize);
        }
        Err(Duration::from_secs_f64((1.0 - self.level) * 60.0 / self.limit.max(1e-9)).max(Duration::from_millis(1)))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn spend(&mut self, units: u64, now: Instant) {
        self.fill(now);
        self.level -= units as f64;
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn give_back(&mut self, units: u64, now: Instant) {
        self.fill(now);
        self.level = (self.level + units as f64).min(self.limit);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_gives_a_minutes_worth() {
        let start = Instant::now();
        let mut bucket = PerMinute::new(60, start);
        assert_eq!(bucket.ready(start), Ok(60));
        bucket.spend(60, start);
        assert_eq!(bucket.ready(start), Err(Duration::from_secs(1)));
        assert_eq!(bucket.ready(start + Duration::from_secs(30)), Ok(30));
        assert_eq!(bucket.ready(start + Duration::from_secs(600)), Ok(60));
        bucket.give_back(10, start + Duration::from_secs(600));
        assert_eq!(bucket.ready(start + Duration::from_secs(600)), Ok(60), "never more than a minute's worth");
    }

    #[test]
    fn a_debt_is_paid_first() {
        let start = Instant::now();
        let mut bucket = PerMinute::new(600, start);
        bucket.spend(1_200, start);
        assert!(bucket.ready(start + Duration::from_secs(59)).is_err());
        assert!(bucket.ready(start + Duration::from_secs(61)).is_ok());
    }

    fn account(rpm: u32) -> Account {
        Account { name: "a".into(), rpm: Some(rpm), tpm: None }
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_shared_in_turn() {
        let accounts = Arc::new(Accounts::default());
        let limits = account(2);
        assert_eq!(accounts.take(&limits, 5).await.unwrap(), Grant { jobs: 2, keep: SHORT });
        let begun = Instant::now();
        let wait = |name: &'static str| {
            let (accounts, limits) = (accounts.clone(), limits.clone());
            async move {
                let grant = accounts.take(&limits, 5).await.unwrap();
                (name, grant.jobs, begun.elapsed().as_secs())
            }
        };
        let (first, second) = (tokio::spawn(wait("first")), tokio::spawn(wait("second")));
        tokio::time::sleep(Duration::from_secs(1)).await;
        accounts.give_back(&limits, 1);
        assert_eq!(first.await.unwrap(), ("first", 1, 1), "what comes back goes to who waits longest");
        assert_eq!(second.await.unwrap(), ("second", 1, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_limits_count_for_everyone() {
        let accounts = Accounts::default();
        assert_eq!(accounts.take(&account(100), 50).await.unwrap(), Grant { jobs: 50, keep: LONG });
        assert_eq!(accounts.take(&account(10), 50).await.unwrap().jobs, 10);
        let other = Account { name: "b".into(), ..account(3) };
        assert_eq!(accounts.take(&other, 50).await.unwrap().jobs, 3);
        let free = Account { rpm: None, ..account(0) };
        assert_eq!(accounts.take(&free, 50).await.unwrap().jobs, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_that_were_used_close_an_account() {
        let accounts = Accounts::default();
        let limits = Account { name: "a".into(), rpm: None, tpm: Some(600) };
        accounts.take(&limits, 1).await.unwrap();
        accounts.spend(&limits, 660);
        let begun = Instant::now();
        accounts.take(&limits, 1).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 6);
    }
}
