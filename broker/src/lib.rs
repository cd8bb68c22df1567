//! Decides and remembers: engine, event log, read model, HTTP APIs.

pub mod blobs;
pub mod cli;
pub mod config;
pub mod core;
pub mod engine;
pub mod http;
pub mod log;
pub mod readmodel;
pub mod yard;
