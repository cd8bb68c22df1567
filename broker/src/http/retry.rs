//! Requests that an SDK sends again by itself.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use pullyard_schemas::job::Kind;

use super::Request;

/// The header by which OpenAI's and Anthropic's SDKs say how often they have sent a request before.
const COUNT: &str = "x-stainless-retry-count";

/// A request that would be sent again if its connection broke.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// By what it would be recognised: whose it is and all that it asks. It is only compared within this life of the broker.
    pub(super) print: u64,
    /// It has been sent before.
    pub(super) again: bool,
}

impl Retry {
    /// Nothing when nobody says that there would be a next time, or when it has a key of its own for that.
    pub(super) fn of(request: &Request, kind: Kind) -> Option<Self> {
        static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        if request.idempotency_key.is_some() {
            return None;
        }
        let count: u32 = request.headers.get(COUNT)?.to_str().ok()?.parse().ok()?;
        Some(Self { print: HASH.hash_one((&request.key, kind, &request.body)), again: count > 0 })
    }
}
