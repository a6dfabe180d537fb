//! The floating-point mode of this thread: rounding, traps, flushing of tiny numbers. A driver that changes it changes
//! what every later computation on the thread yields, so it is looked at after each call.

use crate::error::Error;

/// What the ABI of the processor says a process starts with: round to nearest, no traps, tiny numbers kept.
/// x86-64: MXCSR, System V psABI 3.2.3; its lower six bits are flags that any computation may set. aarch64: FPCR.
#[cfg(target_arch = "x86_64")]
const STANDARD: u64 = 0x1F80;
#[cfg(target_arch = "aarch64")]
const STANDARD: u64 = 0;

#[cfg(target_arch = "x86_64")]
fn mode() -> u64 {
    let mut word: u32 = 0;
    // SAFETY: stores four bytes to a local of that size, and nothing else.
    unsafe {
        std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags));
    }
    u64::from(word & !0x3F)
}

#[cfg(target_arch = "aarch64")]
fn mode() -> u64 {
    let word: u64;
    // SAFETY: reads a register that every program may read.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack)) };
    word
}

#[cfg(target_arch = "x86_64")]
fn set_standard() {
    let word: u32 = 0x1F80;
    // SAFETY: loads the mode that Rust assumes at every moment, so no computation of ours can see another.
    unsafe {
        std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, readonly));
    }
}

#[cfg(target_arch = "aarch64")]
fn set_standard() {
    // SAFETY: loads the mode that Rust assumes at every moment, so no computation of ours can see another.
    unsafe { std::arch::asm!("msr fpcr, {}", in(reg) STANDARD, options(nomem, nostack)) };
}

/// Whether the driver left the mode as it found it. Where it did not, the mode is put back and the contract is broken.
pub(crate) fn left_alone(call: &'static str) -> Result<(), Error> {
    let found = mode();
    if found == STANDARD {
        return Ok(());
    }
    set_standard();
    let detail = format!("it left the floating-point mode changed: {found:#x}, not {STANDARD:#x}");
    Err(Error::Contract { call, detail })
}
