//! The i.MX 8M Plus evaluation kit with chips on its I2C bus, read through /dev/i2c-2, through the kernel's own driver,
//! and unplugged while the agent runs.

use super::machine::Boot;
use super::station::{ARRIVAL_LIMIT, FIRST_LIMIT, Station, good_sample, time_now};
use serde_json::json;

/// A source that reads a TMP105 every 200 ms.
fn tmp105(name: &str, address: u8) -> String {
    format!(
        "[sources.{name}]\ntype = \"driver\"\ndriver = \"i2c\"\ninterval_ms = 200\n\
         restart = {{ base_ms = 100, max_ms = 1000 }}\n\
         grants = {{ devices = [\"/dev/i2c-2\"] }}\n\
         options = {{ bus = \"2\", chip = \"tmp105\", address = {address} }}\n\n"
    )
}

/// What a TMP105 shows at 12 bits for a temperature in thousandths of a degree: its register counts in 1/256 degrees,
/// and of these the lowest four bits are not there (TI SBOS348, "Temperature register").
fn shown(milli: i64) -> f64 {
    let register = i32::try_from(milli * 256 / 1000).unwrap() & !0xF;
    f64::from(register) / 256.0
}

fn await_temperature(station: &Station, stream: &str, channel: &str, milli: i64) {
    let expected = shown(milli);
    let ((), took) = station.await_that(
        &format!("{stream} {channel} {expected}"),
        ARRIVAL_LIMIT,
        |received| {
            // Of the newest record alone: an older one may have had the same value.
            let (_, last) = received.stream(stream).last()?;
            (good_sample(last, channel) == Some(expected)).then_some(())
        },
    );
    println!(
        "{stream}: {milli} thousandths set, {expected} Cel arrived after {} ms",
        took.as_millis()
    );
}

#[test]
fn board_imx8mp_temperatures_reach_the_broker() {
    let station = Station::start();
    let seed = station.seed(&tmp105("air", 0x49), &["air"]);
    let mut machine = Boot::new("imx8mp-evk")
        .seed(seed)
        .option("--append", &time_now())
        .start();
    let ((), took) = station.await_that("a first record", FIRST_LIMIT, |received| {
        received.stream("air").next().map(|_| ())
    });
    println!("first record {:.1} s after the shell", took.as_secs_f64());
    // Zero, halves and sixteenths, below zero, the ends of the chip's range, and what lies between two steps.
    let all = [
        21_500, 0, -40_125, 63, -63, 84_937, 125_000, -55_000, 127_937, -128_000,
    ];
    for milli in all {
        machine.qmp.set("t0", "temperature", &json!(milli));
        await_temperature(&station, "air", "temperature", milli);
    }
    station.received().assert_dense_and_ordered();
}

/// The sensor sits behind a multiplexer on the same bus, which disconnects it as pulling its plug would: nobody
/// acknowledges its address. Its neighbour stays.
#[test]
fn board_imx8mp_sensor_is_unplugged_and_plugged_in_again() {
    let station = Station::start();
    let sources = tmp105("air", 0x49) + &tmp105("plug", 0x4a);
    let seed = station.seed(&sources, &["air", "plug"]).without_agent();
    let mut machine = Boot::new("imx8mp-evk")
        .seed(seed)
        .option("--append", &time_now())
        .qemu(&["-device", "pca9546,bus=i2c-bus.2,address=0x70,id=mux"])
        .qemu(&["-device", "tmp105,bus=i2c.0,address=0x4a,id=t1"])
        .start();
    machine.qmp.set("t1", "temperature", &json!(30_000));
    machine.sh("i2cset -y 2 0x70 1 && rm /run/seed/no-agent && (setsid /etc/init.d/agent &)");
    station.await_that("the sensor's first record", FIRST_LIMIT, |received| {
        received.stream("plug").next().map(|_| ())
    });
    await_temperature(&station, "plug", "temperature", 30_000);
    let pid = machine.agent_pid();

    machine.sh("i2cset -y 2 0x70 0");
    machine.wait_status("the source is down", ARRIVAL_LIMIT, |status| {
        let state = status["sources"]["plug"]["state"].as_str();
        state.is_some_and(|state| state != "running")
    });
    let before = station.received().stream("air").count();
    station.await_that("the neighbour goes on", ARRIVAL_LIMIT, |received| {
        (received.stream("air").count() > before + 5).then_some(())
    });
    machine.qmp.set("t1", "temperature", &json!(-12_500));
    machine.sh("i2cset -y 2 0x70 1");
    await_temperature(&station, "plug", "temperature", -12_500);

    let received = station.received();
    let gaps = received.gaps("plug");
    println!("gaps of the sensor: {gaps:?}");
    assert!(gaps.iter().any(|gap| gap["cause"] == "device"), "{gaps:?}");
    assert!(
        received.gaps("air").is_empty(),
        "{:?}",
        received.gaps("air")
    );
    assert_eq!(machine.agent_pid(), pid, "the agent is the same process");
    received.assert_dense_and_ordered();
}

/// The same chip by another way of C: the kernel's lm75 driver, hwmon, libsensors and the host driver. And another chip,
/// a DPS310, by a table of registers, compared with what busybox reads.
#[test]
fn board_imx8mp_chips_by_libsensors_and_by_registers() {
    let station = Station::start();
    let sources = "[sources.board]\ntype = \"driver\"\ndriver = \"host\"\ninterval_ms = 500\n\
                   grants = { read = [\"/proc\", \"/sys\", \"/etc/sensors3.conf\", \"/etc/sensors.d\"] }\n\
                   options = { hwmon = true }\n\n\
                   [sources.barometer]\ntype = \"driver\"\ndriver = \"i2c\"\ninterval_ms = 500\n\
                   grants = { devices = [\"/dev/i2c-2\"] }\n\n\
                   [sources.barometer.options]\nbus = \"2\"\nchip = \"registers\"\naddress = 0x77\nregisters = [\n\
                   { name = \"coefficients\", address = 0x10, type = \"uint16\" },\n\
                   { name = \"pressure\", address = 0x00, type = \"uint16\" },\n\
                   { name = \"temperature\", address = 0x03, type = \"uint16\" },\n]\n";
    let seed = station
        .seed(sources, &["board", "barometer"])
        .without_agent();
    let mut machine = Boot::new("imx8mp-evk")
        .seed(seed)
        .option("--append", &time_now())
        .start();
    machine.sh("modprobe lm75 && echo tmp105 0x49 >/sys/bus/i2c/devices/i2c-2/new_device");
    machine.qmp.set("t0", "temperature", &json!(37_500));
    machine.sh("rm /run/seed/no-agent && (setsid /etc/init.d/agent &)");
    let channel = "tmp105-i2c-2-49.temp1";
    let arrived = |milli: i64| {
        // The kernel rounds to thousandths; libsensors divides by 1000.
        let ((), took) =
            station.await_that(&format!("{channel} {milli}"), FIRST_LIMIT, |received| {
                let (_, last) = received
                    .stream("board")
                    .filter(|(_, record)| record["sample"]["ch"] == channel)
                    .last()?;
                let value = good_sample(last, channel)?;
                ((value - milli as f64 / 1000.0).abs() < 1e-9).then_some(())
            });
        println!("hwmon: {milli} arrived after {} ms", took.as_millis());
    };
    arrived(37_500);
    for milli in [-10_250, 99_500] {
        machine.qmp.set("t0", "temperature", &json!(milli));
        arrived(milli);
    }

    // busybox reads what the driver should have read.
    for (name, register, bytes) in [
        ("coefficients", 0x10, 2),
        ("pressure", 0, 2),
        ("temperature", 3, 2),
    ] {
        let read = machine.sh(&format!("i2ctransfer -y 2 w1@0x77 {register} r{bytes}"));
        let expected = read.split_whitespace().fold(0, |value, byte| {
            value << 8 | i64::from_str_radix(byte.trim_start_matches("0x"), 16).unwrap()
        });
        assert_ne!(expected, 0xFFFF, "{name}: nobody answers");
        station.await_that(&format!("{name} {expected}"), ARRIVAL_LIMIT, |received| {
            let found = received.stream("barometer").any(|(_, record)| {
                record["sample"]["ch"] == name
                    && record["sample"]["v"].as_f64() == Some(expected as f64)
            });
            found.then_some(())
        });
        println!("DPS310 {name}: {expected}, as busybox reads it");
    }
    station.received().assert_dense_and_ordered();
}
