//! Drives the built drivers through the C runner and holds their output to independent formulas.

mod kit;

use std::fs;
use std::path::Path;
use std::process::Command;

use dunlin_drivers::DIR;
use kit::{drive, only};

#[test]
fn each_driver_exports_one_symbol() {
    for driver in ["sim", "host", "modbus", "i2c"] {
        let path = format!("{DIR}/{driver}.so");
        let output = Command::new("nm")
            .args(["-D", "--defined-only", &path])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{driver}: {text}");
        assert!(text.ends_with(" dunlin_driver_entry\n"), "{driver}: {text}");
    }
}

#[test]
fn sim_counts_without_loss_at_100_khz() {
    let options = ["waves=shape=counter", "rate_hz=100000", "count=100000"];
    let lines = drive("sim", &options, &"read 4096 100\n".repeat(140));
    let samples = only(&lines, "sample");
    assert_eq!(samples.len(), 100_000);
    let start: i64 = samples[0][1].parse().unwrap();
    for (k, sample) in samples.iter().enumerate() {
        assert_eq!(
            (sample[4].as_str(), sample[5].parse::<usize>().unwrap()),
            ("0", k)
        );
        let late = sample[1].parse::<i64>().unwrap() - start - i64::try_from(k).unwrap() * 10_000;
        assert!(late.abs() <= 1, "sample {k} is {late} ns off");
    }
}

#[test]
fn sim_reports_what_its_backlog_loses() {
    let options = [
        "waves=shape=counter",
        "rate_hz=1000",
        "count=200",
        "backlog=10",
    ];
    let lines = drive("sim", &options, "sleep 400\nread 100 10\nread 100 10\n");
    let samples = only(&lines, "sample");
    assert_eq!(samples.len(), 10);
    assert_eq!(
        (samples[0][4].as_str(), samples[0][5].as_str()),
        ("190", "190")
    );
}

#[test]
fn sim_shapes_follow_their_formulas() {
    let wave = |shape| format!("waves=shape={shape},amplitude=2,offset=5,period_ms=40");
    let (sine, ramp, square) = (wave("sine"), wave("ramp"), wave("square"));
    let options = [&sine, &ramp, &square, "rate_hz=1000", "count=100"];
    let lines = drive("sim", &options, &"read 300 100\n".repeat(20));
    let samples = only(&lines, "sample");
    assert_eq!(samples.len(), 300);
    for (n, sample) in samples.iter().enumerate() {
        let phase = (n / 3 % 40) as f64 / 40.0;
        let want = match n % 3 {
            0 => 5.0 + 2.0 * (std::f64::consts::TAU * phase).sin(),
            1 => 5.0 + 2.0 * phase,
            _ => {
                if phase < 0.5 {
                    7.0
                } else {
                    3.0
                }
            }
        };
        let got: f64 = sample[5].parse().unwrap();
        assert!((got - want).abs() < 1e-9, "sample {n}: {got}, not {want}");
    }
}

#[test]
fn sim_frames_carry_counter_and_crc() {
    let options = [
        "frames=true",
        "frame_rate_hz=1000",
        "frame_bytes=33",
        "count=50",
    ];
    let lines = drive("sim", &options, &"frames 64 50\n".repeat(10));
    let frames = only(&lines, "frame");
    assert_eq!(frames.len(), 50);
    for (k, frame) in frames.iter().enumerate() {
        let hex = &frame[4];
        let bytes: Vec<u8> = (0..33)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()), k as u64);
        let crc = bytes[..29].iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| {
                (c >> 1) ^ (0xEDB8_8320 * (c & 1))
            })
        });
        assert_eq!(
            u32::from_le_bytes(bytes[29..].try_into().unwrap()),
            !crc,
            "frame {k}"
        );
    }
}

#[test]
fn sim_echoes_its_set_point() {
    let lines = drive(
        "sim",
        &["count=1"],
        "read 9 10\nwrite 4 f 2.5 10\nwrite 4 f 1e9 10\nread 9 10\n",
    );
    let samples = only(&lines, "sample");
    assert_eq!(
        (samples[4][2].as_str(), samples[4][5].as_str()),
        ("4", "2.5")
    );
    assert_eq!(only(&lines, "end")[3][1], "-34");
}

#[test]
fn host_reads_a_fixture_tree() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("host");
    let zone = root.join("class/thermal/thermal_zone0");
    fs::create_dir_all(&zone).unwrap();
    fs::write(root.join("loadavg"), "0.25 0.50 0.75 1/2 3\n").unwrap();
    fs::write(zone.join("type"), "cpu-thermal\n").unwrap();
    fs::write(zone.join("temp"), "-1500\n").unwrap();
    let root = root.to_str().unwrap();
    let options = [
        &*format!("proc={root}"),
        &*format!("sys={root}"),
        "hwmon=false",
        "interfaces=none0",
    ];
    let lines = drive("host", &options, "read 99 10\n");
    let got: Vec<_> = only(&lines, "sample")
        .iter()
        .map(|s| (s[3].clone(), s[5].clone()))
        .collect();
    let pair = |quality: &str, value: &str| (quality.to_owned(), value.to_owned());
    let mut want = vec![pair("2", "0"); 4]; // an interface that is not there is bad, not an error
    want.extend(["0.25", "0.5", "0.75", "-1.5"].map(|value| pair("0", value)));
    assert_eq!(got, want);
}

#[test]
fn i2c_converts_every_register_value() {
    let status = Command::new(format!("{DIR}/convert")).status().unwrap();
    assert!(status.success(), "{status}");
}
