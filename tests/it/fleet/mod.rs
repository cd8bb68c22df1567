//! Pullyard over a real nats-server.

mod conformance;
