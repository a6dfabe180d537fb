//! The iio driver where it needs no sensor: what it refuses, and how it says so. Polling and capture are tested on a
//! sensor that the kernel makes up (`guest/iio.rs`), and on chips of an emulated board (`tests/board/iio.rs`).

mod kit;

use kit::Session;

#[test]
fn wrong_options_name_key_and_remedy() {
    let channel = "channels=id=temp";
    for (options, want) in [
        (&[][..], "-22 channels: 0 given; 1 to 64 are possible"),
        (&["channels=name=a"], "-22 channels[0] id: is missing"),
        (
            &["channels=id=temp,name=a b"],
            "-22 channels[0] name: 'a b' is not a channel name",
        ),
        (&[channel, channel], "-22 channels[1] id: is already taken"),
        (
            &[channel, "channels=id=pressure,name=temp"],
            "-22 channels[1] name: is already taken",
        ),
        (
            &["channels=id=temp,unit=K"],
            "-22 channels[0] scale: goes with unit",
        ),
        (
            &["channels=id=temp,scale=2"],
            "-22 channels[0] scale: goes with unit",
        ),
        (&[channel, "trigger=t"], "-22 trigger: goes with buffer"),
        (
            &[channel, "buffer=4097"],
            "-22 buffer: 4097 is outside 0 to 4096",
        ),
    ] {
        let mut all = vec!["device=dps310"];
        all.extend(options);
        let Err(said) = Session::open("iio", &all) else {
            panic!("{options:?} was taken");
        };
        assert!(said.starts_with(want), "{options:?}: {said}");
    }
}

/// Whether this kernel has sensors or not.
#[test]
fn a_sensor_that_is_not_there_is_named() {
    let said = Session::open("iio", &["device=no-such-sensor", "channels=id=temp"]).err();
    let said = said.expect("there is no such sensor");
    let here = [
        "-19 device: libiio finds no sensors: ",
        "-19 device: there is no no-such-sensor; there ",
    ];
    assert!(here.iter().any(|want| said.starts_with(want)), "{said}");
}
