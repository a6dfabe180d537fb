//! `dunlin telemetry decode` with a database: values, labels, alarms, and pictures of them.

use super::support::{ccsds, dunlin};
use super::{file, hex, is_near, theirs};
use serde_json::Value as Json;
use std::fs;
use std::path::Path;

/// Lines of JSON of `dunlin telemetry decode`, but for the counts at the end.
fn decoded(args: &[&str]) -> Vec<Json> {
    let ended = dunlin(&[&["telemetry", "decode"], args].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &Json| line.get("counts").is_none())
        .collect()
}

#[test]
fn a_recording_becomes_values_and_labels_and_alarms() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("packets.bin");
    let lines = theirs("craft.xml", 9, 200);
    let bytes: Vec<u8> = lines
        .iter()
        .flat_map(|line| hex(line["hex"].as_str().unwrap()))
        .collect();
    fs::write(&recording, bytes).unwrap();
    let recording = recording.to_str().unwrap();
    let [xtce, toml] =
        ["craft.xml", "craft.toml"].map(|name| file(name).to_str().unwrap().to_owned());
    let with =
        |database: &str| decoded(&[recording, "--packets", "--json", "--database", database]);
    let mut values = with(&xtce).into_iter().filter(|line| {
        let channel = line["channel"].as_str().unwrap();
        !["label", "alarm"].contains(&channel.rsplit('.').next().unwrap())
    });
    for line in &lines {
        let theirs = line["values"].as_object().unwrap();
        // In the order of the packet, each with the version of the database.
        let mut names = Vec::new();
        for _ in 0..theirs.len() {
            let ours = values.next().unwrap();
            let name = ours["channel"].as_str().unwrap().to_owned();
            assert!(
                ours["calibration"]
                    .as_str()
                    .unwrap()
                    .starts_with("2026-11-"),
                "{ours}"
            );
            let wanted = &theirs[&name]["value"];
            if let Some(value) = ours["value"]
                .as_f64()
                .filter(|_| ours["unit"] != "1" || name == "GAIN")
            {
                assert!(is_near(value, wanted.as_str().unwrap()), "{ours} of {line}");
            }
            if let Some(text) = ours["text"].as_str().filter(|_| name == "SERIAL") {
                assert_eq!(wanted, text, "{line}");
            }
            names.push(name);
        }
        names.sort();
        assert!(
            names
                .iter()
                .eq(theirs.keys().collect::<std::collections::BTreeSet<_>>()),
            "{names:?}"
        );
    }
    assert!(values.next().is_none());
    // Alarms and labels, the same by either database.
    let beside = |database: &str| {
        let lines = with(database).into_iter();
        let beside = lines.filter_map(|line| {
            let said = line.get("level").or(line.get("text"))?.clone();
            Some((line["channel"].as_str()?.to_owned(), said))
        });
        beside
            .filter(|(channel, _)| channel != "SERIAL" && channel != "DUMP")
            .collect::<Vec<_>>()
    };
    let ours = beside(&xtce);
    assert_eq!(ours, beside(&toml));
    for wanted in [
        ("PANEL.alarm", "red high"),
        ("PANEL.alarm", "within limits"),
        ("MODE.label", "science"),
    ] {
        let is_there = |(channel, said): &(String, Json)| channel == wanted.0 && said == wanted.1;
        assert!(ours.iter().any(is_there), "{wanted:?}");
    }
    let table = dunlin(&[
        "telemetry",
        "decode",
        recording,
        "--packets",
        "--database",
        &toml,
    ]);
    assert_eq!(table.code, 0, "{}", table.stderr);
    for said in [
        "\nPANEL ",
        " Cel\n",
        "\"science\"\n",
        "  red high\n",
        "\npackets 200",
    ] {
        assert!(
            table
                .stdout
                .replace(", packets", "\npackets")
                .contains(said),
            "{said:?} is not in\n{}",
            table.stdout
        );
    }
}

/// The curves of a picture: names, and the places of their points.
fn curves(svg: &str) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut reader = quick_xml::Reader::from_str(svg);
    let (mut depth, mut is_bold, mut curves) = (0, false, Vec::<(String, Vec<_>)>::new());
    loop {
        use quick_xml::events::Event;
        let event = reader.read_event().unwrap();
        if let Event::Start(start) | Event::Empty(start) = &event {
            let all = start.attributes().map(|attribute| {
                let attribute = attribute.unwrap();
                let value = attribute
                    .normalized_value(quick_xml::XmlVersion::Explicit1_0)
                    .unwrap();
                (attribute.key.0.to_owned(), value.into_owned())
            });
            let all: Vec<(String, String)> = all.collect();
            let value = |key: &str| {
                all.iter()
                    .find(|(known, _)| known == key)
                    .map(|(_, value)| value.as_str())
            };
            is_bold = value("font-weight").is_some();
            let points = value("points").unwrap_or_default().split_ascii_whitespace();
            let points = points.map(|pair| {
                let (x, y) = pair.split_once(',').unwrap();
                (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap())
            });
            if let Some((_, known)) = curves.last_mut() {
                known.extend(points);
            }
        }
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            Event::Text(text) if is_bold => {
                curves.push((text.xml10_content().into_owned(), Vec::new()));
                is_bold = false;
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "{svg}");
    curves
}

/// A recording of frames, and a database of what is in the packets of one APID: their paths.
fn pass(dir: &Path) -> ([String; 3], usize) {
    let (stream, packets) = ccsds(dir, 6, &[]);
    let files =
        ["pass.bin", "db.toml", "plot.svg"].map(|name| dir.join(name).to_str().unwrap().to_owned());
    fs::write(&files[0], stream).unwrap();
    fs::write(&files[1], DATABASE).unwrap();
    let timed = packets
        .iter()
        .filter(|packet| packet.get("time_ns").is_some());
    (files, timed.count())
}

const DATABASE: &str = "version = '1'\nsecondary = 'pus-c'\n[curves.c]\ntype = 'polynomial'\ncoefficients = [-20, 0.5]\n\
    [packets.p]\napid = 42\nfields = [{ name = 'x', type = 'uint', bits = 8, at_bytes = 20 }, \
    { name = 'n', type = 'uint', bits = 14, at_bits = 18 }]\n\
    [parameters.x]\ncurve = 'c'\nunit = 'Cel'\nyellow_high = 50\n";

/// What decodes it, with the times of packets.
const TIMED: [&str; 7] = [
    "-o",
    "frame_bytes=223",
    "-o",
    "secondary=pus-c",
    "-o",
    "time={code=\"preamble\"}",
    "--json",
];

#[test]
fn a_plot_is_well_formed_and_has_every_point_at_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (files, sent) = pass(dir.path());
    let [recording, database, out] = files.each_ref().map(String::as_str);
    let lines = decoded(
        &[
            &TIMED[..],
            &[recording, "--database", database, "--plot", out],
        ]
        .concat(),
    );
    let mut drawn = curves(&fs::read_to_string(out).unwrap()).into_iter();
    for (name, channel) in [("x in Cel", "x"), ("n", "n")] {
        let mut wanted: Vec<(f64, f64)> = lines
            .iter()
            .filter(|line| line["channel"] == channel)
            .map(|line| {
                (
                    line["time_ns"].as_i64().unwrap() as f64,
                    line["value"].as_f64().unwrap(),
                )
            })
            .collect();
        wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            wanted.len() > 50 && wanted.len() <= sent,
            "{} of {sent}",
            wanted.len()
        );
        let (found, points) = drawn.next().unwrap();
        assert_eq!((found.as_str(), points.len()), (name, wanted.len()));
        let (first, last) = (wanted[0].0, wanted[wanted.len() - 1].0);
        let values = || wanted.iter().map(|(_, value)| *value);
        let (low, high) = (
            values().fold(f64::MAX, f64::min),
            values().fold(f64::MIN, f64::max),
        );
        let top = points.iter().map(|(_, y)| *y).fold(f64::MAX, f64::min);
        for ((x, y), (time, value)) in points.iter().zip(&wanted) {
            let place = (
                80.0 + 860.0 * (time - first) / (last - first),
                top + 110.0 * (high - value) / (high - low),
            );
            assert!(
                (x - place.0).abs() < 0.02 && (y - place.1).abs() < 0.02,
                "{x} {y} is not {place:?}"
            );
        }
    }
    assert!(drawn.next().is_none());
}

#[test]
fn a_gap_breaks_the_lines_of_a_plot() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = pass(dir.path());
    let [recording, database, out] = files.each_ref().map(String::as_str);
    let more = [recording, "--database", database, "--plot", out];
    let lines = || {
        decoded(&[&TIMED[..], &more].concat());
        fs::read_to_string(out)
            .unwrap()
            .matches("<polyline")
            .count()
    };
    assert_eq!(lines(), 2);
    let mut bytes = fs::read(recording).unwrap();
    let middle = bytes.len() / 2;
    bytes.drain(middle..middle + 227);
    fs::write(recording, bytes).unwrap();
    assert_eq!(lines(), 4);
}

/// Cut anywhere, as a socket or a serial port gives it.
#[test]
fn what_the_sink_file_wrote_is_decoded_as_what_came() {
    use base64::Engine as _;
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = pass(dir.path());
    let [recording, database, _] = files.each_ref().map(String::as_str);
    let lines = fs::read(recording)
        .unwrap()
        .chunks(700)
        .fold(String::new(), |lines, piece| {
            let frame = base64::engine::general_purpose::STANDARD.encode(piece);
            lines + &format!("{{\"monotonic_ns\":1,\"channel\":\"rf\",\"frame\":\"{frame}\"}}\n")
        });
    let file = dir.path().join("recording.jsonl");
    fs::write(&file, lines).unwrap();
    let of = |more: &[&str]| decoded(&[&TIMED[..], &["--database", database], more].concat());
    let wanted = of(&[recording]);
    assert!(wanted.len() > 100);
    assert_eq!(of(&[file.to_str().unwrap(), "--lines"]), wanted);
}

#[test]
fn a_plot_is_of_what_was_chosen_or_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = pass(dir.path());
    let [recording, database, out] = files.each_ref().map(String::as_str);
    // One of them, over packets where no time is asked for.
    let chosen = [
        recording,
        "-o",
        "frame_bytes=223",
        "--json",
        "--database",
        database,
        "--plot",
        out,
        "--channel",
        "n",
    ];
    decoded(&chosen);
    let svg = fs::read_to_string(out).unwrap();
    assert_eq!(curves(&svg).len(), 1);
    assert!(svg.contains(">packets</text>"), "{svg}");
    // What cannot be drawn is said.
    for (more, code, said) in [
        (
            &["--plot", out, "--channel", "y"][..],
            64,
            "\"y\" has no value that is a number",
        ),
        (&["--channel", "n"], 64, "there is no plot"),
        (
            &["--plot", "/no/such/dir.svg"],
            69,
            "cannot write /no/such/dir.svg",
        ),
    ] {
        let ended = dunlin(
            &[
                &["telemetry", "decode", recording, "--database", database],
                &TIMED[..],
                more,
            ]
            .concat(),
        );
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert!(
            ended.stderr.contains(said) && ended.stderr.contains("Remedy: "),
            "{}",
            ended.stderr
        );
    }
    let ended = dunlin(&["telemetry", "decode", recording, "--packets", "--plot", out]);
    assert_eq!(ended.code, 64, "{}", ended.stderr);
    fs::write(database, DATABASE.replace("'Cel'", "'warm'")).unwrap();
    let wrong = dunlin(
        &[
            &["telemetry", "decode", recording, "--database", database],
            &TIMED[..],
        ]
        .concat(),
    );
    assert_eq!(wrong.code, 78, "{}", wrong.stderr);
    assert!(
        wrong
            .stderr
            .contains("db.toml:11: parameters.x.unit: is \"warm\""),
        "{}",
        wrong.stderr
    );
}
