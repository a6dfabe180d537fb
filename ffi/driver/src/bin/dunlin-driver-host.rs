//! The driver host on its own: what `dunlin driver-host` runs, for tests, benchmarks and the conformance kit.

fn main() -> std::process::ExitCode {
    dunlin_driver::host_main()
}
