//! Crashes of the stripped agent on a board, named on the desk: the kernel writes a core file to a disk, and
//! `scripts/symbolize.sh` finds functions, files and lines in it by the symbols that the build kept aside.

use super::machine::{Boot, Machine, Seed, blank_disk};
use super::station::FIRST_LIMIT;
use std::path::Path;
use std::process::Command;

/// More than a core of the agent.
const DISK_MIB: u64 = 64;
const CONFIG: &str = "[agent]\nname = \"crash\"\n\n\
     [sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
     options = { rate_hz = 100, waves = [{ name = \"n\", shape = \"counter\" }] }\n\n\
     [sinks.file]\ntype = \"file\"\ninputs = [\"sim\"]\npath = \"/run/dunlin/out\"\n";

/// From now on a core goes to this disk, as a core file that begins at its first byte.
fn cores_to(machine: &mut Machine, disk: &str) {
    machine.sh(&format!(
        "echo '|/bin/dd of=/dev/{disk} bs=65536 conv=fsync' >/proc/sys/kernel/core_pattern"
    ));
}

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
fn board_virt_crashes_are_named_on_the_desk() {
    let dir = tempfile::tempdir().unwrap();
    let disks = ["killed", "panicked"].map(|name| blank_disk(dir.path(), name, DISK_MIB));
    let mut boot =
        Boot::new("virt").seed(Seed::default().file("dunlin.toml", CONFIG).without_agent());
    for (number, disk) in disks.iter().enumerate() {
        let drive = format!("if=none,id=core{number},format=raw,file={}", disk.display());
        let device = format!("virtio-blk-pci,drive=core{number}");
        boot = boot.qemu(&["-drive", &drive, "-device", &device]);
    }
    let mut machine = boot.start();

    cores_to(&mut machine, "vdb");
    machine.sh("(setsid dunlin run /run/dunlin.toml 2>/run/dunlin/log &)");
    machine.wait_status("the agent reads", FIRST_LIMIT, |status| {
        status["sources"]["sim"]["readings"].as_u64() > Some(10)
    });
    let pid = machine.agent_pid();
    machine.sh(&format!("kill -SEGV {pid}"));
    machine.wait("! pidof dunlin", FIRST_LIMIT);

    // No more threads than the agent begins with: the first one that it wants makes it panic.
    cores_to(&mut machine, "vdc");
    machine.sh("mkdir -p /run/tight && mount -t cgroup2 none /run/tight && mkdir /run/tight/agent");
    machine
        .sh("echo +pids >/run/tight/cgroup.subtree_control && echo 2 >/run/tight/agent/pids.max");
    machine.run(
        "sh -c 'echo $$ >/run/tight/agent/cgroup.procs; exec dunlin run --log-format human /run/dunlin.toml' 2>/run/dunlin/panic",
    );
    println!("{}", machine.sh("grep -a -A1 panicked /run/dunlin/panic"));
    machine.sh("sync");
    machine.cut();

    let killed = symbolized(&disks[0]);
    assert!(killed.contains("dunlin::agent::run::run"), "{killed}");
    assert!(killed.contains("src/agent/run.rs:"), "{killed}");
    let panicked = symbolized(&disks[1]);
    assert!(panicked.contains("panic"), "{panicked}");
    assert!(panicked.contains("src/agent/run.rs:"), "{panicked}");
}
