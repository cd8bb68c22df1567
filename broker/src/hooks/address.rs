//! Where a message may go. A client names the address and the broker connects to it from inside the operator's network,
//! so without the operator's word only what everybody can reach is reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The longest address.
const LONGEST: usize = 2048;

/// What the operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allow {
    /// `https` to addresses of the public internet.
    #[default]
    Public,
    /// What begins with one of these, wherever it is.
    Only(Arc<[Prefix]>),
}

/// The beginning of an address: scheme, host, port, and whole parts of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(Url);

/// A checked address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub url: Url,
    /// The operator allows it by name, so that it may be inside the network.
    pub named: bool,
}

impl Prefix {
    /// # Errors
    /// A message that says what is right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "this is no beginning of an address; say one such as https://example.org/hooks/ or http://127.0.0.1:9000".to_owned();
        let url = plain(text).ok_or_else(wrong)?;
        if url.query().is_some() { Err(wrong()) } else { Ok(Self(url)) }
    }

    fn covers(&self, url: &Url) -> bool {
        let path = self.0.path();
        let below = url.path().strip_prefix(path);
        self.0.origin() == url.origin() && below.is_some_and(|rest| rest.is_empty() || path.ends_with('/') || rest.starts_with('/'))
    }
}

/// Checks an address that a client named.
///
/// # Errors
/// A message that says what is wrong with it.
pub fn target(text: &str, allow: &Allow) -> Result<Target, String> {
    let url = Some(text).filter(|text| text.len() <= LONGEST).and_then(plain).ok_or_else(|| {
        "this is no address of a receiver; an address such as https://example.org/hook is needed, without user and password".to_owned()
    })?;
    match allow {
        Allow::Only(prefixes) if prefixes.iter().any(|prefix| prefix.covers(&url)) => Ok(Target { url, named: true }),
        Allow::Only(_) => Err(format!("{} is not among the receivers that `webhooks.allow` names", origin(&url))),
        Allow::Public if url.scheme() != "https" => {
            Err("a receiver must be reached by https, unless the operator names it in `webhooks.allow`".to_owned())
        }
        Allow::Public if is_inside(&url) => {
            Err(format!("{} is not of the public internet; the operator has to name it in `webhooks.allow`", origin(&url)))
        }
        Allow::Public => Ok(Target { url, named: false }),
    }
}

/// An address without anything that hides where it leads.
fn plain(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim()).ok()?;
    let fits = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    fits.then_some(url)
}

pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// As far as the name tells; what it resolves to is looked at by [`PublicOnly`].
fn is_inside(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => !is_public(ip),
        Err(_) => {
            let host = host.trim_end_matches('.');
            let inside = ["localhost", "local", "internal", "lan", "home.arpa", "intranet", "corp", "home"];
            !host.contains('.') || inside.iter().any(|end| host.strip_suffix(end).is_some_and(|name| name.ends_with('.')))
        }
    }
}

/// Whether an address is one that everybody can reach.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public_v4(ip),
            None => is_public_v6(ip),
        },
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

/// Only what is global unicast, and of that nothing that stands for an address of another kind.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    a & 0xe000 == 0x2000 && !(a == 0x2001 && (b < 0x0200 || b == 0x0db8)) && a != 0x2002 && a != 0x3fff
}

/// Resolves names to public addresses alone, at the moment of connecting: a name may lead elsewhere than when it was
/// checked.
#[derive(Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found.iter().copied().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name does not lead to the public internet".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_not_reached_without_a_word_of_the_operators() {
        for inside in [
            "https://127.0.0.1/hook",
            "https://127.1/hook",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://10.1.2.3",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1",
            "https://0.0.0.0",
            "https://[::1]",
            "https://[::]",
            "https://[fe80::1]",
            "https://[fd00::1]",
            "https://[::ffff:10.0.0.1]",
            "https://[64:ff9b::a00:1]",
            "https://[2002:a00:1::]",
            "https://localhost/hook",
            "https://localhost./hook",
            "https://a.localhost",
            "https://printer.local",
            "https://intranet",
            "https://metadata.google.internal",
        ] {
            let refused = target(inside, &Allow::Public).unwrap_err();
            assert!(refused.contains("`webhooks.allow`"), "{inside}: {refused}");
        }
        for wrong in
            ["http://example.org", "ftp://example.org", "https://u:p@example.org", "https://example.org/#a", "example.org", "https://"]
        {
            assert!(target(wrong, &Allow::Public).is_err(), "{wrong}");
        }
        for public in
            ["https://example.org/hook?a=b", "https://8.8.8.8:8443/", "https://[2606:4700::1111]/", "https://localhost.example.org"]
        {
            assert!(!target(public, &Allow::Public).unwrap().named);
        }
        assert!(target(&format!("https://example.org/{}", "a".repeat(LONGEST)), &Allow::Public).is_err());
    }

    #[test]
    fn what_is_named_is_a_whole_host_and_whole_parts_of_a_path() {
        let prefixes = ["http://127.0.0.1:9000", "https://example.org/hooks", "https://a.example/b/"];
        let only = Allow::Only(prefixes.iter().map(|prefix| Prefix::parse(prefix).unwrap()).collect());
        for (address, allowed) in [
            ("http://127.0.0.1:9000/any", true),
            ("http://127.0.0.1:9001/any", false),
            ("https://127.0.0.1:9000/any", false),
            ("https://example.org/hooks", true),
            ("https://example.org:443/hooks/one?b=c", true),
            ("https://example.org/hooks-of-others", false),
            ("https://example.org/hooks/../admin", false),
            ("https://example.org/hooks/%2e%2e/admin", false),
            ("https://example.org.evil.com/hooks", false),
            ("https://example.org@evil.com/hooks", false),
            ("https://a.example/b/c", true),
            ("https://a.example/bc", false),
        ] {
            assert_eq!(target(address, &only).is_ok_and(|target| target.named), allowed, "{address}");
        }
        assert!(Prefix::parse("example.org").is_err() && Prefix::parse("https://e.org/?a").is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_leads_nowhere() {
        let refused = PublicOnly.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.to_string().contains("public internet"));
    }
}
