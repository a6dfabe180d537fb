//! What the tests share: the C runner `drive` as a session, and the lab's Modbus server.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use dunlin_drivers::DIR;

/// Line by line, cut at blanks, what `drive` prints for these commands.
pub(crate) fn drive(driver: &str, options: &[&str], commands: &str) -> Vec<Vec<String>> {
    let mut child = Command::new(format!("{DIR}/drive"))
        .arg(format!("{DIR}/{driver}.so"))
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(commands.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{driver} {options:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect()
}

/// The lines that begin with `kind`.
pub(crate) fn only<'a>(lines: &'a [Vec<String>], kind: &str) -> Vec<&'a Vec<String>> {
    lines.iter().filter(|line| line[0] == kind).collect()
}

/// One sample of a session.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) monotonic_ns: i64,
    pub(crate) channel: usize,
    pub(crate) quality: u32,
    pub(crate) lost: u32,
    pub(crate) value: f64,
    pub(crate) text: String,
}

/// The answer to one command: its status, the explanation, the samples.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: i32,
    pub(crate) why: String,
    pub(crate) samples: Vec<Sample>,
    pub(crate) frames: Vec<Frame>,
}

/// One frame of a session.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) monotonic_ns: i64,
    pub(crate) channel: usize,
    pub(crate) lost: u32,
    /// Its bytes in hexadecimal.
    pub(crate) hex: String,
}

impl Reply {
    /// Values as text, `bad` where the quality is bad.
    pub(crate) fn values(&self) -> Vec<&str> {
        let text = |s: &'_ Sample| s.quality == 2;
        self.samples
            .iter()
            .map(|s| if text(s) { "bad" } else { s.text.as_str() })
            .collect()
    }
}

/// An open device in a runner of its own, command by command.
pub(crate) struct Session {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Session {
    /// Opens a device; the explanation where the driver refuses.
    pub(crate) fn open(driver: &str, options: &[&str]) -> Result<Self, String> {
        let drive = format!("{DIR}/drive");
        Self::open_by(
            Command::new(drive)
                .arg(format!("{DIR}/{driver}.so"))
                .args(options),
        )
    }

    /// The same, where `command` ends in a runner.
    pub(crate) fn open_by(command: &mut Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut session = Self {
            child,
            commands,
            answers,
        };
        loop {
            let line = session.line();
            if let Some(rest) = line.strip_prefix("open ") {
                if let Some(why) = rest.strip_prefix("0 ") {
                    assert_eq!(why, "");
                    session.answer();
                    return Ok(session);
                }
                return Err(rest.to_owned());
            }
        }
    }

    /// Sends one command and waits for its `end`.
    pub(crate) fn ask(&mut self, command: &str) -> Reply {
        let commands = self.commands.as_mut().unwrap();
        commands
            .write_all(format!("{command}\n").as_bytes())
            .unwrap();
        self.answer()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).unwrap();
        assert!(read > 0, "the runner is gone: {:?}", self.child.wait());
        line.trim_end_matches('\n').to_owned()
    }

    fn answer(&mut self) -> Reply {
        let mut samples = Vec::new();
        let mut frames = Vec::new();
        loop {
            let line = self.line();
            let mut words = line.splitn(3, ' ');
            match words.next() {
                Some("end") => {
                    let status = words.next().unwrap().parse().unwrap();
                    let why = words.next().unwrap_or("").to_owned();
                    return Reply {
                        status,
                        why,
                        samples,
                        frames,
                    };
                }
                Some("sample") => {
                    let words: Vec<&str> = line.split(' ').collect();
                    samples.push(Sample {
                        monotonic_ns: words[1].parse().unwrap(),
                        channel: words[2].parse().unwrap(),
                        quality: words[3].parse().unwrap(),
                        lost: words[4].parse().unwrap(),
                        value: words[5].parse().unwrap(),
                        text: words[5].to_owned(),
                    });
                }
                Some("frame") => {
                    let words: Vec<&str> = line.split(' ').collect();
                    frames.push(Frame {
                        monotonic_ns: words[1].parse().unwrap(),
                        channel: words[2].parse().unwrap(),
                        lost: words[3].parse().unwrap(),
                        hex: words[4].to_owned(),
                    });
                }
                _ => {}
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.commands.take()); // end of input: the runner closes the device and ends
        let status = self.child.wait().unwrap();
        assert!(
            status.success() || std::thread::panicking(),
            "the runner ended with {status}"
        );
    }
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
}

/// A loopback port that nobody uses now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The lab's Modbus server, ended with its value.
pub(crate) struct ModbusServer {
    child: Child,
    said: BufReader<ChildStdout>,
    /// Its port, or its terminal.
    pub(crate) place: String,
}

impl ModbusServer {
    /// Over TCP on a loopback port that the kernel chooses.
    pub(crate) fn tcp() -> Self {
        Self::start("0")
    }

    /// Over TCP on this port of loopback.
    pub(crate) fn tcp_at(port: u16) -> Self {
        Self::start(&port.to_string())
    }

    /// Its port, where it speaks TCP.
    pub(crate) fn port(&self) -> u16 {
        self.place.parse().unwrap()
    }

    /// Over a pseudo terminal.
    pub(crate) fn serial() -> Self {
        Self::start("--serial")
    }

    fn start(mode: &str) -> Self {
        let python: PathBuf = root().join("target/lab/venv/bin/python");
        assert!(
            python.exists(),
            "{} is missing. Remedy: scripts/setup.sh test, which installs pymodbus there",
            python.display()
        );
        let mut child = Command::new(&python)
            .arg(root().join("lab/modbus_server.py"))
            .args([mode, "--requests"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let place = line
            .strip_prefix("ready")
            .expect("the Modbus server says why above. Remedy: scripts/setup.sh test")
            .trim()
            .to_owned();
        Self { child, said, place }
    }

    /// Ends the server; the requests it has had, as (function, address).
    pub(crate) fn end(mut self) -> Vec<(u32, u32)> {
        self.child.kill().unwrap();
        let lines = self.said.by_ref().lines().map(Result::unwrap);
        let request = |line: String| {
            let mut words = line.split(' ').skip(1).map(|word| word.parse().unwrap());
            (words.next().unwrap(), words.next().unwrap())
        };
        lines.map(request).collect()
    }
}

impl Drop for ModbusServer {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may be gone already
        let _ = self.child.wait();
    }
}

/// The clock of the stamps.
pub(crate) fn now_ns() -> i64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}
