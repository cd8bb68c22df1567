//! `POST /v1/completions`: OpenAI's older API, which goes on with a text.

use std::sync::Arc;

use axum::response::Response;
use pullyard_schemas::job::Kind;

use super::error::Error;
use super::{App, Request, wait};

pub(crate) async fn create(app: Arc<App>, request: Request) -> Result<Response, Error> {
    wait::answer(app, request, Kind::Completion).await
}
