//! The harness for end-to-end tests.
