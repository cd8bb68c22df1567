//! How the parts of a fleet find each other: `transport`, `nats` and `worker` in the file.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use pullyard_schemas::WorkerId;
pub use pullyard_worker::transport::nats::{Auth, Storage, Tls};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::{Error, Fault};
use super::secret::SecretRef;
use super::units::quoted;

/// What lies between broker and workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// The broker's own process has the workers.
    Embedded,
    /// Workers are on other machines, and NATS with JetStream is between.
    Nats,
}

impl Transport {
    /// As the file says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Nats => "nats",
        }
    }
}

/// The NATS servers, and how to be let in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// One cluster; any of them will do.
    #[serde(deserialize_with = "one_or_more")]
    pub servers: Vec<String>,
    /// The first part of every subject; several yards can use one cluster by different ones.
    pub prefix: String,
    /// No secret: its password is one.
    pub user: Option<String>,
    pub password: Option<SecretRef>,
    pub token: Option<SecretRef>,
    /// The seed of an NKey.
    pub nkey: Option<SecretRef>,
    /// The contents of a `.creds` file.
    pub creds: Option<SecretRef>,
    /// Certificates; without any those of the system count, and `tls://` in an address is enough.
    #[serde(deserialize_with = "tls")]
    pub tls: Option<Tls>,
    /// How many servers keep each stream.
    pub replicas: u32,
    #[serde(with = "StorageNames")]
    pub storage: Storage,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            prefix: "yard".into(),
            user: None,
            password: None,
            token: None,
            nkey: None,
            creds: None,
            tls: None,
            replicas: 1,
            storage: Storage::File,
        }
    }
}

// The transport's own types with the file's notation, so that fields and defaults are said once.

#[derive(Deserialize)]
#[serde(remote = "Storage", rename_all = "snake_case")]
enum StorageNames {
    File,
    Memory,
}

#[derive(Deserialize)]
#[serde(remote = "Tls", default = "Tls::default", deny_unknown_fields)]
struct TlsFields {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    first: bool,
}

fn tls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tls>, D::Error> {
    #[derive(Deserialize)]
    struct Given(#[serde(with = "TlsFields")] Tls);
    Ok(Option::<Given>::deserialize(deserializer)?.map(|Given(tls)| tls))
}

impl Nats {
    /// Reads the secrets.
    ///
    /// # Errors
    /// When one of them is not where the file says.
    pub fn login(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Auth, Error> {
        let read = |secret: &SecretRef| secret.resolve(env);
        if let Some(user) = &self.user {
            let password = self.password.as_ref().map(read).transpose()?.unwrap_or_default();
            return Ok(Auth::UserPassword { user: user.clone(), password });
        }
        if let Some(token) = &self.token {
            return Ok(Auth::Token(read(token)?));
        }
        if let Some(seed) = &self.nkey {
            return Ok(Auth::NKey(read(seed)?));
        }
        self.creds.as_ref().map_or(Ok(Auth::None), |creds| Ok(Auth::Credentials(read(creds)?)))
    }

    /// It is not said how to be let in.
    pub(crate) fn has_no_login(&self) -> bool {
        let Self { user, password, token, nkey, creds, .. } = self;
        user.is_none() && [password, token, nkey, creds].into_iter().all(Option::is_none)
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        for (i, server) in self.servers.iter().enumerate() {
            check_server(server).map_err(|why| Fault::new(format!("nats.servers[{i}]"), why))?;
        }
        parse_prefix(&self.prefix).map_err(|why| Fault::new("nats.prefix", why))?;
        let ways = [
            ("user", self.user.is_some()),
            ("token", self.token.is_some()),
            ("nkey", self.nkey.is_some()),
            ("creds", self.creds.is_some()),
        ];
        let mut given = ways.into_iter().filter(|(_, given)| *given).map(|(name, _)| name);
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            return Err(Fault::new(format!("nats.{second}"), format!("there is a `{first}` too; say only one way to be let in")));
        }
        if self.user.is_some() != self.password.is_some() {
            let (there, missing) = if self.user.is_some() { ("user", "password") } else { ("password", "user") };
            return Err(Fault::new(format!("nats.{there}"), format!("this needs a `{missing}` beside it")));
        }
        if self.user.as_ref().is_some_and(String::is_empty) {
            return Err(Fault::new("nats.user", "this is empty; say a name, or leave `user` and `password` out"));
        }
        if let Some(tls) = &self.tls
            && tls.cert.is_some() != tls.key.is_some()
        {
            let (there, missing) = if tls.cert.is_some() { ("cert", "key") } else { ("key", "cert") };
            return Err(Fault::new(format!("nats.tls.{there}"), format!("this needs a `{missing}` beside it")));
        }
        super::validate::range("nats.replicas", self.replicas, 1, 5)
    }
}

/// Whether this is an address of a NATS server, without a secret in it.
///
/// # Errors
/// What is wrong and what would be right.
pub fn check_server(server: &str) -> Result<(), String> {
    let right = "say one such as nats://broker:4222 or tls://nats.example.com:4222";
    let address = server.strip_prefix("nats://").or_else(|| server.strip_prefix("tls://"));
    let Some(address) = address.filter(|address| !address.trim_end_matches('/').is_empty()) else {
        // What is no address may be a secret in the wrong place.
        return Err(format!("this is no address of a NATS server; {right}"));
    };
    if address.contains('@') {
        return Err(format!("an address here has no user, password or token; say their place in `user` and `password`, and {right}"));
    }
    let host = address.trim_end_matches('/');
    let port = host.rsplit_once(':').filter(|(name, _)| !name.contains(':') || name.ends_with(']'));
    let odd = host.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#,".contains(c));
    if odd || port.is_some_and(|(name, port)| name.is_empty() || port.parse::<u16>().is_err()) {
        return Err(format!("{} is no address of a NATS server; {right}", quoted(server)));
    }
    Ok(())
}

/// Checks the first part of every subject.
///
/// # Errors
/// What is wrong and what would be right.
pub fn parse_prefix(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if (1..=32).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is no prefix; say up to 32 small letters, digits, - and _", quoted(text)))
}

/// The worker in this process, or the one that `pullyard worker` runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// The machine's name where absent.
    #[serde(deserialize_with = "worker_name")]
    pub name: Option<WorkerId>,
    /// What follows from the backends where absent.
    pub role: Option<Role>,
}

/// Whose machine a worker is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The operator's: it may have jobs that must not leave.
    Local,
    /// Somebody else's: whatever its addresses look like, all its backends count as cloud.
    Cloud,
}

/// Checks a worker's name, which is part of subjects and addresses.
///
/// # Errors
/// What is wrong and what would be right.
pub fn parse_worker_name(text: &str) -> Result<WorkerId, String> {
    let right = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=64).contains(&text.len()) && text.chars().all(right) {
        return Ok(WorkerId(text.into()));
    }
    Err(format!("{} is no name for a worker; say up to 64 letters, digits, - and _", quoted(text)))
}

/// The nearest name that a worker may have.
#[must_use]
pub fn as_worker_name(machine: &str) -> WorkerId {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let name: String = machine.chars().map(fits).take(64).collect();
    WorkerId(if name.is_empty() { "local".into() } else { Arc::from(name) })
}

fn worker_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WorkerId>, D::Error> {
    Option::<String>::deserialize(deserializer)?.as_deref().map(parse_worker_name).transpose().map_err(D::Error::custom)
}

/// A text, or a list of them.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct TextOrList;

    impl<'de> Visitor<'de> for TextOrList {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a server's address, or a list of them: [nats://a:4222, nats://b:4222]")
        }

        fn visit_str<E: serde::de::Error>(self, one: &str) -> Result<Vec<String>, E> {
            Ok(vec![one.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_any(TextOrList)
}
