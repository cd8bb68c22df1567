//! Pullyard over a real nats-server.

mod cancel;
mod chaos;
mod conformance;
mod cut_off;
mod failure;
mod hello;
mod killed;
mod leaving;
mod nats;
mod reattach;
mod repeats;
mod rig;
mod spill;
mod standstill;
mod words;
mod work;
