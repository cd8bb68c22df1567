//! From a connection to a request: whose it is, and its body, bounded before it is read.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body as _, Incoming};
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::decompress::Coding;
use super::error::Error;
use super::server::Limits;
use super::{App, Request};

/// With no keys configured everybody may; with keys, the hash of what was sent is compared with each in constant time.
pub(super) fn authorize(app: &App, headers: &HeaderMap) -> Result<Option<Arc<str>>, Error> {
    let live = app.live_config();
    if live.keys.is_empty() {
        return Ok(None);
    }
    let credentials = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '));
    // The scheme's name is the same in any case (RFC 9110 §11.1).
    let bearer = credentials.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key);
    let sent = bearer.or_else(|| headers.get("x-api-key").and_then(|v| v.to_str().ok())).ok_or_else(Error::unauthorized)?;
    let hash: [u8; 32] = Sha256::digest(sent.trim().as_bytes()).into();
    let mut name = None;
    for (known, of) in &live.keys {
        if bool::from(known.ct_eq(&hash)) {
            name = Some(of.clone());
        }
    }
    name.map(Some).ok_or_else(Error::unauthorized)
}

/// A request whose body is still to come.
pub(super) struct Unread {
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    pub(super) key: Option<Arc<str>>,
    pub(super) limits: Limits,
}

impl Unread {
    pub(super) async fn read(self, limit: u64) -> Result<Request, Error> {
        let Self { headers, body, key, limits } = self;
        let idempotency_key = match headers.get("idempotency-key") {
            None => None,
            Some(value) => match value.to_str() {
                Ok(text) if !text.is_empty() && text.len() <= 255 => Some(text.to_owned()),
                _ => return Err(Error::bad_request("Idempotency-Key", "`Idempotency-Key` must be 1 to 255 printable ASCII characters")),
            },
        };
        let coding = Coding::of(&headers)?;
        let mut body = tokio::time::timeout(limits.body_timeout, read_body(body, limit))
            .await
            .map_err(|_| Error::bad_request("", "the body did not arrive in time"))??;
        if let Some(coding) = coding {
            body = coding.decode(body, limit).await?;
        }
        Ok(Request { body, headers, key, idempotency_key })
    }
}

/// Bounded before it is read: a body that says it is too large is refused unread.
async fn read_body(mut body: Incoming, limit: u64) -> Result<Bytes, Error> {
    if body.size_hint().lower() > limit {
        return Err(Error::too_large(limit));
    }
    let expected = usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(0);
    let mut whole = BytesMut::new();
    let mut single: Option<Bytes> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Error::bad_request("", format!("the body was cut: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if (whole.len() + single.as_ref().map_or(0, Bytes::len) + data.len()) as u64 > limit {
            return Err(Error::too_large(limit));
        }
        match (single.take(), whole.is_empty()) {
            (None, true) => single = Some(data),
            (first, _) => {
                // What was announced is believed as far as it has begun to come.
                whole.reserve(expected.min(1 << 20).saturating_sub(whole.len()));
                whole.extend_from_slice(&first.unwrap_or_default());
                whole.extend_from_slice(&data);
            }
        }
    }
    // A piece of the connection's read buffer would keep all of it for as long as the job waits.
    Ok(single.map_or_else(|| whole.freeze(), |data| Bytes::copy_from_slice(&data)))
}
