//! The drivers without a C library of their own, built for the gateway's processor and run under qemu: what they say is
//! what they say here.
#![cfg(not(target_arch = "aarch64"))]

mod kit;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kit::{drive, only, root};

const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64-static";

/// Runs a tool that must be there.
fn tool(name: &str, arguments: &[&str], input: &str) -> Output {
    let child = Command::new(name)
        .args(arguments)
        .current_dir(root().join("ffi/drivers"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child =
        child.unwrap_or_else(|error| panic!("{name}: {error}. Remedy: scripts/setup.sh test"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{name} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Builds one executable or driver, under the same rules as build.rs does; its path.
fn build(test: &str, name: &str, arguments: &[&str]) -> String {
    let directory: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("aarch64")
        .join(test);
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name).to_str().unwrap().to_owned();
    let mut all = vec![
        "-std=c11",
        "-D_GNU_SOURCE",
        "-I../include",
        "-Ic",
        "-fPIC",
        "-O1",
    ];
    all.extend([
        "-Wall",
        "-Wextra",
        "-pedantic",
        "-Wconversion",
        "-Werror",
        "-o",
        &path,
    ]);
    all.extend(arguments);
    tool(COMPILER, &all, "");
    path
}

fn emulate(arguments: &[&str], input: &str) -> Vec<Vec<String>> {
    let all = [&["-L", "/usr/aarch64-linux-gnu"], arguments].concat();
    let output = tool(EMULATOR, &all, input);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect()
}

/// Builds the driver and the runner; what the runner prints.
fn drive_there(driver: &str, options: &[&str], commands: &str) -> Vec<Vec<String>> {
    let runner = build(driver, "drive", &["tests/drive.c", "-ldl"]);
    let source = format!("c/{driver}.c");
    let flags = [
        "-shared",
        "-fvisibility=hidden",
        "-Wl,--no-undefined",
        "-fno-math-errno",
    ];
    let more = [
        "-Wl,--version-script=c/exports.map",
        &source,
        "c/options.c",
        "-lm",
    ];
    let object = build(
        driver,
        &format!("{driver}.so"),
        &[&flags[..], &more].concat(),
    );
    emulate(
        &[&[runner.as_str(), object.as_str()], options].concat(),
        commands,
    )
}

#[test]
fn sim_says_the_same_on_both() {
    let options = [
        "waves=shape=sine,amplitude=3,period_ms=77",
        "waves=shape=ramp,amplitude=-2,offset=0.1",
        "waves=shape=square,name=q,period_ms=13",
        "waves=shape=noise,amplitude=1e9",
        "waves=shape=counter",
        "rate_hz=10000",
        "count=2000",
        "seed=123456789",
        "frames=true",
        "frame_rate_hz=10000",
        "frame_bytes=40",
    ];
    let commands = "sleep 500\n".to_owned()
        + &"read 4096 0\nframes 1000 0\n".repeat(4)
        + "write 5 f 1.5 10\nread 9 0\n";
    let here = drive("sim", &options, &commands);
    let there = drive_there("sim", &options, &commands);
    // Times differ, all else is the same: descriptions, values to the last digit, payloads, statuses.
    let timeless = |lines: &[Vec<String>]| -> Vec<String> {
        let field = |line: &Vec<String>| match line[0].as_str() {
            "sample" | "frame" => [&line[..1], &line[2..]].concat().join(" "),
            _ => line.join(" "),
        };
        lines.iter().map(field).collect()
    };
    assert_eq!(only(&here, "sample").len(), 10_001);
    assert_eq!(only(&here, "frame").len(), 2000);
    let differ: Vec<_> = timeless(&here)
        .into_iter()
        .zip(timeless(&there))
        .filter(|(a, b)| a != b)
        .collect();
    assert!(
        differ.is_empty(),
        "{} lines, first {:?}",
        differ.len(),
        differ[0]
    );
    assert_eq!(here.len(), there.len());
}

#[test]
fn i2c_says_the_same_on_both() {
    for options in [
        &["bus=/dev/null"][..],
        &["bus=9999", "chip=tmp105", "resolution=10"],
        &[
            "bus=9999",
            "chip=registers",
            "registers=name=a,address=0x10,type=int32,order=little",
        ],
        &[
            "bus=9999",
            "chip=registers",
            "registers=name=a,address=1,type=uint8,mask=0x100",
        ],
        &[
            "bus=9999",
            "chip=registers",
            "registers=name=a,address=1,scale=1e13",
        ],
        &["bus=9999", "address=0x01"],
    ] {
        assert_eq!(
            drive_there("i2c", options, ""),
            drive("i2c", options, ""),
            "{options:?}"
        );
    }
}

#[test]
fn conversions_agree_there_as_well() {
    let convert = build("convert", "convert", &["tests/convert.c"]);
    emulate(&[&convert], "");
}
