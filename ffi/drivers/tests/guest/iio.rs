//! The iio driver on a sensor that the kernel makes up (iio_simple_dummy), polled, and captured at the beats of a timer
//! (iio-trig-hrtimer): libiio, the kernel's buffer and its stamps are real, the numbers are the kernel's own constants.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kit::{Session, now_ns};

const CONFIG: &str = "/sys/kernel/config/iio";

/// A made-up sensor, or a timer, gone with its value.
pub(crate) struct Made(PathBuf);

impl Made {
    fn new(path: &str) -> Self {
        let path = Path::new(CONFIG).join(path);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    pub(crate) fn sensor(name: &str) -> Self {
        Self::new(&format!("devices/dummy/{name}"))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The folder in /sys of the device or trigger of this name.
fn folder(name: &str) -> PathBuf {
    let all = fs::read_dir("/sys/bus/iio/devices").unwrap();
    all.map(|entry| entry.unwrap().path())
        .find(|path| fs::read_to_string(path.join("name")).is_ok_and(|found| found.trim() == name))
        .unwrap_or_else(|| panic!("no IIO device {name}"))
}

fn number(path: &Path) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().parse().unwrap()
}

#[test]
fn iio_channels_are_polled_as_the_kernel_shows_them() {
    let _sensor = Made::sensor("poll_me");
    let started = now_ns();
    let mut session = Session::open(
        "iio",
        &[
            "device=poll_me",
            "poll_ms=100",
            "channels=id=voltage0",
            "channels=id=accel_x,name=shake,scale=2,offset=1,unit=g",
        ],
    )
    .unwrap();
    let sys = folder("poll_me");
    let part = |name: &str| number(&sys.join(name));
    let volts =
        (part("in_voltage0_raw") + part("in_voltage0_offset")) * part("in_voltage0_scale") * 1e-3;
    // The kernel gives no scale for this one.
    let shake = part("in_accel_x_raw") * 2.0 + 1.0;
    assert!(volts > 0.0 && shake > 1.0, "{volts} {shake}");
    let mut stamps = Vec::new();
    for _ in 0..5 {
        let reply = session.ask("read 9 1000");
        let seen: Vec<f64> = reply.samples.iter().map(|sample| sample.value).collect();
        assert_eq!(seen, [volts, shake], "{reply:?}");
        stamps.push(reply.samples[0].monotonic_ns);
    }
    assert!(stamps[0] >= started);
    for pair in stamps.windows(2) {
        let ms = (pair[1] - pair[0]) / 1_000_000;
        assert!((60..200).contains(&ms), "{stamps:?}");
    }
    // Room for one: the rest comes with the next call, and a wait that is too short brings nothing.
    assert_eq!(session.ask("read 1 1000").samples[0].channel, 0);
    assert_eq!(session.ask("read 1 1000").samples[0].channel, 1);
    assert!(session.ask("read 9 1").samples.is_empty());
}

#[test]
fn iio_scans_are_captured_at_each_trigger_and_stamped_by_the_kernel() {
    let _sensor = Made::sensor("catch_me");
    let _beat = Made::new("triggers/hrtimer/beat");
    fs::write(folder("beat").join("sampling_frequency"), "50").unwrap();
    let before = now_ns();
    let mut session = Session::open(
        "iio",
        &[
            "device=catch_me",
            "buffer=8",
            "trigger=beat",
            "channels=id=voltage0,scale=1,unit=mV",
            "channels=id=accel_x,scale=1,unit=1",
        ],
    )
    .unwrap();
    let sys = folder("catch_me");
    let part = |name: &str| number(&sys.join(name));
    // What drivers/iio/dummy/iio_simple_dummy_buffer.c puts into every scan.
    let (volts, shake) = (7.0, 344.0);
    let expected = [
        (volts + part("in_voltage0_offset")) * part("in_voltage0_scale"),
        shake,
    ];
    let mut samples = Vec::new();
    while samples.len() < 160 {
        let reply = session.ask("read 7 2000");
        assert!(reply.status > 0, "{reply:?}");
        samples.extend(reply.samples);
    }
    let after = now_ns();
    for scan in samples.chunks_exact(2) {
        assert_eq!([scan[0].channel, scan[1].channel], [0, 1]);
        assert_eq!([scan[0].value, scan[1].value], expected);
        assert_eq!(scan[0].monotonic_ns, scan[1].monotonic_ns);
    }
    let stamps: Vec<i64> = samples.iter().step_by(2).map(|s| s.monotonic_ns).collect();
    assert!(
        stamps.windows(2).all(|pair| pair[0] < pair[1]),
        "each scan at a time of its own"
    );
    assert!(
        before <= stamps[0] && *stamps.last().unwrap() <= after,
        "{before} {stamps:?} {after}"
    );
    // The guest's timers keep to its ticks, so the rate is looked at over all.
    let mean_ms = (stamps.last().unwrap() - stamps[0])
        / 1_000_000
        / (i64::try_from(stamps.len()).unwrap() - 1);
    assert!(
        (15..40).contains(&mean_ms),
        "{mean_ms} ms between scans: {stamps:?}"
    );
    // Nobody is left waiting where nothing comes.
    fs::write(folder("beat").join("sampling_frequency"), "1").unwrap();
    session.ask("read 4096 100");
    let asked = now_ns();
    assert_eq!(session.ask("read 4096 300").status, 0);
    let waited = Duration::from_nanos(u64::try_from(now_ns() - asked).unwrap());
    assert!((250..600).contains(&waited.as_millis()), "{waited:?}");
}

#[test]
fn iio_names_what_there_is_where_it_does_not_find_what_it_was_told() {
    let _sensor = Made::sensor("only_me");
    let refused = |options: &[&str]| match Session::open("iio", options) {
        Ok(_) => panic!("{options:?} was taken"),
        Err(said) => said,
    };
    let channel = "channels=id=voltage0";
    for (options, want) in [
        (
            &["device=dps310", channel][..],
            "-19 device: there is no dps310; there are only_me",
        ),
        (
            &["device=only_me", "channels=id=temp"],
            "-22 channels: there is no temp; there are ",
        ),
        (
            &["device=only_me", channel, "buffer=4", "trigger=none"],
            "-19 trigger: none cannot be used: No such file or directory",
        ),
        (
            &["device=only_me", "channels=id=activity_running", "buffer=4"],
            "-22 channels[0] id: activity_running cannot be captured in a buffer",
        ),
    ] {
        let said = refused(options);
        assert!(said.starts_with(want), "{options:?}: {said}");
    }
    // Without a trigger nobody fills a buffer, which the kernel says.
    let said = refused(&["device=only_me", channel, "buffer=4"]);
    assert!(said.contains("buffer: only_me cannot capture"), "{said}");
}

#[test]
fn iio_sensor_that_goes_is_gone() {
    let sensor = Made::sensor("leave_me");
    let options = ["device=leave_me", "poll_ms=20", "channels=id=voltage0"];
    let mut session = Session::open("iio", &options).unwrap();
    assert_eq!(session.ask("read 9 1000").samples.len(), 1);
    drop(sensor);
    let reply = session.ask("read 9 1000");
    assert_eq!(reply.status, -19, "{reply:?}");
    assert!(reply.why.contains("leave_me: voltage0: "), "{reply:?}");
    let said = Session::open("iio", &options).err().expect("it is gone");
    assert!(said.starts_with("-19 device: "), "{said}");
}
