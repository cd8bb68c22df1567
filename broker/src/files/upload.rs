//! A file that is coming.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use pullyard_schemas::Timestamp;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::meta::{Meta, Purpose};
use super::store::{Error, Files};

/// A file of which a part is on disk. Nothing is left of it when it is dropped unfinished.
#[derive(Debug)]
pub struct Upload {
    files: Files,
    id: Arc<str>,
    part: PathBuf,
    file: File,
    bytes: u64,
    kept: bool,
}

impl Upload {
    pub(super) async fn begin(files: Files) -> Result<Self, Error> {
        let id = Meta::new_id();
        let part = files.dir().join(format!("{id}.part"));
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        Ok(Self { files, id, part, file: File::from_std(file), bytes: 0, kept: false })
    }

    /// # Errors
    /// When the file becomes too large, or there is no room.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        let more = piece.len() as u64;
        self.files.take(self.bytes, more)?;
        self.bytes += more;
        Ok(self.file.write_all(piece).await?)
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Answers when it is on disk as a whole.
    ///
    /// # Errors
    /// When that fails; then nothing is left of it.
    pub async fn finish(
        mut self,
        filename: Arc<str>,
        purpose: Purpose,
        created_at: Timestamp,
        expires_at: Option<Timestamp>,
        key: Option<Arc<str>>,
    ) -> Result<Meta, Error> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let meta = Meta { id: self.id.clone(), bytes: self.bytes, created_at, filename, purpose, expires_at, key };
        let (files, part) = (self.files.clone(), self.part.clone());
        let kept = tokio::task::spawn_blocking(move || files.keep(&part, meta)).await.map_err(|e| Error::Io(e.into()))??;
        self.kept = true;
        Ok(kept)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.kept {
            self.files.give_back(self.bytes);
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
