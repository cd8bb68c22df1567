//! The single owner of live jobs.
