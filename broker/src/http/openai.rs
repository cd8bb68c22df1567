//! OpenAI's chat completions, completions and embeddings: the shape that jobs are kept in, so next to nothing is left to do.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use pullyard_schemas::job::Kind;

use super::encode::Encoder;
use super::error::Error;
use super::fields::Fields;
use super::{App, Request, assemble, wait};
use crate::engine::Ended;

/// `POST /v1/chat/completions`, `/v1/completions` or `/v1/embeddings`.
pub(crate) async fn create(app: Arc<App>, request: Request, kind: Kind) -> Result<Response, Error> {
    let encoder = |fields: &Fields<'_>| -> Box<dyn Encoder> {
        Box::new(Chunks { usage: fields.stream_options.as_ref().is_some_and(|options| options.include_usage) })
    };
    wait::answer(app, request, kind, encoder).await
}

/// Completions are kept as jobs, which have ids of their own.
pub(crate) fn not_stored() -> Error {
    Error::not_found(
        "chat completions are kept as jobs: `x-job-id` of a reply leads to `GET /v1/jobs/{id}`, and /v1/responses to what can be fetched and gone on behind",
    )
}

/// Chunks as they are.
struct Chunks {
    /// The client asked for the chunk with the usage, which is asked of every backend.
    usage: bool,
}

impl Encoder for Chunks {
    fn stream_type(&self) -> &'static str {
        "text/event-stream"
    }

    fn chunk(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if self.usage || !assemble::is_usage_only(line) {
            out.reserve(line.len() + 8);
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line);
            out.extend_from_slice(b"\n\n");
        }
    }

    fn waiting(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": waiting\n\n");
    }

    fn end(&mut self, _ended: &Ended, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn failed(&mut self, error: &Error, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("data: {}\n\n", error.body()).as_bytes());
    }

    fn whole(&mut self, _ended: &Ended, output: Bytes) -> Result<Bytes, Error> {
        Ok(output)
    }
}
