//! Leave to ask an account, taken before a pull and given back as far as the pull found nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::{Account, Quota};

/// How soon an account that could not be asked is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks for one backend.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    quota: Arc<dyn Quota>,
    account: Option<Account>,
    backend: Arc<str>,
    /// The account could not be asked, and that has been said.
    said: bool,
}

/// For so many requests.
#[derive(Debug)]
pub(crate) struct Leave {
    /// `None`: nobody counts.
    from: Option<(Arc<dyn Quota>, Account)>,
    jobs: usize,
    keep: Duration,
}

impl Asker {
    pub(crate) fn new(quota: Arc<dyn Quota>, account: Option<Account>, backend: Arc<str>) -> Self {
        Self { quota, account, backend, said: false }
    }

    /// Waits for the account; `None`, after a moment, when it could not be asked.
    pub(crate) async fn leave(&mut self, jobs: usize) -> Option<Leave> {
        let Some(account) = &self.account else { return Some(Leave { from: None, jobs, keep: Duration::MAX }) };
        match self.quota.take(account, jobs).await {
            Ok(grant) => {
                let leave = Leave { from: Some((self.quota.clone(), account.clone())), jobs: grant.jobs, keep: grant.keep };
                if std::mem::take(&mut self.said) {
                    tracing::info!(backend = %self.backend, account = %account.name, "the account's limits can be asked for again");
                }
                Some(leave)
            }
            Err(why) => {
                if !std::mem::replace(&mut self.said, true) {
                    let (backend, account) = (&self.backend, &account.name);
                    tracing::warn!(%backend, %account, %why, "the account's limits cannot be asked for: nothing is pulled until they can");
                }
                tokio::time::sleep(AGAIN).await;
                None
            }
        }
    }

    /// An attempt has used so many tokens.
    pub(crate) fn spent(&self, tokens: u64) {
        if let Some(account) = self.account.as_ref().filter(|_| tokens > 0) {
            self.quota.spend(account, tokens);
        }
    }
}

impl Leave {
    pub(crate) fn jobs(&self) -> usize {
        self.jobs
    }

    /// How long it may go unused.
    pub(crate) fn keep(&self) -> Duration {
        self.keep
    }

    pub(crate) fn used(&mut self, jobs: usize) {
        self.jobs = self.jobs.saturating_sub(jobs);
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some((quota, account)) = self.from.as_ref().filter(|_| self.jobs > 0) {
            quota.give_back(account, self.jobs);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::limits::Grant;
    use crate::transport::BoxFuture;

    /// Can be asked every second time, and keeps what it heard.
    #[derive(Debug, Default)]
    struct Shy(Mutex<Vec<String>>);

    impl Quota for Shy {
        fn take<'a>(&'a self, _: &'a Account, jobs: usize) -> BoxFuture<'a, Result<Grant, String>> {
            let mut heard = self.0.lock().unwrap();
            heard.push(format!("take {jobs}"));
            let answer = if heard.len().is_multiple_of(2) {
                Ok(Grant { jobs: jobs.min(3), keep: Duration::from_secs(1) })
            } else {
                Err("nobody there".to_owned())
            };
            Box::pin(std::future::ready(answer))
        }

        fn give_back(&self, _: &Account, jobs: usize) {
            self.0.lock().unwrap().push(format!("back {jobs}"));
        }

        fn spend(&self, _: &Account, tokens: u64) {
            self.0.lock().unwrap().push(format!("spent {tokens}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_used_goes_back() {
        let quota = Arc::new(Shy::default());
        let account = Account { name: "a".into(), rpm: Some(1), tpm: None };
        let mut asker = Asker::new(quota.clone(), Some(account), "b".into());
        assert!(asker.leave(5).await.is_none());
        let mut leave = asker.leave(5).await.unwrap();
        leave.used(1);
        drop(leave);
        asker.spent(0);
        asker.spent(7);
        assert_eq!(*quota.0.lock().unwrap(), ["take 5", "take 5", "back 2", "spent 7"]);
    }
}
