//! How long a read takes, from the agent's side of the process border.

use std::time::{Duration, Instant};

use dunlin_driver::{Host, READ_CAP_MAX};

use crate::check::Trouble;
use crate::hosted::block_on;
use crate::target::Target;

/// Upper ends of the bars, in microseconds: 1, 2 and 5 of each power of ten; longer reads share the last.
const BARS_US: [u64; 19] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
    200_000, 500_000, 1_000_000,
];
/// Longest bar, in characters.
const WIDTH: usize = 40;

/// Measures, and prints the histogram; true always: a time is no verdict.
pub(crate) fn run(target: &Target) -> Result<bool, String> {
    let (mut times, samples) = measure(target).map_err(|trouble| match trouble {
        Trouble::Host(error) => error.detail(),
        Trouble::Said(why) | Trouble::Skip(why) => why,
    })?;
    times.sort_unstable();
    let at = |permille: usize| times[(times.len() - 1) * permille / 1000];
    let us = |took: Duration| took.as_secs_f64() * 1e6;
    let counts = histogram(&times);
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    for (bar, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let length = (count * WIDTH).div_ceil(most);
        println!("{:>9} {count:>8} {}", label(bar), "#".repeat(length));
    }
    println!(
        "\n{} reads, {samples} samples; p50 {:.1} p99 {:.1} p99.9 {:.1} max {:.1} us",
        times.len(),
        us(at(500)),
        us(at(990)),
        us(at(999)),
        us(at(1000))
    );
    if let Some(path) = &target.svg {
        std::fs::write(path, svg(&counts))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(true)
}

fn measure(target: &Target) -> Result<(Vec<Duration>, usize), Trouble> {
    let spec = target.spec()?;
    block_on(async {
        let mut host = Host::spawn(&spec)?;
        host.open().await?;
        let wait_ms = target.wait_ms(host.describe().await?.paced, 50);
        let until = Instant::now() + Duration::from_secs(u64::from(target.seconds.max(1)));
        let (mut times, mut samples) = (Vec::new(), 0);
        while Instant::now() < until {
            let started = Instant::now();
            samples += host.read(READ_CAP_MAX, wait_ms).await?.len();
            times.push(started.elapsed());
        }
        host.close().await?;
        Ok((times, samples))
    })?
}

fn histogram(times: &[Duration]) -> Vec<usize> {
    let mut counts = vec![0; BARS_US.len() + 1];
    for took in times {
        let bar = BARS_US.partition_point(|end| took.as_micros() >= u128::from(*end));
        counts[bar] += 1;
    }
    counts
}

fn label(bar: usize) -> String {
    match BARS_US.get(bar) {
        Some(end) if *end < 1000 => format!("< {end} us"),
        Some(end) => format!("< {} ms", end / 1000),
        None => "longer".to_owned(),
    }
}

/// The histogram as a picture of bars.
fn svg(counts: &[usize]) -> String {
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let shown: Vec<(usize, usize)> = counts
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, count)| *count > 0)
        .collect();
    let height = shown.len() * 20 + 10;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"520\" height=\"{height}\" font-family=\"monospace\" \
         font-size=\"12\">\n"
    );
    for (line, (bar, count)) in shown.into_iter().enumerate() {
        let (top, width) = (line * 20 + 5, (count * 300).div_ceil(most));
        let name = label(bar).replace('<', "&lt;");
        picture += &format!(
            "  <text x=\"5\" y=\"{}\">{name}</text>\n  <rect x=\"90\" y=\"{top}\" width=\"{width}\" height=\"16\" \
             fill=\"steelblue\"/>\n  <text x=\"{}\" y=\"{}\">{count}</text>\n",
            top + 12,
            95 + width,
            top + 12
        );
    }
    picture + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_bar_that_it_is_less_than() {
        let times = [0, 1, 4, 999, 1000, 2_000_000].map(Duration::from_micros);
        let counts = histogram(&times);
        assert_eq!(counts.iter().sum::<usize>(), times.len());
        let named: Vec<String> = counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(bar, _)| label(bar))
            .collect();
        assert_eq!(
            named,
            ["< 1 us", "< 2 us", "< 5 us", "< 1 ms", "< 2 ms", "longer"]
        );
        assert_eq!(svg(&counts).matches("<rect").count(), 6);
    }
}
