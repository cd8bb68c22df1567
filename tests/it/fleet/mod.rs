//! Pullyard over a real nats-server.

mod chaos;
mod conformance;
mod failure;
mod rig;
mod spill;
mod work;
