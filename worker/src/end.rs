//! How an attempt at a backend ended.

use std::sync::Arc;

use pullyard_schemas::{Failure, Usage};

/// An attempt that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub usage: Usage,
    pub finish: Option<Arc<str>>,
}

/// An attempt that did not.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    pub failure: Failure,
    /// As far as it is known.
    pub usage: Option<Usage>,
    /// Output was given out before.
    pub delivered: bool,
}

impl Broken {
    pub(crate) fn before(failure: Failure) -> Self {
        Self { failure, usage: None, delivered: false }
    }
}
