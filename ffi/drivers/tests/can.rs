//! The can driver where it needs no CAN: what it refuses, and how it says so. Frames, signals and interfaces that go away
//! are tested on the kernel's virtual interface, see `guest/can.rs` and, through the agent, `tests/board/can.rs`.

mod kit;

use kit::Session;

fn refused(options: &[&str]) -> String {
    let mut all = vec!["interface=can0"];
    all.extend(options);
    match Session::open("can", &all) {
        Ok(_) => panic!("{options:?} was taken"),
        Err(said) => said,
    }
}

#[test]
fn wrong_signals_name_key_and_remedy() {
    for (signal, why) in [
        ("id=1,start=0,length=8", "name: is missing"),
        ("name=b,start=0,length=8", "id: is missing"),
        (
            "name=b,id=0x20000000,start=0,length=8",
            "id: 0x20000000 is outside 0 to 536870911",
        ),
        (
            "name=b,id=0x800,extended=false,start=0,length=8",
            "id: 0x800 has more than 11 bits",
        ),
        ("name=b,id=1,length=8", "start: is missing"),
        ("name=b,id=1,start=0", "length: is missing"),
        (
            "name=b,id=1,start=60,length=8",
            "length: reaches past the end of a frame",
        ),
        (
            "name=b,id=1,start=57,length=8,order=big",
            "length: reaches past the end of a frame",
        ),
        (
            "name=b,id=1,start=64,length=8",
            "start: 64 is outside 0 to 63",
        ),
        (
            "name=b,id=1,start=0,length=65",
            "length: 65 is outside 1 to 64",
        ),
        (
            "name=b,id=1,start=0,length=8,order=middle",
            "order: middle is none of little, big",
        ),
        (
            "name=b,id=1,start=0,length=16,type=float",
            "length: a float has 32 or 64 bits",
        ),
        ("name=b,id=1,start=0,length=8,scale=0", "scale: is 0"),
        (
            "name=b,id=1,start=0,length=8,frame_bytes=4",
            "frame_bytes: goes with writable",
        ),
        (
            "name=b,id=1,start=24,length=16,writable=true,frame_bytes=4",
            "frame_bytes: is too short for the signal",
        ),
        (
            "name=b,id=0x100,start=0,length=8,writable=true,frame_bytes=4",
            "frame_bytes: differs from that of another signal of this frame",
        ),
        ("name=a,id=1,start=0,length=8", "name: is already taken"),
    ] {
        let first = "signals=name=a,id=0x100,start=0,length=8,writable=true";
        let said = refused(&[first, &format!("signals={signal}")]);
        assert!(
            said.starts_with(&format!("-22 signals[1] {why}")),
            "{signal}: {said}"
        );
    }
}

#[test]
fn wrong_options_name_key_and_remedy() {
    let signal = "signals=name=a,id=1,start=0,length=8";
    for (options, want) in [
        (&[][..], "-22 signals: 0 given; 1 to 512, or frames = true"),
        (
            &[signal, "filters=id=1"],
            "-22 filters: go with frames = true",
        ),
        (
            &["frames=true", "filters=id=0x800,extended=false"],
            "-22 filters[0] id: 0x800 has more than 11 bits",
        ),
        (
            &[
                "fd=true",
                "signals=name=a,id=1,start=0,length=8,writable=true,frame_bytes=10",
            ],
            "-22 signals[0] frame_bytes: is no length of a CAN FD frame",
        ),
    ] {
        let said = refused(options);
        assert!(said.starts_with(want), "{options:?}: {said}");
    }
    let long = Session::open("can", &["interface=interface-number", "frames=true"]);
    let said = long.err().expect("15 bytes at most");
    assert!(
        said.starts_with("-22 interface: interface-number... is longer than 15 bytes"),
        "{said}"
    );
}

/// Without CAN in the kernel there is no socket; with it, no interface of this name.
#[test]
fn an_interface_that_is_not_there_is_named() {
    let Err(said) = Session::open("can", &["interface=nocan0", "frames=true"]) else {
        panic!("there is no such interface")
    };
    let here = [
        "-19 interface: nocan0: No such device",
        "-95 interface: no socket: Address family not supported",
    ];
    assert!(here.iter().any(|want| said.starts_with(want)), "{said}");
}
