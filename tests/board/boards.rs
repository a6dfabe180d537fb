//! One disk on every board: the same agent runs on each.

use super::machine::{Boot, Machine, disk};
use super::station::{FIRST_LIMIT, Station, time_now};

const SIM: &str = "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\n\
    options = { rate_hz = 10, waves = [{ name = \"n\", shape = \"counter\" }] }\n\n";

/// The agent delivers from this board; nothing else of the board matters here.
fn delivers(station: &Station, machine: &mut Machine, model: &str) {
    let said = machine.sh("cat /proc/device-tree/model; echo; uname -m");
    assert!(said.contains(model) && said.ends_with("aarch64"), "{said}");
    let (count, took) = station.await_that("records arrive", FIRST_LIMIT, |received| {
        let count = received.stream("sim").count();
        (count >= 20).then_some(count)
    });
    let links = machine.sh("ls /sys/class/net");
    println!(
        "{model}: {count} records over {} {:.1} s after the shell",
        links.replace('\n', " "),
        took.as_secs_f64()
    );
    station.received().assert_dense_and_ordered();
}

fn boot_and_deliver(board: &'static str, model: &str, options: &[(&str, &str)]) -> Machine {
    let station = Station::start();
    let boot = Boot::new(board)
        .seed(station.seed(SIM, &["sim"]))
        .option("--append", &time_now());
    let mut machine = options
        .iter()
        .fold(boot, |boot, (name, value)| boot.option(name, value))
        .start();
    delivers(&station, &mut machine, model);
    machine
}

#[test]
fn board_virt_boots_the_disk() {
    boot_and_deliver("virt", "linux,dummy-virt", &[]);
}

#[test]
fn board_raspi3b_boots_the_disk() {
    boot_and_deliver("raspi3b", "Raspberry Pi 3 Model B", &[]);
}

/// Memory pages of 16 KiB, as some distributions for the Raspberry Pi 5 have them: the agent's segments must be aligned
/// for that, and its buffers, which are mapped in pages, must not assume 4 KiB.
#[test]
fn board_virt_with_pages_of_16_kib() {
    let mut machine = boot_and_deliver("virt", "linux,dummy-virt", &[("--pages", "16k")]);
    let page = machine.sh("grep -m 1 KernelPageSize /proc/self/smaps");
    assert_eq!(page.split_whitespace().nth(1), Some("16"), "{page}");
}

/// What was synced is there after the power is cut, and the disk boots again: the ground that tests of power cuts stand
/// on.
#[test]
fn board_virt_disk_outlives_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(dir.path());
    let mut machine = Boot::new("virt").disk(&disk).start();
    machine.sh("echo kept >/var/lib/dunlin/kept && sync && echo lost >/var/lib/dunlin/lost");
    machine.cut();
    let mut machine = Boot::new("virt").disk(&disk).start();
    assert_eq!(machine.sh("cat /var/lib/dunlin/kept"), "kept");
    let lost = machine.run("cat /var/lib/dunlin/lost");
    assert_ne!(
        lost.text, "lost",
        "what was not synced a moment ago is gone"
    );
}
