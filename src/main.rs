//! The `fantail` binary.

fn main() {}
