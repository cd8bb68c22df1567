//! Who was there last, kept in a file: a broker that starts while NATS or its workers are away takes jobs for what they
//! serve, as one does that goes on.

use std::io;
use std::path::PathBuf;

use pullyard_schemas::Timestamp;
use pullyard_schemas::fleet::{BackendCard, Card, Mode};
use serde::{Deserialize, Serialize};

use super::registry::Known;

/// The file. What is in it is found out again from the workers themselves, so it may be lost.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    kept: Vec<Kept>,
}

/// A worker without what changes from moment to moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) card: Card,
    /// When it was seen last, if it was gone by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone_since: Option<Timestamp>,
}

impl Memory {
    /// What the file has; nothing where there is none that can be read.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let read = std::fs::read(&path).and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::other));
        let kept = match read {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "which workers there were cannot be read; they tell it themselves");
                Vec::new()
            }
        };
        Self { path, kept }
    }

    pub(super) fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Keeps these, where they are others than those that are kept.
    pub(super) async fn keep(&mut self, workers: &[Known]) {
        let kept: Vec<Kept> = workers.iter().map(still).collect();
        if kept == self.kept {
            return;
        }
        let (path, bytes) = (self.path.clone(), serde_json::to_vec(&kept).unwrap_or_default());
        self.kept = kept;
        let written = tokio::task::spawn_blocking(move || {
            let new = path.with_extension("new");
            std::fs::write(&new, bytes)?;
            std::fs::rename(&new, &path)
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, "which workers there are could not be written down");
        }
    }
}

fn still(known: &Known) -> Kept {
    let backend = |card: &BackendCard| BackendCard {
        busy: 0,
        broken: false,
        closed: false,
        failure: None,
        tokens_per_second: None,
        models: card.models.clone(),
        ..card.clone()
    };
    let backends = known.card.backends.iter().map(backend).collect();
    Kept { card: Card { mode: Mode::Active, backends, ..known.card.clone() }, gone_since: known.gone.is_some().then_some(known.seen) }
}

#[cfg(test)]
mod tests {
    use pullyard_schemas::WorkerId;

    use super::*;

    fn known(name: &str, gone: Option<&str>) -> Known {
        let card = Card {
            worker: WorkerId(name.into()),
            instance: "1".into(),
            version: "0".into(),
            machine: "m".into(),
            started: Timestamp(0),
            mode: Mode::Paused,
            backends: vec![],
        };
        Known { card, seen: Timestamp(5), gone: gone.map(Into::into) }
    }

    #[tokio::test]
    async fn what_is_kept_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleet.json");
        Memory::open(path.clone()).keep(&[known("a", None), known("b", Some("stopped"))]).await;
        let found: Vec<(String, Option<Timestamp>)> =
            Memory::open(path.clone()).kept().iter().map(|kept| (kept.card.worker.to_string(), kept.gone_since)).collect();
        assert_eq!(found, [("a".to_owned(), None), ("b".to_owned(), Some(Timestamp(5)))]);
        std::fs::write(&path, "no JSON").unwrap();
        assert_eq!(Memory::open(path).kept(), []);
    }
}
