//! What is true for everyone: ids, jobs, events, and the fold that turns events into a job.
//!
//! Nothing here does I/O, reads a clock or is async.

pub mod failure;
pub mod ids;
pub mod job;
pub mod lane;
pub mod needs;
pub mod time;
pub mod usage;
pub mod work;

pub use failure::{Failure, FailureKind};
pub use ids::{JobId, Seq, Token, WorkerId};
pub use lane::{Band, Lane, Scope};
pub use needs::Needs;
pub use time::Timestamp;
pub use usage::{Charge, Usage};
