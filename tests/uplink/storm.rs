//! 10,000 agents lose one broker in the same moment: how many connect in each second, by simulation with the agent's own
//! backoff. docs/storm.svg is its picture; `scripts/storm.sh` draws it anew, and the test fails where it is another.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;

use dunlin::uplink::backoff::Backoff;
use dunlin::uplink::reason::Pace;

const AGENTS: u64 = 10_000;
/// The broker restarts: nobody answers until then.
const AWAY_MS: u64 = 20_000;
/// Connections that it takes in a second; the others hear that it is busy.
const TAKEN_PER_S: usize = 500;
const SECONDS: usize = 180;
/// The end of the axis.
const PER_S_MAX: usize = 20_000;
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/storm.svg");

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// As the agent does.
    Spread,
    /// Full jitter from the first bound of 500 ms.
    Plain,
    /// Each wait its bound.
    NoJitter,
}

struct Storm {
    /// Attempts in each second.
    attempts: Vec<usize>,
    connected: usize,
    /// When the last one was connected, in seconds.
    last_s: usize,
}

fn storm(waits: Waits) -> Storm {
    let mut agents: Vec<Backoff> = (0..AGENTS)
        .map(|agent| Backoff::new(500, 60_000, agent.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    let wait = |backoff: &mut Backoff, pace| match waits {
        Waits::Plain if pace == Pace::Spread => backoff.next_ms(Pace::Normal),
        Waits::Spread | Waits::Plain => backoff.next_ms(pace),
        Waits::NoJitter => {
            let bound_ms = backoff.bound_ms();
            backoff.next_ms(Pace::Normal);
            bound_ms
        }
    };
    let mut due: BinaryHeap<_> = agents
        .iter_mut()
        .enumerate()
        .map(|(agent, backoff)| Reverse((wait(backoff, Pace::Spread), agent)))
        .collect();
    let mut found = Storm {
        attempts: vec![0; SECONDS],
        connected: 0,
        last_s: 0,
    };
    let mut taken = vec![0; SECONDS];
    while let Some(Reverse((at_ms, agent))) = due.pop() {
        let second = usize::try_from(at_ms / 1_000).unwrap();
        if second >= SECONDS {
            continue;
        }
        found.attempts[second] += 1;
        let pace = if at_ms < AWAY_MS {
            Pace::Normal
        } else if taken[second] < TAKEN_PER_S {
            taken[second] += 1;
            found.connected += 1;
            found.last_s = second;
            continue;
        } else {
            Pace::Spare
        };
        due.push(Reverse((at_ms + wait(&mut agents[agent], pace), agent)));
    }
    found
}

fn picture(lines: &[(&str, &str, &Storm)]) -> String {
    let (width, height, left, top, bottom) = (900, 420, 70, 60, 50);
    let (inner_w, inner_h) = (width - left - 20, height - top - bottom);
    let x = |second: usize| {
        left + inner_w * i64::try_from(second).unwrap() / i64::try_from(SECONDS).unwrap()
    };
    let y = |count: usize| {
        top + inner_h - inner_h * i64::try_from(count).unwrap() / i64::try_from(PER_S_MAX).unwrap()
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{left}\" y=\"22\" font-size=\"15\">Connects per second of 10,000 agents after their broker restarts</text>\n\
         <rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{inner_h}\" fill=\"#eee\"/>\n\
         <text x=\"{}\" y=\"{}\" fill=\"#666\">broker away</text>\n",
        x(20) - left,
        left + 6,
        top + 16,
    );
    for count in (0..=PER_S_MAX).step_by(4_000) {
        writeln!(
            svg,
            "<path d=\"M{left} {0}H{1}\" stroke=\"#ddd\"/><text x=\"{2}\" y=\"{3}\" text-anchor=\"end\">{count}</text>",
            y(count),
            left + inner_w,
            left - 8,
            y(count) + 4
        )
        .unwrap();
    }
    for second in (0..=SECONDS).step_by(20) {
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{second} s</text>",
            x(second),
            height - bottom + 20
        )
        .unwrap();
    }
    for (at, (words, colour, found)) in lines.iter().enumerate() {
        let mut path = String::new();
        for (second, count) in found.attempts.iter().enumerate() {
            let (from, to, y) = (x(second), x(second + 1), y(*count));
            write!(
                path,
                "{}{from} {y}H{to}",
                if second == 0 { "M" } else { "L" }
            )
            .unwrap();
        }
        let peak = found.attempts.iter().max().unwrap();
        let end = if found.connected == usize::try_from(AGENTS).unwrap() {
            format!("all connected after {} s", found.last_s + 1)
        } else {
            format!("{} connected after {SECONDS} s", found.connected)
        };
        let key = 300;
        let line = top + 20 + 20 * i64::try_from(at).unwrap();
        writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <path d=\"M{key} {}h24\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{}\" y=\"{line}\">{words}: at most {peak} in a second, {end}</text>",
            line - 4,
            key + 32
        )
        .unwrap();
    }
    svg.push_str("</svg>\n");
    svg
}

#[test]
fn agents_that_lose_one_broker_together_do_not_storm_it() {
    let (spread, plain, rigid) = (
        storm(Waits::Spread),
        storm(Waits::Plain),
        storm(Waits::NoJitter),
    );
    let peak = |found: &Storm| *found.attempts.iter().max().unwrap();
    let all = usize::try_from(AGENTS).unwrap();
    assert_eq!(spread.connected, all, "somebody is left out");
    assert!(peak(&spread) <= all / 4, "{} in one second", peak(&spread));
    assert!(
        peak(&rigid) == all && peak(&plain) > all / 2,
        "the simulation shows no storm where there is one"
    );
    let svg = picture(&[
        ("no jitter", "#bbb", &rigid),
        ("jitter from 500 ms", "#e08030", &plain),
        ("dunlin", "#2060c0", &spread),
    ]);
    if std::env::var_os("DUNLIN_STORM_SVG").is_some() {
        std::fs::write(PICTURE, &svg).unwrap();
    }
    let drawn = std::fs::read_to_string(PICTURE).unwrap_or_default();
    assert!(
        drawn == svg,
        "docs/storm.svg is not of this code: scripts/storm.sh"
    );
}
