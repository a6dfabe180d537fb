use crate::pipeline::{Batch, Transform as _};
use crate::record::{Body, Class, Quality, Record, Value};
use crate::transforms::testing::{Rig, bad, flag, frame, framed, gap, int, sample};
use std::path::Path;

const DATABASE: &str = "version = '1'\n\
    [curves.line]\ntype = 'linear'\npoints = [[0, -40], [100, 60]]\n\
    [parameters.temp]\ncurve = 'line'\nunit = 'Cel'\nyellow_high = 50\nred_high = 55\n\
    [parameters.mode]\nlabels = { '0' = 'off', '1' = 'on' }\n\
    [parameters.pump]\nunit = '1'\nyellow_high = 0.5\n";

fn rig(dir: &Path, more: &str) -> Rig {
    Rig::with_database("calibrate", dir, DATABASE, more)
}

fn said(batch: &Batch) -> Vec<String> {
    let quality = |quality: Quality| match quality {
        Quality::Good => "",
        Quality::Uncertain => " ?",
        Quality::Bad => " !",
    };
    let each = batch.records.iter().map(|record| match &record.body {
        Body::Sample {
            channel,
            value,
            quality: trust,
        } => {
            format!(
                "{} {value} {}{}",
                channel.name,
                channel.unit,
                quality(*trust)
            )
        }
        Body::Frame { channel, bytes, .. } => {
            format!("{} {}", channel.name, String::from_utf8_lossy(bytes))
        }
        Body::Gap(_) => "gap".to_owned(),
    });
    each.collect()
}

#[test]
fn values_get_curve_unit_and_version() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), "");
    let out = rig.apply(vec![
        int("temp", 50),
        sample("temp", 12.5),
        int("temp", 101),
        sample("other", 3.0),
        gap(),
    ]);
    assert_eq!(
        said(&out[0]),
        [
            "temp 10 Cel",
            "temp -27.5 Cel",
            "temp NaN Cel !",
            "other 3 Cel",
            "gap"
        ]
    );
    let calibrations: Vec<Option<String>> = out[0]
        .records
        .iter()
        .filter_map(|record| match &record.body {
            Body::Sample { channel, .. } => Some(channel.version().map(|v| v[..2].to_owned())),
            _ => None,
        })
        .collect();
    let one = Some("1-".to_owned());
    assert_eq!(calibrations, [one.clone(), one.clone(), one, None]);
    let tally = rig.transform.tally().unwrap();
    assert_eq!((tally.get("calibrated"), tally.get("outside")), (2, 1));
}

#[test]
fn a_bad_value_stays_bad_and_frames_pass() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), "");
    let out = rig.apply(vec![bad("temp", 99.0), frame("temp")]);
    assert_eq!(said(&out[0]), ["temp NaN Cel !", "temp \u{1}\u{2}"]);
    assert_eq!(out.len(), 1, "and raises nothing");
}

#[test]
fn limits_raise_alarms_of_their_own_stream() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), "");
    let values: Vec<Record> = [80, 91, 92, 97, 80].map(|value| int("temp", value)).into();
    let first = rig.apply(values);
    let out = &first;
    assert_eq!((&*out[0].stream, out[0].class), ("s.t", Class::Critical));
    assert_eq!(
        said(&out[0]),
        ["temp.alarm 1 1", "temp.alarm 2 1", "temp.alarm 0 1"]
    );
    assert_eq!(said(&out[1]).len(), 5);
    let out = rig.apply(vec![flag("pump", true)]);
    assert_eq!(said(&out[0]), ["pump.alarm 1 1"]);
    let Body::Sample { value, .. } = out[1].records[0].body else {
        panic!("{out:?}");
    };
    assert_eq!(value, Value::Bool(true), "no curve: the value as it was");
    for batch in first.into_iter().chain(out) {
        batch.ack.done();
    }
    assert_eq!((rig.ledger.pending(), rig.ledger.failed()), (0, 0));
}

#[test]
fn names_of_values_are_given_when_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), "");
    let values: Vec<Record> = [0, 0, 1, 7, 0].map(|value| int("mode", value)).into();
    let out = rig.apply(values);
    let wanted = [
        "mode 0 1",
        "mode.label off",
        "mode 0 1",
        "mode 1 1",
        "mode.label on",
        "mode 7 1",
        "mode 0 1",
        "mode.label off",
    ];
    assert_eq!(said(&out[0]), wanted);
}

#[test]
fn only_the_channels_that_are_meant() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = rig(dir.path(), "channels = ['t*']");
    let out = rig.apply(vec![int("temp", 50), int("mode", 1)]);
    assert_eq!(said(&out[0]), ["temp 10 Cel", "mode 1 1"]);
}

/// What may be wrong with a value does not hide that it is beyond a limit.
#[cfg(feature = "xtce")]
#[test]
fn a_value_that_is_not_right_is_watched_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let database = "<SpaceSystem name='S'><TelemetryMetaData><ParameterTypeSet><IntegerParameterType name='T'><IntegerDataEncoding/>\
        <ValidRange maxInclusive='60'/><DefaultAlarm><StaticAlarmRanges><CriticalRange maxInclusive='50'/></StaticAlarmRanges></DefaultAlarm>\
        </IntegerParameterType></ParameterTypeSet><ParameterSet><Parameter name='temp' parameterTypeRef='T'/></ParameterSet>\
        </TelemetryMetaData></SpaceSystem>";
    let mut rig = Rig::with_database("calibrate", dir.path(), database, "");
    let out = rig.apply(vec![int("temp", 40), int("temp", 70)]);
    assert_eq!(said(&out[0]), ["temp.alarm 2 1"]);
    assert_eq!(said(&out[1]), ["temp 40 1", "temp 70 1 !"]);
}

/// Packets of a gain and a value, whose curve depends on the gain.
const CONTEXTS: &str = "version = '1'\n\
    [curves.low]\ntype = 'polynomial'\ncoefficients = [0, 2]\n[curves.own]\ntype = 'polynomial'\ncoefficients = [0, 3]\n\
    [packets.p]\napid = 5\nfields = [{ name = 'gain', type = 'uint', bits = 8 }, { name = 'x', type = 'uint', bits = 8 }]\n\
    [parameters.x]\ncurve = 'own'\ncontexts = [{ curve = 'low', when = [{ field = 'gain', is = 1 }] }]\n";

/// What `extract` makes of packets of a gain and the value 10.
fn extracted(database: &str, gains: &[u8]) -> Vec<Record> {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::with_database("extract", dir.path(), database, "");
    let packet = |gain: &u8| framed(3, "tm", &[0, 5, 0xc0, 0, 0, 1, *gain, 10]);
    let out = rig.apply(gains.iter().map(packet).collect());
    out[0].records.to_vec()
}

#[test]
fn a_curve_is_that_of_the_context_in_the_packet() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::with_database("calibrate", dir.path(), CONTEXTS, "");
    let out = rig.apply(extracted(CONTEXTS, &[1, 2, 1]));
    let wanted = [
        "gain 1 1", "x 20 1", "gain 2 1", "x 30 1", "gain 1 1", "x 20 1",
    ];
    assert_eq!(said(&out[0]), wanted);
    // The value alone knows its context: what decided it may be left out, or be with another worker.
    let mut values = extracted(CONTEXTS, &[2, 1, 2]);
    values.retain(
        |record| matches!(&record.body, Body::Sample { channel, .. } if channel.name == "x"),
    );
    assert_eq!(said(&rig.apply(values)[0]), ["x 30 1", "x 20 1", "x 30 1"]);
}

/// While a file changes, what was read by the old one is calibrated by the new one: where it has decided the same.
#[test]
fn a_context_of_another_database_is_found_or_gives_no_value() {
    let with = |contexts: &str| {
        let start = CONTEXTS.find("contexts = ").unwrap();
        format!("{}contexts = [{contexts}]\n", &CONTEXTS[..start])
    };
    let low = "{ curve = 'low', when = [{ field = 'gain', is = 1 }] }";
    let two = "{ curve = 'own', when = [{ field = 'gain', is = 2 }] }";
    let few = "{ curve = 'own', when = [{ field = 'gain', max = 1 }] }";
    let (good, none) = (|value: u8| format!("x {value} 1"), "x NaN 1 !".to_owned());
    for (new, of_one, of_two, why) in [
        (with(low), good(20), good(30), "the same"),
        (
            with(low)
                .replace("[0, 2]", "[0, 5]")
                .replace("[0, 3]", "[0, 6]"),
            good(50),
            good(60),
            "other curves",
        ),
        (
            with(&[low, two].join(", ")),
            good(20),
            none.clone(),
            "one behind, which might hold where none did",
        ),
        (
            with(&[few, low].join(", ")),
            none.clone(),
            none.clone(),
            "one in front, which might hold where another one did",
        ),
        (with(two), none.clone(), none.clone(), "another one"),
        (
            with(&low.replace("is = 1", "max = 1")),
            none.clone(),
            none.clone(),
            "another condition",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut rig = Rig::with_database("calibrate", dir.path(), &new, "");
        let out = rig.apply(extracted(CONTEXTS, &[1, 2]));
        let missing = [&of_one, &of_two]
            .iter()
            .filter(|said| ***said == none)
            .count();
        let wanted = ["gain 1 1".to_owned(), of_one, "gain 2 1".to_owned(), of_two];
        assert_eq!(said(&out[0]), wanted, "{why}");
        let tally = rig.transform.tally().unwrap();
        let counted = (tally.get("no_context"), tally.get("outside"));
        assert_eq!(counted, (missing as u64, 0), "{why}");
    }
}

#[test]
fn a_value_of_no_packet_is_in_no_context() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::with_database("calibrate", dir.path(), CONTEXTS, "");
    assert_eq!(said(&rig.apply(vec![int("x", 10)])[0]), ["x NaN 1 !"]);
    assert_eq!(rig.transform.tally().unwrap().get("no_context"), 1);
    // Nor is what a window makes of values, be they all in one.
    let mut window = Rig::new("window", "length_ms = 1000\nfunctions = ['max']");
    let mut out = window.apply(extracted(CONTEXTS, &[1, 2]));
    window.transform.flush(&mut out);
    let mut rename = Rig::new("rename", "channels = { 'x.max' = 'x' }");
    let out = rename.apply(
        out.iter()
            .flat_map(|batch| batch.records.to_vec())
            .collect(),
    );
    let out = rig.apply(out[0].records.to_vec());
    assert_eq!(said(&out[0]), ["gain.max 2 1", "x NaN 1 !"]);
}
