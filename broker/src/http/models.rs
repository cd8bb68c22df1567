//! `GET /v1/models`: what can be asked for, and what serves it.

use axum::response::Response;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::App;
use super::error::Error;
use super::jobs::reply;

pub(crate) fn list(app: &App) -> Response {
    let live = app.live_config();
    let mut data: Vec<Value> = live
        .catalog
        .models
        .values()
        .map(|m| json!({"id": m.name, "object": "model", "created": app.started.0 / 1000, "owned_by": "pullyard", "backends": m.backends, "local": m.local}))
        .collect();
    let aliases = live.catalog.named_aliases();
    data.extend(aliases.map(|(alias, meant)| {
        json!({"id": alias, "object": "model", "created": app.started.0 / 1000, "owned_by": "pullyard", "alias_of": meant})
    }));
    let classes = live.catalog.classes.keys().map(|c| &**c).chain(["auto"]);
    data.extend(
        classes.map(|c| json!({"id": c, "object": "model", "created": app.started.0 / 1000, "owned_by": "pullyard", "class": true})),
    );
    reply(StatusCode::OK, &json!({"object": "list", "data": data}))
}

pub(crate) fn get(app: &App, name: &str) -> Result<Response, Error> {
    let live = app.live_config();
    let name = &*percent_decoded(name);
    let meant = live.catalog.meant(name);
    if live.catalog.is_class(meant) || meant == "auto" {
        return Ok(reply(
            StatusCode::OK,
            &json!({"id": name, "object": "model", "created": app.started.0 / 1000, "owned_by": "pullyard", "class": true}),
        ));
    }
    let model = live.catalog.served(name)?;
    Ok(reply(
        StatusCode::OK,
        &json!({"id": model.name, "object": "model", "created": app.started.0 / 1000, "owned_by": "pullyard", "backends": model.backends, "local": model.local}),
    ))
}

/// Names such as `qwen3:4b` and `org/model` arrive escaped from some clients.
pub(super) fn percent_decoded(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let hex = (first == b'%')
            .then(|| more.get(..2))
            .flatten()
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}
