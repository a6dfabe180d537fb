//! The real disk does what the log takes its word for. Each call that can tell is held against the operating system itself.

use super::super::fs::{Disk, Storage};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

#[test]
fn a_removed_file_is_gone_and_a_missing_one_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    Disk.create(&path).expect("a new file");
    Disk.remove(&path).expect("it is there");
    assert!(!path.exists());
    let error = Disk.remove(&path).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// That a sync syncs shows when the power goes; that it asks the kernel shows where the kernel says no.
#[test]
fn a_sync_that_the_kernel_refuses_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    Disk.sync_dir(dir.path()).expect("a directory");
    Disk.sync_dir(&dir.path().join("nowhere"))
        .expect_err("no directory");
    let file = Disk.create(&dir.path().join("file")).expect("a new file");
    file.sync().expect("a file");
    let device = Disk.open(Path::new("/dev/null"), true).expect("a device");
    device.sync().expect_err("nothing to sync to");
}

#[test]
fn blocks_are_reserved_and_a_file_is_cut() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    let file = Disk.create(&path).expect("a new file");
    file.allocate(1 << 16).expect("space");
    let blocks = std::fs::metadata(&path).expect("a file").blocks();
    assert!(blocks * 512 >= 1 << 16, "{blocks} blocks");
    assert_eq!(file.size().expect("a file"), 1 << 16);
    file.set_size(100).expect("a cut");
    assert_eq!(file.size().expect("a file"), 100);
}

/// What other processes take or give back meanwhile is small against what is asked.
#[test]
fn free_space_is_what_the_file_system_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let stat = Command::new("stat")
        .args(["-f", "-c", "%a %S"])
        .arg(dir.path())
        .output();
    let said = String::from_utf8(stat.expect("coreutils").stdout).expect("two numbers");
    let numbers = said.split_whitespace().map(str::parse::<u64>);
    let says: u64 = numbers.map(|n| n.expect("a number")).product();
    let free = Disk.free_bytes(dir.path()).expect("a file system");
    assert!(
        free >= says / 2 && free / 2 <= says && free > 1,
        "{free}, {says}"
    );
    Disk.free_bytes(&dir.path().join("nowhere"))
        .expect_err("no directory");
}

/// For each mount: bytes where the kernel counts sectors of its device, nothing where it does not.
#[test]
fn bytes_of_a_device_are_its_sectors() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("Linux");
    for mount in mounts.lines() {
        let fields: Vec<&str> = mount.split(' ').collect();
        let (device, dir) = (fields[2], Path::new(fields[4]));
        let written = || {
            let stat = std::fs::read_to_string(format!("/sys/dev/block/{device}/stat")).ok()?;
            let sectors = stat.split_whitespace().nth(6)?;
            Some(sectors.parse::<u64>().expect("a number") * 512)
        };
        // What another mount hides is of another device.
        let found = std::fs::metadata(dir).map(|found| found.dev());
        let is_seen = found.is_ok_and(|dev| {
            let major = dev >> 8 & 0xfff | dev >> 32 & !0xfff;
            let minor = dev & 0xff | dev >> 12 & !0xff;
            device == format!("{major}:{minor}")
        });
        if !is_seen {
            continue;
        }
        let (before, found, after) = (written(), Disk.device_bytes_written(dir), written());
        assert!(
            before <= found && found <= after,
            "{mount}: {before:?}, {found:?}, {after:?}"
        );
        // A directory that is not made yet lies where its parent does.
        let unborn = Disk.device_bytes_written(&dir.join("not made yet"));
        assert_eq!(unborn.is_some(), found.is_some(), "{mount}");
    }
}

#[test]
fn the_time_is_the_uptime_of_this_boot() {
    let uptime = || {
        let text = std::fs::read_to_string("/proc/uptime").expect("Linux");
        let seconds = text.split(' ').next().expect("two numbers");
        let (whole, hundredths) = seconds.split_once('.').expect("hundredths");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        1000 * number(whole) + 10 * number(hundredths)
    };
    let (before, now, after) = (uptime(), Disk.moment(), uptime());
    assert!((before..=after).contains(&now.uptime_ms), "{now:?}");
    assert_ne!(now.boot, 0);
    assert_eq!(now.boot, Disk.moment().boot);
}

/// A holder that is just starting has not written who it is.
#[test]
fn a_lock_is_held_until_it_is_dropped() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("lock");
    let refused = |path: &Path| {
        let Err(error) = Disk.lock(path) else {
            panic!("locked twice");
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        error.to_string()
    };
    let held = Disk.lock(&path).expect("nobody holds it");
    assert_eq!(refused(&path), std::process::id().to_string());
    std::fs::write(&path, "").expect("a file");
    assert_eq!(refused(&path), "?");
    drop(held);
    Disk.lock(&path).expect("nobody holds it");
}
