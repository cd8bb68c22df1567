//! Decides and remembers: engine, event log, read model, HTTP APIs.

pub mod cli;
pub mod core;
pub mod log;
pub mod readmodel;
