//! Health, readiness and metrics.

use axum::body::Body;
use axum::response::Response;
use hyper::StatusCode;
use serde_json::json;

use super::App;
use super::error::Error;
use super::jobs::reply;

/// The process answers.
pub(crate) fn health() -> Response {
    reply(StatusCode::OK, &json!({"status": "ok"}))
}

/// Jobs can be accepted.
pub(crate) fn ready(app: &App) -> Result<Response, Error> {
    if let Some(why) = app.engine.stalled() {
        return Err(Error::unavailable(format!("the event log cannot be written: {why}"), 5));
    }
    Ok(reply(StatusCode::OK, &json!({"status": "ready", "models": app.live_config().catalog.models.len()})))
}

/// Prometheus text.
pub(crate) async fn metrics(app: &App) -> Response {
    let mut states = std::collections::BTreeMap::<(String, &str), usize>::new();
    for job in app.engine.live().await {
        *states.entry((job.target_name().to_string(), job.state.name())).or_default() += 1;
    }
    let mut text = String::from("# HELP pullyard_jobs Live jobs by target and state.\n# TYPE pullyard_jobs gauge\n");
    for ((target, state), count) in states {
        let target = target.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        text.push_str(&format!("pullyard_jobs{{target=\"{target}\",state=\"{state}\"}} {count}\n"));
    }
    let stalled = u8::from(app.engine.stalled().is_some());
    text.push_str(&format!("# HELP pullyard_log_stalled 1 while the event log cannot be written.\n# TYPE pullyard_log_stalled gauge\npullyard_log_stalled {stalled}\n"));
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}
