//! The serial driver on pseudo terminals: the kernel's terminal layer is real, a line with a baud rate is not there.

mod kit;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

use kit::{Session, now_ns};
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{ControlFlags, InputFlags, LocalFlags, cfgetospeed, tcgetattr};

/// The far end of a line, and the name of the near one.
struct Line {
    far: File,
    near: File,
    port: String,
}

impl Line {
    fn new() -> Self {
        // Closed in whatever other tests start meanwhile, or the line would not hang up.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let far = posix_openpt(flags).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let path = ptsname_r(&far).unwrap();
        Self {
            near: File::options().read(true).write(true).open(&path).unwrap(),
            far: File::from(OwnedFd::from(far)),
            port: format!("port={path}"),
        }
    }

    fn open(&self, options: &[&str]) -> Result<Session, String> {
        let mut all = vec![self.port.as_str()];
        all.extend(options);
        Session::open("serial", &all)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.far.write_all(bytes).unwrap();
    }
}

#[test]
fn columns_are_scaled_and_a_partial_first_line_is_not_believed() {
    let mut line = Line::new();
    let mut session = line
        .open(&[
            "values=name=t,column=1,unit=Cel,scale=0.1",
            "values=name=p,column=3,offset=100",
        ])
        .unwrap();
    line.send(b"5,x,7\r\n");
    line.send(b"215,x, 1.5\r\n-10,,oops\n42\n");
    let mut got = Vec::new();
    for _ in 0..6 {
        got.extend(session.ask("read 1 200").samples);
    }
    let text: Vec<_> = got
        .iter()
        .map(|s| (s.channel, s.quality, s.value))
        .collect();
    let want = [
        (0, 0, 21.5),
        (1, 0, 101.5),
        (0, 0, -1.0),
        (1, 2, 0.0),
        (0, 0, 4.2),
        (1, 2, 0.0),
    ];
    for (got, want) in text.iter().zip(want) {
        assert_eq!((got.0, got.1), (want.0, want.1), "{text:?}");
        assert!((got.2 - want.2).abs() < 1e-9, "{text:?}");
    }
    assert_eq!(session.ask("read 9 50").status, 0);
}

#[test]
fn pairs_by_key_whatever_their_order() {
    let mut line = Line::new();
    let mut session = line
        .open(&[
            "separator= ",
            "delimiter=0d",
            "values=name=temp,key=t",
            "values=name=level,key=lev",
        ])
        .unwrap();
    line.send(b"\rlev:3   t=21.25\rother=9 te=1\rt=warm\r");
    let reply = session.ask("read 9 300");
    assert_eq!(reply.values(), ["21.25", "3", "bad"]);
    assert_eq!(reply.samples[2].channel, 0);
}

#[test]
fn a_stamp_is_of_the_first_byte() {
    let mut line = Line::new();
    let mut session = line.open(&["framing=delimited"]).unwrap();
    line.send(b"\nab");
    let before = now_ns();
    assert_eq!(session.ask("frames 9 50").frames.len(), 0);
    sleep(Duration::from_millis(100));
    line.send(b"c\n");
    let reply = session.ask("frames 9 300");
    assert_eq!(reply.frames[0].hex, "616263");
    assert!(
        reply.frames[0].monotonic_ns < before + 60_000_000,
        "{reply:?}"
    );
}

#[test]
fn delimited_frames_and_what_is_too_long() {
    let mut line = Line::new();
    let options = ["framing=delimited", "delimiter=10FF", "frame_bytes_max=4"];
    let mut session = line.open(&options).unwrap();
    line.send(b"tail of something\x10\xff");
    line.send(b"\x10\x10\xff\x10\xff\x00\x01\x02\x03\x10\xff\x00\x01\x02\x03\x04\x10\xff12345678\x10\xffend\x10\xff");
    let reply = session.ask("frames 9 200");
    let got: Vec<_> = reply
        .frames
        .iter()
        .map(|f| (f.hex.as_str(), f.lost))
        .collect();
    assert_eq!(got, [("10", 0), ("00010203", 0), ("656e64", 2)]);
    assert_eq!(session.ask("frames 9 50").status, 0);
}

#[test]
fn frames_that_say_their_length() {
    let mut line = Line::new();
    let options = [
        "framing=length",
        "length_offset=1",
        "length_bytes=2",
        "length_order=little",
        "length_adjust=4",
        "frame_bytes_max=16",
        "idle_ms=60",
    ];
    let mut session = line.open(&options).unwrap();
    line.send(b"\xAA\x02\x00xyC\xAA\x00\x00C\xAA\x01");
    let reply = session.ask("frames 9 30");
    let got: Vec<_> = reply.frames.iter().map(|f| f.hex.as_str()).collect();
    assert_eq!(got, ["aa0200787943", "aa000043"]);
    line.send(b"\x00zC");
    assert_eq!(session.ask("frames 9 300").frames[0].hex, "aa01007a43");
    // An impossible length spoils what follows, up to a silence; a frame that ends early is given up by one.
    line.send(b"\xAA\xFF\xFFxx\xAA\x00\x00C");
    assert_eq!(session.ask("frames 9 200").status, 0);
    line.send(b"\xAA\x05\x00x");
    assert_eq!(session.ask("frames 9 200").status, 0);
    line.send(b"\xAA\x00\x00D");
    let reply = session.ask("frames 9 300");
    assert_eq!(
        (reply.frames[0].hex.as_str(), reply.frames[0].lost),
        ("aa000044", 2)
    );
}

#[test]
fn silence_separates_frames() {
    let mut line = Line::new();
    let mut session = line
        .open(&["framing=idle", "idle_ms=80", "frame_bytes_max=3"])
        .unwrap();
    line.send(b"ab");
    assert_eq!(session.ask("frames 9 20").status, 0, "it may go on");
    line.send(b"c");
    assert_eq!(session.ask("frames 9 500").frames[0].hex, "616263");
    line.send(b"long");
    assert_eq!(session.ask("frames 9 200").status, 0);
    line.send(b"d");
    let reply = session.ask("frames 9 500");
    assert_eq!(
        (reply.frames[0].hex.as_str(), reply.frames[0].lost),
        ("64", 1)
    );
}

#[test]
fn the_line_is_set_as_asked() {
    let line = Line::new();
    let set = [
        "framing=idle",
        "baud=115200",
        "data=7",
        "parity=odd",
        "stop=2",
        "flow=software",
    ];
    let session = line.open(&set).unwrap();
    let t = tcgetattr(line.near.as_fd()).unwrap();
    assert_eq!(cfgetospeed(&t), nix::sys::termios::BaudRate::B115200);
    let odd = ControlFlags::PARODD | ControlFlags::CSTOPB | ControlFlags::CREAD;
    assert!(t.control_flags.contains(odd), "{:?}", t.control_flags);
    assert!(
        t.input_flags
            .contains(InputFlags::IXON | InputFlags::IXOFF | InputFlags::INPCK)
    );
    assert!(
        !t.local_flags
            .intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    );
    let Err(said) = line.open(&set) else {
        panic!("two of one port");
    };
    assert!(
        said.starts_with("-16 port: ") && said.contains("is in use"),
        "{said}"
    );
    drop(session);
    // Without data and parity, which a pseudo terminal does not take; glibc says so where nothing else changes.
    drop(line.open(&["framing=idle"]).unwrap());
}

#[test]
fn a_port_that_goes_is_said_so() {
    let Line { far, near, port } = Line::new();
    let mut session = Session::open("serial", &[&port, "framing=idle"]).unwrap();
    drop((far, near));
    let reply = session.ask("frames 9 300");
    assert_eq!(reply.status, -19, "{reply:?}");
    assert!(
        reply.why.contains(": read: Input/output error"),
        "{reply:?}"
    );
}

#[test]
fn what_cannot_work_is_refused_at_open() {
    let line = Line::new();
    for (options, want) in [
        (
            &["port=/dev/ttyNONE", "framing=idle"][..],
            "-19 port: cannot open /dev/ttyNONE: No such",
        ),
        (
            &["port=/dev/null", "framing=idle"],
            "-95 port: is no terminal",
        ),
        (
            &[&line.port, "framing=idle", "baud=12345"],
            "-22 baud: 12345 is no rate",
        ),
        (
            &[&line.port, "framing=idle", "rs485=rts_on_send"],
            "-95 rs485: this port has no such mode",
        ),
        (
            &[&line.port],
            "-22 values: 0 given; framing lines takes 1 to 256",
        ),
        (
            &[&line.port, "framing=idle", "values=name=a,column=1"],
            "-22 values: 1 given",
        ),
        (
            &[&line.port, "values=name=a"],
            "-22 values[0] key: give either key or column",
        ),
        (
            &[&line.port, "values=name=a,key=a,column=1"],
            "-22 values[0] key: give either",
        ),
        (
            &[
                &line.port,
                "values=name=a,column=1",
                "values=name=a,column=2",
            ],
            "-22 values[1] name: a is already taken",
        ),
        (
            &[&line.port, "framing=delimited", "delimiter=0"],
            "-22 delimiter: 1 to 4 bytes",
        ),
        (
            &[&line.port, "framing=delimited", "delimiter=0x0a"],
            "-22 delimiter: 1 to 4 bytes",
        ),
        (
            &[&line.port, "framing=idle", "separator=ab"],
            "-22 separator: ab... is longer",
        ),
    ] {
        let Err(said) = Session::open("serial", options) else {
            panic!("{options:?} was taken");
        };
        assert!(said.starts_with(want), "{options:?}: {said}");
    }
}
