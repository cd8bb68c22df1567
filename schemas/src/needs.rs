//! What a model must be able to do for a job.

use serde::{Deserialize, Serialize};

/// A target that lacks one of these is never used, not even as a fallback.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Needs {
    /// Estimated prompt tokens plus the reply's limit; 0 means unknown.
    #[serde(skip_serializing_if = "is_zero")]
    pub context: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub images: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tools: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub json: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub embedding: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}
