//! A look at the first bytes of a library, so that a wrong file gets a clear sentence instead of the loader's.
//!
//! Field offsets and numbers: System V ABI, chapter 4 "ELF Header"; `EM_X86_64` 62, `EM_AARCH64` 183.

/// What is wrong with the head of a file as a driver for this machine; `None` where nothing is.
pub(crate) fn misfit(head: &[u8]) -> Option<String> {
    let Some(head) = head.first_chunk::<20>() else {
        return Some("the file is too short for a shared object".to_owned());
    };
    if head[..4] != *b"\x7fELF" {
        return Some("not a shared object (no ELF header)".to_owned());
    }
    if head[4] != 2 || head[5] != 1 {
        return Some("not a 64-bit little-endian shared object".to_owned());
    }
    let kind = u16::from_le_bytes([head[16], head[17]]);
    if kind != 3 {
        return Some("not a shared object (link it with -shared)".to_owned());
    }
    let machine = u16::from_le_bytes([head[18], head[19]]);
    (machine != MACHINE).then(|| {
        format!(
            "built for {}, but this is a {} system",
            machine_name(machine),
            machine_name(MACHINE)
        )
    })
}

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

fn machine_name(machine: u16) -> String {
    match machine {
        3 => "x86".to_owned(),
        40 => "32-bit ARM".to_owned(),
        62 => "x86-64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "RISC-V".to_owned(),
        other => format!("ELF machine {other}"),
    }
}
