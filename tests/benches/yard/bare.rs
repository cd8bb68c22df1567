//! The least that axum can do with a job: parse the body into a type and say 202. It keeps nothing.

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use serde::Deserialize;
use tokio::net::TcpListener;

#[derive(Debug, Deserialize)]
struct Job {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: String,
}

/// Serves until the process ends.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let app = Router::new().route("/v1/jobs", post(accept));
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    Ok(axum::serve(listener, app).await?)
}

async fn accept(body: Bytes) -> Response {
    let Ok(job) = serde_json::from_slice::<Job>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let size: usize = job.messages.iter().map(|m| m.role.len() + m.content.len()).sum();
    let streamed = job.stream.unwrap_or(true);
    let answer = format!(r#"{{"object":"job","state":"queued","model":"{}","size":{size},"stream":{streamed}}}"#, job.model);
    (StatusCode::ACCEPTED, [(CONTENT_TYPE, "application/json")], answer).into_response()
}
