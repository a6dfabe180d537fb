//! The gpio driver on chips that the kernel simulates (gpio-sim): its lines are pulled, and its outputs seen, from
//! the other side.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::kit::{Session, now_ns};

/// Two ticks of the guest's kernel (HZ=100).
const TICK: Duration = Duration::from_millis(20);

/// A chip of 8 lines, gone with its value.
pub(crate) struct Chip {
    config: PathBuf,
    lines: PathBuf,
    pub(crate) name: String,
}

fn text(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

impl Chip {
    pub(crate) fn new(test: &str) -> Self {
        let config = Path::new("/sys/kernel/config/gpio-sim").join(test);
        let bank = config.join("bank0");
        fs::create_dir_all(bank.join("line3")).unwrap();
        fs::create_dir_all(bank.join("line5/hog")).unwrap();
        fs::write(bank.join("num_lines"), "8").unwrap();
        fs::write(bank.join("line3/name"), "door").unwrap();
        fs::write(bank.join("line5/hog/name"), "the-hog").unwrap();
        fs::write(config.join("live"), "1").unwrap();
        let name = text(&bank.join("chip_name"));
        let device = text(&config.join("dev_name"));
        let lines = Path::new("/sys/devices/platform").join(device).join(&name);
        Self {
            config,
            lines,
            name,
        }
    }

    fn open(&self, options: &[&str]) -> Result<Session, String> {
        let chip = format!("chip=/dev/{}", self.name);
        let mut all = vec![chip.as_str()];
        all.extend(options);
        Session::open("gpio", &all)
    }

    /// Pulls a line, and waits until the edge was seen: the guest's simulated interrupts wait for its next tick.
    fn pull(&self, line: u32, up: bool) {
        self.pull_now(line, up);
        sleep(TICK);
    }

    fn pull_now(&self, line: u32, up: bool) {
        let path = self.lines.join(format!("sim_gpio{line}/pull"));
        fs::write(path, if up { "pull-up" } else { "pull-down" }).unwrap();
    }

    fn level(&self, line: u32) -> String {
        text(&self.lines.join(format!("sim_gpio{line}/value")))
    }

    fn end(&self) {
        fs::write(self.config.join("live"), "0").unwrap();
    }
}

impl Drop for Chip {
    fn drop(&mut self) {
        self.end();
        for part in ["bank0/line5/hog", "bank0/line5", "bank0/line3", "bank0", ""] {
            fs::remove_dir(self.config.join(part)).unwrap();
        }
    }
}

/// What two reads bring, as channel and level: the first says the levels at open.
fn two_reads(session: &mut Session, between: impl FnOnce()) -> Vec<(usize, String)> {
    let mut all = session.ask("read 99 100").samples;
    between();
    all.extend(session.ask("read 99 100").samples);
    all.iter().map(|s| (s.channel, s.text.clone())).collect()
}

fn pairs(list: &[(usize, &str)]) -> Vec<(usize, String)> {
    list.iter().map(|(c, t)| (*c, (*t).to_owned())).collect()
}

#[test]
fn edges_carry_the_kernels_time() {
    let chip = Chip::new("edges");
    let mut session = chip.open(&["lines=line=2,name=a"]).unwrap();
    let first = session.ask("read 9 0");
    assert_eq!(first.values(), ["0"], "the level at open");
    let mut bounds = vec![now_ns()];
    for up in [true, false, true] {
        chip.pull(2, up);
        bounds.push(now_ns());
    }
    // Read late: the stamps are of the edges and not of the reading.
    let reply = session.ask("read 9 100");
    assert_eq!(reply.values(), ["1", "0", "1"]);
    for (sample, bound) in reply.samples.iter().zip(bounds.windows(2)) {
        assert!(
            (bound[0]..=bound[1]).contains(&sample.monotonic_ns),
            "{sample:?} {bound:?}"
        );
        assert_eq!(sample.lost, 0);
    }
    // Waits for the first edge, and no longer than the timeout.
    let from = Instant::now();
    assert_eq!(session.ask("read 9 150").status, 0);
    assert!(
        from.elapsed() >= Duration::from_millis(149),
        "{:?}",
        from.elapsed()
    );
}

#[test]
fn what_does_not_fit_comes_with_the_next_read() {
    let chip = Chip::new("narrow");
    let mut session = chip
        .open(&["lines=line=0,name=a", "lines=line=1,name=b"])
        .unwrap();
    assert_eq!(session.ask("read 1 0").values(), ["0"]);
    for up in [true, false, true] {
        chip.pull(0, up);
        chip.pull(1, up);
    }
    let mut by_channel = [Vec::new(), Vec::new()];
    for _ in 0..7 {
        let reply = session.ask("read 1 100");
        assert_eq!(reply.status, 1, "{reply:?}");
        by_channel[reply.samples[0].channel].push(reply.samples[0].text.clone());
    }
    assert_eq!(by_channel, [vec!["1", "0", "1"], vec!["0", "1", "0", "1"]]);
    assert_eq!(session.ask("read 1 20").status, 0);
}

#[test]
fn one_kind_of_edge_and_turned_round() {
    let chip = Chip::new("kinds");
    chip.pull(2, true);
    let mut session = chip
        .open(&[
            "lines=line=0,name=rising,edge=rising",
            "lines=line=1,name=falling,edge=falling",
            "lines=line=2,name=low,active_low=true",
        ])
        .unwrap();
    let got = two_reads(&mut session, || {
        for line in [0, 1] {
            for up in [true, false, true] {
                chip.pull(line, up);
            }
        }
        chip.pull(2, false);
    });
    let want = [
        (0, "0"),
        (1, "0"),
        (2, "0"),
        (0, "1"),
        (0, "1"),
        (1, "0"),
        (2, "1"),
    ];
    assert_eq!(got, pairs(&want));
}

#[test]
fn a_bouncing_contact_is_one_edge() {
    let chip = Chip::new("bounce");
    let mut session = chip
        .open(&[
            "lines=line=0,name=a,debounce_us=60000",
            "lines=line=1,name=b,debounce_us=60000,edge=falling",
            "lines=line=2,name=c,debounce_us=60000",
        ])
        .unwrap();
    session.ask("read 9 0");
    // a ends where it did not begin, b as well but by an edge that is not asked for, c comes back.
    for turn in 0..5 {
        chip.pull_now(0, turn % 2 == 0);
        chip.pull_now(1, turn % 2 == 0);
        chip.pull(2, turn % 2 == 0);
    }
    chip.pull_now(2, false);
    let settled = now_ns() + 40_000_000; // the last edge of a lies one wait back
    let reply = session.ask("read 9 10");
    assert_eq!(reply.status, 0, "nothing before it has settled: {reply:?}");
    let reply = session.ask("read 9 1000");
    assert_eq!(reply.values(), ["1"], "{reply:?}");
    assert!(
        (reply.samples[0].monotonic_ns - settled).abs() < 30_000_000,
        "{reply:?}"
    );
    assert_eq!(session.ask("read 9 200").status, 0);
    chip.pull(1, false);
    let reply = session.ask("read 9 1000");
    assert_eq!((reply.values(), reply.samples[0].channel), (vec!["0"], 1));
    // Two that settled one after the other, read late.
    chip.pull(0, false);
    sleep(Duration::from_millis(100));
    chip.pull(0, true);
    sleep(Duration::from_millis(100));
    assert_eq!(session.ask("read 9 1000").values(), ["0", "1"]);
}

#[test]
fn levels_are_polled_and_outputs_written() {
    let chip = Chip::new("levels");
    let mut session = chip
        .open(&[
            "poll_ms=100",
            "lines=line=0,name=in,edge=none",
            "lines=line=1,name=out,direction=output,initial=true",
            "lines=line=2,name=low,direction=output,active_low=true",
        ])
        .unwrap();
    assert_eq!(
        (chip.level(1), chip.level(2)),
        ("1".to_owned(), "1".to_owned())
    );
    let got = two_reads(&mut session, || chip.pull(0, true));
    assert_eq!(
        got,
        pairs(&[(0, "0"), (1, "1"), (2, "0"), (0, "1"), (1, "1"), (2, "0")])
    );
    assert_eq!(session.ask("write 1 b 0 100").status, 0);
    assert_eq!(session.ask("write 2 b 1 100").status, 0);
    assert_eq!(
        (chip.level(1), chip.level(2)),
        ("0".to_owned(), "0".to_owned())
    );
    let reply = session.ask("read 9 10");
    assert_eq!(reply.values(), ["0", "1"], "read back at once: {reply:?}");
    for (write, status, why) in [
        ("0 b 1", -22, "channel 0 takes no such write"),
        ("1 i 1", -22, "channel 1 takes no such write"),
        ("9 b 1", -22, "channel 9 takes no such write"),
        ("1 b 2", -34, "out: a level is 0 or 1"),
    ] {
        let reply = session.ask(&format!("write {write} 100"));
        assert_eq!((reply.status, reply.why.as_str()), (status, why), "{write}");
    }
    assert_eq!(chip.level(1), "0");
}

#[test]
fn lines_by_name_and_lines_that_are_not_free() {
    let chip = Chip::new("names");
    let mut session = chip.open(&["lines=line=door"]).unwrap();
    let got = two_reads(&mut session, || chip.pull(3, true));
    assert_eq!(got, pairs(&[(0, "0"), (0, "1")]));
    for (line, want) in [
        (
            "lines=line=3",
            "-16 lines: /dev/N line 3: Device or resource busy, it is used by dunlin",
        ),
        (
            "lines=line=5",
            "-16 lines: /dev/N line 5: Device or resource busy, it is used by the-hog",
        ),
        ("lines=line=8", "-22 lines: /dev/N has no line 8"),
        ("lines=line=gate", "-22 lines: /dev/N has no line gate"),
    ] {
        let Err(said) = chip.open(&["lines=line=0", line]) else {
            panic!("{line} was taken");
        };
        assert_eq!(said.replace(&chip.name, "N"), want);
    }
    // What was refused has been given back.
    drop(chip.open(&["lines=line=0"]).unwrap());
    drop(session);
    drop(chip.open(&["lines=line=3"]).unwrap());
}

#[test]
fn a_queue_that_ran_over_is_lost_samples_and_a_true_level() {
    let chip = Chip::new("overrun");
    let mut session = chip.open(&["lines=line=0,name=a"]).unwrap();
    session.ask("read 9 0");
    let edges = 3001; // several may be one, see pull; what is left is more than libgpiod 1's queue holds
    for turn in 0..edges {
        chip.pull_now(0, turn % 2 == 0);
    }
    let mut samples = Vec::new();
    loop {
        let reply = session.ask("read 64 100");
        if reply.status == 0 {
            break;
        }
        samples.extend(reply.samples);
    }
    let last = samples.last().unwrap();
    assert_eq!(last.text, "1", "the level that the line has now");
    assert!(samples.len() < edges, "nothing was lost");
    assert!(
        samples.iter().any(|s| s.lost > 0),
        "{} samples, nothing said to be lost",
        samples.len()
    );
    assert!(
        samples
            .windows(2)
            .all(|s| s[0].monotonic_ns <= s[1].monotonic_ns)
    );
}

#[test]
fn a_chip_that_goes_is_said_so() {
    let chip = Chip::new("gone");
    let options = ["poll_ms=50", "lines=line=0", "lines=line=1,edge=none"];
    let mut session = chip.open(&options).unwrap();
    session.ask("read 9 0");
    chip.end();
    let reply = session.ask("read 9 500");
    assert_eq!(reply.status, -19, "{reply:?}");
    assert!(reply.why.contains("No such device"), "{reply:?}");
    drop(session);
    let Err(said) = chip.open(&options) else {
        panic!("a chip that is gone was opened");
    };
    assert!(said.starts_with("-19 chip: cannot open"), "{said}");
    fs::write(chip.config.join("live"), "1").unwrap();
}
