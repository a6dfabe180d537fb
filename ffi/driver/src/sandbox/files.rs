//! Landlock: which files, no network, which processes. A connection that is granted is made by the gate, outside.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetStatus, Scope,
};

use crate::protocol::Setup;

/// The rights that are asked for; an older kernel gets those that it knows.
const WANTED: ABI = ABI::V6;
/// Where the system keeps libraries: to read and to map executable.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];
/// What the C library reads on its own: the loader's cache, the number of CPUs, time zones, randomness.
const READ: [&str; 7] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/zero",
];

/// Restricts this process to its grants. Notes what this kernel cannot restrict.
pub(super) fn restrict(setup: &Setup, missing: &mut Vec<String>) -> Result<(), String> {
    let failed = |error: landlock::RulesetError| format!("Landlock: {error}");
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))
        .map_err(failed)?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)
        .map_err(failed)?
        .scope(Scope::from_all(WANTED))
        .map_err(failed)?;
    let mut ruleset = ruleset.create().map_err(failed)?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read | AccessFs::Execute;
    // Files below /sys are written by opening them truncated, as fopen does.
    let control = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    for path in LIBRARIES {
        ruleset = allow(ruleset, Path::new(path), run, &mut Vec::new())?;
    }
    // The file and not its directory, in which there may be keys: a driver may lie in a home or beside a configuration.
    ruleset = allow(ruleset, &setup.library, run, missing)?;
    for path in READ {
        ruleset = allow(ruleset, Path::new(path), read, &mut Vec::new())?;
    }
    ruleset = allow(ruleset, Path::new("/dev/null"), control, &mut Vec::new())?;
    for path in &setup.grants.read {
        ruleset = allow(ruleset, path, read, missing)?;
    }
    for path in &setup.grants.devices {
        ruleset = allow(ruleset, path, control, missing)?;
    }
    let status = ruleset.restrict_self().map_err(failed)?;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => ABI::Unsupported,
    };
    note(abi, &status.ruleset, missing);
    Ok(())
}

/// Allows what lies at or under a path. A path that is not there grants nothing, which is noted.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
    missing: &mut Vec<String>,
) -> Result<RulesetCreated, String> {
    let opened = match PathFd::new(path) {
        Ok(opened) => opened,
        Err(error) => {
            let why = std::error::Error::source(&error).map_or(String::new(), |e| format!(": {e}"));
            missing.push(format!("grant {}{why}", path.display()));
            return Ok(ruleset);
        }
    };
    // The rights of directories mean nothing on a file, and the kernel refuses a rule that has them.
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(WANTED)
    };
    let rule = PathBeneath::new(opened, access);
    ruleset
        .add_rule(rule)
        .map_err(|error| format!("Landlock, {}: {error}", path.display()))
}

fn note(abi: ABI, enforced: &RulesetStatus, missing: &mut Vec<String>) {
    if abi == ABI::Unsupported || *enforced == RulesetStatus::NotEnforced {
        missing.push(
            "files: this kernel has no Landlock (Linux 5.13), the driver can open what \
             the agent's user can"
                .to_owned(),
        );
    }
    if abi < ABI::V3 {
        missing.push("files: truncation is not restricted (Landlock 3, Linux 6.2)".to_owned());
    }
    if abi < ABI::V5 {
        missing.push("devices: ioctl is not restricted (Landlock 5, Linux 6.10)".to_owned());
    }
    if abi < ABI::V6 {
        missing.push(
            "signals: left to the system call filter alone (Landlock 6, Linux 6.12)".to_owned(),
        );
    }
}
