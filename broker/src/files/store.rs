//! The folder of the files: `<id>` has a file's bytes, `<id>.json` what is known of it.
//!
//! A file is there when both are. Either may be there alone after a crash, and is removed at the next start.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use pullyard_schemas::Timestamp;

use super::Upload;
use super::meta::{Meta, Page};

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of all files that were uploaded or written by batches. What a batch writes is never refused for it.
    pub total: u64,
}

/// Why a file cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the file is larger than the limit of {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("there is no room for the file: all files together may have {limit} bytes, and {used} are taken; delete some")]
    NoRoom { limit: u64, used: u64 },
    #[error("the disk is full: {0}")]
    DiskFull(io::Error),
    #[error("there is no file `{0}`")]
    Unknown(String),
    #[error("the file cannot be kept: {0}")]
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::DiskFull(error),
            _ => Self::Io(error),
        }
    }
}

/// The folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Files(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    dir: PathBuf,
    limits: Limits,
    all: RwLock<BTreeMap<Arc<str>, Meta>>,
    /// Bytes of all files, also of those that are coming.
    used: AtomicU64,
}

impl Files {
    /// Creates the folder where it is missing, and clears away what a crash has left half done.
    ///
    /// # Errors
    /// When it cannot be created or read.
    pub fn open(dir: &Path, limits: Limits) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let (mut all, mut names) = (BTreeMap::new(), Vec::new());
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string());
        }
        for id in names.iter().filter_map(|name| name.strip_suffix(".json")).filter(|id| Meta::is_id(id)) {
            let told = fs::read(dir.join(format!("{id}.json")))?;
            match serde_json::from_slice::<Meta>(&told) {
                Ok(meta) if dir.join(id).is_file() => drop(all.insert(meta.id.clone(), meta)),
                Ok(_) => {}
                Err(error) => tracing::warn!(id, %error, "what is known of a file cannot be read; the file is removed"),
            }
        }
        for name in &names {
            let id = name.split('.').next().unwrap_or_default();
            // What a person has put there is not ours.
            if Meta::is_id(id) && !all.contains_key(id) {
                fs::remove_file(dir.join(name))?;
            }
        }
        let used = AtomicU64::new(all.values().map(|meta| meta.bytes).sum());
        Ok(Self(Arc::new(Folder { dir: dir.to_owned(), limits, all: RwLock::new(all), used })))
    }

    /// Begins a file that comes piece by piece.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub async fn upload(&self) -> Result<Upload, Error> {
        Upload::begin(self.clone()).await
    }

    /// What is known of a file of this key's.
    ///
    /// # Errors
    /// When there is none, or it is another's.
    pub fn get(&self, id: &str, key: Option<&str>) -> Result<Meta, Error> {
        let known = self.read().get(id).filter(|meta| meta.is_seen_by(key)).cloned();
        known.ok_or_else(|| Error::Unknown(id.chars().take(64).collect()))
    }

    /// Files of this key's, and whether there are more.
    ///
    /// # Errors
    /// When `after` is no file.
    pub fn list(&self, page: &Page, key: Option<&str>) -> Result<(Vec<Meta>, bool), Error> {
        if let Some(after) = &page.after {
            self.get(after, key)?;
        }
        let all = self.read();
        let after = |id: &str| page.after.as_deref().is_none_or(|after| if page.ascending { id > after } else { id < after });
        let wanted = |meta: &&Meta| meta.is_seen_by(key) && page.purpose.is_none_or(|purpose| meta.purpose == purpose) && after(&meta.id);
        let mut found: Vec<Meta> = if page.ascending {
            all.values().filter(wanted).take(page.limit + 1).cloned().collect()
        } else {
            all.values().rev().filter(wanted).take(page.limit + 1).cloned().collect()
        };
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        Ok((found, more))
    }

    /// The bytes of a file that is known.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_file(&self, id: &str) -> io::Result<File> {
        File::open(self.0.dir.join(id))
    }

    /// Removes a file. Who reads it reads on.
    ///
    /// # Errors
    /// When there is none, it is another's, or it cannot be removed.
    pub fn remove(&self, id: &str, key: Option<&str>) -> Result<(), Error> {
        let meta = self.get(id, key)?;
        fs::remove_file(self.told(&meta.id))?;
        if self.write_all().remove(&meta.id).is_some() {
            self.give_back(meta.bytes);
        }
        match fs::remove_file(self.0.dir.join(&*meta.id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Removes what has expired by this time, unless it is in use. Answers how many.
    pub fn expire(&self, now: Timestamp, used: &dyn Fn(&str) -> bool) -> usize {
        let over = |meta: &&Meta| meta.expires_at.is_some_and(|at| at <= now) && !used(&meta.id);
        let gone: Vec<Arc<str>> = self.read().values().filter(over).map(|meta| meta.id.clone()).collect();
        let removed = |id: &Arc<str>| match self.remove(id, None) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(id = &**id, %error, "an expired file cannot be removed");
                false
            }
        };
        gone.iter().filter(|id| removed(id)).count()
    }

    /// Takes a file that was written elsewhere on this disk, and that is on it as a whole. A repeat after a crash is
    /// welcome: of a file that is here already nothing is left there.
    ///
    /// # Errors
    /// When it cannot be moved here.
    pub fn adopt(&self, from: &Path, meta: Meta) -> Result<(), Error> {
        if self.read().contains_key(&meta.id) {
            return Ok(());
        }
        self.used().fetch_add(meta.bytes, Ordering::Relaxed);
        let adopted = self.write_told(&meta).and_then(|()| fs::rename(from, self.0.dir.join(&*meta.id))).and_then(|()| self.sync());
        if let Err(error) = adopted {
            self.give_back(meta.bytes);
            return Err(error.into());
        }
        self.write_all().insert(meta.id.clone(), meta);
        Ok(())
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used().load(Ordering::Relaxed)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Makes room for a piece of a file that has so many bytes already.
    pub(super) fn take(&self, have: u64, more: u64) -> Result<(), Error> {
        let Limits { file, total } = self.0.limits;
        if have + more > file {
            return Err(Error::TooLarge { limit: file });
        }
        let used = self.used().fetch_add(more, Ordering::Relaxed);
        if used + more > total {
            self.give_back(more);
            return Err(Error::NoRoom { limit: total, used });
        }
        Ok(())
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.used().fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Puts a part that is on disk as a whole in its place; its bytes have been taken.
    pub(super) fn keep(&self, part: &Path, meta: Meta) -> Result<Meta, Error> {
        let at = self.0.dir.join(&*meta.id);
        fs::rename(part, &at)?;
        if let Err(error) = self.write_told(&meta).and_then(|()| self.sync()) {
            let _ = fs::remove_file(at);
            return Err(error.into());
        }
        self.write_all().insert(meta.id.clone(), meta.clone());
        Ok(meta)
    }

    fn write_told(&self, meta: &Meta) -> io::Result<()> {
        let path = self.told(&meta.id);
        let part = path.with_extension("json.part");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        let written = file.write_all(&serde_json::to_vec(meta)?).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written
    }

    fn told(&self, id: &str) -> PathBuf {
        self.0.dir.join(format!("{id}.json"))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0.dir)?.sync_all()
    }

    fn used(&self) -> &AtomicU64 {
        &self.0.used
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Arc<str>, Meta>> {
        self.0.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<Arc<str>, Meta>> {
        self.0.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}
