//! What an attempt used and what it cost.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Tokens as the backend counted them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub prompt: u64,
    pub completion: u64,
    /// Prompt tokens that the backend read from its cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cached: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One attempt's bill, whatever its outcome.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Charge {
    /// The model's name at the backend.
    pub model: Arc<str>,
    pub backend: Arc<str>,
    pub usage: Usage,
    /// Billionths of a US dollar, so that sums are exact.
    #[serde(default)]
    pub cost_nanos: u64,
    /// From the request to the end of the reply, in milliseconds.
    pub busy_ms: u64,
}
