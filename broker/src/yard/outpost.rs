//! A worker that is a process of its own, linked to its broker.

use std::sync::Arc;
use std::time::Duration;

use pullyard_schemas::fleet::{Card, Hello, Order, PROTOCOL};
use pullyard_worker::fleet::{Post, Told};
use pullyard_worker::run::Worker;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::crew::{self, Crew};
use super::link::{self, Role, WorkerLink};
use super::{Env, Error, instance, machine};
use crate::config::Config;

/// How long the broker may take to see that the card has been taken down.
const GOODBYE: Duration = Duration::from_secs(2);

/// A worker that pulls.
#[derive(Debug)]
pub struct Outpost {
    crew: Crew,
    /// Ends when the card has been taken down.
    posted: JoinHandle<()>,
    /// The broker has told it to end.
    drained: CancellationToken,
    _heeding: DropGuard,
    reached: String,
    config: Config,
    env: Env,
}

impl Outpost {
    /// Says hello to the broker, and starts to pull when it has been welcomed.
    ///
    /// # Errors
    /// When a secret or a URL of the configuration is wrong, or the broker does not want this worker.
    pub async fn open(config: Config, env: Env) -> Result<Self, Error> {
        let id = config.worker_id(&machine(env));
        let role = if crew::is_local(&config, env) { Role::Local } else { Role::Cloud };
        let options = link::options(&config, role, &id.0, env)?;
        let instance = instance();
        let version = env!("CARGO_PKG_VERSION").into();
        let hello = Hello { protocol: PROTOCOL, worker: id.clone(), instance: instance.clone(), version };
        let WorkerLink { end, post, quota, welcome, reached } = link::worker(options, hello).await?;
        let lease = Duration::from_millis(welcome.lease_ms);
        let reached = format!("{reached} (broker {})", welcome.version);
        let worker = Arc::new(Worker::new(id, end, lease).with_quota(quota));
        let crew = Crew::new(worker, env, instance);
        crew.configure(&config, env)?;
        let posted = tokio::spawn(put_up(post.clone(), crew.card(), crew.known()));
        let (drained, heeding) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(heed(post, crew.worker().clone(), drained.clone(), heeding.clone()));
        Ok(Self { crew, posted, drained, _heeding: heeding.drop_guard(), reached, config, env })
    }

    /// What the broker is reached by.
    #[must_use]
    pub fn reached(&self) -> &str {
        &self.reached
    }

    /// Resolves when every backend has been asked for its models once.
    pub async fn card(&self) -> Card {
        let _ = self.crew.known().wait_for(|known| *known).await;
        self.crew.card().borrow().clone()
    }

    /// Resolves when the broker tells it to drain.
    pub async fn told_to_drain(&self) {
        self.drained.cancelled().await;
    }

    /// Puts a new configuration in force, but for what is built in at the start.
    ///
    /// # Errors
    /// When a secret or a URL in it is wrong; then the old one stays in force as a whole.
    pub fn reload(&mut self, mut config: Config) -> Result<(), Error> {
        let waits = config.keep_fleet(&self.config);
        if !waits.is_empty() {
            tracing::warn!("changed in the configuration, and in force after a restart: {}", waits.join(", "));
        }
        self.crew.configure(&config, self.env)?;
        self.config = config;
        Ok(())
    }

    /// Stops pulling, and lets running attempts end within `drain_timeout`; what still runs then goes back to the broker.
    pub async fn drain(&self) {
        let patience = self.config.drain_timeout;
        tracing::info!("stopping: nothing is pulled any more; running attempts have {patience:?}");
        // A word that nobody takes is not waited for: the broker finds out by the worker's silence.
        if tokio::time::timeout(patience + GOODBYE, self.crew.worker().drain(patience)).await.is_err() {
            self.name_unreported();
        }
    }

    /// Gives back what runs, at once.
    pub async fn give_up(&self) {
        if tokio::time::timeout(GOODBYE, self.crew.worker().drain(Duration::ZERO)).await.is_err() {
            self.name_unreported();
        }
    }

    fn name_unreported(&self) {
        for (job, attempt) in self.crew.worker().unreported() {
            tracing::warn!(%job, %attempt, "the end of this attempt could not be reported; the broker makes it again");
        }
    }

    /// Takes the card down, so that the broker need not wait to find out.
    pub async fn close(self) {
        let Self { crew, posted, .. } = self;
        drop(crew);
        if tokio::time::timeout(GOODBYE, posted).await.is_err() {
            tracing::warn!("the broker could not be told; it finds out by itself");
        }
    }
}

/// The card goes up when there is something on it.
pub(super) async fn put_up(post: Arc<dyn Post>, card: watch::Receiver<Card>, mut known: watch::Receiver<bool>) {
    if known.wait_for(|known| *known).await.is_ok() {
        post.put_up(card).await;
    }
}

/// Does what the broker says, until `stop`.
async fn heed(post: Arc<dyn Post>, worker: Arc<Worker>, drained: CancellationToken, stop: CancellationToken) {
    let mut orders = post.orders();
    loop {
        let told = tokio::select! {
            told = orders.recv() => told,
            () = stop.cancelled() => return,
        };
        let Some(Told { order, answer }) = told else { return };
        let mode = match order {
            Order::Pause => worker.pause(),
            Order::Resume => worker.resume(),
            Order::Drain => {
                drained.cancel();
                worker.stop_pulling()
            }
        };
        tracing::info!(order = order.as_str(), mode = mode.as_str(), "the broker has told this worker what to do");
        let _ = answer.send(Ok(mode));
    }
}
