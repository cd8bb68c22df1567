//! The HTTP APIs: thin translations into jobs and out of them. No state lives here.

mod api;
mod app;
mod arrive;
mod assemble;
mod encode;
mod error;
mod fields;
mod intake;
mod jobs;
mod models;
mod openai;
mod ops;
mod route;
mod routes;
mod server;
mod shown;
mod usage;
mod wait;
mod workers;

pub use app::{App, LiveConfig};
pub use server::{Limits, serve};

use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;

/// A request whose body has been read and whose key has been checked.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) idempotency_key: Option<String>,
    /// What the client says about its own leaving.
    pub(crate) keep_on_leave: Option<bool>,
}
