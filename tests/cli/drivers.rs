//! `dunlin drivers`: what a person with a new sensor types first.

use crate::support::{dunlin, hostile};
use crate::{UNAVAILABLE, USAGE, ill, well};

/// Runs `dunlin drivers ACTION sim ARGS` on the drivers of this build.
fn of_sim<'a>(action: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["drivers", action, "sim", "--dir", dunlin_drivers::DIR];
    args.extend(more);
    args
}

#[test]
fn list_shows_every_driver_with_its_version() {
    let list = well(&["drivers", "list", "--dir", dunlin_drivers::DIR]);
    for driver in [
        "sim", "host", "modbus", "i2c", "gpio", "serial", "can", "iio",
    ] {
        let line = list
            .lines()
            .find(|line| line.split_whitespace().next() == Some(driver));
        let line = line.unwrap_or_else(|| panic!("no {driver} in:\n{list}"));
        assert!(line.contains(" 1.0 "), "the ABI: {line}");
    }
    assert!(!list.contains("cannot be used"), "{list}");
}

#[test]
fn list_says_which_file_is_no_driver_and_lists_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    ill(
        UNAVAILABLE,
        &["drivers", "list", "--dir", path],
        &["there is no driver", "--dir"],
    );
    hostile(dir.path());
    std::fs::write(dir.path().join("broken.so"), "not an ELF file").unwrap();
    let list = well(&["drivers", "list", "--dir", path]);
    let of = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(of("broken").contains("cannot be used"), "{list}");
    assert!(!of("hostile").contains("cannot be used"), "{list}");
}

#[test]
fn show_lists_what_each_driver_may_reach() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("gateway.toml");
    let text = format!(
        "[agent]\nname = \"gw\"\nstate_dir = \"{0}/state\"\nruntime_dir = \"{0}/run\"\ndriver_dir = \"{1}\"\n\
         [sources.boiler]\ntype = \"driver\"\ndriver = \"sim\"\n\
         grants = {{ devices = [\"/dev/null\", \"/dev/not-there\"], read = [\"/sys\"], network = [\"192.0.2.17:502\"], can = [\"can0\"] }}\n\
         [sources.plain]\ntype = \"driver\"\ndriver = \"sim\"\nlimits = {{ memory_mb = 64 }}\n\
         [sinks.screen]\ntype = \"console\"\ninputs = [\"boiler\", \"plain\"]\n",
        dir.path().display(),
        dunlin_drivers::DIR
    );
    std::fs::write(&config, text).unwrap();
    let show = well(&["drivers", "show", config.to_str().unwrap()]);
    for (source, grant, what, held) in [
        ("boiler", "device", "/dev/null", "this path"),
        ("boiler", "device", "/dev/not-there", "it is not there now"),
        ("boiler", "read", "/sys", "read, load"),
        (
            "boiler",
            "network",
            "192.0.2.17:502",
            "TCP port 502 of this address",
        ),
        ("boiler", "can", "can0", "raw CAN frames, of any interface"),
        ("plain", "none", "-", "its own file"),
        ("plain", "limits", "memory 64 MiB", "ended or refused"),
    ] {
        let found = show.lines().any(|line| {
            let parts = [source, "sim", grant, what, held];
            line.starts_with(source) && parts.iter().all(|part| line.contains(part))
        });
        assert!(found, "no {grant} {what} of {source} in:\n{show}");
    }
}

#[test]
fn probe_lists_options_and_extensions() {
    let probe = well(&of_sim("probe", &[]));
    for part in [
        "sim 1",
        "dunlin.frames/1",
        "dunlin.actuate/1",
        "rate_hz",
        "100000",
        "its own",
    ] {
        assert!(probe.contains(part), "no {part:?} in:\n{probe}");
    }
}

#[test]
fn read_shows_each_channel_once() {
    let read = well(&of_sim(
        "read",
        &[
            "-o",
            "rate_hz=100",
            "-o",
            "waves=name=t,shape=ramp,unit=Cel",
        ],
    ));
    let rows: Vec<&str> = read.lines().filter(|line| line.starts_with("t ")).collect();
    assert_eq!(rows.len(), 1, "{read}");
    assert!(rows[0].contains("Cel"), "{read}");
    assert!(read.contains("setpoint"), "{read}");
}

#[test]
fn watch_shows_readings_for_as_long_as_asked() {
    let args = [
        "-o",
        "rate_hz=50",
        "-o",
        "waves=name=n,shape=counter",
        "--seconds",
        "1",
    ];
    let ended = dunlin(&of_sim("watch", &args));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
    assert!(ended.stdout.starts_with("ready in "), "{}", ended.stdout);
    let values: Vec<u64> = ended
        .stdout
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            (words.next()? == "n").then(|| words.next().unwrap().parse().unwrap())
        })
        .collect();
    assert!(values.len() >= 10, "{}", ended.stdout);
    assert!(
        (0..).zip(&values).all(|(i, value)| i == *value),
        "{values:?}"
    );
}

#[test]
fn write_sets_a_setpoint_and_nothing_else() {
    let set = well(&of_sim("write", &["setpoint", "21.5"]));
    assert!(set.starts_with("setpoint = 21.5"), "{set}");
    ill(
        USAGE,
        &of_sim("write", &["setpiont", "1"]),
        &["not a channel", "setpoint"],
    );
    ill(
        USAGE,
        &of_sim("write", &["setpoint", "warm"]),
        &["not of kind"],
    );
    ill(
        USAGE,
        &of_sim("write", &["sine", "1"]),
        &["does not accept writes"],
    );
    ill(
        UNAVAILABLE,
        &of_sim("write", &["setpoint", "1e9"]),
        &["Remedy: "],
    );
}

#[test]
fn a_negative_value_is_a_value() {
    let set = well(&of_sim("write", &["setpoint", "-40"]));
    assert!(set.starts_with("setpoint = -40"), "{set}");
}

#[test]
fn a_driver_that_is_not_there_is_unavailable() {
    for action in ["probe", "read", "watch"] {
        ill(
            UNAVAILABLE,
            &["drivers", action, "smi", "--dir", dunlin_drivers::DIR],
            &["smi", "drivers list"],
        );
    }
    ill(
        UNAVAILABLE,
        &["drivers", "read", "/no/such.so"],
        &["/no/such.so"],
    );
}

#[test]
fn a_bad_option_is_a_wrong_command_line() {
    for (option, part) in [
        ("rate_hz=fast", "rate_hz"),
        ("rate_hz=1000000", "rate_hz"),
        ("rote_hz=5", "rote_hz"),
    ] {
        ill(USAGE, &of_sim("read", &["-o", option]), &[part, "Remedy: "]);
    }
    ill(USAGE, &of_sim("read", &["-o", "rate_hz"]), &["key=value"]);
}

#[test]
fn a_driver_that_crashes_takes_nothing_down() {
    let dir = tempfile::tempdir().unwrap();
    let so = hostile(dir.path());
    let ended = ill(
        UNAVAILABLE,
        &["drivers", "read", &so, "-o", "mode=crash"],
        &["SIGSEGV", "Remedy: "],
    );
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}
