//! What a host gives up before a driver's first instruction runs, constructors included.

mod addresses;
mod files;
mod gate;
mod notices;
mod process;
mod syscalls;

use crate::protocol::Setup;

pub(crate) use addresses::Addresses;
pub use notices::network_grants;

/// Puts everything on, in the one order that works: rights to set limits first, the system call filter last. Returns
/// what this kernel could not do; an error means that the host must not load anything.
pub(crate) fn enter(setup: &Setup) -> Result<Vec<String>, String> {
    let mut missing = Vec::new();
    let network = Addresses::parse(&setup.grants.network)?;
    let granted = !setup.grants.network.is_empty();
    let gate = granted.then(|| gate::Gate::open(&network)).transpose()?;
    process::harden(setup.parent_pid)?;
    process::limit(&setup.limits, &mut missing)?;
    files::restrict(setup, &mut missing)?;
    if let Some(gate) = gate {
        gate.shut()?;
    }
    syscalls::restrict(&setup.grants)?;
    Ok(missing)
}
