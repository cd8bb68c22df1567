//! Who may be told of ends, and how.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::error::Error;
use super::secret::SecretRef;
use super::units;
use crate::hooks::{Allow, Prefix, Secret, Settings};

/// `webhooks` in the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// What messages are signed with.
    pub secret: Option<SecretRef>,
    /// Beginnings of the addresses that may be told; `https` on the public internet where it is left out.
    #[serde(deserialize_with = "allow")]
    pub allow: Allow,
    /// How long a receiver may take to answer.
    #[serde(deserialize_with = "units::duration")]
    pub timeout: Duration,
    /// The wait before the second attempt; doubles with each further one, up to four hours.
    #[serde(deserialize_with = "units::duration")]
    pub backoff: Duration,
    #[serde(deserialize_with = "units::duration")]
    pub give_up_after: Duration,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            secret: None,
            allow: Allow::Public,
            timeout: Duration::from_secs(15),
            backoff: Duration::from_secs(5),
            give_up_after: Duration::from_secs(24 * 3600),
        }
    }
}

impl Webhooks {
    /// With the secret itself.
    ///
    /// # Errors
    /// When the reference leads nowhere, or to what is no secret.
    pub fn settings(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Error> {
        let read = |reference: &SecretRef| {
            Secret::parse(&reference.resolve(env)?).map_err(|why| Error::Secret { reference: reference.clone(), why })
        };
        let secret = self.secret.as_ref().map(read).transpose()?;
        let Self { timeout, backoff, give_up_after, .. } = *self;
        Ok(Settings { secret, allow: self.allow.clone(), timeout, backoff, give_up_after })
    }
}

fn allow<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Allow, D::Error> {
    let Some(prefixes) = Option::<Vec<String>>::deserialize(deserializer)? else { return Ok(Allow::Public) };
    let parse = |text: &String| Prefix::parse(text).map_err(|why| D::Error::custom(format!("{}: {why}", units::quoted(text))));
    prefixes.iter().map(parse).collect::<Result<_, _>>().map(Allow::Only)
}
