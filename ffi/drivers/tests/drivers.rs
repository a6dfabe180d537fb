//! What holds for all drivers, and the conversions.

use std::process::Command;

use dunlin_drivers::DIR;

#[test]
fn each_driver_exports_one_symbol() {
    for driver in [
        "sim", "host", "modbus", "i2c", "gpio", "serial", "can", "iio",
    ] {
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
fn i2c_converts_every_register_value() {
    let status = Command::new(format!("{DIR}/convert")).status().unwrap();
    assert!(status.success(), "{status}");
}
