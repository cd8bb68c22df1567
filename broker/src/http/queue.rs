//! `/v1/queue`: what waits, and when it will be done.

use axum::response::Response;
use hyper::StatusCode;
use pullyard_schemas::Band;
use serde_json::{Map, Value, json};

use super::App;
use super::error::Error;
use super::jobs::reply;
use super::shown::millis;
use crate::engine::LaneStats;

pub(crate) async fn get(app: &App) -> Result<Response, Error> {
    let stats = app.engine.stats().await.ok_or_else(Error::stopping)?;
    let data: Vec<Value> = stats.lanes.iter().map(shown).collect();
    let waiting: usize = stats.lanes.iter().map(|lane| lane.waiting).sum();
    let whole = json!({
        "object": "queue", "live": stats.live, "waiting": waiting, "waiting_bytes": stats.waiting_bytes,
        "batch_hours": stats.batch.as_str(), "data": data,
    });
    Ok(reply(StatusCode::OK, &whole))
}

fn shown(lane: &LaneStats) -> Value {
    let by_band = |value: &dyn Fn(usize) -> Value| -> Map<String, Value> {
        Band::ALL.iter().map(|band| (band.as_str().to_owned(), value(*band as usize))).collect()
    };
    json!({
        "object": "lane", "target": lane.lane.target, "scope": lane.lane.scope, "slots": lane.slots, "alive": lane.alive,
        "running": lane.running, "offered": lane.offered, "attempt_ms": lane.pace.map(millis),
        "waiting": by_band(&|band| lane.waiting_by_band[band].into()),
        "expected_end_ms": by_band(&|band| lane.expected_end[band].map(millis).into()),
    })
}
