//! End-to-end tests against the real binary, one file per scenario.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod again;
mod anthropic;
mod auth;
mod batch;
mod cli;
mod continues;
mod crash;
mod deleted;
mod disk;
mod docs;
mod fleet;
mod fuzz;
mod harness;
mod jobs;
mod large;
mod limits;
mod misbehave;
mod ollama;
mod overnight;
mod promises;
mod responses;
mod schedules;
mod shim;
mod spill;
mod standstill;
mod tidy;
mod webhooks;
mod workers;
