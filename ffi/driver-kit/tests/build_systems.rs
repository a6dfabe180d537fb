//! Both ways of building that the examples show make drivers that pass the kit.

mod line;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use line::Line;

const KIT: &str = env!("CARGO_BIN_EXE_dunlin-driver-kit");

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// What a program said, which must have ended well.
fn run(command: &mut Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; scripts/setup.sh test installs it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    said
}

#[test]
fn make_builds_drivers_that_pass() {
    let room = tempfile::tempdir().expect("room");
    let mut out = OsString::from("OUT=");
    out.push(room.path());
    run(Command::new("make").arg("-C").arg(examples()).arg(out));
    let check = |driver: &str| {
        let mut command = Command::new(KIT);
        command.arg("check").arg(room.path().join(driver));
        command
    };
    let said = run(check("template.so").arg("--allow-writes"));
    assert!(said.contains("16 ok, 0 found, 1 skipped"), "{said}");
    let number = "/proc/sys/kernel/pid_max";
    let option = format!("path={number}");
    let said = run(check("average.so").args(["-o", &option, "--read-path", number]));
    assert!(said.contains("15 ok, 0 found, 2 skipped"), "{said}");
    let line = Line::saying(
        "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n\
         $GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n",
    );
    let port = format!("port={}", line.port);
    let said = run(check("nmea.so").args(["-o", &port, "--device", &line.port]));
    assert!(said.contains("15 ok, 0 found, 2 skipped"), "{said}");
}

#[test]
fn cmake_builds_drivers_that_pass() {
    let room = tempfile::tempdir().expect("room");
    // ctest runs the kit on both, where cmake finds it.
    let mut path = Path::new(KIT)
        .parent()
        .expect("a folder")
        .as_os_str()
        .to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let cmake = |arguments: &[&str]| {
        let mut command = Command::new("cmake");
        command.env("PATH", &path).args(arguments);
        command
    };
    run(cmake(&["-S"]).arg(examples()).arg("-B").arg(room.path()));
    run(cmake(&["--build"]).arg(room.path()));
    let said = run(Command::new("ctest")
        .env("PATH", &path)
        .args(["--output-on-failure", "--test-dir"])
        .arg(room.path()));
    assert!(
        said.contains("100% tests passed, 0 tests failed out of 2"),
        "{said}"
    );
}
