//! The dunlin agent.
#![forbid(unsafe_code)]

fn main() {}
