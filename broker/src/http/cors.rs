//! Pages of other origins: which may read what is answered, and which may not even ask.
//!
//! A browser sends some requests across origins without asking first. Where there are keys, such a request has none and is
//! refused for that. Where there are none, any page that somebody visits could submit jobs to a broker on their machine, so
//! pages whose origin the configuration does not name are turned away.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Uri};

use crate::config::{Cors, Origins};

/// Where a request is from, as its browser says.
#[derive(Debug, PartialEq)]
pub(super) enum Visitor {
    /// From no page, or from one that gets its answer and may not read it.
    Nobody,
    /// Of an origin that the configuration names.
    Guest(HeaderValue),
    /// A page of the web that nobody has invited.
    Stranger(String),
}

impl Visitor {
    pub(super) fn of(cors: &Cors, keyless: bool, uri: &Uri, headers: &HeaderMap) -> Self {
        let Some(origin) = headers.get(ORIGIN) else { return Self::Nobody };
        // What is not text is of no page.
        let text = origin.to_str().unwrap_or_default();
        if cors.allows(text) {
            return Self::Guest(origin.clone());
        }
        // HTTP/2 has it in the address.
        let host = uri.authority().map(Authority::as_str).or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
        if keyless && is_of_the_web(text, host) { Self::Stranger(text.chars().take(200).collect()) } else { Self::Nobody }
    }
}

/// Pages of this machine and of the broker's own address are at home; so are programs that are made of pages, which come
/// from no host, such as `app://.` or `vscode-webview://…`.
fn is_of_the_web(origin: &str, own: Option<&str>) -> bool {
    let Some(authority) = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) else { return false };
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let host = bracketed.map_or_else(|| authority.split(':').next().unwrap_or_default(), |(host, _)| host);
    let loopback = host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    !loopback && own != Some(authority)
}

/// What every answer tells a browser, and the caches on the way.
pub(super) fn mark(cors: &Cors, visitor: &Visitor, headers: &mut HeaderMap) {
    // The same answer is another one for another origin.
    if matches!(cors.origins, Origins::Only(_)) {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    let Visitor::Guest(origin) = visitor else { return };
    let allowed = if matches!(cors.origins, Origins::Any) { HeaderValue::from_static("*") } else { origin.clone() };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if cors.credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    // By name, because `*` does not count where there are credentials.
    let shown: Vec<&str> = headers.keys().filter(|name| is_to_be_shown(name)).map(HeaderName::as_str).collect();
    if let Ok(shown) = HeaderValue::from_str(&shown.join(", ")) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, shown);
    }
}

/// What clients read; a page gets the type and the length anyway.
fn is_to_be_shown(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-") || matches!(name.as_str(), "request-id" | "retry-after" | "location" | "allow" | "www-authenticate")
}

/// What the browser of a page may send here, as it asks before it does.
pub(super) fn preflight(cors: &Cors, visitor: &Visitor, allowed: &str, asked: &HeaderMap, headers: &mut HeaderMap) {
    if matches!(cors.origins, Origins::None) || !asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return;
    }
    headers.insert(VARY, HeaderValue::from_static("access-control-request-method, access-control-request-headers"));
    let Visitor::Guest(_) = visitor else { return };
    if let Ok(methods) = HeaderValue::from_str(allowed) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    // SDKs send a dozen headers of their own, and a new one with each version. `*` would not stand for `Authorization`.
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|names| names.len() <= 4096) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, cors.max_age.as_secs().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(HeaderName, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn visitor(cors: &Cors, keyless: bool, origin: &'static str) -> Visitor {
        Visitor::of(cors, keyless, &Uri::default(), &headers(&[(ORIGIN, origin), (HOST, "yard.lan:8787")]))
    }

    fn only(origin: &str) -> Cors {
        Cors { origins: Origins::Only(vec![origin.into()]), ..Cors::default() }
    }

    #[test]
    fn a_page_that_nobody_invited_is_turned_away_where_there_are_no_keys() {
        let off = Cors::default();
        for origin in ["https://evil.example", "http://192.168.1.9:3000", "http://localhost.evil.example", "https://yard.lan"] {
            assert_eq!(visitor(&off, true, origin), Visitor::Stranger(origin.into()));
            assert_eq!(visitor(&off, false, origin), Visitor::Nobody, "its request has no key");
        }
        for origin in ["http://yard.lan:8787", "http://localhost:3000", "http://[::1]:3000", "https://127.0.0.1", "app://.", "null"] {
            assert_eq!(visitor(&off, true, origin), Visitor::Nobody, "{origin}");
        }
        assert_eq!(Visitor::of(&off, true, &Uri::default(), &HeaderMap::new()), Visitor::Nobody);
        assert_eq!(visitor(&only("https://a.example"), true, "https://a.example"), Visitor::Guest("https://a.example".parse().unwrap()));
    }

    #[test]
    fn an_answer_is_for_the_origin_that_asked() {
        let marked = |cors: &Cors, origin| {
            let mut marked = headers(&[(HeaderName::from_static("x-job-id"), "1"), (HeaderName::from_static("date"), "now")]);
            mark(cors, &visitor(cors, true, origin), &mut marked);
            marked
        };
        let told = |headers: &HeaderMap, name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap().to_owned());

        let own = marked(&Cors { credentials: true, ..only("https://a.example") }, "https://a.example");
        assert_eq!(told(&own, ACCESS_CONTROL_ALLOW_ORIGIN).as_deref(), Some("https://a.example"));
        assert_eq!(told(&own, ACCESS_CONTROL_ALLOW_CREDENTIALS).as_deref(), Some("true"));
        assert_eq!(told(&own, ACCESS_CONTROL_EXPOSE_HEADERS).as_deref(), Some("x-job-id"));
        assert_eq!(told(&own, VARY).as_deref(), Some("origin"));

        let other = marked(&only("https://a.example"), "https://b.example");
        assert_eq!((told(&other, ACCESS_CONTROL_ALLOW_ORIGIN), told(&other, VARY).as_deref()), (None, Some("origin")));

        let any = marked(&Cors { origins: Origins::Any, ..Cors::default() }, "https://b.example");
        assert_eq!((told(&any, ACCESS_CONTROL_ALLOW_ORIGIN).as_deref(), told(&any, VARY)), (Some("*"), None));

        assert_eq!(marked(&Cors::default(), "https://a.example").len(), 2, "nothing is said where it is off");
    }
}
