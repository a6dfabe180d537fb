//! The sim driver, held to independent formulas.

mod kit;

use std::time::{Duration, Instant};

use kit::{Session, drive, only};

#[test]
fn counts_without_loss_at_100_khz() {
    let options = ["waves=shape=counter", "rate_hz=100000", "count=100000"];
    let lines = drive("sim", &options, &"read 4096 20\n".repeat(140));
    let samples = only(&lines, "sample");
    assert_eq!(samples.len(), 100_000);
    let start: i64 = samples[0][1].parse().unwrap();
    for (k, sample) in samples.iter().enumerate() {
        assert_eq!(
            (sample[4].as_str(), sample[5].parse::<usize>().unwrap()),
            ("0", k)
        );
        let late = sample[1].parse::<i64>().unwrap() - start - i64::try_from(k).unwrap() * 10_000;
        assert!(late.abs() <= 1, "sample {k} is {late} ns off");
    }
}

#[test]
fn reports_what_its_backlog_loses() {
    let options = [
        "waves=shape=counter",
        "rate_hz=1000",
        "count=200",
        "backlog=10",
    ];
    let lines = drive("sim", &options, "sleep 400\nread 100 10\nread 100 10\n");
    let samples = only(&lines, "sample");
    assert_eq!(samples.len(), 10);
    assert_eq!(
        (samples[0][4].as_str(), samples[0][5].as_str()),
        ("190", "190")
    );
}

#[test]
fn shapes_follow_their_formulas() {
    let wave = |shape| format!("waves=shape={shape},amplitude=2,offset=5,period_ms=40");
    let (sine, ramp, square) = (wave("sine"), wave("ramp"), wave("square"));
    let options = [&sine, &ramp, &square, "rate_hz=1000", "count=100"];
    let lines = drive("sim", &options, &"read 300 100\n".repeat(20));
    let samples = only(&lines, "sample");
    assert_eq!(samples.len(), 300);
    for (n, sample) in samples.iter().enumerate() {
        let phase = (n / 3 % 40) as f64 / 40.0;
        let want = match n % 3 {
            0 => 5.0 + 2.0 * (std::f64::consts::TAU * phase).sin(),
            1 => 5.0 + 2.0 * phase,
            _ => {
                if phase < 0.5 {
                    7.0
                } else {
                    3.0
                }
            }
        };
        let got: f64 = sample[5].parse().unwrap();
        assert!((got - want).abs() < 1e-9, "sample {n}: {got}, not {want}");
    }
}

#[test]
fn frames_carry_counter_and_crc() {
    let options = [
        "frames=true",
        "frame_rate_hz=1000",
        "frame_bytes=33",
        "count=50",
    ];
    let lines = drive("sim", &options, &"frames 64 50\n".repeat(10));
    let frames = only(&lines, "frame");
    assert_eq!(frames.len(), 50);
    for (k, frame) in frames.iter().enumerate() {
        let hex = &frame[4];
        let bytes: Vec<u8> = (0..33)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()), k as u64);
        let crc = bytes[..29].iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| {
                (c >> 1) ^ (0xEDB8_8320 * (c & 1))
            })
        });
        assert_eq!(
            u32::from_le_bytes(bytes[29..].try_into().unwrap()),
            !crc,
            "frame {k}"
        );
    }
}

#[test]
fn echoes_its_set_point() {
    let lines = drive(
        "sim",
        &["count=1"],
        "read 9 10\nwrite 4 f 2.5 10\nwrite 4 f 1e9 10\nread 9 10\n",
    );
    let samples = only(&lines, "sample");
    assert_eq!(
        (samples[4][2].as_str(), samples[4][5].as_str()),
        ("4", "2.5")
    );
    assert_eq!(only(&lines, "end")[3][1], "-34");
}

/// Noise of one channel: `count` values with this seed.
fn noise(seed: &str, count: usize, waves: &[&str]) -> Vec<f64> {
    let (seed, count) = (format!("seed={seed}"), format!("count={count}"));
    let mut options = vec![seed.as_str(), count.as_str(), "rate_hz=100000"];
    options.extend(waves);
    // All are due when the reads begin, so that none waits.
    let commands = "sleep 1100\n".to_owned() + &"read 4096 0\n".repeat(60);
    let lines = drive("sim", &options, &commands);
    let samples = only(&lines, "sample");
    let first = samples.iter().filter(|sample| sample[2] == "0");
    first.map(|sample| sample[5].parse().unwrap()).collect()
}

#[test]
fn a_seed_gives_the_same_noise_and_another_seed_another() {
    let wave = "waves=shape=noise,amplitude=3,offset=1";
    let one = noise("7", 2000, &[wave]);
    assert_eq!(one.len(), 2000);
    assert_eq!(one, noise("7", 2000, &[wave]));
    // Beside another wave, and read in other portions, a sample of an index is the same.
    assert_eq!(one, noise("7", 2000, &[wave, "waves=shape=counter"]));
    let other = noise("8", 2000, &[wave]);
    let same = one.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert_eq!(same, 0, "of 2000");
}

#[test]
fn noise_is_uniform_and_uncorrelated() {
    // One seed, so this cannot flicker; the bounds are five standard deviations of n = 100,000 uniform samples.
    let values = noise("1", 100_000, &["waves=shape=noise,amplitude=2,offset=10"]);
    let unit: Vec<f64> = values.iter().map(|v| (v - 10.0) / 2.0).collect();
    let n = unit.len() as f64;
    assert!(unit.iter().all(|u| (-1.0..1.0).contains(u)));
    let mean = unit.iter().sum::<f64>() / n;
    assert!(
        mean.abs() < 5.0 * (1.0 / 3.0f64).sqrt() / n.sqrt(),
        "mean {mean}"
    );
    let variance = unit.iter().map(|u| u * u).sum::<f64>() / n;
    assert!(
        (variance - 1.0 / 3.0).abs() < 5.0 * (4.0 / 45.0f64).sqrt() / n.sqrt(),
        "variance {variance}"
    );
    let mut bins = [0u32; 16];
    for u in &unit {
        let bin = bins
            .iter()
            .enumerate()
            .position(|(i, _)| *u < (i as f64 + 1.0) / 8.0 - 1.0);
        bins[bin.unwrap()] += 1;
    }
    let expected = n / 16.0;
    let chi2: f64 = bins
        .iter()
        .map(|&b| (f64::from(b) - expected).powi(2) / expected)
        .sum();
    // 15 degrees of freedom: mean 15, standard deviation sqrt(30).
    assert!(
        chi2 < 15.0 + 5.0 * 30f64.sqrt(),
        "chi-squared {chi2}: {bins:?}"
    );
    for lag in [1, 2, 16] {
        let pairs = unit.iter().zip(&unit[lag..]);
        let correlation = pairs.map(|(a, b)| a * b).sum::<f64>() / n * 3.0;
        assert!(
            correlation.abs() < 5.0 / n.sqrt(),
            "lag {lag}: {correlation}"
        );
    }
}

#[test]
fn a_read_waits_for_its_batch_and_no_longer_than_its_timeout() {
    // 1 kHz in batches of 50 ms: a read returns 50 samples or so, not one by one.
    let options = ["waves=shape=counter", "rate_hz=1000", "batch_ms=50"];
    let mut session = Session::open("sim", &options).unwrap();
    let mut next = 0;
    for turn in 0..6 {
        let reply = session.ask("read 4096 1000");
        assert!(turn == 0 || reply.status >= 50, "{}", reply.status);
        for sample in &reply.samples {
            assert_eq!(sample.text, next.to_string());
            next += 1;
        }
    }
    // The room of the call ends the wait as well, and so does the timeout.
    assert_eq!(session.ask("read 5 1000").status, 5);
    drop(session);
    let mut session = Session::open(
        "sim",
        &["waves=shape=counter", "rate_hz=100", "batch_ms=10000"],
    )
    .unwrap();
    let from = Instant::now();
    let reply = session.ask("read 4096 200");
    let took = from.elapsed();
    assert!((15..=40).contains(&reply.status), "{}", reply.status);
    assert!(
        (Duration::from_millis(190)..Duration::from_millis(400)).contains(&took),
        "{took:?}"
    );
    // Without a batch a read returns at the first sample.
    let mut session =
        Session::open("sim", &["waves=shape=counter", "rate_hz=20", "batch_ms=0"]).unwrap();
    for turn in 0..4 {
        let reply = session.ask("read 4096 1000");
        assert_eq!(reply.values(), [turn.to_string()]);
    }
}

#[test]
fn frames_beyond_the_backlog_are_counted_as_lost() {
    let options = [
        "frames=true",
        "frame_rate_hz=1000",
        "frame_bytes=12",
        "count=300",
        "backlog=20",
    ];
    let commands = "frames 4 50\nsleep 600\nframes 64 50\nframes 64 50\n";
    let lines = drive("sim", &options, commands);
    let frames = only(&lines, "frame");
    let mut next = 0;
    let mut lost = 0;
    for frame in &frames {
        let bytes: Vec<u8> = (0..8)
            .map(|i| u8::from_str_radix(&frame[4][2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let counter = u64::from_le_bytes(bytes.try_into().unwrap());
        let missed: u64 = frame[3].parse().unwrap();
        assert_eq!(
            counter,
            next + missed,
            "each missing frame is in `lost` of the next one"
        );
        next = counter + 1;
        lost += missed;
    }
    assert_eq!(next, 300);
    assert_eq!(u64::try_from(frames.len()).unwrap() + lost, 300);
    assert!(
        frames.len() <= 24 && lost >= 276,
        "{} frames, {lost} lost",
        frames.len()
    );
}

#[test]
fn frames_that_do_not_fit_wait_for_the_next_call() {
    // 65536 bytes of room hold one frame of 40000.
    let options = [
        "frames=true",
        "frame_rate_hz=1000",
        "frame_bytes=40000",
        "count=3",
    ];
    let lines = drive("sim", &options, &"sleep 20\nframes 64 50\n".repeat(4));
    let ends: Vec<&str> = only(&lines, "end")
        .iter()
        .map(|end| end[1].as_str())
        .collect();
    assert_eq!(ends, ["6", "0", "1", "0", "1", "0", "1", "0", "0"]);
}
