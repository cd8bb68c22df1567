//! A response that was made before: shown, cancelled, deleted, with its input.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use hyper::StatusCode;
use pullyard_schemas::job::{Outcome, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::earlier::{self, Found};
use super::kept::kept;
use super::story::Story;
use super::telling::{standing, usage};
use super::{ids, stream};
use crate::core::decide::{Command, Rejection};
use crate::http::error::Error;
use crate::http::routes::parse_query;
use crate::http::wait::headers;
use crate::http::{App, jobs};

/// Other fields are for what there is not here, and are no mistake.
#[derive(Debug, Deserialize)]
struct Query {
    #[serde(default)]
    stream: bool,
    starting_after: Option<u64>,
}

/// `GET /v1/responses/{id}`, also as a stream that goes on behind an event.
pub(super) async fn get(app: Arc<App>, id: &str, query: &str) -> Result<Response, Error> {
    let query: Query = parse_query(query)?;
    if query.starting_after.is_some() && !query.stream {
        return Err(Error::bad_request("starting_after", "`starting_after` is for streams: it needs `stream=true`"));
    }
    let found = earlier::find(&app, id).await?;
    if query.stream { stream::stream(app, found, query.starting_after).await } else { shown(&app, &found).await }
}

/// The response as it is now.
pub(super) async fn shown(app: &App, found: &Found) -> Result<Response, Error> {
    let job = &found.view.job;
    let story = |job| Story::new(job, found.repeated.clone(), found.terms.background);
    let body = match &job.state {
        State::Ended(Outcome::Completed { .. }) => {
            let ended = app.ended_from_log(job.id).await?;
            story(&ended.job).whole(&ended.job, &ended.output, &usage(&ended.job))
        }
        _ => {
            let (status, trouble) = standing(job);
            let mut out = Vec::new();
            story(job).write(status, trouble.as_ref(), &mut out);
            out
        }
    };
    let mut response = Response::new(Body::from(body));
    headers(&mut response, job, job.attempts, "application/json");
    Ok(response)
}

/// `POST /v1/responses/{id}/cancel`. One that has ended is shown as it is.
pub(super) async fn cancel(app: &App, id: &str) -> Result<Response, Error> {
    let found = earlier::find(app, id).await?;
    match app.change(found.view.job.id, Command::Cancel { why: "cancelled by a client".into() }).await {
        Ok(_) | Err(Rejection::Ended(_)) => shown(app, &earlier::find(app, id).await?).await,
        Err(rejection) => Err(rejection.into()),
    }
}

/// `DELETE /v1/responses/{id}`.
pub(super) async fn delete(app: &App, id: &str) -> Result<Response, Error> {
    let found = earlier::find(app, id).await?;
    app.delete(found.view.job.id).await?;
    Ok(jobs::reply(StatusCode::OK, &json!({"id": id, "object": "response", "deleted": true})))
}

#[derive(Debug, Deserialize)]
struct Page {
    after: Option<String>,
    #[serde(default)]
    order: Order,
    limit: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Asc,
    #[default]
    Desc,
}

/// `GET /v1/responses/{id}/input_items`: what the model was given, that of earlier responses included.
pub(super) async fn input_items(app: &App, id: &str, query: &str) -> Result<Response, Error> {
    let page: Page = parse_query(query)?;
    let limit = page.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(Error::bad_request("limit", format!("`limit` is {limit}; it must be from 1 to 100")));
    }
    let found = earlier::find(app, id).await?;
    let job = found.view.job.id;
    let mut items = Vec::new();
    for message in kept(&found.body).iter().flat_map(|kept| kept.conversation()) {
        let message: Value = serde_json::from_str(message.get()).unwrap_or_default();
        add_items(&message, &mut items);
    }
    for (at, item) in items.iter_mut().enumerate() {
        let kind = match item["type"].as_str() {
            Some("function_call") => "fcin",
            Some("function_call_output") => "fcout",
            _ => "msgin",
        };
        item["id"] = ids::of_item(kind, job, at).into();
    }
    if matches!(page.order, Order::Desc) {
        items.reverse();
    }
    let begin = match &page.after {
        None => 0,
        Some(after) => {
            let known = items.iter().position(|item| item["id"] == after.as_str());
            known.ok_or_else(|| Error::bad_request("after", "`after` is no item of this response's input"))? + 1
        }
    };
    let has_more = items.len() > begin + limit;
    let data: Vec<Value> = items.into_iter().skip(begin).take(limit).collect();
    let edge = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    let list = json!({
        "object": "list", "first_id": edge(data.first()), "last_id": edge(data.last()), "has_more": has_more, "data": data,
    });
    Ok(jobs::reply(StatusCode::OK, &list))
}

/// A chat message as the items that it was made of.
fn add_items(message: &Value, items: &mut Vec<Value>) {
    let role = message["role"].as_str().unwrap_or("user");
    let content = |kind: &str| -> Value {
        match &message["content"] {
            Value::String(text) => json!([{"type": kind, "text": text}]),
            Value::Array(parts) => parts.iter().map(|part| part_of(part, kind)).collect(),
            _ => json!([]),
        }
    };
    match role {
        "tool" => items.push(json!({
            "type": "function_call_output", "status": "completed", "call_id": message["tool_call_id"],
            "output": match &message["content"] { Value::String(text) => Value::from(text.as_str()), _ => content("input_text") },
        })),
        "assistant" => {
            let said = content("output_text");
            if said.as_array().is_some_and(|parts| !parts.is_empty()) {
                items.push(json!({"type": "message", "role": role, "status": "completed", "content": said}));
            }
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                items.push(json!({
                    "type": "function_call", "status": "completed", "call_id": call["id"],
                    "name": call["function"]["name"], "arguments": call["function"]["arguments"],
                }));
            }
        }
        _ => items.push(json!({"type": "message", "role": role, "status": "completed", "content": content("input_text")})),
    }
}

fn part_of(part: &Value, text: &str) -> Value {
    match part["type"].as_str() {
        Some("image_url") => {
            let detail = part["image_url"]["detail"].as_str().unwrap_or("auto");
            json!({"type": "input_image", "image_url": part["image_url"]["url"], "detail": detail})
        }
        Some("file") => json!({"type": "input_file", "file_data": part["file"]["file_data"], "filename": part["file"]["filename"]}),
        Some("input_audio" | "refusal") => part.clone(),
        _ if text == "output_text" => json!({"type": text, "text": part["text"], "annotations": []}),
        _ => json!({"type": text, "text": part["text"]}),
    }
}
