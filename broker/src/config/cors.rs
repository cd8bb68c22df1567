//! Which pages of other origins may use the broker from a browser.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::Fault;
use super::units;

/// `cors` in the file; without it, no page of another origin may.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    pub origins: Origins,
    /// Whether browsers may send what they keep for this address, such as cookies of a proxy in front.
    pub credentials: bool,
    /// How long a browser need not ask again.
    #[serde(deserialize_with = "units::duration")]
    pub max_age: Duration,
}

impl Default for Cors {
    fn default() -> Self {
        Self { origins: Origins::None, credentials: false, max_age: Duration::from_secs(600) }
    }
}

impl Cors {
    /// Whether pages of this origin, as a browser writes it, may read what is answered.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match &self.origins {
            Origins::None => false,
            Origins::Any => true,
            Origins::Only(known) => known.iter().any(|known| known.eq_ignore_ascii_case(origin)),
        }
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.credentials && !matches!(self.origins, Origins::Only(_)) {
            return Err(Fault::new("cors.credentials", "credentials are for origins that are named; say them in `origins`"));
        }
        let Origins::Only(origins) = &self.origins else { return Ok(()) };
        origins.iter().enumerate().try_for_each(|(i, origin)| {
            let path = format!("cors.origins[{i}]");
            check_origin(origin).map_err(|message| Fault::new(path, message))
        })
    }
}

fn check_origin(origin: &str) -> Result<(), String> {
    if origin == "*" {
        return Err("`*` stands alone: `origins: \"*\"`".into());
    }
    let wrong = || "this is no origin; say scheme and host, and the port if it is not the usual one: `https://app.example`".to_owned();
    let url = Url::parse(origin).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") {
        // Of a program that is made of pages; what it calls itself is its own.
        let plain = origin.contains("://") && !origin.contains(char::is_whitespace);
        return if plain { Ok(()) } else { Err(wrong()) };
    }
    // A browser leaves out the usual port and writes no path.
    let right = url.origin().ascii_serialization();
    if right.eq_ignore_ascii_case(origin) { Ok(()) } else { Err(format!("browsers write this as `{right}`")) }
}

/// The origins whose pages may read what is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    #[default]
    None,
    /// `"*"`: all of them.
    Any,
    Only(Vec<String>),
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Origins;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of origins, or \"*\"")
            }

            fn visit_str<E>(self, text: &str) -> Result<Origins, E> {
                Ok(if text == "*" { Origins::Any } else { Origins::Only(vec![text.to_owned()]) })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Origins, A::Error> {
                let mut origins = Vec::new();
                while let Some(origin) = list.next_element()? {
                    origins.push(origin);
                }
                Ok(if origins.is_empty() { Origins::None } else { Origins::Only(origins) })
            }
        }
        deserializer.deserialize_any(Read)
    }
}
