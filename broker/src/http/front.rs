//! What is the same for every route: HEAD, OPTIONS, pages of other origins, compression, and a request's id.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Request as HttpRequest, StatusCode};

use super::api::Api;
use super::cors::Visitor;
use super::error::Error;
use super::routes::dispatch;
use super::server::Limits;
use super::{App, compress, cors, openapi};

/// Answers one request, whatever it is.
pub(super) async fn answer(app: Arc<App>, mut request: HttpRequest<Incoming>, limits: Limits) -> Result<Response, Infallible> {
    let begun = Instant::now();
    let live = app.live_config();
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    // Who may GET may HEAD, and is told all but the body.
    let head = request.method() == Method::HEAD;
    if head && !openapi::has_head(&segments) {
        *request.method_mut() = Method::GET;
    }
    let api = Api::of(&segments, request.headers());
    let coding = compress::wanted(request.headers());
    let visitor = Visitor::of(&live.cors, live.keys.is_empty(), request.uri(), request.headers());
    let done = if request.method() == Method::OPTIONS {
        options(&live.cors, &visitor, &segments, &request)
    } else if let Visitor::Stranger(origin) = &visitor {
        Err(Error::stranger(origin))
    } else {
        dispatch(app, request, &segments, limits).await
    };
    let mut response = done.unwrap_or_else(|error| error.response_for(api));
    if let Ok(id) = HeaderValue::from_str(&request_id()) {
        if let Some(name) = api.request_id_header() {
            response.headers_mut().insert(name, id.clone());
        }
        response.headers_mut().insert("x-request-id", id);
    }
    if api == Api::OpenAi {
        // Until the answer begins, which for a stream is its first chunk.
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert("openai-processing-ms", took.into());
        response.headers_mut().insert("openai-version", HeaderValue::from_static("2020-10-01"));
    }
    cors::mark(&live.cors, &visitor, response.headers_mut());
    if compress::is_worth_it(&response) {
        response = compress::compressed(response, coding).await;
    }
    if head {
        if let Some(length) = response.body().size_hint().exact() {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        *response.body_mut() = Body::empty();
    }
    Ok(response)
}

/// What can be done at a path, for which nobody needs a key: a browser asks without one.
fn options(cors: &crate::config::Cors, visitor: &Visitor, segments: &[&str], request: &HttpRequest<Incoming>) -> Result<Response, Error> {
    let allowed = openapi::allowed(segments).ok_or_else(|| Error::nothing_at(request.uri().path()))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cors::preflight(cors, visitor, allowed, request.headers(), response.headers_mut());
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    Ok(response)
}

/// Unique among all brokers and starts, and cheap: it is only for finding a request again.
fn request_id() -> String {
    static START: LazyLock<u128> = LazyLock::new(|| uuid::Uuid::now_v7().as_u128());
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("req_{:032x}", START.wrapping_add(u128::from(NEXT.fetch_add(1, Ordering::Relaxed))))
}
