//! What is known of a file, and which of them a page shows.

use std::sync::Arc;

use pullyard_schemas::Timestamp;
use serde::{Deserialize, Serialize};

/// What a file is for, by the names that OpenAI's clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Batch,
    BatchOutput,
    Assistants,
    #[serde(rename = "fine-tune")]
    FineTune,
    Vision,
    UserData,
    Evals,
}

impl Purpose {
    /// What a client may upload a file for.
    pub const UPLOADED: [Self; 6] = [Self::Batch, Self::Assistants, Self::FineTune, Self::Vision, Self::UserData, Self::Evals];
    const ALL: [Self; 7] = [Self::Batch, Self::BatchOutput, Self::Assistants, Self::FineTune, Self::Vision, Self::UserData, Self::Evals];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::BatchOutput => "batch_output",
            Self::Assistants => "assistants",
            Self::FineTune => "fine-tune",
            Self::Vision => "vision",
            Self::UserData => "user_data",
            Self::Evals => "evals",
        }
    }

    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }
}

/// What is known of a file; beside it on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// `file-` and 32 hexadecimal digits, which sort by time.
    pub id: Arc<str>,
    pub bytes: u64,
    pub created_at: Timestamp,
    /// As the client calls it; no path here is made of it.
    pub filename: Arc<str>,
    pub purpose: Purpose,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The name of the API key that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
}

impl Meta {
    /// A fresh id.
    #[must_use]
    pub fn new_id() -> Arc<str> {
        format!("file-{}", uuid::Uuid::now_v7().simple()).into()
    }

    /// Whether it is an id that could have been made here, and so names nothing outside of the folder.
    #[must_use]
    pub fn is_id(text: &str) -> bool {
        text.strip_prefix("file-").is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
    }

    /// A key sees what is its own; where there are no keys, everybody sees everything.
    #[must_use]
    pub fn is_seen_by(&self, key: Option<&str>) -> bool {
        key.is_none() || self.key.as_deref() == key
    }
}

/// Which files are wanted.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub purpose: Option<Purpose>,
    /// The last id of the page before.
    pub after: Option<String>,
    /// Newest last.
    pub ascending: bool,
    pub limit: usize,
}
