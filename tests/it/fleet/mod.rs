//! Pullyard over a real nats-server.

mod conformance;
mod failure;
mod rig;
mod spill;
mod work;
