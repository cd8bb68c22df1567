//! What accounts allow, asked of the broker, so that all workers that use one share it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt as _;

use super::link::Link;
use super::wire::{QuotaAnswer, QuotaQuestion};
use crate::limits::{Account, Grant, Quota};
use crate::transport::BoxFuture;

/// How long the broker waits for leave before it lets the worker ask again.
const PATIENCE: Duration = Duration::from_secs(2);

/// A worker's way to its broker's accounts.
#[derive(Debug)]
pub struct NatsQuota {
    link: Link,
}

impl NatsQuota {
    #[must_use]
    pub fn new(link: Link) -> Arc<Self> {
        Arc::new(Self { link })
    }

    fn say(&self, question: &QuotaQuestion) {
        let (client, subject) = (self.link.client.clone(), self.link.names.quota());
        let Ok(payload) = serde_json::to_vec(question) else { return };
        tokio::spawn(async move { drop(client.publish(subject, payload.into()).await) });
    }
}

impl Quota for NatsQuota {
    fn take<'a>(&'a self, account: &'a Account, jobs: usize) -> BoxFuture<'a, Result<Grant, String>> {
        Box::pin(async move {
            let question = QuotaQuestion::Take { account: account.clone(), jobs };
            let payload = serde_json::to_vec(&question).map_err(|e| e.to_string())?;
            loop {
                // Questions of a connection that is lost are sent when it stands again; leave would be given to nobody then.
                if !self.link.state().borrow().up {
                    return Err(format!("NATS at {} is not reachable", self.link.servers()));
                }
                let answer = self.link.client.request(self.link.names.quota(), payload.clone().into()).await;
                let answer = answer.map_err(|e| format!("the broker does not answer: {e}"))?;
                match serde_json::from_slice(&answer.payload).map_err(|e| e.to_string())? {
                    QuotaAnswer::Granted { jobs, keep_ms } => return Ok(Grant { jobs, keep: Duration::from_millis(keep_ms) }),
                    QuotaAnswer::AskAgain => {}
                    QuotaAnswer::Failed(why) => return Err(why),
                }
            }
        })
    }

    fn give_back(&self, account: &Account, jobs: usize) {
        self.say(&QuotaQuestion::GiveBack { account: account.clone(), jobs });
    }

    fn spend(&self, account: &Account, tokens: u64) {
        self.say(&QuotaQuestion::Spend { account: account.clone(), tokens });
    }
}

/// Answers workers out of the broker's own accounts.
pub(super) async fn serve(client: Client, mut questions: Subscriber, quota: Arc<dyn Quota>) {
    while let Some(message) = questions.next().await {
        match serde_json::from_slice(&message.payload) {
            Ok(QuotaQuestion::Take { account, jobs }) => {
                let (client, quota) = (client.clone(), quota.clone());
                tokio::spawn(async move {
                    let answer = match tokio::time::timeout(PATIENCE, quota.take(&account, jobs)).await {
                        Ok(Ok(grant)) => {
                            let keep_ms = u64::try_from(grant.keep.as_millis()).unwrap_or(u64::MAX);
                            QuotaAnswer::Granted { jobs: grant.jobs, keep_ms }
                        }
                        Ok(Err(why)) => QuotaAnswer::Failed(why),
                        Err(_) => QuotaAnswer::AskAgain,
                    };
                    if let Some(reply) = message.reply {
                        drop(client.publish(reply, serde_json::to_vec(&answer).unwrap_or_default().into()).await);
                    }
                });
            }
            Ok(QuotaQuestion::GiveBack { account, jobs }) => quota.give_back(&account, jobs),
            Ok(QuotaQuestion::Spend { account, tokens }) => quota.spend(&account, tokens),
            Err(error) => tracing::warn!(%error, "a worker asks for something that this version does not know"),
        }
    }
}
