//! The workers as the broker sees them: their cards, and orders to them.
//!
//! - [`Registry`]: who is there, and since when somebody is not.
//! - [`Memory`]: who was there last.
//! - `merge`: what all their cards together can serve. Pure.

mod follow;
mod memory;
mod merge;
mod registry;

pub use follow::follow;
pub use memory::Memory;
pub use merge::{Merged, merge, shown_names};
pub use registry::{Known, Registry, Unmoved};
