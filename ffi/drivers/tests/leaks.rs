//! First-party drivers in this process, opened and read as a host does it, and refused. Under the address sanitizer, which
//! scripts/asan.sh runs this with, what they or our side lose is found when the test ends. Elsewhere it shows only that the
//! drivers can be closed and opened again.

use dunlin_driver::{Device, Error, Library};
use std::path::Path;

const ROUNDS: usize = 50;

fn library(name: &str) -> Library {
    let path = Path::new(dunlin_drivers::DIR).join(format!("{name}.so"));
    // SAFETY: our own driver, which keeps the contract.
    unsafe { Library::open(&path) }.expect("loads")
}

fn round(library: &Library, options: &[(&str, &str)]) -> Result<usize, Error> {
    let owned: Vec<_> = options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let mut device = Device::open(library, &owned)?;
    let mut samples = 0;
    for _ in 0..3 {
        samples += device.read(64, 20)?.len();
    }
    device.close()?;
    Ok(samples)
}

#[test]
fn drivers_that_read_lose_nothing() {
    for (name, options) in [
        (
            "sim",
            &[
                ("rate_hz", "1000"),
                ("waves", "name=a,shape=sine"),
                ("waves", "name=b,shape=counter"),
            ][..],
        ),
        ("host", &[("disks", "/"), ("interfaces", "lo")]),
    ] {
        let library = library(name);
        let read: usize = (0..ROUNDS)
            .map(|_| round(&library, options).expect(name))
            .sum();
        assert!(read > 0, "{name} read nothing");
    }
}

#[test]
fn drivers_that_cannot_open_lose_nothing() {
    for (name, options) in [
        ("sim", &[("waves", "name=a,shape=none")][..]),
        ("host", &[("disks", "/no/such/place"), ("disks", "x")]),
        (
            "modbus",
            &[
                ("address", "127.0.0.1:1"),
                ("registers", "name=a,address=0"),
            ],
        ),
        ("i2c", &[("bus", "/no/bus"), ("chip", "tmp105")]),
        ("gpio", &[("chip", "/no/chip"), ("inputs", "name=a,line=0")]),
        ("serial", &[("port", "/no/port")]),
    ] {
        let library = library(name);
        for _ in 0..ROUNDS {
            // Some opens late and fails at its first read; either way it is closed.
            let _ = round(&library, options);
            let _ = round(&library, &[]);
        }
    }
}
