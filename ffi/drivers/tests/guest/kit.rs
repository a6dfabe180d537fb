//! The kit on the drivers that need devices which only a kernel can give: each passes every check.

use std::process::{Child, Command};

use dunlin_drivers::DIR;

use crate::can::Bus;
use crate::gpio::Chip;
use crate::iio::Made;

/// Runs every check; the counts must be these.
fn passes(driver: &str, arguments: &[&str], counts: &str) {
    let kit = std::env::var("GUEST_KIT").expect("scripts/guest.sh says where the kit is");
    let output = Command::new(kit)
        .args(["check", &format!("{DIR}/{driver}.so")])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    println!("{driver}:\n{said}");
    assert!(output.status.success() && said.contains(counts), "{said}");
}

#[test]
fn kit_passes_gpio() {
    let chip = Chip::new("kit");
    let node = format!("/dev/{}", chip.name);
    let option = format!("chip={node}");
    let lines = [
        "-o",
        &option,
        "-o",
        "lines=line=1,edge=none",
        "-o",
        "lines=line=2",
        "-o",
        "lines=line=4,direction=output",
        "-o",
        "poll_ms=5",
        "--device",
        &node,
        "--read-path",
        "/sys",
        "--allow-writes",
    ];
    passes("gpio", &lines, "16 ok, 0 found, 1 skipped");
}

/// Frames without end, until the value ends.
struct Traffic(Child);

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn kit_passes_can() {
    let bus = Bus::new("can-kit");
    let traffic = Command::new("cangen")
        .args([bus.0, "-I", "123", "-L", "8", "-g", "2"])
        .spawn();
    let _traffic = Traffic(traffic.unwrap());
    let interface = format!("interface={}", bus.0);
    let options = [
        "-o",
        &interface,
        "-o",
        "signals=name=a,id=0x123,start=0,length=16",
        "-o",
        "signals=name=b,id=0x200,start=0,length=12,scale=0.5,writable=true",
        "-o",
        "frames=true",
        "--can",
        bus.0,
        "--allow-writes",
    ];
    passes("can", &options, "17 ok, 0 found, 0 skipped");
}

#[test]
fn kit_passes_iio_polled() {
    let _sensor = Made::sensor("kit_me");
    let options = [
        "-o",
        "device=kit_me",
        "-o",
        "channels=id=voltage0",
        "-o",
        "channels=id=accel_x",
        "-o",
        "poll_ms=5",
        "--read-path",
        "/sys",
    ];
    passes("iio", &options, "15 ok, 0 found, 2 skipped");
}
