//! OpenAI's Files API.

mod multipart;
mod upload;

use std::io::Read as _;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use pullyard_schemas::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::App;
use super::app::blocking;
use super::arrive::Unread;
use super::error::Error;
use super::jobs::reply;
use super::routes::parse_query;
use super::wait::Frames;
use crate::core::nearest::suggest;
use crate::files::{Meta, Page, Purpose};

/// The most that one page shows, and shows unless told.
const MOST: usize = 10_000;
/// Bytes of a file that are read at once.
const PIECE: usize = 64 << 10;

/// Everything below `/v1/files`.
pub(super) async fn dispatch(app: Arc<App>, method: &Method, rest: &[&str], query: &str, unread: Unread) -> Result<Response, Error> {
    let read = matches!(*method, Method::GET | Method::HEAD);
    match rest {
        [] if read => list(&app, parse_query(query)?, unread.key.as_deref()),
        [] if *method == Method::POST => upload::create(app, unread).await,
        [] => Err(Error::method("GET, HEAD, POST")),
        [id] if read => Ok(reply(StatusCode::OK, &shown(&app.files.get(id, unread.key.as_deref())?))),
        [id] if *method == Method::DELETE => delete(app, id, unread.key).await,
        [_] => Err(Error::method("GET, HEAD, DELETE")),
        [id, "content"] if read => content(&app, id, unread.key.as_deref()).await,
        [_, "content"] => Err(Error::method("GET, HEAD")),
        _ => Err(Error::not_found("there is nothing at this path below /v1/files")),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    purpose: Option<String>,
    limit: Option<usize>,
    order: Option<String>,
    after: Option<String>,
}

fn list(app: &App, query: Query, key: Option<&str>) -> Result<Response, Error> {
    let limit = query.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(Error::bad_request("limit", format!("`limit` is {limit}; it must be from 1 to {MOST}")));
    }
    let ascending = match query.order.as_deref() {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(Error::bad_request("order", "`order` must be `asc` or `desc`")),
    };
    let purpose = query.purpose.as_deref().map(purpose_named).transpose()?;
    let (found, more) = app.files.list(&Page { purpose, after: query.after, ascending, limit }, key)?;
    let data: Vec<Value> = found.iter().map(shown).collect();
    let id = |meta: Option<&Meta>| meta.map(|meta| meta.id.clone());
    let page = json!({"object": "list", "data": data, "first_id": id(found.first()), "last_id": id(found.last()), "has_more": more});
    Ok(reply(StatusCode::OK, &page))
}

async fn delete(app: Arc<App>, id: &str, key: Option<Arc<str>>) -> Result<Response, Error> {
    let (batches, id) = (app.batches.clone(), id.to_owned());
    let gone = tokio::task::spawn_blocking(move || batches.remove_file(&id, key.as_deref())).await;
    let meta = gone.map_err(|e| Error::internal(e.to_string()))??;
    Ok(reply(StatusCode::OK, &json!({"id": meta.id, "object": "file", "deleted": true})))
}

/// Piece by piece, as fast as the client takes them.
async fn content(app: &App, id: &str, key: Option<&str>) -> Result<Response, Error> {
    let meta = app.files.get(id, key)?;
    let (files, id) = (app.files.clone(), meta.id.clone());
    let mut file = blocking(move || files.open_file(&id)).await?;
    let (pieces, body) = mpsc::channel::<Bytes>(4);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            // A body that is shorter than was announced tells the client that something went wrong.
            match (&mut file).take(PIECE as u64).read_to_end(&mut piece) {
                Ok(read) if read > 0 && pieces.blocking_send(piece.into()).is_ok() => {}
                Ok(_) | Err(_) => return,
            }
        }
    });
    let mut response = Response::new(Body::from_stream(Frames(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_LENGTH, meta.bytes.into());
    Ok(response)
}

fn purpose_named(name: &str) -> Result<Purpose, Error> {
    Purpose::of(name).ok_or_else(|| {
        let instead = suggest(name, &Purpose::UPLOADED.map(Purpose::as_str));
        Error::bad_request("purpose", format!("there is no purpose `{}`; {instead}", name.chars().take(64).collect::<String>()))
    })
}

fn shown(meta: &Meta) -> Value {
    let seconds = |at: Timestamp| at.0 / 1000;
    json!({
        "id": meta.id,
        "object": "file",
        "bytes": meta.bytes,
        "created_at": seconds(meta.created_at),
        "expires_at": meta.expires_at.map(seconds),
        "filename": meta.filename,
        "purpose": meta.purpose,
        "status": "processed",
        "status_details": null,
    })
}
