//! What breaks, and what is made of it.
