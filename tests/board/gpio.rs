//! The PL061 of QEMU's virt board, an emulated chip with real lines, through libgpiod and the gpio driver.

use super::machine::Boot;
use super::station::{ARRIVAL_LIMIT, FIRST_LIMIT, Station, time_now};
use crate::support::Received;
use serde_json::{Value, json};

/// The line that QEMU raises for 100 ms when it is asked to power the board down.
const BUTTON: &str = "3";
const PRESSES: usize = 3;

fn sources() -> String {
    format!(
        "[sources.lines]\ntype = \"driver\"\ndriver = \"gpio\"\n\
         grants = {{ devices = [\"/dev/gpiochip0\"], read = [\"/sys\"] }}\n\n\
         [sources.lines.options]\nchip = \"0\"\nlines = [\n\
         {{ line = \"{BUTTON}\", name = \"button\" }},\n\
         {{ line = \"5\", name = \"lamp\", direction = \"output\", initial = true }},\n]\n\n"
    )
}

/// The levels of one line in the order of their records.
fn levels(received: &Received, line: &str) -> Vec<bool> {
    let level = |value: &Value| value.as_bool().or_else(|| value.as_i64().map(|n| n != 0));
    received
        .stream("lines")
        .filter(|(_, record)| record["sample"]["ch"] == line)
        .map(|(_, record)| level(&record["sample"]["v"]).expect("a level"))
        .collect()
}

#[test]
fn board_virt_gpio_lines_through_libgpiod() {
    let station = Station::start();
    let mut machine = Boot::new("virt")
        .seed(station.seed(&sources(), &["lines"]))
        .option("--append", &time_now())
        .start();
    station.await_that("the levels at open", FIRST_LIMIT, |received| {
        let both = ["button", "lamp"].map(|line| levels(received, line));
        both.iter().all(|levels| !levels.is_empty()).then_some(())
    });
    assert_eq!(levels(&station.received(), "button"), [false]);
    assert_eq!(
        levels(&station.received(), "lamp").first(),
        Some(&true),
        "an output reads back what it was set to"
    );
    // What the kernel says of the same line.
    let kernel = machine
        .sh("mount -t debugfs none /sys/kernel/debug; grep 'dunlin.* out ' /sys/kernel/debug/gpio");
    assert!(kernel.contains("out hi"), "{kernel}");

    for press in 1..=PRESSES {
        machine
            .qmp
            .run("system_powerdown", &json!({}))
            .expect("QEMU presses the button");
        let ((), took) = station.await_that("a press", ARRIVAL_LIMIT, |received| {
            (levels(received, "button").len() > 2 * press).then_some(())
        });
        println!(
            "press {press}: both edges arrived after {} ms",
            took.as_millis()
        );
    }
    let received = station.received();
    let expected: Vec<bool> = (0..=2 * PRESSES).map(|n| n % 2 == 1).collect();
    assert_eq!(levels(&received, "button"), expected);
    received.assert_dense_and_ordered();
}
