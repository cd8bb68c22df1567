//! Live output as it comes in: only from the worker that holds the attempt, and chunk by chunk.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::link::Link;
use super::offers::Order;
use super::wire::parsed_chunk;
use super::worker::Attempt;
use crate::transport::OutputSink;

/// Who holds an attempt, by the worker's name as it is in subjects.
#[derive(Debug)]
pub(super) enum Holds {
    Worker(Attempt, String),
    /// This worker has ended it, whether it was the one that had it or one that came too late.
    NotAnyMore(Attempt, String),
}

/// How soon what is missing is asked for once more.
const AGAIN: Duration = Duration::from_millis(500);
/// Chunks that came before it was known whose they are. Beyond, they are asked for again when that is known.
const EARLY: usize = 256;
/// So many attempts whose output is followed are looked through for those that are over.
const MANY: usize = 10_000;
/// An attempt that has been silent for so long may be forgotten: if it goes on, readers get the rest at its end.
const QUIET: Duration = Duration::from_secs(60);

/// What is known of an attempt's output.
struct Followed {
    /// Two workers may have been given the same attempt. The first whose start was heard has it.
    holder: Option<String>,
    early: Vec<Message>,
    next: u32,
    asked: Option<Instant>,
    heard: Instant,
}

struct Follower {
    link: Link,
    sink: Arc<dyn OutputSink>,
    orders: mpsc::UnboundedSender<Order>,
    attempts: HashMap<Attempt, Followed>,
}

pub(super) async fn hear_output(
    link: Link,
    mut output: Subscriber,
    sink: Arc<dyn OutputSink>,
    orders: mpsc::UnboundedSender<Order>,
    mut held: mpsc::UnboundedReceiver<Holds>,
) {
    let mut follower = Follower { link, sink, orders, attempts: HashMap::new() };
    loop {
        tokio::select! {
            message = output.next() => match message {
                Some(message) => follower.chunk(message),
                None => return,
            },
            Some(holds) = held.recv() => match holds {
                Holds::Worker(attempt, worker) => follower.begun(attempt, worker),
                Holds::NotAnyMore(attempt, worker) => follower.ended(attempt, &worker),
            },
        }
    }
}

impl Follower {
    fn followed(&mut self, attempt: Attempt) -> &mut Followed {
        let now = Instant::now();
        if self.attempts.len() >= MANY {
            // Attempts that were lost end without a word.
            self.attempts.retain(|_, followed| now.duration_since(followed.heard) < QUIET);
        }
        let followed = match self.attempts.entry(attempt) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Followed { holder: None, early: Vec::new(), next: 0, asked: None, heard: now }),
        };
        followed.heard = now;
        followed
    }

    /// Only the first to start an attempt has it.
    fn begun(&mut self, attempt: Attempt, worker: String) {
        let followed = self.followed(attempt);
        if followed.holder.is_none() {
            followed.holder = Some(worker);
            for message in std::mem::take(&mut followed.early) {
                self.chunk(message);
            }
        }
    }

    fn ended(&mut self, attempt: Attempt, worker: &str) {
        if let Entry::Occupied(known) = self.attempts.entry(attempt)
            && known.get().holder.as_deref().is_none_or(|holder| holder == worker)
        {
            known.remove();
        }
    }

    fn chunk(&mut self, message: Message) {
        let Some((job, token, number, chunk)) = parsed_chunk(&message.payload) else { return };
        let followed = self.followed((job, token));
        match &followed.holder {
            Some(holder) if message.subject.rsplit('.').next() == Some(holder) => {}
            // A start that was told before this broker's time is told by the engine, when it asks for the output.
            None if followed.early.len() < EARLY => return followed.early.push(message),
            Some(_) | None => return,
        }
        // Chunks follow each other; what is missing is asked for again.
        if number == followed.next {
            followed.next += 1;
        } else if number > followed.next && followed.asked.is_none_or(|at| at.elapsed() > AGAIN) {
            followed.asked = Some(Instant::now());
            let from = followed.next;
            let control = self.link.names.control_of_output(&message.subject);
            let _ = self.orders.send(Order::Again { attempt: (job, token), control, from });
        }
        self.sink.chunk(job, token, number, chunk);
    }
}
