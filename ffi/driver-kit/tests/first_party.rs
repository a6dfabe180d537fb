//! Every driver that comes with dunlin passes the kit, on something real: a Modbus server, a bus with chips, a pseudo
//! terminal. gpio, can and iio need a kernel that has devices for them: `scripts/guest.sh kit_` boots one and runs the kit there
//! (`ffi/drivers/tests/guest/kit.rs`); here they load.

mod line;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use line::Line;

const KIT: &str = env!("CARGO_BIN_EXE_dunlin-driver-kit");

fn driver(name: &str) -> String {
    format!("{}/{name}.so", dunlin_drivers::DIR)
}

/// Runs `command` with the arguments of a check behind it: what it said, which must end with `counts`.
fn passes(command: &mut Command, name: &str, arguments: &[&str], counts: &str) -> String {
    let output = command
        .args(["check", &driver(name)])
        .args(arguments)
        .output()
        .expect("the kit runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    assert!(said.contains(counts), "{name}, expected {counts}: {said}");
    said
}

fn kit() -> Command {
    Command::new(KIT)
}

#[test]
fn sim_passes_with_frames_and_writes() {
    let options = ["-o", "frames=true", "-o", "rate_hz=1000", "--allow-writes"];
    passes(&mut kit(), "sim", &options, "17 ok, 0 found, 0 skipped");
}

#[test]
fn host_passes_with_a_library_that_cannot_do_without_memory() {
    // libsensors ends the process where it has no memory; denied are the driver's own allocations, not its.
    let grants = ["--read-path", "/proc", "--read-path", "/sys"];
    let options = [&["-o", "disks=/"][..], &grants].concat();
    passes(&mut kit(), "host", &options, "15 ok, 0 found, 2 skipped");
}

/// The lab's server, ended with its value.
struct Server(Child, String);

impl Server {
    fn start() -> Server {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python: PathBuf = root.join("target/lab/venv/bin/python");
        let mut child = Command::new(&python)
            .arg(root.join("lab/modbus_server.py"))
            .arg("0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; scripts/setup.sh test", python.display()));
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        said.read_line(&mut line).expect("it says its port");
        let port = line.strip_prefix("ready").expect("ready PORT").trim();
        Server(child, format!("127.0.0.1:{port}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn modbus_passes_with_a_server_and_writes() {
    let server = Server::start();
    let address = format!("address={}", server.1);
    let options = [
        "-o",
        &address,
        "-o",
        "registers=name=coil,table=coil,address=1,writable=true",
        "-o",
        "registers=name=word,address=20,type=int16,writable=true",
        "-o",
        "registers=name=input,table=input,address=9",
        "--network",
        &server.1,
        "--allow-writes",
    ];
    passes(&mut kit(), "modbus", &options, "16 ok, 0 found, 1 skipped");
}

#[test]
fn i2c_passes_on_a_bus_with_chips() {
    let mut bus = Command::new(format!("{}/i2c_bus", dunlin_drivers::DIR));
    bus.env("I2C_SCRIPT", "0x1900").arg(KIT);
    let options = ["-o", "bus=/dev/null", "-o", "chip=tmp105"];
    passes(&mut bus, "i2c", &options, "15 ok, 0 found, 2 skipped");
}

#[test]
fn serial_passes_on_a_pseudo_terminal() {
    let line = Line::saying("12.5,7\n");
    let port = format!("port={}", line.port);
    let common = ["-o", &port, "--device", &line.port];
    let lines = [&common[..], &["-o", "values=name=a,column=1"]].concat();
    passes(&mut kit(), "serial", &lines, "15 ok, 0 found, 2 skipped");
    let telegrams = [&common[..], &["-o", "framing=delimited"]].concat();
    passes(
        &mut kit(),
        "serial",
        &telegrams,
        "16 ok, 0 found, 1 skipped",
    );
}

#[test]
fn drivers_without_a_device_here_load() {
    for name in ["gpio", "can", "iio"] {
        let only = ["--only", "exports-one-symbol", "--only", "loads"];
        passes(&mut kit(), name, &only, "2 ok, 0 found, 0 skipped");
    }
}
