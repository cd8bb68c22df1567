//! The `pullyard` binary.

fn main() {}
