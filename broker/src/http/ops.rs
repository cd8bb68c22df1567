//! Health, readiness and metrics.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::response::Response;
use hyper::StatusCode;
use serde_json::json;

use super::App;
use super::error::Error;
use super::jobs::reply;
use crate::core::policy::Unroutable;
use crate::engine::LaneStats;

/// The process answers.
pub(crate) fn health() -> Response {
    reply(StatusCode::OK, &json!({"status": "ok"}))
}

/// The log can be written, so what is accepted is kept.
pub(crate) fn ready(app: &App) -> Result<Response, Error> {
    if let Some(why) = app.engine.stalled() {
        return Err(Error::unavailable(format!("the event log cannot be written: {why}"), 5));
    }
    if app.draining.load(Ordering::Relaxed) {
        return Err(Error::stopping());
    }
    let models = app.live_config().catalog.models.len();
    let mut shown = json!({"status": "ready", "models": models});
    if models == 0 {
        // Still ready: jobs can be read, watched and cancelled, and no restart would bring a model server back.
        shown["why"] = json!(Unroutable::NothingServed.to_string());
    }
    Ok(reply(StatusCode::OK, &shown))
}

/// Prometheus text (exposition format 0.0.4).
pub(crate) async fn metrics(app: &App) -> Result<Response, Error> {
    let stats = app.engine.stats().await.ok_or_else(Error::stopping)?;
    let mut text = Text::default();
    text.gauge("pullyard_jobs_live", "Jobs that have not ended.", stats.live as u64);
    text.gauge("pullyard_waiting_bytes", "Bytes of the requests that wait.", stats.waiting_bytes);
    text.gauge("pullyard_log_stalled", "1 while the event log cannot be written.", u64::from(app.engine.stalled().is_some()));
    let counters = stats.counters;
    for (name, help, value) in [
        ("pullyard_jobs_accepted_total", "Jobs taken since the start.", counters.accepted),
        ("pullyard_jobs_completed_total", "Jobs completed since the start.", counters.completed),
        ("pullyard_jobs_cancelled_total", "Jobs cancelled since the start.", counters.cancelled),
        ("pullyard_jobs_expired_total", "Jobs whose deadline passed since the start.", counters.expired),
        ("pullyard_jobs_parked_total", "Jobs parked since the start.", counters.parked),
        ("pullyard_attempts_failed_total", "Attempts that failed since the start.", counters.failed_attempts),
        ("pullyard_leases_lost_total", "Leases lost since the start.", counters.lost_leases),
        ("pullyard_reroutes_total", "Moves to another target since the start.", counters.rerouted),
    ] {
        text.head(name, help, "counter");
        text.line(name, "", value);
    }
    let of = |f: fn(&LaneStats) -> u64| stats.lanes.iter().map(|l| (labels(l), f(l))).collect::<Vec<_>>();
    for (name, help, values) in [
        ("pullyard_lane_waiting", "Jobs that wait for their turn.", of(|l| l.waiting as u64)),
        ("pullyard_lane_offered", "Jobs on the lane that nobody has started.", of(|l| l.offered as u64)),
        ("pullyard_lane_running", "Attempts that run.", of(|l| l.running as u64)),
        ("pullyard_lane_slots", "Attempts that the backends can carry.", of(|l| l.slots as u64)),
        ("pullyard_lane_alive", "1 while a backend serves the lane.", of(|l| u64::from(l.alive))),
    ] {
        text.head(name, help, "gauge");
        values.iter().for_each(|(labels, value)| text.line(name, labels, *value));
    }
    let mut response = Response::new(Body::from(text.0));
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"));
    Ok(response)
}

fn labels(lane: &LaneStats) -> String {
    let target = lane.lane.target.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{target=\"{target}\",scope=\"{}\"}}", lane.lane.scope.as_str())
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn line(&mut self, name: &str, labels: &str, value: u64) {
        self.0.push_str(&format!("{name}{labels} {value}\n"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        self.line(name, "", value);
    }
}
