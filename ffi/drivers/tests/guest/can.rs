//! The can driver on the kernel's virtual interface (vcan): frames are sent and seen by can-utils, which are not ours.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::kit::{Session, now_ns};

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    let status = status.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// An interface that is up, gone with its value.
pub(crate) struct Bus(pub(crate) &'static str);

impl Bus {
    pub(crate) fn new(name: &'static str) -> Self {
        run("ip", &["link", "add", "dev", name, "type", "vcan"]);
        let bus = Self(name);
        bus.set("up");
        bus
    }

    fn set(&self, state: &str) {
        run("ip", &["link", "set", self.0, state]);
    }

    fn send(&self, frames: &[&str]) {
        for frame in frames {
            run("cansend", &[self.0, frame]);
        }
    }

    fn open(&self, options: &[&str]) -> Result<Session, String> {
        let interface = format!("interface={}", self.0);
        let mut all = vec![interface.as_str()];
        all.extend(options);
        Session::open("can", &all)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", self.0]).status();
    }
}

#[test]
fn can_signals_are_exact_and_stamped_by_the_kernel() {
    let bus = Bus::new("can-a");
    let mut session = bus
        .open(&[
            "signals=name=speed,id=0x123,start=0,length=16,scale=0.01,unit=km/h",
            "signals=name=torque,id=0x123,start=23,length=12,order=big,type=signed,scale=0.5,offset=-100",
            "signals=name=flag,id=0x123,start=63,length=1",
            "signals=name=wide,id=0x18FEF100,start=0,length=64,type=float",
        ])
        .unwrap();
    let before = now_ns();
    bus.send(&["123#1027800F00000080", "456#FFFFFFFFFFFFFFFF", "123#R"]);
    bus.send(&["123#FFFF", "18FEF100#0000000000C028C0"]);
    let after = now_ns();
    sleep(Duration::from_millis(300));
    let reply = session.ask("read 20 100");
    let seen: Vec<(usize, &str, u32)> = reply
        .samples
        .iter()
        .map(|s| (s.channel, s.text.as_str(), s.quality))
        .collect();
    // 0x2710 = 10000; the twelve bits 0x800 are -2048, and 0xF is below them.
    let expected = [
        (0, "100", 0),
        (1, "-1124", 0),
        (2, "1", 0),
        (0, "655.35000000000002", 0),
        (1, "0", 2),
        (2, "0", 2),
        (3, "-12.375", 0),
    ];
    assert_eq!(seen, expected, "{reply:?}");
    // Read later, stamped when they came.
    for sample in &reply.samples {
        let tick_ns = 20_000_000;
        assert!(
            before - tick_ns <= sample.monotonic_ns && sample.monotonic_ns <= after + tick_ns,
            "{before} {after} {sample:?}"
        );
    }
    assert!(reply.samples.iter().all(|sample| sample.lost == 0));
}

#[test]
fn can_frames_are_whole_and_filtered_in_the_kernel() {
    let bus = Bus::new("can-b");
    let mut all = bus.open(&["frames=true", "fd=true"]).unwrap();
    let mut some = bus
        .open(&[
            "frames=true",
            "filters=id=0x120,mask=0x7F0",
            "filters=id=0x18FEF100",
        ])
        .unwrap();
    bus.send(&["123#11223344", "133#55", "18FEF100#0102", "120#R", "7FF#"]);
    bus.send(&["123##3000102030405060708090A0B"]);
    sleep(Duration::from_millis(300));
    let hex = |session: &mut Session| -> Vec<String> {
        let frames = session.ask("frames 20 100").frames;
        frames.into_iter().map(|frame| frame.hex).collect()
    };
    let expected = [
        "000001230400000011223344",
        "000001330100000055",
        "98fef100020000000102",
        "4000012000000000",
        "000007ff00000000",
        "000001230c070000000102030405060708090a0b",
    ];
    assert_eq!(hex(&mut all), expected);
    assert_eq!(hex(&mut some), [expected[0], expected[2], expected[3]]);
}

/// Ends with its value, so that a test that fails leaves none behind.
struct Dump(Child);

impl Dump {
    /// Everything on the bus from now on, one line a frame.
    fn start(bus: &Bus, count: &str) -> Self {
        let child = Command::new("candump")
            .args(["-L", "-n", count, bus.0])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(300));
        Self(child)
    }

    fn frames(mut self) -> Vec<String> {
        let mut text = String::new();
        let mut out = self.0.stdout.take().unwrap();
        std::io::Read::read_to_string(&mut out, &mut text).unwrap();
        text.lines()
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn can_writes_reach_the_bus_and_come_back_as_samples() {
    let bus = Bus::new("can-c");
    let mut session = bus
        .open(&[
            "signals=name=limit,id=0x200,start=0,length=12,scale=0.5,writable=true,frame_bytes=4",
            "signals=name=trim,id=0x200,start=23,length=8,order=big,type=signed,writable=true,frame_bytes=4",
            "signals=name=other,id=0x201,start=0,length=8",
        ])
        .unwrap();
    let dump = Dump::start(&bus, "3");
    for command in [
        "write 0 f 100.25 100",
        "write 1 f -2 100",
        "write 0 f 2047.5 100",
    ] {
        assert_eq!(session.ask(command).status, 0, "{command}");
    }
    // 200.5 halves are rounded to even; a frame keeps what its other signals were last given.
    assert_eq!(
        dump.frames(),
        ["200#C8000000", "200#C800FE00", "200#FF0FFE00"]
    );
    let reply = session.ask("read 20 500");
    assert_eq!(
        reply.values(),
        ["100", "0", "100", "-2", "2047.5", "-2"],
        "{reply:?}"
    );
    for (command, status, why) in [
        (
            "write 0 f 2048 100",
            -34,
            "limit: 2048 does not fit 12 bits",
        ),
        ("write 0 f -1 100", -34, "limit: -1 does not fit 12 bits"),
        ("write 1 f 128 100", -34, "trim: 128 does not fit 8 bits"),
        ("write 0 f nan 100", -34, "limit: nan does not fit"),
        ("write 2 f 1 100", -22, "channel 2 takes no such write"),
        ("write 0 i 1 100", -22, "channel 0 takes no such write"),
    ] {
        let reply = session.ask(command);
        assert_eq!(reply.status, status, "{command}: {reply:?}");
        assert!(reply.why.contains(why), "{command}: {reply:?}");
    }
    assert!(
        session.ask("read 20 100").samples.is_empty(),
        "nothing was sent"
    );
}

#[test]
fn can_interface_down_is_gone_until_it_is_up_again() {
    let bus = Bus::new("can-d");
    let options = ["signals=name=a,id=1,start=0,length=8"];
    let mut session = bus.open(&options).unwrap();
    bus.send(&["001#05"]);
    bus.set("down");
    // What had come before goes first.
    let reply = session.ask("read 9 500");
    assert_eq!((reply.status, reply.values()), (1, vec!["5"]), "{reply:?}");
    let reply = session.ask("read 9 500");
    assert_eq!(reply.status, -19, "{reply:?}");
    assert!(
        reply.why.contains("can-d: read: Network is down"),
        "{reply:?}"
    );
    let said = bus.open(&options).err().expect("it is down");
    assert!(
        said.starts_with("-100 interface: can-d is down: ip link set can-d up"),
        "{said}"
    );
    bus.set("up");
    let mut session = bus.open(&options).unwrap();
    bus.send(&["001#06"]);
    assert_eq!(session.ask("read 9 500").values(), ["6"]);
    drop(bus);
    let reply = session.ask("read 9 500");
    assert_eq!(reply.status, -19, "{reply:?}");
    // An interface that is none of CAN.
    let said = Session::open("can", &["interface=lo", "frames=true"]).err();
    let said = said.expect("it is no CAN");
    let not_can = [
        "-95 interface: lo: is not a CAN interface",
        "-100 interface: lo is down",
    ];
    assert!(not_can.iter().any(|want| said.starts_with(want)), "{said}");
}

#[test]
fn can_error_frames_are_errors_of_the_device() {
    let bus = Bus::new("can-e");
    let mut session = bus.open(&["signals=name=a,id=1,start=0,length=8"]).unwrap();
    for (frame, why) in [
        ("20000020#0000000000000000", "nobody acknowledges"),
        ("20000001#0000000000000000", "could not be sent in time"),
        ("20000004#0010000000000000", "error-passive"),
        ("20000010#0000000040000000", "a fault of the wires"),
    ] {
        bus.send(&[frame]);
        let reply = session.ask("read 9 500");
        assert_eq!(reply.status, -5, "{frame}: {reply:?}");
        assert!(reply.why.contains(why), "{frame}: {reply:?}");
        assert_eq!(session.ask("read 9 50").status, 0, "{frame}: once");
    }
    // A queue of the controller that ran over is a loss, a warning is nothing.
    bus.send(&[
        "20000004#0001000000000000",
        "20000004#0004000000000000",
        "001#07",
    ]);
    sleep(Duration::from_millis(100));
    let reply = session.ask("read 9 500");
    assert_eq!(
        (reply.values(), reply.samples[0].lost),
        (vec!["7"], 1),
        "{reply:?}"
    );
    // Bus-off lasts until the controller is restarted.
    bus.send(&["001#08", "20000040#0000000000000000"]);
    sleep(Duration::from_millis(100));
    assert_eq!(session.ask("read 9 500").values(), ["8"]);
    for _ in 0..3 {
        let reply = session.ask("read 9 50");
        assert_eq!(reply.status, -5, "{reply:?}");
        assert!(reply.why.contains("can-e: bus-off"), "{reply:?}");
    }
    bus.send(&["20000100#0000000000000000"]);
    assert_eq!(session.ask("read 9 50").status, 0);
}

#[test]
fn can_frames_that_ran_over_are_counted() {
    let bus = Bus::new("can-f");
    let mut session = bus
        .open(&[
            "signals=name=a,id=1,start=0,length=8",
            "frames=true",
            "filters=id=2",
        ])
        .unwrap();
    // -I an identifier, -g no gap, -n so many.
    for id in ["1", "2"] {
        run(
            "cangen",
            &[
                bus.0, "-I", id, "-L", "8", "-g", "0", "-n", "6000", "-p", "10",
            ],
        );
    }
    let (mut samples, mut frames) = (Vec::new(), Vec::new());
    // The kernel says with a frame what was lost before it: the frame after the flood brings the rest.
    for _ in 0..2 {
        loop {
            let more = (
                session.ask("read 4096 50").samples,
                session.ask("frames 1000 50").frames,
            );
            if more.0.is_empty() && more.1.is_empty() {
                break;
            }
            samples.extend(more.0);
            frames.extend(more.1);
        }
        bus.send(&["001#2A", "002#2A"]);
    }
    samples.extend(session.ask("read 9 500").samples);
    frames.extend(session.ask("frames 9 500").frames);
    let lost: u64 = samples.iter().map(|sample| u64::from(sample.lost)).sum();
    let lost_frames: u64 = frames.iter().map(|frame| u64::from(frame.lost)).sum();
    assert!(
        lost > 0 && lost_frames > 0,
        "{lost} and {lost_frames}: the queues never ran over"
    );
    assert_eq!(samples.len() as u64 + lost, 6002, "{lost} lost");
    assert_eq!(
        frames.len() as u64 + lost_frames,
        6002,
        "{lost_frames} lost"
    );
}
