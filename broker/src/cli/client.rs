//! A small client of the broker's HTTP API.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::out::note;

/// A large body on a slow line takes its time; an answer that waits for nothing does not.
const TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no broker answers at {url}{why}; start one with `pullyard serve`")]
    NoBroker { url: String, why: String },
    /// It was connected, and then was not.
    #[error("the connection to the broker broke: {0}")]
    Broken(String),
    #[error("{message}")]
    Refused { status: u16, message: String },
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Failed(String),
    /// The reader of our output has seen enough.
    #[error("the output was closed")]
    Closed,
    /// The user has been told already.
    #[error("")]
    Told,
}

impl Error {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Refused { .. } | Self::Failed(_) | Self::Told => 1,
            Self::Usage(_) => 2,
            Self::NoBroker { .. } | Self::Broken(_) => 3,
        }
    }

    pub(super) fn tell(&self) {
        if !matches!(self, Self::Closed | Self::Told) {
            note(&format!("error: {self}"));
        }
    }

    pub(super) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::Failed(format!("the output cannot be written: {error}"))
        }
    }
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    headers: HeaderMap,
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        Self::with_key(url, std::env::var("PULLYARD_API_KEY").ok().as_deref())
    }

    pub(super) fn with_key(url: &str, key: Option<&str>) -> Result<Self, Error> {
        let wrong = || Error::Usage("the broker's URL must be like http://127.0.0.1:8787".to_owned());
        let mut base = Url::parse(url).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(wrong());
        }
        // The base URL that is configured for other clients of such APIs ends so.
        let path = base.path().trim_end_matches('/');
        let path = path.strip_suffix("/v1").unwrap_or(path).to_owned();
        base.set_path(&path);
        base.set_query(None);
        let mut headers = HeaderMap::new();
        if let Some(key) = key.map(str::trim).filter(|key| !key.is_empty()) {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| Error::Usage("PULLYARD_API_KEY holds characters that no key has".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // A redirect would take the key elsewhere.
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).redirect(reqwest::redirect::Policy::none());
        if matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            // A proxy would look for the broker on its own machine.
            http = http.no_proxy();
        }
        if base.scheme() == "http" {
            // A machine without certificates can still talk to a broker that has none.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|e| Error::Failed(format!("the HTTP client cannot be set up: {}", reason(&e))))?;
        Ok(Self { http, base, headers })
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.at(&[&["v1"], path].concat());
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url).headers(self.headers.clone())
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// What the broker says of itself. Without the key, so that a wrong one is no reason to restart it.
    pub(super) async fn ready(&self) -> Result<Bytes, Error> {
        self.whole(self.http.get(self.at(&["readyz"]))).await
    }

    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Bytes, Error> {
        self.whole(self.request(Method::GET, path, query)).await
    }

    pub(super) async fn post(&self, path: &[&str], body: Vec<u8>, idempotency_key: Option<&str>) -> Result<Bytes, Error> {
        let mut request = self.request(Method::POST, path, &[]);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        self.whole(request.body(body)).await
    }

    /// Sends a file for a batch, as it is read. A slow line may take as long as it needs.
    pub(super) async fn upload(&self, path: &Path, name: &str) -> Result<Bytes, Error> {
        const BOUNDARY: &str = "pullyard-7c339a516f0d5f6f2b10";
        let unread = |e: io::Error| Error::Usage(format!("{} cannot be read: {e}", path.display()));
        let file = tokio::fs::File::open(path).await.map_err(unread)?;
        let length = file.metadata().await.map_err(unread)?.len();
        let name: String = name.chars().filter(|c| !c.is_control()).collect::<String>().replace('"', "%22");
        let part = |rest: &str| format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {rest}\r\n\r\n");
        let head = format!("{}batch\r\n{}", part("name=\"purpose\""), part(&format!("name=\"file\"; filename=\"{name}\"")));
        let tail = format!("\r\n--{BOUNDARY}--\r\n");
        let whole = head.len() as u64 + length + tail.len() as u64;
        let pieces = futures_util::stream::try_unfold(file, |mut file| async move {
            let mut piece = Vec::with_capacity(64 << 10);
            let read = (&mut file).take(64 << 10).read_to_end(&mut piece).await?;
            Ok::<_, io::Error>((read > 0).then_some((Bytes::from(piece), file)))
        });
        let once = |text: String| futures_util::stream::once(async { Ok::<_, io::Error>(Bytes::from(text)) });
        let body = reqwest::Body::wrap_stream(once(head).chain(pieces).chain(once(tail)));
        let request = self.request(Method::POST, &["files"], &[]);
        let request = request.header(CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}")).header(CONTENT_LENGTH, whole);
        let response = request.body(body).send().await.map_err(|e| self.failed(&e))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| self.failed(&e))?;
        if status.is_success() { Ok(body) } else { Err(refused(status.as_u16(), &body)) }
    }

    /// Writes what is there to a file or the like, as it comes.
    pub(super) async fn download(&self, path: &[&str], to: &mut (impl io::Write + Send)) -> Result<(), Error> {
        let mut response = self.request(Method::GET, path, &[]).send().await.map_err(|e| self.failed(&e))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status.as_u16(), &response.bytes().await.map_err(|e| self.failed(&e))?));
        }
        while let Some(piece) = response.chunk().await.map_err(|e| self.failed(&e))? {
            to.write_all(&piece).map_err(Error::output)?;
        }
        Ok(())
    }

    pub(super) async fn delete(&self, path: &[&str]) -> Result<Bytes, Error> {
        self.whole(self.request(Method::DELETE, path, &[])).await
    }

    /// A job's events, from behind `seen` on; the caller reads the body.
    pub(super) async fn stream(&self, id: &str, seen: Option<&str>) -> Result<Response, Error> {
        let mut request = self.request(Method::GET, &["jobs", id, "stream"], &[]);
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let response = request.send().await.map_err(|e| self.failed(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(|e| self.failed(&e))?;
        Err(refused(status, &body))
    }

    async fn whole(&self, request: RequestBuilder) -> Result<Bytes, Error> {
        let response = request.timeout(TIMEOUT).send().await.map_err(|e| self.failed(&e))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| self.failed(&e))?;
        if status.is_success() { Ok(body) } else { Err(refused(status.as_u16(), &body)) }
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        if !error.is_connect() {
            return Error::Broken(reason(error));
        }
        let why = reason(error);
        let why = if why.contains("refused") { String::new() } else { format!(" ({why})") };
        let mut url = self.base.clone();
        let _ = url.set_password(None);
        Error::NoBroker { url: url.as_str().trim_end_matches('/').to_owned(), why }
    }
}

/// What the broker answered, as JSON.
pub(super) fn json(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|_| Error::Failed("what answered is not a Pullyard broker: it sent no JSON".to_owned()))
}

fn refused(status: u16, body: &[u8]) -> Error {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = match value["error"]["message"].as_str() {
        Some(message) if status == 401 => format!("{message} (set PULLYARD_API_KEY)"),
        Some(message) => message.to_owned(),
        None => format!("the answer has status {status} and is not a Pullyard broker's"),
    };
    Error::Refused { status, message }
}

/// The innermost cause: the outer ones only say that a request failed.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() && error.source().is_none() { "it took too long".to_owned() } else { cause.to_string() }
}
