//! One message to one receiver.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::Timestamp;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};

use super::address::{PublicOnly, target};
use super::document::{Document, Outcome};
use super::{Settings, Subjects};

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(5);

/// The connections, which are kept for the next message.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// For receivers that the operator names.
    named: Client,
    public: Option<Client>,
}

impl Sender {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        // A redirect would lead where nobody has looked, and a proxy looks names up for itself.
        let builder = || {
            Client::builder()
                .redirect(Policy::none())
                .no_proxy()
                .connect_timeout(CONNECT)
                .pool_max_idle_per_host(1)
                .user_agent(concat!("pullyard/", env!("CARGO_PKG_VERSION")))
        };
        let public = builder().dns_resolver(Arc::new(PublicOnly)).https_only(true).build().ok();
        // A machine without certificates can still reach a receiver that has none.
        let named = builder().build().or_else(|_| builder().tls_certs_only([]).build())?;
        Ok(Self { named, public })
    }

    /// Sends a document's event once.
    pub(super) async fn send(&self, document: &Document, subjects: &dyn Subjects, settings: &Settings, now: Timestamp) -> Outcome {
        let target = match target(&document.webhook.url, &settings.allow) {
            Ok(target) => target,
            Err(why) => return Outcome::Never(why),
        };
        let body = match body(document, subjects).await {
            Ok(Some(body)) => body,
            Ok(None) => return Outcome::Never("what it is about is no longer kept".to_owned()),
            Err(why) => return Outcome::Again { why, after: None },
        };
        let Some(client) = (if target.named { Some(&self.named) } else { self.public.as_ref() }) else {
            return Outcome::Again { why: "this machine has no certificates to know a receiver by".to_owned(), after: None };
        };
        let (id, seconds) = (document.message_id(), now.0 / 1000);
        let mut request = client
            .post(target.url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds)
            .timeout(settings.timeout);
        if let Some(secret) = &settings.secret {
            request = request.header("webhook-signature", secret.sign(&id, seconds, &body));
        }
        // The answer's body is not read: what it says changes nothing.
        match request.body(body).send().await {
            Ok(answer) => outcome(answer.status(), answer.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok())),
            Err(error) => Outcome::Again { why: cause(&error), after: None },
        }
    }
}

fn outcome(status: StatusCode, retry_after: Option<&str>) -> Outcome {
    if status.is_success() {
        return Outcome::Delivered;
    }
    let why = match status.canonical_reason() {
        Some(reason) => format!("the receiver answered {} {reason}", status.as_u16()),
        None => format!("the receiver answered {}", status.as_u16()),
    };
    // Such a receiver says that it wants no more.
    if status == StatusCode::GONE {
        return Outcome::Never(why);
    }
    if status.is_redirection() {
        return Outcome::Again { why: format!("{why}, and redirects are not followed"), after: None };
    }
    Outcome::Again { why, after: retry_after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs) }
}

/// What Standard Webhooks recommends: type, time, data.
async fn body(document: &Document, subjects: &dyn Subjects) -> Result<Option<Bytes>, String> {
    let data = match (&document.data, document.job()) {
        (Some(data), _) => Bytes::copy_from_slice(data.get().as_bytes()),
        (None, Some(job)) => match subjects.shown(job, document.webhook.result).await? {
            Some(data) => data,
            None => return Ok(None),
        },
        (None, None) => return Ok(None),
    };
    let at = document.at.unwrap_or_default();
    let time = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let event = serde_json::to_string(document.event.as_deref().unwrap_or_default()).map_err(|e| e.to_string())?;
    let mut body = format!("{{\"type\":{event},\"timestamp\":\"{time}\",\"data\":").into_bytes();
    body.extend_from_slice(&data);
    body.push(b'}');
    Ok(Some(body.into()))
}

/// The innermost reason, without the address, which may have a secret in it.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the receiver did not answer in time".to_owned();
    }
    let mut inner = error.source();
    while let Some(next) = inner.and_then(|error| error.source()) {
        inner = Some(next);
    }
    inner.map_or_else(|| "the receiver cannot be reached".to_owned(), |error| format!("the receiver cannot be reached: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_counts() {
        let of = |status: u16, after| outcome(StatusCode::from_u16(status).unwrap(), after);
        assert_eq!((of(200, None), of(204, None)), (Outcome::Delivered, Outcome::Delivered));
        assert!(matches!(of(410, None), Outcome::Never(why) if why == "the receiver answered 410 Gone"));
        assert!(matches!(of(503, Some("7")), Outcome::Again { after: Some(after), .. } if after == Duration::from_secs(7)));
        assert!(matches!(of(302, None), Outcome::Again { why, after: None } if why.ends_with("redirects are not followed")));
        assert!(matches!(of(404, Some("tomorrow")), Outcome::Again { after: None, .. }));
    }
}
