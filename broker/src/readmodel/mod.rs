//! What rests: jobs that have ended or are parked; idempotency keys; usage. Folded from the log into sled.
//!
//! It can be deleted at any time: it is rebuilt from the log. Its cursor is in the same batch as the rows, so that a
//! crash leaves either all of an update or nothing of it.

mod page;
mod projector;
mod row;
mod store;
mod usage;

pub use projector::{ProjectorHandle, spawn};
pub use store::{Error, Filter, KeyValue, Opened, ReadModel, Update};
pub use usage::{GroupBy, UsageRow};
