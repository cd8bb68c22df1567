//! `POST /v1/route`: where a request would go, and why, without running it.

use axum::response::Response;
use hyper::StatusCode;
use pullyard_schemas::Band;
use serde_json::json;

use super::error::Error;
use super::jobs::reply;
use super::{App, Request, fields, intake};

pub(crate) async fn explain(app: &App, request: &Request) -> Result<Response, Error> {
    app.discovered().await;
    let fields = fields::read(&request.body)?;
    let routed = intake::routed(&app.live_config(), &request.body, &fields, None)?;
    // The tags explain the request also where they did not decide.
    let tags = match routed.tags {
        Some(tags) => Some(tags),
        None => crate::core::classify::read(&request.body).ok().map(|r| crate::core::classify::classify(&r)),
    };
    Ok(reply(
        StatusCode::OK,
        &json!({
            "object": "route", "model": routed.route.targets.first(), "targets": routed.route.targets, "class": routed.route.class,
            "scope": routed.scope, "band": fields.band.unwrap_or(Band::Interactive), "kind": routed.kind, "needs": routed.needs,
            "decision": routed.route.decision, "tags": tags,
        }),
    ))
}
