//! Where a secret is; the file itself never has one.

use std::fmt;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::error::Error;

/// A reference to a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`: an environment variable.
    Env(String),
    /// `file:PATH`: a file that has nothing else.
    File(PathBuf),
}

impl SecretRef {
    /// Reads the secret.
    ///
    /// # Errors
    /// When the variable or the file is missing or empty. The error has only the reference.
    pub fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Error> {
        let failed = |why: String| Error::Secret { reference: self.clone(), why };
        let secret = match self {
            Self::Env(name) => env(name).ok_or_else(|| failed("the environment variable is not set".into()))?,
            Self::File(path) => std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?,
        };
        // Editors and `echo` end a file with a line break that is no part of the secret.
        let secret = secret.trim();
        if secret.is_empty() {
            return Err(failed("it is empty".into()));
        }
        Ok(secret.into())
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match text.split_once(':') {
            Some(("env", name)) if is_name(name) => Ok(Self::Env(name.into())),
            Some(("env", _)) => Err(D::Error::custom("after `env:` comes the name of an environment variable: letters, digits and _")),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("file", _)) => Err(D::Error::custom("after `file:` comes the path of a file")),
            Some(_) | None => Err(D::Error::custom("a secret does not belong in this file; say where it is: env:NAME or file:PATH")),
        }
    }
}
