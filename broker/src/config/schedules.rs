//! Jobs that recur, as the file says them.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::tz::TimeZone;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::units::quoted;
use crate::core::cron::Cron;
use crate::schedules::{Missed, Overlap, Recurring};

/// One of `schedules` in the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    #[serde(deserialize_with = "name")]
    pub name: Arc<str>,
    #[serde(deserialize_with = "cron")]
    pub cron: Cron,
    /// UTC where it is left out.
    #[serde(default = "utc", deserialize_with = "zone")]
    pub zone: TimeZone,
    /// A body of `POST /v1/jobs`, or else in `file`.
    #[serde(default)]
    pub request: Option<Map<String, Value>>,
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// The name of the API key that its jobs count for.
    #[serde(default)]
    pub key: Option<Arc<str>>,
    #[serde(default)]
    pub missed: Missed,
    #[serde(default)]
    pub overlap: Overlap,
}

impl Schedule {
    /// With its request, from wherever it is.
    ///
    /// # Errors
    /// A message that says what is wrong with the request.
    pub fn recurring(&self) -> Result<Recurring, String> {
        let request = match (&self.request, &self.file) {
            (Some(request), _) => serde_json::to_vec(request).map_err(|e| e.to_string())?,
            (None, Some(file)) => {
                let text = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
                let object: Result<Map<String, Value>, _> = serde_json::from_slice(&text);
                object.map_err(|e| format!("{} is not a JSON object: {e}", file.display()))?;
                text
            }
            (None, None) => return Err("there is no request".to_owned()),
        };
        let Self { name, cron, zone, key, missed, overlap, .. } = self.clone();
        Ok(Recurring { name, cron, zone, request: Bytes::from(request), key, missed, overlap })
    }
}

fn utc() -> TimeZone {
    TimeZone::UTC
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let fits = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let wrong = || D::Error::custom(format!("{} is no name for a schedule; say up to 64 letters, digits, -, _ and .", quoted(&text)));
    if fits { Ok(text.as_str().into()) } else { Err(wrong()) }
}

fn cron<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cron, D::Error> {
    Cron::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeZone, D::Error> {
    let name = String::deserialize(deserializer)?;
    TimeZone::get(&name)
        .map_err(|_| D::Error::custom(format!("no time zone {} is known; say one such as Europe/Berlin or UTC", quoted(&name))))
}
