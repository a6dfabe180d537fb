//! Chips on the I2C bus of the i.MX 8M Plus evaluation kit behind the kernel's own drivers (Industrial I/O), through libiio
//! and the iio driver: a barometer that is polled, and a magnetometer whose scans the kernel gathers at the beats of a timer.

use super::machine::{Boot, Machine};
use super::station::{ARRIVAL_LIMIT, FIRST_LIMIT, Station, good_sample, time_now};
use serde_json::json;

const SOURCES: &str = "[sources.weather]\ntype = \"driver\"\ndriver = \"iio\"\ngrants = { read = [\"/sys\"] }\n\
     options = { device = \"dps310\", channels = [{ id = \"temp\" }, { id = \"pressure\" }], poll_ms = 200 }\n\n\
     [sources.compass]\ntype = \"driver\"\ndriver = \"iio\"\n\
     grants = { read = [\"/sys\"], devices = [\"/dev/iio:device1\", \"/sys/bus/iio/devices/iio:device1\"] }\n\n\
     [sources.compass.options]\ndevice = \"lsm303dlhc_magn\"\nbuffer = 8\ntrigger = \"beat\"\n\
     channels = [{ id = \"magn_x\" }, { id = \"magn_y\" }, { id = \"magn_z\" }]\n\n";

/// Binds the kernel's drivers to the chips, and makes a timer of ten beats a second.
fn bring_up(machine: &mut Machine) {
    machine.sh(
        "modprobe dps310 && modprobe st_magn_i2c && modprobe iio-trig-hrtimer \
         && echo dps310 0x77 >/sys/bus/i2c/devices/i2c-2/new_device \
         && echo lsm303dlhc_magn 0x1e >/sys/bus/i2c/devices/i2c-2/new_device \
         && mount -t configfs none /sys/kernel/config && mkdir /sys/kernel/config/iio/triggers/hrtimer/beat \
         && echo 10 >/sys/bus/iio/devices/trigger0/sampling_frequency",
    );
    assert_eq!(
        machine
            .sh("cat /sys/bus/iio/devices/iio:device?/name")
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["dps310", "lsm303dlhc_magn"]
    );
}

/// A number out of a file of a device.
fn kernel_says(machine: &mut Machine, device: u8, file: &str) -> f64 {
    let text = machine.sh(&format!(
        "cat /sys/bus/iio/devices/iio:device{device}/{file}"
    ));
    text.trim()
        .parse()
        .unwrap_or_else(|error| panic!("{file}: {error}: {text:?}"))
}

#[test]
fn board_imx8mp_iio_is_polled_and_captured() {
    let station = Station::start();
    let seed = station
        .seed(SOURCES, &["weather", "compass"])
        .without_agent();
    let mut machine = Boot::new("imx8mp-evk")
        .seed(seed)
        .option("--append", &time_now())
        .qemu(&["-device", "lsm303dlhc_mag,bus=i2c-bus.2,address=0x1e,id=m0"])
        .start();
    bring_up(&mut machine);
    let temperature = kernel_says(&mut machine, 0, "in_temp_input") * 1e-3;
    let pressure = kernel_says(&mut machine, 0, "in_pressure_input");
    machine.sh("rm /run/seed/no-agent && (setsid /etc/init.d/agent &)");
    for (channel, expected) in [("temp", temperature), ("pressure", pressure)] {
        station.await_that(channel, FIRST_LIMIT, |received| {
            let (_, last) = received
                .stream("weather")
                .filter(|(_, record)| record["sample"]["ch"] == channel)
                .last()?;
            (good_sample(last, channel) == Some(expected)).then_some(())
        });
        println!("{channel}: {expected}, as the kernel shows it");
    }

    // The field is moved from outside; a scan that the timer took after that shows it. QEMU takes none below zero here.
    for (x, y, z) in [(30_000, 20_000, 10_000), (45_000, 0, 5_000)] {
        for (axis, value) in [("mag-x", x), ("mag-y", y), ("mag-z", z)] {
            machine.qmp.set("m0", axis, &json!(value));
        }
        let mut expected = Vec::new();
        for axis in ["x", "y", "z"] {
            // The kernel reads one by one only while it does not capture; the chip's registers say the same at all times.
            let scale = kernel_says(&mut machine, 1, &format!("in_magn_{axis}_scale"));
            let register = match axis {
                "x" => 3,
                "z" => 5,
                _ => 7,
            };
            let read = machine.sh(&format!("i2ctransfer -f -y 2 w1@0x1e {register} r2"));
            let raw = read.split_whitespace().fold(0, |value, byte| {
                value << 8 | i32::from_str_radix(byte.trim_start_matches("0x"), 16).unwrap()
            });
            expected.push(f64::from(raw.wrapping_shl(16) >> 16) * scale);
        }
        assert!(expected[0] != 0.0, "{x} is too weak to be seen");
        let ((), took) = station.await_that("a scan of the new field", ARRIVAL_LIMIT, |received| {
            let last = |axis: &str| {
                let channel = format!("magn_{axis}");
                let (_, last) = received
                    .stream("compass")
                    .filter(|(_, record)| record["sample"]["ch"] == *channel)
                    .last()?;
                good_sample(last, &channel)
            };
            let now = ["x", "y", "z"].map(last);
            // Not to the last bit, which the way through JSON may cost.
            let near = |(now, expected): (&Option<f64>, &f64)| {
                now.is_some_and(|now| (now - expected).abs() < 1e-9)
            };
            now.iter().zip(&expected).all(near).then_some(())
        });
        println!("{expected:?} G arrived after {} ms", took.as_millis());
    }

    let received = station.received();
    let stamps: Vec<i64> = received
        .stream("compass")
        .filter(|(_, record)| record["sample"]["ch"] == "magn_x")
        .map(|(_, record)| record["mono_ns"].as_i64().unwrap())
        .collect();
    assert!(
        stamps.windows(2).all(|pair| pair[0] < pair[1]),
        "each scan at a time of its own"
    );
    let mean_us =
        (stamps.last().unwrap() - stamps[0]) / 1000 / (i64::try_from(stamps.len()).unwrap() - 1);
    println!("{} scans, {mean_us} us from one to the next", stamps.len());
    // An emulated bus is slow, and on a busy machine one chip may wait too long for the other.
    for source in ["weather", "compass"] {
        let gaps = received.gaps(source);
        assert!(gaps.iter().all(|gap| gap["cause"] == "hang"), "{gaps:?}");
    }
    received.assert_dense_and_ordered();
}
