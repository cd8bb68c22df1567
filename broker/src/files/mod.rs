//! Files that clients upload and fetch, as OpenAI's Files API has them.
//!
//! - [`Meta`], [`Purpose`]: what is known of a file.
//! - [`Files`]: the folder. A file is on disk as a whole before anybody is told its id.
//! - [`Upload`]: one that is still coming, never in memory.

mod meta;
mod store;
#[cfg(test)]
mod tests;
mod upload;

pub use meta::{Meta, Page, Purpose};
pub use store::{Error, Files, Limits};
pub use upload::Upload;
