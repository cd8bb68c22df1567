//! Batches: files of requests, each of whose lines becomes a job.
//!
//! A batch is a document beside the log; the jobs of its lines are in the log. A line's job id is made of the batch's id
//! and the line's number, so nothing has to remember which job is whose, and a line is submitted at most once ever.
//! Results are appended to two files as they come; which lines are done is read from those after a restart, and what is
//! not in them is looked up in the log.
//!
//! - [`Batch`], [`Status`]: the document. `folder` keeps it.
//! - `input`: the lines of an input file; `check`: whether all of them can be jobs; `ids`: their jobs' names.
//! - `results`: output and error file while the batch runs; `shape`: what their lines look like.
//! - [`Batches`]: all of them, and what clients may do with one. `runner`: one that runs; `crossing`: its lines on their
//!   way; `flight`: one of those.
//! - [`Lines`]: what an API whose requests the lines are has to offer.

mod check;
mod crossing;
mod desk;
mod document;
mod flight;
mod folder;
mod ids;
mod input;
mod lines;
mod live;
mod results;
mod runner;
mod shape;
mod terms;

pub use desk::Batches;
pub use document::{Batch, Counts, LineError, Status, Tokens};
pub use lines::{Answer, Checked, Endpoint, Line, Lines, Refused};
pub use live::Progress;
pub use terms::{Error, New, Numbers, Options};
