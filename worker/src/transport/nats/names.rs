//! Every subject, stream and consumer. Names carry a version, so that two kinds of Pullyard can share a server.

use std::fmt::Write as _;
use std::sync::Arc;

use pullyard_schemas::{Band, JobId, Lane, Scope, Token, WorkerId};

/// A lane's track: `Hi` goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Track {
    Hi,
    Lo,
}

impl Track {
    pub(super) const BOTH: [Self; 2] = [Self::Hi, Self::Lo];

    pub(super) fn of(band: Band) -> Self {
        match band {
            Band::Interactive | Band::Normal => Self::Hi,
            Band::Batch => Self::Lo,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Hi => "hi",
            Self::Lo => "lo",
        }
    }
}

/// The names of one yard on a NATS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: Arc<str>,
}

impl Names {
    /// `prefix` must be one subject token: letters, digits, `-` and `_`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Everything that is the yard's own.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}.>", self.prefix)
    }

    fn stream(&self, what: &str) -> String {
        format!("{}_v1_{what}", self.prefix.to_uppercase())
    }

    /// The stream of all lanes of a scope.
    #[must_use]
    pub fn lanes(&self, scope: Scope) -> String {
        self.stream(match scope {
            Scope::Any => "LANES_ANY",
            Scope::Local => "LANES_LOCAL",
        })
    }

    #[must_use]
    pub fn all_lanes(&self, scope: Scope) -> String {
        format!("{}.v1.lane.{}.>", self.prefix, scope.as_str())
    }

    /// The stream of words.
    #[must_use]
    pub fn words(&self) -> String {
        self.stream("REPORTS")
    }

    #[must_use]
    pub fn all_words(&self) -> String {
        format!("{}.v1.word.*", self.prefix)
    }

    #[must_use]
    pub fn word(&self, worker: &WorkerId) -> String {
        format!("{}.v1.word.{}", self.prefix, token(&worker.0))
    }

    /// The bucket of the workers' cards.
    #[must_use]
    pub fn cards(&self) -> String {
        self.stream("WORKERS")
    }

    /// The cards themselves.
    #[must_use]
    pub fn all_cards(&self) -> String {
        format!("$KV.{}.*", self.cards())
    }

    /// A worker's key in the bucket of cards, and its place in subjects.
    #[must_use]
    pub fn worker(worker: &WorkerId) -> String {
        token(&worker.0)
    }

    #[must_use]
    pub fn output(&self, worker: &WorkerId) -> String {
        format!("{}.v1.output.{}", self.prefix, token(&worker.0))
    }

    #[must_use]
    pub fn all_output(&self) -> String {
        format!("{}.v1.output.*", self.prefix)
    }

    #[must_use]
    pub fn beat(&self, worker: &WorkerId) -> String {
        format!("{}.v1.beat.{}", self.prefix, token(&worker.0))
    }

    #[must_use]
    pub fn all_beats(&self) -> String {
        format!("{}.v1.beat.*", self.prefix)
    }

    /// Where a worker hears what the broker wants of it.
    #[must_use]
    pub fn control(&self, worker: &WorkerId) -> String {
        format!("{}.v1.control.{}", self.prefix, token(&worker.0))
    }

    #[must_use]
    pub fn all_controls(&self) -> String {
        format!("{}.v1.control.*", self.prefix)
    }

    /// Where the worker hears the broker whose output came from this subject.
    pub(super) fn control_of_output(&self, subject: &str) -> String {
        format!("{}.v1.control.{}", self.prefix, subject.rsplit('.').next().unwrap_or_default())
    }

    #[must_use]
    pub fn body(&self, scope: Scope) -> String {
        format!("{}.v1.body.{}", self.prefix, scope.as_str())
    }

    #[must_use]
    pub fn all_bodies(&self) -> String {
        format!("{}.v1.body.*", self.prefix)
    }

    /// Has no version, because the versions are found out here.
    #[must_use]
    pub fn hello(&self) -> String {
        format!("{}.hello", self.prefix)
    }

    #[must_use]
    pub fn quota(&self) -> String {
        format!("{}.v1.quota", self.prefix)
    }

    /// Where one attempt waits.
    pub(super) fn lane(&self, lane: &Lane, track: Track, job: JobId, attempt: Token) -> String {
        format!("{}.v1.lane.{}.{}.{}.{job}_{attempt}", self.prefix, lane.scope.as_str(), track.as_str(), token(&lane.target))
    }

    pub(super) fn track(&self, lane: &Lane, track: Track) -> String {
        format!("{}.v1.lane.{}.{}.{}.*", self.prefix, lane.scope.as_str(), track.as_str(), token(&lane.target))
    }

    pub(super) fn bell(&self, lane: &Lane, track: Track) -> String {
        format!("{}.v1.bell.{}.{}.{}", self.prefix, lane.scope.as_str(), track.as_str(), token(&lane.target))
    }

    /// What tells waiting workers of a scope to look again.
    #[must_use]
    pub fn all_bells(&self, scope: Scope) -> String {
        format!("{}.v1.bell.{}.>", self.prefix, scope.as_str())
    }

    /// The consumer of a lane's track, in the stream of its scope.
    pub(super) fn consumer(lane: &Lane, track: Track) -> String {
        format!("{}_{}", token(&lane.target), track.as_str())
    }

    pub(super) fn pull(&self, lane: &Lane, track: Track) -> String {
        format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.lanes(lane.scope), Self::consumer(lane, track))
    }

    /// What a client's own inboxes begin with. They differ by role, because who may listen to another's inbox reads what
    /// is delivered there.
    #[must_use]
    pub fn inbox(&self, role: &str) -> String {
        format!("_INBOX_{}_{role}", self.prefix)
    }
}

/// Longer names are cut, with their hash at the end.
const LONGEST: usize = 120;

/// A name as one subject token, which is good for a consumer's name too: what is no letter, digit, `-` or `_` becomes
/// `=` and two hexadecimal digits.
fn token(name: &str) -> String {
    let mut token = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            let _ = write!(token, "={byte:02x}");
        }
    }
    if token.is_empty() {
        token.push('=');
    }
    if token.len() > LONGEST {
        // FNV-1a: it must be the same in every build of every version, which the standard hasher does not promise.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        token.truncate(LONGEST - 17);
        let _ = write!(token, "={hash:016x}");
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_token_and_two_names_are_two() {
        let long = "a/".repeat(200);
        let names = ["llama3.1:8b", "llama3=2e1:8b", "", "=", "hf.co/org/model:Q4_K_M", "a b", "a*b>", "ä", &long, &format!("{long}x")];
        let tokens: std::collections::HashSet<String> = names.iter().map(|name| token(name)).collect();
        assert_eq!(tokens.len(), names.len(), "{tokens:?}");
        for token in tokens {
            assert!(!token.is_empty() && token.len() <= LONGEST, "{token}");
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)), "{token}");
        }
        assert_eq!(token("llama3.1:8b"), "llama3=2e1=3a8b");
    }
}
