//! A crash and a panic of the stripped agent on a board, named on the desk: the kernel writes a core file to a disk, and
//! `scripts/symbolize.sh` finds functions, files and lines in it by the symbols that the build kept aside.

use super::machine::{Boot, Machine, blank_disk};
use super::station::{FIRST_LIMIT, Station};
use std::path::{Path, PathBuf};
use std::process::Command;

/// More than a core of the agent.
const DISK_MIB: u64 = 64;
const SIM: &str = "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
     options = { rate_hz = 100, waves = [{ name = \"n\", shape = \"counter\" }] }\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The stripped agent for the devices.
fn agent() -> PathBuf {
    root().join("target/aarch64-unknown-linux-gnu/release/dunlin")
}

/// What the script makes of a core.
fn symbolized(core: &Path) -> String {
    let output = Command::new(root().join("scripts/symbolize.sh"))
        .arg("--core")
        .arg(core)
        .arg(agent())
        .arg(root().join("target/board/sysroot"))
        .output()
        .expect("scripts/symbolize.sh runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{failed}");
    println!("{said}");
    said
}

/// What a tool says of the symbols of the agent.
fn symbols(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .arg(agent().with_extension("debug"))
        .output();
    let output = output.unwrap_or_else(|error| panic!("{tool}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where a signal meets a call of OpenSSL, which is chance, the calls above it are found by these.
#[test]
fn board_symbols_have_the_frames_of_c() {
    let names = symbols("nm", &[]);
    let function = names.lines().find(|line| line.ends_with(" BIO_write"));
    let (address, _) = function
        .and_then(|line| line.split_once(' '))
        .expect("a symbol");
    let frames = symbols("readelf", &["--debug-dump=frames"]);
    assert!(frames.contains(&format!(" pc={address}..")), "{address}");
}

fn cores_go_to(disk: &str) -> String {
    format!("echo '|/bin/dd of=/dev/{disk} bs=65536 conv=fsync' >/proc/sys/kernel/core_pattern")
}

/// Has the agent's binary look for its broker by name where the kernel gives it no second thread, as `TasksMax=` does: tokio
/// asks a thread for names, and panics. There is no switch for it in what is shipped. Gives back what it said, which under
/// systemd is in the journal.
fn panic_for_want_of_a_thread(machine: &mut Machine) -> String {
    machine.sh("mkdir -p /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup");
    machine.sh("echo +pids >/sys/fs/cgroup/cgroup.subtree_control && mkdir /sys/fs/cgroup/one");
    machine.sh("echo 1 >/sys/fs/cgroup/one/pids.max");
    machine.sh("sed 's/10.0.2.2/broker.invalid/' /run/dunlin.toml >/run/panic.toml");
    machine.sh(
        "(echo 0 >/sys/fs/cgroup/one/cgroup.procs; exec dunlin sub /run/panic.toml) 2>/run/panic; true",
    );
    machine.sh("cat /run/panic")
}

#[test]
fn board_virt_a_crash_is_named_on_the_desk() {
    let dir = tempfile::tempdir().unwrap();
    let station = Station::start();
    let mut boot = Boot::new("virt").seed(station.seed(SIM, &["sim"]).without_agent());
    let disks = ["crash", "panic"].map(|name| blank_disk(dir.path(), name, DISK_MIB));
    for (name, disk) in ["crash", "panic"].iter().zip(&disks) {
        let drive = format!("if=none,id={name},format=raw,file={}", disk.display());
        let device = format!("virtio-blk-pci,drive={name}");
        boot = boot.qemu(&["-drive", &drive, "-device", &device]);
    }
    let mut machine = boot.start();

    machine.sh(&cores_go_to("vdc"));
    let log = panic_for_want_of_a_thread(&mut machine);
    println!("{log}");
    assert!(
        log.contains("thread 'main'") && log.contains("panicked at "),
        "{log}"
    );

    machine.sh(&cores_go_to("vdb"));
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

    let [crash, panic] = &disks;
    let killed = symbolized(crash);
    // Whatever the thread was about then.
    for call in [
        "signal SIGSEGV",
        "run () at src/agent/run.rs:",
        "main () at src/main.rs:",
    ] {
        assert!(killed.contains(call), "{call}: {killed}");
    }
    let panicked = symbolized(panic);
    for call in [
        "signal SIGABRT",
        "core::panicking::panic_fmt ()",
        "at src/uplink/transport/tcp.rs:",
        "main () at src/main.rs:",
    ] {
        assert!(panicked.contains(call), "{call}: {panicked}");
    }
}
