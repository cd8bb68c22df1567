//! Which account a backend's limits belong to.

use std::sync::Arc;

use pullyard_schemas::WorkerId;
use pullyard_worker::limits::Account;
use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::config::Backend;

/// The account, where the backend has limits. What the file names goes first. Else a cloud account is told by its address
/// and a part of its key's hash, so that all workers find the same one; a server of the operator's is by itself, because
/// every machine has a 127.0.0.1.
pub(super) fn account(backend: &Backend, key: Option<&str>, worker: &WorkerId) -> Option<Account> {
    if backend.rpm.is_none() && backend.tpm.is_none() {
        return None;
    }
    let name = match &backend.account {
        Some(name) => name.clone(),
        None if backend.local => format!("{worker}/{}", backend.name).into(),
        None => derived(&backend.url, key),
    };
    Some(Account { name, rpm: backend.rpm, tpm: backend.tpm.map(|n| u32::try_from(n).unwrap_or(u32::MAX)) })
}

fn derived(url: &str, key: Option<&str>) -> Arc<str> {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(Url::host_str).unwrap_or(url);
    let port = parsed.as_ref().and_then(Url::port).map(|port| format!(":{port}")).unwrap_or_default();
    // Six bytes tell accounts apart, and are far from enough to find a key by.
    let digest = Sha256::digest(format!("{host}\n{}", key.unwrap_or_default()));
    let hash: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("{host}{port}-{hash}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Adapter;

    #[test]
    fn an_account_is_the_same_wherever_it_is_used() {
        let name = |backend: &Backend, key, worker: &str| account(backend, key, &WorkerId(worker.into())).map(|a| a.name.to_string());
        let cloud = |name: &str| Backend { rpm: Some(5), ..Backend::new(name, Adapter::Openai, "https://api.openai.com/v1") };
        let secret = "sk-very-secret";
        let one = name(&cloud("a"), Some(secret), "w1").unwrap();
        assert_eq!(name(&cloud("b"), Some(secret), "w2").unwrap(), one);
        assert_ne!(name(&cloud("a"), Some("sk-other"), "w1").unwrap(), one);
        assert!(one.starts_with("api.openai.com-") && !one.contains("secret"), "{one}");
        let named = Backend { account: Some("team".into()), ..cloud("a") };
        assert_eq!(name(&named, Some(secret), "w1").as_deref(), Some("team"));
        assert_eq!(name(&Backend { rpm: None, ..cloud("a") }, Some(secret), "w1"), None);
        let local = Backend { tpm: Some(9), ..Backend::new("llama", Adapter::Openai, "http://127.0.0.1:8080") };
        assert_eq!(name(&local, None, "w1").as_deref(), Some("w1/llama"));
        assert_eq!(name(&local, None, "w2").as_deref(), Some("w2/llama"));
    }
}
