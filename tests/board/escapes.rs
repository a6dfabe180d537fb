//! A compromised driver on the board's kernel: the hostile driver, built for it, can neither open a file, nor have a socket, nor
//! start, signal or look into another process, and of a network reaches what it was granted.

use super::machine::{Answer, Boot, Seed};
use super::native_escapes::ESCAPES;
use std::path::Path;
use std::process::Command;

/// What `dunlin drivers read` says of these errnos.
const NAMES: [(i32, &str); 3] = [(1, "EPERM"), (13, "EACCES"), (38, "ENOSYS")];

/// The hostile driver for aarch64.
fn hostile() -> Vec<u8> {
    let ffi = Path::new(env!("CARGO_MANIFEST_DIR")).join("ffi");
    let room = tempfile::tempdir().unwrap();
    let library = room.path().join("hostile.so");
    let built = Command::new("aarch64-linux-gnu-gcc")
        .args([
            "-std=gnu99",
            "-shared",
            "-fPIC",
            "-O1",
            "-fexceptions",
            "-w",
            "-I",
        ])
        .args([
            &ffi.join("include"),
            &ffi.join("examples/hostile/hostile.c"),
        ])
        .arg("-o")
        .args([&library])
        .args(["-lpthread", "-lm"])
        .status();
    assert!(built.expect("scripts/setup.sh cross installs it").success());
    std::fs::read(library).unwrap()
}

/// What was said of each mode, a line each.
fn tried(said: &Answer) -> Vec<(&str, &str)> {
    let lines = said
        .text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tried "));
    lines.filter_map(|line| line.split_once(' ')).collect()
}

#[test]
fn board_virt_a_compromised_driver_reaches_nothing() {
    let seed = Seed::default()
        .file("hostile.so", hostile())
        .without_agent();
    let mut machine = Boot::new("virt").seed(seed).start();
    machine.sh("touch /etc/shadow && ip addr add 127.0.0.2/8 dev lo; (nc -ll -p 1502 -e true &)");
    let read = |modes: &str, arguments: &str| {
        format!(
            "for mode in {modes}; do echo tried $mode \
             $(dunlin drivers read /run/seed/hostile.so -o mode=$mode {arguments} 2>&1 | head -1); done"
        )
    };
    let modes: Vec<&str> = ESCAPES.iter().map(|(mode, _)| *mode).collect();
    // A dozen at a time: the console waits for a minute, and a board beside another one needs two seconds for each.
    for (modes, expected) in modes.chunks(12).zip(ESCAPES.chunks(12)) {
        let said = machine.run(&read(&modes.join(" "), "-o arg=/etc/shadow"));
        let found = tried(&said);
        assert_eq!(found.len(), modes.len(), "{}", said.text);
        for ((mode, expected), (tried, answer)) in expected.iter().zip(found) {
            assert_eq!(*mode, tried);
            let refused = NAMES.iter().any(|(errno, name)| {
                expected.contains(errno) && answer.contains(&format!(": {name}: "))
            });
            assert!(refused, "{mode}: {answer}");
        }
    }
    let grant = "--network 127.0.0.1:1502";
    for (mode, to, expected) in [
        ("net-connect", "127.0.0.1:1502", "EISCONN"),
        ("net-connect", "127.0.0.2:1502", "EACCES"),
    ] {
        let said = machine.run(&read(mode, &format!("-o arg={to} {grant}")));
        let answer = said.text.contains(&format!(": {expected}: "));
        assert!(answer, "{mode} {to}: {}", said.text);
    }
    println!("{} ways out tried, all closed", ESCAPES.len() + 1);
}
