//! Does one attempt well: slots, limits, adapters and the pull loop.
//!
//! Library first; the broker embeds it, and in a fleet one runs beside each model server.

pub mod adapter;
mod attempt;
pub mod breaker;
mod limits;
pub mod run;
pub mod transport;
