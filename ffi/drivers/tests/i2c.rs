//! The i2c driver: its real system calls, answered by chips that `i2c_bus` plays.

mod kit;

use std::fs::{self, File};
use std::process::Command;

use dunlin_drivers::DIR;
use kit::Session;

/// A session on the bus; `script` is what the temperature reads give. Writes of registers are logged to `log`.
fn on_bus(script: &str, log: Option<File>, options: &[&str]) -> Result<Session, String> {
    let mut command = Command::new(format!("{DIR}/i2c_bus"));
    command
        .env("I2C_SCRIPT", script)
        .args([format!("{DIR}/drive"), format!("{DIR}/i2c.so")])
        .arg("bus=/dev/null")
        .args(options);
    if let Some(log) = log {
        command.stderr(log);
    }
    Session::open_by(&mut command)
}

fn temperatures(script: &str, options: &[&str]) -> Vec<f64> {
    let mut session = on_bus(script, None, options).unwrap();
    let count = script.split(' ').count();
    (0..count)
        .map(|_| {
            let reply = session.ask("read 9 1000");
            assert_eq!(
                (reply.status, reply.samples[0].quality),
                (1, 0),
                "{reply:?}"
            );
            reply.samples[0].value
        })
        .collect()
}

// Texas Instruments TMP105 data sheet (SBOS400), the table of 12-bit temperatures, and the limits of the format.
const RAW: &str = "0x7FF0 0x6400 0x5000 0x4B00 0x3200 0x1900 0x0040 0x0010 0x0000 0xFFF0 0xFFC0 0xE700 0xC900 0x8000";

#[test]
fn temperatures_are_exact_at_each_resolution() {
    let at_12 = [
        127.9375, 100.0, 80.0, 75.0, 50.0, 25.0, 0.25, 0.0625, 0.0, -0.0625, -0.25, -25.0, -55.0,
        -128.0,
    ];
    for bits in 9..=12 {
        let got = temperatures(RAW, &["chip=tmp105", &format!("resolution={bits}")]);
        // What the chip cuts off makes the value smaller: two's complement rounds down.
        let step = 2f64.powi(8 - bits);
        let want: Vec<f64> = at_12
            .iter()
            .map(|t: &f64| (t / step).floor() * step)
            .collect();
        assert_eq!(got, want, "{bits} bits");
    }
}

#[test]
fn undefined_low_bits_are_cut_off() {
    let got = temperatures(
        "0x1900 0x1980 0xFF80 0x8000",
        &["chip=lm75", "address=0x49"],
    );
    assert_eq!(got, [25.0, 25.5, -0.5, -128.0]);
}

#[test]
fn the_resolution_is_written_to_the_chip() {
    let path = format!("{}/i2c.log", env!("CARGO_TARGET_TMPDIR"));
    for (options, want) in [
        (&["chip=tmp105"][..], "i2c write 48 01 60\n"),
        (&["chip=tmp105", "resolution=9"], "i2c write 48 01 00\n"),
        (&["chip=tmp105", "resolution=10"], "i2c write 48 01 20\n"),
        (&["chip=tmp105", "resolution=11"], "i2c write 48 01 40\n"),
        (&["chip=lm75"], ""),
        (&["chip=tmp102"], ""),
    ] {
        drop(on_bus("0", Some(File::create(&path).unwrap()), options).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), want, "{options:?}");
    }
}

#[test]
fn failures_are_told_apart_and_passed() {
    let mut session = on_bus(
        "nack 0x1900 lost timeout short 0x1A00 gone",
        None,
        &["chip=lm75"],
    )
    .unwrap();
    for (status, why) in [
        (-5, "/dev/null address 0x48: read: Remote I/O error"),
        (1, ""),
        (-5, "Resource temporarily unavailable"),
        (-110, "Connection timed out"),
        (-5, "0x48: 1 of 2 messages were carried out"),
        (1, ""),
        (-19, "/dev/null address 0x48: read: No such device"),
        (-19, "No such device"),
    ] {
        let reply = session.ask("read 9 1000");
        assert_eq!(reply.status, status, "{why}: {reply:?}");
        assert!(reply.why.contains(why), "{why}: {reply:?}");
    }
}

#[test]
fn an_address_without_a_chip_is_named() {
    let mut session = on_bus("0", None, &["chip=lm75", "address=0x4a"]).unwrap();
    let reply = session.ask("read 9 1000");
    assert_eq!(reply.status, -5);
    assert!(
        reply.why.contains("0x4a: read: No such device or address"),
        "{reply:?}"
    );
    // A chip that must be told its resolution is missed at open already.
    let Err(said) = on_bus("0", None, &["chip=tmp105", "address=0x4a"]) else {
        panic!("opened without a chip");
    };
    assert!(
        said.starts_with("-5 address: /dev/null address 0x4a: read: "),
        "{said}"
    );
}

#[test]
fn registers_by_table() {
    let options = [
        "chip=registers",
        "address=0x20",
        "registers=name=u8,address=20",             // 140
        "registers=name=i8,address=20,type=int8",   // 140 - 256
        "registers=name=u16,address=3,type=uint16", // 21, 28
        "registers=name=u16l,address=3,type=uint16,order=little", // 28, 21
        "registers=name=i16,address=30,type=int16", // 210, 217
        "registers=name=u32,address=36,type=uint32", // 252, 3, 10, 17
        "registers=name=i32l,address=33,type=int32,order=little", // 231, 238, 245, 252
        "registers=name=field,address=20,mask=0x78,shift=3", // 0b10001100 -> 0b0001
        "registers=name=signed,address=20,type=int8,mask=0x0C,shift=2", // 0b11
        "registers=name=scaled,address=20,scale=0.5,offset=-10,unit=Cel",
    ];
    let mut session = on_bus("0", None, &options).unwrap();
    let want = [
        140.0,
        -116.0,
        5404.0,
        7189.0,
        -11559.0,
        4_228_057_617.0,
        -50_991_385.0,
        1.0,
        -1.0,
        60.0,
    ];
    // What does not fit into a call comes with the next.
    let mut got: Vec<f64> = Vec::new();
    for (command, status) in [("read 4 1000", 4), ("read 99 1000", 6)] {
        let reply = session.ask(command);
        assert_eq!(reply.status, status);
        got.extend(reply.samples.iter().map(|sample| sample.value));
    }
    assert_eq!(got, want);
}

#[test]
fn what_cannot_work_is_refused_at_open() {
    let empty = "registers=name=a,address=1,mask=0x100";
    for (options, status, why) in [
        (&["bus=/dev/null"][..], "-95", "is not an I2C bus"),
        (
            &["bus=9999"],
            "-19",
            "cannot open /dev/i2c-9999: No such file",
        ),
        (&["bus=9999", "chip=lm76"], "-22", "chip: lm76 is none of"),
        (
            &["bus=9999", "address=0x78"],
            "-22",
            "address: 0x78 is outside",
        ),
        (
            &["bus=9999", "chip=tmp105", "resolution=13"],
            "-22",
            "outside 9 to 12",
        ),
        (
            &["bus=9999", "resolution=9"],
            "-22",
            "chip lm75 has none to set",
        ),
        (&["bus=9999", "chip=registers"], "-22", "registers: 0 given"),
        (
            &["bus=9999", "chip=registers", empty],
            "-22",
            "mask: leaves no bit",
        ),
    ] {
        let Err(said) = Session::open("i2c", options) else {
            panic!("{options:?} was taken");
        };
        assert!(
            said.starts_with(status) && said.contains(why),
            "{options:?}: {said}"
        );
    }
}
