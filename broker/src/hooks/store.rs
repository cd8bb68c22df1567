//! One file for each delivery.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::document::Document;

/// The folder, and whose files are in it. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Store {
    dir: Arc<Path>,
    known: Arc<Mutex<HashSet<Arc<str>>>>,
}

impl Store {
    /// Only its owner may read the folder.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut known = HashSet::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            match name.to_str().and_then(|name| name.rsplit_once('.')) {
                Some((subject, "json")) => drop(known.insert(subject.into())),
                // Half written when the broker was killed.
                Some((_, "part")) => drop(fs::remove_file(dir.join(&name))),
                _ => {}
            }
        }
        Ok(Self { dir: dir.into(), known: Arc::new(Mutex::new(known)) })
    }

    pub(super) fn subjects(&self) -> Vec<Arc<str>> {
        self.known().iter().cloned().collect()
    }

    pub(super) fn has(&self, subject: &str) -> bool {
        self.known().contains(subject)
    }

    /// Writes a document whole or not at all; with `flush` it survives a power cut when this returns.
    pub(super) fn put(&self, document: &Document, flush: bool) -> io::Result<()> {
        let path = self.path(&document.subject)?;
        let part = path.with_extension("part");
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
            file.write_all(&serde_json::to_vec(document)?)?;
            if flush {
                file.sync_data()?;
            }
            fs::rename(&part, &path)?;
            if flush { File::open(&*self.dir)?.sync_all() } else { Ok(()) }
        };
        let written = write();
        match written {
            Ok(()) => drop(self.known().insert(document.subject.clone())),
            Err(_) => drop(fs::remove_file(&part)),
        }
        written
    }

    /// Nothing where there is none.
    pub(super) fn get(&self, subject: &str) -> io::Result<Option<Document>> {
        if !self.has(subject) {
            return Ok(None);
        }
        match fs::read(self.path(subject)?) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(&self, subject: &str) {
        if let Ok(path) = self.path(subject) {
            let _ = fs::remove_file(path);
        }
        self.known().remove(subject);
    }

    /// Of those last written before `until`, removes what `over` says.
    pub(super) fn sweep(&self, until: SystemTime, over: &dyn Fn(&Document) -> bool) -> io::Result<usize> {
        let mut swept = 0;
        for subject in self.subjects() {
            let written = fs::metadata(self.path(&subject)?).and_then(|meta| meta.modified());
            if written.is_ok_and(|written| written < until) && self.get(&subject)?.is_some_and(|document| over(&document)) {
                self.remove(&subject);
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// A subject is an id, which is also the name of its file.
    fn path(&self, subject: &str) -> io::Result<PathBuf> {
        let is_id =
            !subject.is_empty() && subject.len() <= 100 && subject.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if is_id { Ok(self.dir.join(format!("{subject}.json"))) } else { Err(io::Error::other("a subject is an id")) }
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
