//! The host driver on fixture trees that change while it reads, and on this machine.

mod kit;

use std::fs;
use std::path::{Path, PathBuf};

use kit::Session;

const LOAD: &str = "0.25 0.50 0.75 1/200 12345\n";
const MEMORY: &str = "MemTotal:        2048 kB\nMemFree:          100 kB\nMemAvailable:    1024 kB\n\
    SwapTotal:          0 kB\nSwapFree:           0 kB\n";
const NETWORK: &str = "Inter-|   Receive      |  Transmit\n face |bytes packets errs drop|bytes packets errs drop\n\
    \x20   lo:  11  1 0 0 0 0 0 0   11  1 0 0 0 0 0 0\n\
    \x20 eth0:1000 20 3 0 0 0 0 0 4000 50 6 0 0 0 0 0\n\
    \x20eth01: 777  7 7 0 0 0 0 0  777  7 7 0 0 0 0 0\n";

/// A fresh tree that stands for /proc and /sys at once.
fn tree(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root); // of an earlier run
    fs::create_dir_all(root.join("net")).unwrap();
    fs::write(root.join("loadavg"), LOAD).unwrap();
    fs::write(root.join("meminfo"), MEMORY).unwrap();
    fs::write(root.join("net/dev"), NETWORK).unwrap();
    for (zone, kind, temperature) in [(0, "cpu-thermal", "45500\n"), (3, "gpu thermal", "-1500\n")]
    {
        let zone = root.join(format!("class/thermal/thermal_zone{zone}"));
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("type"), format!("{kind}\n")).unwrap();
        fs::write(zone.join("temp"), temperature).unwrap();
    }
    root
}

fn open(root: &Path, more: &[&str]) -> Session {
    let root = root.to_str().unwrap();
    let (proc, sys) = (format!("proc={root}"), format!("sys={root}"));
    let mut options = vec![proc.as_str(), sys.as_str(), "hwmon=false"];
    options.extend(more);
    Session::open("host", &options).unwrap()
}

#[test]
fn every_value_of_a_tree() {
    let mut session = open(&tree("host-all"), &["interfaces=eth0"]);
    let want = [
        "1000", "3", "4000", "6", // received, errors, sent, errors
        "0.25", "0.5", "0.75", // load
        "2097152", "1048576", "0",
        "0", // memory and swap; no uptime, since there is no such file
        "45.5", "-1.5", // zones 0 and 3
    ];
    assert_eq!(session.ask("read 99 10").values(), want);
    // In two calls the order is the same.
    assert_eq!(session.ask("read 5 10").values(), want[..5]);
    assert_eq!(session.ask("read 99 10").values(), want[5..]);
}

#[test]
fn a_zone_that_vanishes_is_bad_and_alone() {
    let root = tree("host-zone");
    let mut session = open(&root, &[]);
    let zone = root.join("class/thermal/thermal_zone0");
    fs::remove_dir_all(&zone).unwrap();
    let gone = session.ask("read 99 10");
    assert_eq!(gone.values()[7..], ["bad", "-1.5"]);
    assert_eq!(gone.values()[..3], ["0.25", "0.5", "0.75"]);
    fs::create_dir_all(&zone).unwrap();
    for (text, want) in [
        ("50000", "50"),
        ("", "bad"),
        ("none\n", "bad"),
        ("nan\n", "bad"),
        ("0\n", "0"),
    ] {
        fs::write(zone.join("temp"), text).unwrap();
        assert_eq!(
            session.ask("read 99 10").values()[7..],
            [want, "-1.5"],
            "{text:?}"
        );
    }
}

#[test]
fn an_interface_may_disappear_and_return() {
    let root = tree("host-net");
    let mut session = open(&root, &["interfaces=eth0", "interfaces=lo"]);
    let both = ["1000", "3", "4000", "6", "11", "0", "11", "0"];
    assert_eq!(session.ask("read 99 10").values()[..8], both);
    let without: String = NETWORK
        .lines()
        .filter(|line| !line.contains("eth0:"))
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(root.join("net/dev"), without).unwrap();
    let reply = session.ask("read 99 10");
    assert_eq!(
        reply.values()[..8],
        ["bad", "bad", "bad", "bad", "11", "0", "11", "0"]
    );
    fs::remove_file(root.join("net/dev")).unwrap();
    let reply = session.ask("read 99 10");
    assert_eq!(
        reply.values()[..9],
        [
            "bad", "bad", "bad", "bad", "bad", "bad", "bad", "bad", "0.25"
        ]
    );
    fs::write(root.join("net/dev"), NETWORK).unwrap();
    assert_eq!(session.ask("read 99 10").values()[..8], both);
}

#[test]
fn a_disk_that_is_not_mounted_is_bad() {
    let root = tree("host-disk");
    let inside = format!("disks={}", root.display());
    let mut session = open(
        &root,
        &["disks=/", &inside, "disks=/no/such/place", "disks=/proc"],
    );
    let reply = session.ask("read 99 10");
    let values: Vec<f64> = reply.samples.iter().map(|sample| sample.value).collect();
    assert!(values[0] >= values[1] && values[1] >= 0.0, "{reply:?}");
    assert!((0.0..=100.0).contains(&values[2]), "{reply:?}");
    assert_eq!(reply.samples[0].quality, 0);
    // A directory of a mounted file system, nothing, and a file system without blocks.
    assert_eq!(reply.values()[3..12], ["bad"; 9]);
    assert_eq!(reply.values()[12..15], ["0.25", "0.5", "0.75"]);
}

#[test]
fn nothing_readable_names_the_remedy() {
    let options = ["proc=/no/such", "sys=/no/such", "hwmon=false"];
    let Err(said) = Session::open("host", &options) else {
        panic!("opened on nothing");
    };
    assert!(
        said.starts_with("-19 ") && said.contains("grant read access"),
        "{said}"
    );
    let Err(said) = Session::open("host", &["disks=relative"]) else {
        panic!("took a relative path");
    };
    assert!(
        said.starts_with("-22 disks[0]: 'relative' is not an absolute path"),
        "{said}"
    );
}

#[test]
fn this_machine_with_and_without_sensors() {
    // On a machine without sensors the two agree; where there are some, they come after all else.
    let mut without = Session::open("host", &["hwmon=false", "disks=/", "interfaces=lo"]).unwrap();
    let mut with = Session::open("host", &["hwmon=true", "disks=/", "interfaces=lo"]).unwrap();
    let plain = without.ask("read 1000 10");
    let all = with.ask("read 1000 10");
    assert!(
        plain.status >= 3 + 4 + 8 && all.status >= plain.status,
        "{plain:?} {all:?}"
    );
    assert!(
        plain.samples.iter().all(|sample| sample.quality == 0),
        "{plain:?}"
    );
    for (n, sample) in all.samples.iter().enumerate() {
        assert_eq!(sample.channel, n);
    }
    if !Path::new("/sys/class/hwmon").exists() {
        assert_eq!(all.status, plain.status);
    }
}
