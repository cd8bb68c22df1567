//! Where jobs wait: bands, scopes and lanes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What yields to what: earlier bands go first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Band {
    Interactive,
    #[default]
    Normal,
    Batch,
}

impl Band {
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Normal, Self::Batch];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Normal => "normal",
            Self::Batch => "batch",
        }
    }
}

/// Whether a job may leave the operator's machines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    #[default]
    Any,
    /// Never offered on a lane that a cloud backend pulls from.
    Local,
}

impl Scope {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Local => "local",
        }
    }
}

/// A queue that workers pull from: target × scope.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Lane {
    /// The model's name as the policy resolved it.
    pub target: Arc<str>,
    pub scope: Scope,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.target, self.scope.as_str())
    }
}
