//! First-party drivers in C over real C libraries: each is a shared object of its own.
//!
//! The build script links them into [`DIR`] and copies them to `drivers/` beside the executables, where the agent
//! looks for them.

/// Directory with `<name>.so` for each driver, and the test runner `drive`.
pub const DIR: &str = env!("OUT_DIR");
