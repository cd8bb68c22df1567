//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::response::Response;
use pullyard_schemas::job::Kind;

use super::error::Error;
use super::{App, Request, wait};

pub(crate) async fn create(app: Arc<App>, request: Request) -> Result<Response, Error> {
    wait::answer(app, request, Kind::Chat).await
}
