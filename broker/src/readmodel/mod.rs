//! What has ended: jobs, idempotency keys and usage, folded from the log into sled.
//!
//! It can be deleted at any time: it is rebuilt from the log. Its cursor is in the same batch as the rows, so that a
//! crash leaves either all of an update or nothing of it.

mod projector;
mod store;
mod usage;

pub use projector::{ProjectorHandle, spawn};
pub use store::{Error, Filter, Opened, ReadModel, Row, Update};
pub use usage::{GroupBy, UsageRow};
