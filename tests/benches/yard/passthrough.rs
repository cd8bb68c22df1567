//! The least that axum and reqwest can do as a proxy: each request goes on as it is, and the reply comes back as it arrives.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

struct Upstream {
    url: String,
    client: reqwest::Client,
}

/// Serves until the process ends.
pub(crate) async fn serve(upstream: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
    let upstream = Arc::new(Upstream { url: format!("http://{upstream}"), client });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    Ok(axum::serve(listener, Router::new().fallback(pass).with_state(upstream)).await?)
}

async fn pass(State(upstream): State<Arc<Upstream>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let url = format!("{}{}", upstream.url, parts.uri);
    for own in [HOST, CONNECTION, TRANSFER_ENCODING] {
        parts.headers.remove(own);
    }
    // With the length from the client's headers, the body goes on unchunked.
    let body = reqwest::Body::wrap_stream(body.into_data_stream());
    match upstream.client.request(parts.method, url).headers(parts.headers).body(body).send().await {
        Ok(mut reply) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = reply.status();
            *response.headers_mut() = std::mem::take(reply.headers_mut());
            response.headers_mut().remove(TRANSFER_ENCODING);
            *response.body_mut() = Body::from_stream(reply.bytes_stream());
            response
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
