//! The backends that the environment offers.

use super::backend::{Adapter, Backend};
use super::secret::SecretRef;

/// What the usual variables point to. Ollama is always a candidate, since it needs none; whether it answers is for the
/// caller to see.
#[must_use]
pub fn discover(env: &dyn Fn(&str) -> Option<String>) -> Vec<Backend> {
    let var = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let mut found = vec![Backend::new("ollama", Adapter::Ollama, &ollama_url(var("OLLAMA_HOST").as_deref()))];
    let key = |name: &str| var(name).map(|_| SecretRef::Env(name.into()));
    let (openai_key, openai_url) = (key("OPENAI_API_KEY"), var("OPENAI_BASE_URL"));
    if openai_key.is_some() || openai_url.is_some() {
        let url = openai_url.as_deref().unwrap_or("https://api.openai.com/v1");
        found.push(Backend { api_key: openai_key, ..Backend::new("openai", Adapter::Openai, url) });
    }
    if let Some(api_key) = key("ANTHROPIC_API_KEY") {
        let url = var("ANTHROPIC_BASE_URL");
        let url = url.as_deref().unwrap_or("https://api.anthropic.com");
        found.push(Backend { api_key: Some(api_key), ..Backend::new("anthropic", Adapter::Anthropic, url) });
    }
    found
}

/// Reads `$OLLAMA_HOST` as Ollama does: the scheme, the host and the port may each be missing.
fn ollama_url(host: Option<&str>) -> String {
    let host = host.unwrap_or_default().trim_end_matches('/');
    let (scheme, rest) = host.split_once("://").unwrap_or(("http", host));
    let named = host.contains("://");
    let (address, path) = rest.split_once('/').map_or((rest, ""), |(address, path)| (address, path));
    let (address, port) = match address.rsplit_once(':') {
        // A colon within brackets, or one of several without any, is part of an IPv6 address.
        Some((name, port)) if !port.ends_with(']') && (!name.contains(':') || name.ends_with(']')) => (name, Some(port)),
        Some(_) | None => (address, None),
    };
    // A server listens on all addresses, but a client has to name one.
    let address = match address {
        "" | "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" | "[::]" => "[::1]".to_owned(),
        bare if bare.contains(':') && !bare.starts_with('[') => format!("[{bare}]"),
        other => other.to_owned(),
    };
    // A URL without a port has its scheme's own; Ollama's port belongs to the short notation.
    let port = match port {
        Some(port) if !port.is_empty() => format!(":{port}"),
        Some(_) | None if named => String::new(),
        Some(_) | None => ":11434".to_owned(),
    };
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{scheme}://{address}{port}{slash}{path}")
}
