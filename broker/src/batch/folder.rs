//! The folder of the batches: `<id>.json` is a document, `<id>.output` and `<id>.errors` what it has written so far.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::document::Batch;
use super::ids::is_batch;

#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self(dir.to_owned()))
    }

    /// Every document. One that cannot be read is left where it is, and said.
    pub(super) fn load(&self) -> io::Result<Vec<Batch>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.strip_suffix(".json").is_none_or(|id| !is_batch(id)) {
                continue;
            }
            match serde_json::from_slice(&fs::read(&path)?) {
                Ok(batch) => all.push(batch),
                Err(error) => tracing::warn!(path = %path.display(), %error, "a batch cannot be read, and is passed over"),
            }
        }
        Ok(all)
    }

    /// Replaces the document; it is on disk when this returns.
    pub(super) fn save(&self, batch: &Batch) -> io::Result<()> {
        let path = self.0.join(format!("{}.json", batch.id));
        let part = path.with_extension("json.part");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        let saved = file.write_all(&serde_json::to_vec(batch)?).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&part, &path));
        if saved.is_err() {
            let _ = fs::remove_file(&part);
        }
        saved.and_then(|()| File::open(&self.0)?.sync_all())
    }

    pub(super) fn output(&self, id: &str) -> PathBuf {
        self.0.join(format!("{id}.output"))
    }

    pub(super) fn errors(&self, id: &str) -> PathBuf {
        self.0.join(format!("{id}.errors"))
    }

    /// Forgets a batch.
    pub(super) fn remove(&self, id: &str) -> io::Result<()> {
        for path in [self.output(id), self.errors(id)] {
            let _ = fs::remove_file(path);
        }
        fs::remove_file(self.0.join(format!("{id}.json")))
    }
}
