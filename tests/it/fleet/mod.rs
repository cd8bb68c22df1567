//! Pullyard over a real nats-server.

mod conformance;
mod failure;
mod nats;
mod rig;
mod words;
mod work;
