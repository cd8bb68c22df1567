//! `/v1/workers`: who pulls, what for, and whether they shall.

use std::sync::Arc;

use axum::response::Response;
use hyper::StatusCode;
use pullyard_schemas::fleet::{BackendCard, Order};
use serde::Serialize;
use serde_json::json;

use super::App;
use super::error::Error;
use super::jobs::reply;
use super::shown::Time;
use crate::fleet::{Known, shown_names};

/// A worker as clients see it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    object: &'static str,
    instance: &'a str,
    version: &'a str,
    machine: &'a str,
    started: Time,
    /// `gone` where it is not there any more; else as it says itself.
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    last_seen: Time,
    slots: u32,
    busy: u32,
    backends: Vec<Backend<'a>>,
}

#[derive(Debug, Serialize)]
struct Backend<'a> {
    /// What `/v1/models` calls it: with the worker's name where several have one of its own.
    id: Arc<str>,
    #[serde(flatten)]
    card: &'a BackendCard,
}

impl<'a> Shown<'a> {
    fn of(known: &'a Known, id: impl Fn(&str) -> Arc<str>) -> Self {
        let Known { card, seen, gone } = known;
        let backend = |card: &'a BackendCard| Backend { id: id(&card.name), card };
        Self {
            name: &card.worker.0,
            object: "worker",
            instance: &card.instance,
            version: &card.version,
            machine: &card.machine,
            started: Time(card.started),
            mode: if gone.is_some() { "gone" } else { card.mode.as_str() },
            why: gone.as_deref(),
            last_seen: Time(*seen),
            slots: card.backends.iter().map(|backend| backend.slots).sum(),
            busy: card.backends.iter().map(|backend| backend.busy).sum(),
            backends: card.backends.iter().map(backend).collect(),
        }
    }
}

pub(crate) fn list(app: &App) -> Response {
    let workers = app.workers.workers();
    let names = shown_names(&workers);
    let id = |worker: &str, backend: &str| names.get(&(worker, backend)).cloned().unwrap_or_else(|| backend.into());
    let data: Vec<Shown<'_>> = workers.iter().map(|known| Shown::of(known, |backend| id(&known.card.worker.0, backend))).collect();
    reply(StatusCode::OK, &json!({"object": "list", "data": data}))
}

/// Answers when the worker has; `mode` is what it is by then.
pub(crate) async fn order(app: &App, name: &str, order: Order) -> Result<Response, Error> {
    let mode = app.workers.order(name, order).await?;
    Ok(reply(StatusCode::OK, &json!({"name": name, "object": "worker", "mode": mode})))
}

/// What can be told to a worker, by its name in the address.
pub(crate) fn order_named(name: &str) -> Option<Order> {
    Order::ALL.into_iter().find(|order| order.as_str() == name)
}
