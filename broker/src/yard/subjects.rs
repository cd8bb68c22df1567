//! Every name that a yard uses on NATS. They carry a version, so that two can share a cluster for a while.

/// The names under one prefix.
#[derive(Clone, Debug)]
pub struct Subjects {
    prefix: String,
}

impl Subjects {
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Everything that is the yard's own.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}.>", self.prefix)
    }

    /// The stream that keeps the lanes of a scope.
    #[must_use]
    pub fn lanes(&self, scope: &str) -> String {
        format!("{}_v1_LANES_{}", self.prefix.to_uppercase(), scope.to_uppercase())
    }

    /// The bucket that has the workers' cards.
    #[must_use]
    pub fn workers(&self) -> String {
        format!("{}_v1_WORKERS", self.prefix.to_uppercase())
    }

    /// The cards themselves; `worker` may be a wildcard.
    #[must_use]
    pub fn card(&self, worker: &str) -> String {
        format!("$KV.{}.{worker}", self.workers())
    }

    /// A worker's words, output and signs of life.
    #[must_use]
    pub fn word(&self, worker: &str) -> String {
        format!("{}.v1.word.{worker}", self.prefix)
    }

    #[must_use]
    pub fn output(&self, worker: &str) -> String {
        format!("{}.v1.output.{worker}", self.prefix)
    }

    #[must_use]
    pub fn beat(&self, worker: &str) -> String {
        format!("{}.v1.beat.{worker}", self.prefix)
    }

    /// What tells waiting workers of a scope to look again.
    #[must_use]
    pub fn bells(&self, scope: &str) -> String {
        format!("{}.v1.bell.{scope}.>", self.prefix)
    }

    /// Where requests of a scope are asked for.
    #[must_use]
    pub fn body(&self, scope: &str) -> String {
        format!("{}.v1.body.{scope}", self.prefix)
    }

    /// Without a version: it is where versions are compared.
    #[must_use]
    pub fn hello(&self) -> String {
        format!("{}.hello", self.prefix)
    }

    #[must_use]
    pub fn quota(&self) -> String {
        format!("{}.v1.quota", self.prefix)
    }

    /// Where a worker hears what it shall do.
    #[must_use]
    pub fn control(&self, worker: &str) -> String {
        format!("{}.v1.control.{worker}", self.prefix)
    }

    /// Where answers and deliveries to a role go.
    #[must_use]
    pub fn inbox(&self, role: &str) -> String {
        format!("_INBOX_{}_{role}", self.prefix)
    }
}
