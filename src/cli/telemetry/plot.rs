//! Curves of values over time, as SVG: a panel for each parameter, one below the other, with its limits.

use crate::cli::Failure;
use crate::exit::Exit;
use crate::sinks::time::rfc3339;
use crate::telemetry::database::limit::Limits;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Most panels.
const PANELS_MAX: usize = 16;
/// Most points of a panel. Of more, the least and the greatest of each 2, 4, 8 and so on in a row stay.
const POINTS_MAX: usize = 1 << 14;
/// Width of a picture, and of the room left and right of its panels.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
/// Height of a panel, and of what is above it.
const HEIGHT: f64 = 110.0;
const ABOVE: f64 = 34.0;
/// Marks along the axis of time.
const MARKS: i32 = 4;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Which packet it is of.
    pub(super) packet: i64,
    /// The time of that packet, in nanoseconds since 1970.
    pub(super) time_ns: Option<i64>,
    /// None where it is bad.
    pub(super) value: Option<f64>,
}

#[derive(Debug)]
struct Panel {
    name: String,
    unit: String,
    limits: Option<Limits>,
    /// Each with its place among all that came.
    points: Vec<(u64, Point)>,
    /// How many came.
    count: u64,
    /// Of how many in a row few stay, as a power of two.
    row: u32,
}

/// A picture that grows.
#[derive(Debug)]
pub(super) struct Plot {
    file: PathBuf,
    /// Names of parameters; all where there is none.
    chosen: Vec<String>,
    panels: Vec<Panel>,
    /// Whether there were more parameters than panels.
    is_full: bool,
}

impl Plot {
    pub(super) fn new(file: &Path, chosen: &[String]) -> Plot {
        Plot {
            file: file.to_owned(),
            chosen: chosen.to_owned(),
            panels: Vec::new(),
            is_full: false,
        }
    }

    /// Takes a value; `limits` are asked for once a parameter.
    pub(super) fn take(
        &mut self,
        (name, unit): (&str, &str),
        point: Point,
        limits: impl FnOnce() -> Option<Limits>,
    ) {
        let is_chosen = |chosen: &String| {
            let rest = name.strip_prefix(chosen.as_str());
            rest.is_some_and(|rest| rest.is_empty() || is_index(rest))
        };
        if !self.chosen.is_empty() && !self.chosen.iter().any(is_chosen) {
            return;
        }
        let known = self.panels.iter().position(|panel| panel.name == name);
        let at = known.unwrap_or(self.panels.len());
        if at >= PANELS_MAX {
            self.is_full = true;
            return;
        }
        if known.is_none() {
            self.panels.push(Panel {
                name: name.to_owned(),
                unit: unit.to_owned(),
                limits: limits(),
                points: Vec::new(),
                count: 0,
                row: 0,
            });
        }
        self.panels[at].take(point);
    }

    /// Breaks every line, since something is missing.
    pub(super) fn interrupt(&mut self) {
        for panel in &mut self.panels {
            let last = panel.points.last().map(|(_, point)| *point);
            if let Some(last) = last.filter(|last| last.value.is_some()) {
                panel.take(Point {
                    value: None,
                    ..last
                });
            }
        }
    }

    /// Writes the picture.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let missing = |name: &&String| {
            let has = |panel: &Panel| {
                panel
                    .name
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || is_index(rest))
            };
            !self.panels.iter().any(has)
        };
        if let Some(name) = self.chosen.iter().find(missing) {
            let message = format!(
                "{name:?} has no value that is a number.\n  Remedy: give --channel a name that the table has."
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        if self.is_full {
            let message = format!(
                "there are more than {PANELS_MAX} curves to plot.\n  Remedy: choose some with --channel NAME."
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        fs::write(&self.file, self.drawn()).map_err(|error| {
            let file = self.file.display();
            let message = format!("cannot write {file}: {error}.\n  Remedy: give --plot a file in a directory that is there.");
            Failure::new(Exit::Unavailable, message)
        })
    }

    fn drawn(&self) -> String {
        let points = || self.panels.iter().flat_map(Panel::points);
        // Packets in their order, unless each has a time.
        let has_times = points().all(|point| point.time_ns.is_some());
        let x = |point: &Point| point.time_ns.filter(|_| has_times).unwrap_or(point.packet);
        let first = points().map(x).min().unwrap_or(0);
        let last = points().map(x).max().unwrap_or(0);
        let span = (last.saturating_sub(first)).max(1) as f64;
        let across = |point: &Point| {
            LEFT + (WIDTH - LEFT - RIGHT) * (x(point).saturating_sub(first) as f64 / span)
        };
        let bottom = (HEIGHT + ABOVE) * self.panels.len() as f64 + 10.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <title>telemetry over {}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
            bottom + 40.0,
            if has_times { "time" } else { "packets" },
        );
        for (at, panel) in self.panels.iter().enumerate() {
            panel.draw(&mut svg, (HEIGHT + ABOVE) * at as f64 + ABOVE, &across);
        }
        for mark in 0..=MARKS {
            let part = f64::from(mark) / f64::from(MARKS);
            let at = LEFT + (WIDTH - LEFT - RIGHT) * part;
            let value = if has_times {
                span * part / 1e9
            } else {
                span * part
            };
            put(
                &mut svg,
                format_args!(
                    "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    bottom + 6.0,
                    short(value)
                ),
            );
        }
        let axis = if has_times {
            format!("seconds since {}", rfc3339(first))
        } else {
            "packets".to_owned()
        };
        put(
            &mut svg,
            format_args!(
                "<text x=\"{LEFT}\" y=\"{:.1}\">{axis}</text>\n</svg>",
                bottom + 26.0
            ),
        );
        svg
    }
}

impl Panel {
    fn take(&mut self, point: Point) {
        let row = self.count >> self.row;
        let of_others = |(at, _): &(u64, Point)| at >> self.row != row;
        let begin = self
            .points
            .iter()
            .rposition(of_others)
            .map_or(0, |at| at + 1);
        self.points.push((self.count, point));
        self.count += 1;
        let last = self.points.split_off(begin);
        self.points.extend(few(&last));
        // Rows double until few enough points stay, so that all are drawn equally fine.
        while self.points.len() >= POINTS_MAX {
            self.row += 1;
            let all = std::mem::take(&mut self.points);
            let rows = all.chunk_by(|(a, _), (b, _)| a >> self.row == b >> self.row);
            self.points.extend(rows.flat_map(few));
        }
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().map(|(_, point)| point)
    }

    fn draw(&self, svg: &mut String, top: f64, across: &impl Fn(&Point) -> f64) {
        let values = || self.points().filter_map(|point| point.value);
        let (mut low, mut high) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(f64::NEG_INFINITY, f64::max),
        );
        if low > high {
            (low, high) = (0.0, 0.0);
        }
        // Halves, so that no difference of two finite numbers is infinite; those of the smallest numbers are all 0.
        if high / 2.0 - low / 2.0 <= 0.0 {
            let room = (low.abs() * 0.01).max(0.5);
            (low, high) = ((low - room).max(-f64::MAX), (high + room).min(f64::MAX));
        }
        let down =
            |value: f64| top + HEIGHT * ((high / 2.0 - value / 2.0) / (high / 2.0 - low / 2.0));
        let unit = if self.unit == "1" {
            String::new()
        } else {
            format!(" in {}", escaped(&self.unit))
        };
        put(
            svg,
            format_args!(
                "<g>\n<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{}{unit}</text>",
                top - 6.0,
                escaped(&self.name)
            ),
        );
        put(
            svg,
            format_args!(
                "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#ccc\"/>",
                WIDTH - LEFT - RIGHT
            ),
        );
        for (value, y) in [(high, top + 10.0), (low, top + HEIGHT)] {
            put(
                svg,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
                    LEFT - 6.0,
                    short(value)
                ),
            );
        }
        for (limit, colour) in self.limits() {
            if (low..=high).contains(&limit) {
                let y = down(limit);
                put(
                    svg,
                    format_args!(
                        "<line x1=\"{LEFT}\" y1=\"{y:.2}\" x2=\"{:.1}\" y2=\"{y:.2}\" stroke=\"{colour}\" stroke-dasharray=\"4 3\"/>",
                        WIDTH - RIGHT
                    ),
                );
            }
        }
        // A packet may come after those of a later time. A bad value breaks the line.
        let mut points: Vec<Point> = self.points().copied().collect();
        points.sort_by(|a, b| across(a).total_cmp(&across(b)));
        for run in points.split(|point| point.value.is_none()) {
            let places = run
                .iter()
                .filter_map(|point| Some((across(point), down(point.value?))));
            if let [_] = run {
                for (x, y) in places {
                    put(
                        svg,
                        format_args!(
                            "<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"1.5\" fill=\"#4a7ba6\"/>"
                        ),
                    );
                }
            } else if !run.is_empty() {
                let all: Vec<String> = places.map(|(x, y)| format!("{x:.2},{y:.2}")).collect();
                put(
                    svg,
                    format_args!(
                        "<polyline fill=\"none\" stroke=\"#4a7ba6\" points=\"{}\"/>",
                        all.join(" ")
                    ),
                );
            }
        }
        svg.push_str("</g>\n");
    }

    fn limits(&self) -> Vec<(f64, &'static str)> {
        let each = self.limits.iter().flat_map(|limits| {
            let (yellow, red) = (limits.yellow, limits.red);
            [
                (red.0, "#c0392b"),
                (red.1, "#c0392b"),
                (yellow.0, "#d4a017"),
                (yellow.1, "#d4a017"),
            ]
        });
        each.collect()
    }
}

fn put(svg: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(svg, "{line}").expect("a String takes every write");
}

/// `.0`, `.17`: what an element of an array has behind its name.
fn is_index(rest: &str) -> bool {
    let digits = rest.strip_prefix('.').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// Of points in a row, the least and the greatest, and the first that is bad, in their order.
fn few(row: &[(u64, Point)]) -> impl Iterator<Item = (u64, Point)> {
    let numbers = || {
        let each = row.iter().enumerate();
        each.filter_map(|(at, (_, point))| Some((at, point.value?)))
    };
    let least = numbers().min_by(|a, b| a.1.total_cmp(&b.1));
    let greatest = numbers().max_by(|a, b| a.1.total_cmp(&b.1));
    let bad = row.iter().position(|(_, point)| point.value.is_none());
    let stay = [least.map(|(at, _)| at), greatest.map(|(at, _)| at), bad];
    let each = row.iter().enumerate();
    each.filter(move |(at, _)| stay.contains(&Some(*at)))
        .map(|(_, point)| *point)
}

/// A number in a few characters.
fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e6).contains(&size) {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

/// As text of XML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            control if control.is_control() => out.push('\u{fffd}'),
            plain => out.push(plain),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(packet: i64, value: f64) -> Point {
        Point {
            packet,
            time_ns: None,
            value: Some(value).filter(|value| value.is_finite()),
        }
    }

    #[test]
    fn few_points_stay_of_many_and_the_extremes_among_them() {
        let mut plot = Plot::new(Path::new("x"), &[]);
        let max = i64::try_from(POINTS_MAX).unwrap();
        for packet in 0..9 * max {
            let value = match packet {
                1001 => 9.0,
                70_001 => -9.0,
                2002 => f64::NAN,
                _ => (packet % 7) as f64,
            };
            plot.take(("a", "V"), point(packet, value), || None);
        }
        let points: Vec<Point> = plot.panels[0].points().copied().collect();
        assert!(points.len() < POINTS_MAX);
        for stays in [point(1001, 9.0), point(70_001, -9.0), point(2002, f64::NAN)] {
            assert!(points.contains(&stays), "{stays:?}");
        }
        assert!(points.is_sorted_by_key(|point| point.packet));
        assert_eq!(points[0].packet, 0);
        // The beginning is as fine as the end.
        let of_a_part = |part: i64| {
            let packets = part * 9 * max / 10..(part + 1) * 9 * max / 10;
            let within = points
                .iter()
                .filter(|point| packets.contains(&point.packet));
            within.count()
        };
        for part in 0..10 {
            let (has, wanted) = (of_a_part(part), points.len() / 10);
            assert!(has.abs_diff(wanted) <= 4, "{part}: {has} of {wanted}");
        }
        assert!(points.len() > POINTS_MAX / 4, "{}", points.len());
    }

    #[test]
    fn bad_values_break_a_line_and_no_number_is_too_great() {
        let mut plot = Plot::new(Path::new("x"), &["a".to_owned()]);
        for (packet, value) in [f64::MAX, -f64::MAX, f64::NAN, 0.0].into_iter().enumerate() {
            let packet = i64::try_from(packet).unwrap();
            plot.take(("a.3", "<&\u{7}>"), point(packet, value), || None);
            plot.take(("ab", "1"), point(packet, value), || None);
            plot.take(("a.x", "1"), point(packet, value), || None);
        }
        let svg = plot.drawn();
        assert_eq!(plot.panels.len(), 1);
        assert!(svg.contains("a.3 in &lt;&amp;\u{fffd}&gt;"), "{svg}");
        assert!(
            svg.contains("points=\"80.00,34.00 366.67,144.00\""),
            "{svg}"
        );
        assert!(svg.contains("<circle cx=\"940.00\" cy=\"89.00\""), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn what_is_missing_breaks_every_line() {
        let mut plot = Plot::new(Path::new("x"), &[]);
        for packet in 0..6 {
            plot.take(("a", "V"), point(packet, 1.0), || None);
            plot.take(("b", "V"), point(packet, 2.0), || None);
            if packet == 2 {
                plot.interrupt();
                plot.interrupt();
            }
        }
        let svg = plot.drawn();
        assert_eq!(svg.matches("<polyline").count(), 4, "{svg}");
        assert_eq!(plot.panels[0].points.len(), 7);
    }

    #[test]
    fn a_curve_that_is_flat_or_nearly_so_has_room() {
        for values in [
            [0.0, 5e-324],
            [1.79e308, 1.79e308],
            [f64::MAX, f64::MAX],
            [-f64::MAX, -f64::MAX],
            [7.0, 7.0],
        ] {
            let mut plot = Plot::new(Path::new("x"), &[]);
            for (packet, value) in (0..).zip(values) {
                plot.take(("a", "1"), point(packet, value), || None);
            }
            let svg = plot.drawn();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            let places = svg.split_once("<polyline").unwrap().1;
            let places = places.split('"').nth(5).unwrap();
            for place in places.split(' ') {
                let down: f64 = place.split_once(',').unwrap().1.parse().unwrap();
                assert!((34.0..=144.0).contains(&down), "{values:?}: {places}");
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, wanted) in [
            (0.0, "0"),
            (12.5, "12.5"),
            (-0.25, "-0.25"),
            (1e9, "1.000e9"),
            (100.0, "100"),
            (1e-5, "1.000e-5"),
        ] {
            assert_eq!(short(value), wanted);
        }
    }
}
