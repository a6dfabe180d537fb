//! What the tests of this crate share: drivers, specs, and a run to the first failure.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::PathBuf;

use dunlin_driver::{Cause, Host, HostError, Spec};

/// One of the drivers that build.rs makes.
pub(crate) fn driver(name: &str) -> PathBuf {
    PathBuf::from(env!("DUNLIN_EXAMPLE_DRIVERS")).join(format!("{name}.so"))
}

/// A spec with deadlines that make tests short.
pub(crate) fn spec(name: &str) -> Spec {
    let host = PathBuf::from(env!("CARGO_BIN_EXE_dunlin-driver-host"));
    let mut spec = Spec::new(name, host, driver(name));
    spec.deadline_ms = 3000;
    spec.slack_ms = 150;
    spec.interval_ms = Some(5);
    // Under the address sanitizer a host begins with terabytes of address space, its shadow memory.
    spec.limits.memory_mb = if cfg!(dunlin_asan) { None } else { Some(192) };
    spec
}

/// The hostile driver in a mode.
pub(crate) fn hostile(mode: &str, arg: &str) -> Spec {
    let mut spec = spec("hostile");
    spec.options = vec![("mode".into(), mode.into()), ("arg".into(), arg.into())];
    spec
}

/// Opens and reads a few times; the first failure.
pub(crate) async fn first_failure(spec: &Spec) -> Result<(), HostError> {
    let mut host = Host::spawn(spec)?;
    host.open().await?;
    for _ in 0..20 {
        host.read(8, 50).await?;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    host.close().await
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Errnos by the numbers that x86-64 and aarch64 share.
pub(crate) mod libc_errno {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const EIO: i32 = 5;
    pub(crate) const ENXIO: i32 = 6;
    pub(crate) const EBADF: i32 = 9;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const EFAULT: i32 = 14;
    pub(crate) const EMFILE: i32 = 24;
    pub(crate) const EPIPE: i32 = 32;
    pub(crate) const ENOSYS: i32 = 38;
    pub(crate) const EOPNOTSUPP: i32 = 95;
    pub(crate) const EAFNOSUPPORT: i32 = 97;
    pub(crate) const EISCONN: i32 = 106;
    pub(crate) const ECONNREFUSED: i32 = 111;
    pub(crate) const EALREADY: i32 = 114;
}

/// The errno that a driver's call fails with.
pub(crate) fn errno_of(spec: &Spec) -> i32 {
    let error = runtime().block_on(first_failure(spec)).expect_err("fails");
    match error.cause() {
        Cause::Device { errno } => errno,
        other => panic!("{:?}: {other:?}: {}", spec.options, error.detail()),
    }
}
