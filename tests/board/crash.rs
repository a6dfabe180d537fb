//! A crash of the stripped agent on a board, named on the desk: the kernel writes a core file to a disk, and
//! `scripts/symbolize.sh` finds functions, files and lines in it by the symbols that the build kept aside.

use super::machine::{Boot, Seed, blank_disk};
use super::station::FIRST_LIMIT;
use std::path::Path;
use std::process::Command;

/// More than a core of the agent.
const DISK_MIB: u64 = 64;
const CONFIG: &str = "[agent]\nname = \"crash\"\n\n\
     [sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
     options = { rate_hz = 100, waves = [{ name = \"n\", shape = \"counter\" }] }\n\n\
     [sinks.file]\ntype = \"file\"\ninputs = [\"sim\"]\npath = \"/run/dunlin/out\"\n";

/// What the script makes of a core.
fn symbolized(core: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("scripts/symbolize.sh"))
        .arg("--core")
        .arg(core)
        .arg(root.join("target/aarch64-unknown-linux-gnu/release/dunlin"))
        .arg(root.join("target/board/sysroot"))
        .output()
        .expect("scripts/symbolize.sh runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{failed}");
    println!("{said}");
    said
}

#[test]
fn board_virt_a_crash_is_named_on_the_desk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = blank_disk(dir.path(), "core", DISK_MIB);
    let drive = format!("if=none,id=core,format=raw,file={}", disk.display());
    let mut boot =
        Boot::new("virt").seed(Seed::default().file("dunlin.toml", CONFIG).without_agent());
    boot = boot.qemu(&["-drive", &drive, "-device", "virtio-blk-pci,drive=core"]);
    let mut machine = boot.start();

    machine.sh("echo '|/bin/dd of=/dev/vdb bs=65536 conv=fsync' >/proc/sys/kernel/core_pattern");
    machine.sh("(setsid dunlin run /run/dunlin.toml 2>/run/dunlin/log &)");
    machine.wait_status("the agent reads", FIRST_LIMIT, |status| {
        status["sources"]["sim"]["readings"].as_u64() > Some(10)
    });
    let pid = machine.agent_pid();
    // Twice: the first one meets the handler by which Rust tells overflows of the stack, which steps aside and goes on
    // where a fault would come again.
    machine.sh(&format!("kill -SEGV {pid}; sleep 0.2; kill -SEGV {pid}"));
    machine.wait("! pidof dunlin", FIRST_LIMIT);

    machine.sh("sync");
    machine.cut();

    let killed = symbolized(&disk);
    for call in [
        "signal SIGSEGV",
        "epoll_pwait ()",
        "run () at src/agent/run.rs:",
        "main () at src/main.rs:",
    ] {
        assert!(killed.contains(call), "{call}: {killed}");
    }
}
