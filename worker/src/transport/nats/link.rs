//! The connection, and whether it stands.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, ClientError, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Error, Names, PATIENCE};
use crate::transport::BoxFuture;

/// How to reach NATS, and what this side may do there.
#[derive(Clone, Debug)]
pub struct Options {
    /// `nats://host:4222` or `tls://host:4222`; several for one cluster.
    pub servers: Vec<String>,
    /// Several yards may share a server; each has its own.
    pub prefix: String,
    pub auth: Auth,
    pub tls: Option<Tls>,
    /// Copies of each stream, for the broker.
    pub replicas: u32,
    /// Where the streams are, for the broker.
    pub storage: Storage,
    pub role: Role,
    /// Shown in the server's list of connections.
    pub name: String,
}

impl Options {
    #[must_use]
    pub fn new(server: &str, role: Role) -> Self {
        Self {
            servers: vec![server.to_owned()],
            prefix: "yard".to_owned(),
            auth: Auth::None,
            tls: None,
            replicas: 1,
            storage: Storage::File,
            role,
            name: format!("pullyard {}", role.as_str()),
        }
    }
}

/// Who connects. The secrets are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    #[default]
    None,
    UserPassword {
        user: String,
        password: String,
    },
    Token(String),
    /// A seed, beginning with `SU`.
    NKey(String),
    /// What a `.creds` file has: a JWT and a seed.
    Credentials(String),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::UserPassword { user, .. } => write!(f, "UserPassword({user})"),
            Self::Token(_) => f.write_str("Token"),
            Self::NKey(_) => f.write_str("NKey"),
            Self::Credentials(_) => f.write_str("Credentials"),
        }
    }
}

/// How the server is known, and how this side is. `tls://` in an address is enough where the usual authorities vouch for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities beyond the usual ones, as PEM.
    pub ca: Option<PathBuf>,
    /// This side's certificate and key, as PEM.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The handshake comes before the server's first line, as its `handshake_first` wants it.
    pub first: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    #[default]
    File,
    Memory,
}

/// What a connection is for: its NATS user may be allowed no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Broker,
    /// A worker on the operator's own machines.
    Local,
    /// A worker whose backends are somebody else's.
    Cloud,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Local => "local",
            Self::Cloud => "cloud",
        }
    }
}

/// Whether the connection stands now. The epoch counts how often it came up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    pub epoch: u64,
    pub up: bool,
    /// The last thing that went wrong.
    pub why: Option<Arc<str>>,
}

/// A connection that comes back by itself. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Link {
    pub(super) client: Client,
    pub(super) jetstream: jetstream::Context,
    pub(super) names: Names,
    pub(super) options: Arc<Options>,
    state: watch::Receiver<LinkState>,
}

impl Link {
    /// Begins to connect, and goes on trying for as long as it lives.
    ///
    /// # Errors
    /// When the addresses or credentials cannot be right wherever the server is.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let (changes, state) = watch::channel(LinkState { epoch: 0, up: false, why: None });
        let servers = addresses(&options.servers)?;
        let mut connect = authenticated(&options.auth)?
            .name(&options.name)
            .custom_inbox_prefix(Names::new(&options.prefix).inbox(options.role.as_str()))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            // A cable that was pulled out is noticed after two unanswered ones.
            .ping_interval(Duration::from_secs(2))
            .reconnect_delay_callback(|attempts| Duration::from_millis((50 << attempts.min(5)).min(1_000)))
            .subscription_capacity(1 << 16)
            .event_callback(move |event| {
                note(&changes, &event);
                std::future::ready(())
            });
        if let Some(tls) = &options.tls {
            connect = secured(connect, tls)?;
        }
        let unreachable = |e: async_nats::ConnectError| Error::Unreachable { servers: options.servers.join(", "), why: e.to_string() };
        let client = connect.connect(servers).await.map_err(unreachable)?;
        let jetstream = jetstream::context::ContextBuilder::new().timeout(PATIENCE).ack_timeout(PATIENCE).build(client.clone());
        let names = Names::new(&options.prefix);
        Ok(Self { client, jetstream, names, options: Arc::new(options), state })
    }

    /// Waits until the connection stands for the first time.
    ///
    /// # Errors
    /// When it does not within `patience`, or the server is too old.
    pub async fn ready(&self, patience: Duration) -> Result<(), Error> {
        let mut state = self.state.clone();
        let up = tokio::time::timeout(patience, state.wait_for(|s| s.up)).await;
        if !matches!(up, Ok(Ok(_))) {
            let why = self.state.borrow().why.clone();
            let why = why.map_or_else(|| format!("no answer within {patience:?}"), |why| why.to_string());
            return Err(Error::Unreachable { servers: self.servers(), why });
        }
        self.compatible()
    }

    /// # Errors
    /// When the server is older than 2.12.
    pub fn compatible(&self) -> Result<(), Error> {
        if self.client.is_server_compatible(2, 12, 0) {
            return Ok(());
        }
        let info = self.client.server_info();
        Err(Error::TooOld { server: format!("{}:{}", info.host, info.port), found: info.version })
    }

    #[must_use]
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    #[must_use]
    pub fn servers(&self) -> String {
        self.options.servers.join(", ")
    }

    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The most that goes into one message besides its head. Far below what servers allow by default, because a long one
    /// holds up all that come behind it.
    pub(super) fn room(&self) -> usize {
        self.client.try_server_info().map_or(1 << 20, |info| info.max_payload).min(1 << 20).saturating_sub(HEAD).max(1 << 10)
    }
}

/// Room for what is not payload: headers, subject, an offer or a report.
const HEAD: usize = 16 << 10;

fn note(changes: &watch::Sender<LinkState>, event: &Event) {
    changes.send_modify(|state| match event {
        Event::Connected => {
            if state.epoch > 0 {
                tracing::info!("NATS is reached again");
            }
            *state = LinkState { epoch: state.epoch + 1, up: true, why: None };
        }
        Event::Disconnected | Event::Closed => {
            if state.up {
                tracing::warn!("the connection to NATS is lost; it is tried again until it stands");
            }
            state.up = false;
        }
        Event::ServerError(error) => complain(state, &error.to_string()),
        // Somebody may be about to put that right at the server, so it is tried on.
        Event::ClientError(ClientError::Other(why)) if why == "authorization violation" => {
            complain(state, "the server refuses the user or its password, token or key");
        }
        Event::ClientError(ClientError::Other(why)) => complain(state, why),
        Event::ClientError(error) => complain(state, &error.to_string()),
        Event::SlowConsumer(_) => {
            tracing::warn!("messages of NATS came faster than they could be read; what was missed is asked for again");
        }
        Event::LameDuckMode | Event::Draining => {}
    });
}

fn complain(state: &mut LinkState, why: &str) {
    if state.why.as_deref() != Some(why) {
        tracing::warn!("NATS: {why}");
        state.why = Some(why.into());
    }
}

fn addresses(urls: &[String]) -> Result<Vec<ServerAddr>, Error> {
    let wrong = |url: &str, why: String| Error::Address { url: url.to_owned(), why };
    if urls.is_empty() {
        return Err(wrong("", "there is none".to_owned()));
    }
    urls.iter().map(|url| url.parse().map_err(|e: std::io::Error| wrong(url, e.to_string()))).collect()
}

fn authenticated(auth: &Auth) -> Result<ConnectOptions, Error> {
    Ok(match auth {
        Auth::None => ConnectOptions::new(),
        Auth::UserPassword { user, password } => ConnectOptions::with_user_and_password(user.clone(), password.clone()),
        Auth::Token(token) => ConnectOptions::with_token(token.clone()),
        Auth::NKey(seed) => ConnectOptions::with_nkey(seed.clone()),
        Auth::Credentials(text) => ConnectOptions::with_credentials(text).map_err(|e| Error::Credentials(e.to_string()))?,
    })
}

fn secured(mut connect: ConnectOptions, tls: &Tls) -> Result<ConnectOptions, Error> {
    connect = connect.require_tls(true);
    if let Some(ca) = &tls.ca {
        connect = connect.add_root_certificates(ca.clone());
    }
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => connect = connect.add_client_certificate(cert.clone(), key.clone()),
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => {
            return Err(Error::Credentials("a client's certificate needs its key, and a key its certificate".to_owned()));
        }
    }
    Ok(if tls.first { connect.tls_first() } else { connect })
}

/// Runs these until what is returned is dropped.
pub(super) fn background(tasks: impl IntoIterator<Item = BoxFuture<'static, ()>>) -> DropGuard {
    let stop = CancellationToken::new();
    for task in tasks {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }
    stop.drop_guard()
}

/// The guard of what both sides keep under a lock for a moment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
