//! OpenAI's Batches API.

mod create;
mod lines;
mod shown;

use std::sync::Arc;

use axum::response::Response;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

pub use lines::AppLines;

use super::arrive::Unread;
use super::error::Error;
use super::jobs::reply;
use super::routes::parse_query;
use super::{App, hooks};
use shown::shown;

/// The most that one page shows.
const MOST: usize = 100;

/// Everything below `/v1/batches`.
pub(super) async fn dispatch(app: Arc<App>, method: &Method, rest: &[&str], query: &str, unread: Unread) -> Result<Response, Error> {
    let read = matches!(*method, Method::GET | Method::HEAD);
    let key = unread.key.clone();
    match rest {
        [] if read => list(&app, &parse_query(query)?, key.as_deref()),
        [] if *method == Method::POST => {
            let limit = app.max_body;
            let request = unread.read(limit).await?;
            let progress = app.batches.create(create::new(&request, |raw| hooks::read(&app, raw))?).await?;
            Ok(reply(StatusCode::OK, &shown(&progress)))
        }
        [] => Err(Error::method("GET, HEAD, POST")),
        [id] if read => {
            let progress = app.batches.get(id, key.as_deref())?;
            let mut answer = shown(&progress);
            if let Some(told) = hooks::standing(&app, &progress.batch.id).await {
                answer["pullyard"]["webhook"] = told;
            }
            Ok(reply(StatusCode::OK, &answer))
        }
        [_] => Err(Error::method("GET, HEAD")),
        [id, "cancel"] if *method == Method::POST => Ok(reply(StatusCode::OK, &shown(&app.batches.cancel(id, key.as_deref()).await?))),
        [_, "cancel"] => Err(Error::method("POST")),
        _ => Err(Error::not_found("there is nothing at this path below /v1/batches")),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    after: Option<String>,
    limit: Option<usize>,
}

fn list(app: &App, query: &Query, key: Option<&str>) -> Result<Response, Error> {
    let limit = query.limit.unwrap_or(20);
    if !(1..=MOST).contains(&limit) {
        return Err(Error::bad_request("limit", format!("`limit` is {limit}; it must be from 1 to {MOST}")));
    }
    let (found, more) = app.batches.list(query.after.as_deref(), limit, key)?;
    let data: Vec<Value> = found.iter().map(shown).collect();
    let (first, last) = (found.first().map(|p| p.batch.id.clone()), found.last().map(|p| p.batch.id.clone()));
    Ok(reply(StatusCode::OK, &json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more})))
}

/// Refuses a time to keep something that OpenAI does not allow either.
pub(super) fn kept_seconds(param: &str, seconds: Option<u64>) -> Result<u64, Error> {
    seconds
        .filter(|seconds| (3_600..=2_592_000).contains(seconds))
        .ok_or_else(|| Error::bad_request(param, format!("`{param}` must be a whole number from 3600 (an hour) to 2592000 (30 days)")))
}
