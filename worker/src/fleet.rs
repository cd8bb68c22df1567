//! How workers and their broker know of each other: cards, and orders. Jobs go over the [`transport`](crate::transport).

use std::fmt::Debug;
use std::sync::Arc;

use pullyard_schemas::WorkerId;
use pullyard_schemas::fleet::{Card, Mode, Order};
use tokio::sync::{mpsc, oneshot, watch};

use crate::transport::BoxFuture;

/// A worker's end.
pub trait Post: Send + Sync + Debug {
    /// Puts the card up at once, whenever it changes, and often enough that the broker sees that the worker lives. Takes
    /// it down when the card's sender is gone, and resolves then.
    fn put_up(&self, card: watch::Receiver<Card>) -> BoxFuture<'static, ()>;

    /// Where the broker's orders come from; asked for once.
    fn orders(&self) -> mpsc::UnboundedReceiver<Told>;
}

/// An order that waits for its answer. Dropped unanswered, the broker hears that the worker does not answer.
#[derive(Debug)]
pub struct Told {
    pub order: Order,
    /// What the worker is by then, or why it does not do so.
    pub answer: oneshot::Sender<Result<Mode, String>>,
}

/// The broker's end.
pub trait Roster: Send + Sync + Debug {
    /// Every card that is up, and from then on what changes; asked for once.
    fn cards(&self) -> mpsc::UnboundedReceiver<Seen>;

    /// Tells a worker what to do, and what it is by then.
    fn order<'a>(&'a self, worker: &'a WorkerId, order: Order) -> BoxFuture<'a, Result<Mode, Unheeded>>;
}

/// What the broker sees of a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// It lives, and this is its card now. Also told when nothing has changed, as a sign of life.
    Put(Card),
    /// It has said so, or has not been heard of in time.
    Gone { worker: WorkerId, why: Arc<str> },
    /// Every card that was up at the beginning has been told. Comes once.
    All,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheeded {
    #[error("worker `{worker}` does not answer: {why}")]
    Silent { worker: WorkerId, why: String },
    #[error("{0}")]
    Refused(String),
}
