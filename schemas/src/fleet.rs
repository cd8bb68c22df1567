//! What workers say of themselves.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, WorkerId};

/// The version of everything that passes between broker and worker. Those that differ do not work together.
pub const PROTOCOL: u32 = 1;

/// A worker process as it sees itself now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Card {
    pub worker: WorkerId,
    /// Tells a worker from the one that had its name before.
    pub instance: Arc<str>,
    /// Of the program.
    pub version: Arc<str>,
    /// The machine's name.
    pub machine: Arc<str>,
    pub started: Timestamp,
    pub mode: Mode,
    pub backends: Vec<BackendCard>,
}

/// Whether a worker pulls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Active,
    /// Pulls nothing until it is told to go on; what runs goes on.
    Paused,
    /// Pulls nothing any more, and ends when what runs has ended.
    Draining,
}

/// One model server that a worker fronts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BackendCard {
    pub name: Arc<str>,
    pub adapter: Arc<str>,
    pub url: Arc<str>,
    pub local: bool,
    pub slots: u32,
    /// Attempts that run now.
    pub busy: u32,
    /// Nothing is pulled because too much failed.
    pub broken: bool,
    /// Why it did not tell its models when it was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Arc<str>>,
    /// Output tokens per second over the last attempts; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Nobody configured it: it was looked for.
    #[serde(default)]
    pub discovered: bool,
    pub models: Vec<ModelCard>,
}

/// A model that a backend has; `None` where it does not tell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ModelCard {
    pub name: Arc<str>,
    /// In memory now.
    pub loaded: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<bool>,
}
