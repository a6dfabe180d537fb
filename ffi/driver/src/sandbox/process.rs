//! Limits and habits of the process itself.

use nix::sys::resource::{Resource, setrlimit};

use crate::spec::Limits;

/// Dies with its parent, the agent or its launcher; leaves no core, cannot be traced, can gain no privilege, has no environment.
pub(super) fn harden(parent_pid: u32) -> Result<(), String> {
    let failed = |what: &str, errno: nix::Error| format!("{what}: {errno}");
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .map_err(|e| failed("PR_SET_PDEATHSIG", e))?;
    // The parent may have died before the line above; then nobody would ever send the signal.
    let parent = u32::try_from(nix::unistd::getppid().as_raw()).unwrap_or(0);
    if parent != parent_pid {
        return Err(format!(
            "the parent is {parent} and not {parent_pid}, which started it"
        ));
    }
    nix::sys::prctl::set_dumpable(false).map_err(|e| failed("PR_SET_DUMPABLE", e))?;
    nix::sys::prctl::set_no_new_privs().map_err(|e| failed("PR_SET_NO_NEW_PRIVS", e))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|e| failed("RLIMIT_CORE", e))?;
    let keys: Vec<_> = std::env::vars_os().map(|(key, _)| key).collect();
    for key in keys {
        #[expect(
            clippy::disallowed_methods,
            reason = "takes away what the driver's getenv could find, before there is a driver"
        )]
        // SAFETY: one thread runs and no library has been loaded, so nobody reads the environment meanwhile.
        unsafe {
            std::env::remove_var(key);
        }
    }
    Ok(())
}

/// Memory and descriptors. CPU is watched by the agent, from outside.
pub(super) fn limit(limits: &Limits, missing: &mut Vec<String>) -> Result<(), String> {
    if let Some(fds) = limits.fds {
        let fds = u64::from(fds);
        setrlimit(Resource::RLIMIT_NOFILE, fds, fds).map_err(|e| format!("RLIMIT_NOFILE: {e}"))?;
    }
    match limits.memory_mb {
        Some(memory_mb) => {
            let bytes = u64::from(memory_mb) * 1024 * 1024;
            setrlimit(Resource::RLIMIT_AS, bytes, bytes).map_err(|e| format!("RLIMIT_AS: {e}"))?;
        }
        None => missing.push("memory: no limit is configured".to_owned()),
    }
    Ok(())
}
