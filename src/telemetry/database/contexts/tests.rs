use crate::telemetry::database::tests::{each_change_says, read as parsed, wrong};
use crate::telemetry::database::{Database, Found};
use crate::telemetry::packet::Part;
use crate::telemetry::testing::packet;

const GAINS: &str = r#"
version = "1"

[curves.volts]
type = "polynomial"
coefficients = [0, 0.5]

[curves.low]
type = "polynomial"
coefficients = [0, 2]

[curves.high]
type = "linear"
points = [[0, 100], [100, 0]]

[packets.p]
apid = 42
fields = [
    { name = "gain", type = "uint", bits = 4 },
    { name = "on", type = "bool", bits = 4 },
    { name = "cells", type = "uint", bits = 8, count = 2 },
    { name = "serial", type = "text", bits = 8 },
    { name = "rest", type = "uint", bits = 8 },
]

[parameters.cells]
curve = "volts"
contexts = [
    { curve = "low", when = [{ field = "gain", is = 1 }, { field = "on", is = 1 }] },
    { curve = "high", when = [{ field = "gain", min = 1, max = 3 }] },
]
"#;

/// What becomes of each cell, with its context.
fn cells(database: &Database, data: &[u8]) -> Vec<(Option<f64>, String)> {
    let bytes = packet(42, 0, Part::Whole, data);
    let mut all = Vec::new();
    let kind = database.packet(&bytes).unwrap();
    kind.read(&bytes, |field, found, context| {
        if let (Some(_), Found::Value(raw)) = (field.name.strip_prefix("cells."), found) {
            let parameter = database.parameter(&field.name).unwrap();
            let when = context.map_or("", |at| &parameter.contexts[at].when);
            let key = parameter.context(context);
            let value = parameter.calibrated(raw.number().unwrap(), key);
            all.push((value, when.to_owned()));
        }
    });
    all
}

#[test]
fn the_first_context_that_holds_says_the_curve() {
    let database = parsed(GAINS).unwrap();
    let (low, high) = ("\"gain\" = 1 and \"on\" = 1", "1 <= \"gain\" <= 3");
    for (first, wanted, when) in [
        (0x11, [20.0, 40.0], low),
        (0x10, [90.0, 80.0], high),
        (0x31, [90.0, 80.0], high),
        (0x41, [5.0, 10.0], ""),
    ] {
        let wanted = wanted.map(|value| (Some(value), when.to_owned()));
        assert_eq!(
            cells(&database, &[first, 10, 20, 0, 0]),
            wanted,
            "{first:x}"
        );
    }
    // A curve that gives nothing is not another one's.
    assert_eq!(cells(&database, &[0x10, 101, 20])[0].0, None);
}

/// The keys of the contexts of `cells`, and that of none.
fn keys(text: &str) -> Vec<Option<u128>> {
    let database = parsed(text).unwrap();
    let parameter = database.parameter("cells").unwrap();
    let each = (0..parameter.contexts.len()).map(Some).chain([None]);
    each.map(|at| parameter.context(at)).collect()
}

/// Names are of any letters, so that of one field may read as conditions on others do.
#[test]
fn conditions_on_other_fields_have_another_key() {
    let odd = "gain = 1 and on";
    let text = GAINS.replace(
        "{ name = \"cells\"",
        &format!("{{ name = \"{odd}\", type = \"bool\", bits = 4 }},\n{{ name = \"cells\""),
    );
    let of_odd = text.replacen(
        "{ field = \"gain\", is = 1 }, { field = \"on\", is = 1 }",
        &format!("{{ field = \"{odd}\", is = 1 }}"),
        1,
    );
    assert_ne!(text, of_odd);
    assert_ne!(keys(&text)[0], keys(&of_odd)[0]);
    assert_eq!(
        keys(&text),
        keys(&GAINS.replace("[0, 2]", "[0, 3]")),
        "curves are not in it"
    );
    let same = GAINS.replace("min = 1, max = 3", "is = 1 }, { field = \"on\", is = 1");
    let mut all = keys(&same);
    assert_eq!(all[0], keys(GAINS)[0]);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 3, "what is there twice is in two places");
}

/// Where the packet ends before what decides, no context is guessed; what is decided before is.
#[test]
fn a_value_without_what_decides_its_context_is_short() {
    let text = GAINS.replace(
        "{ name = \"on\", type = \"bool\", bits = 4 }",
        "{ name = \"on\", type = \"bool\", bits = 4, at_bytes = 9 }",
    );
    let text = text.replace("bits = 8, count = 2", "bits = 8, count = 2, at_bytes = 7");
    let database = parsed(&text).unwrap();
    let high = |value| (Some(value), "1 <= \"gain\" <= 3".to_owned());
    assert_eq!(cells(&database, &[0x10, 10, 20]), [], "low or high");
    assert_eq!(cells(&database, &[0x20, 10, 20]), [high(90.0), high(80.0)]);
    assert_eq!(
        cells(&database, &[0x10, 10, 20, 0]),
        [high(90.0), high(80.0)]
    );
}

/// `valid_if` may ask what never holds, as it always might: databases that were read are read.
#[test]
fn what_never_holds_is_refused_of_contexts_alone() {
    for of in [
        "field = \"gain\", is = 16",
        "field = \"gain\", is = 1.5",
        "field = \"gain\", min = 3, max = 1",
        "field = \"serial\", is = 1",
    ] {
        let end = "{ name = \"rest\", type = \"uint\", bits = 8";
        let text = GAINS.replace(end, &format!("{end}, valid_if = {{ {of} }}"));
        assert_ne!(text, GAINS);
        let database = parsed(&text).unwrap();
        let bytes = packet(42, 0, Part::Whole, &[0x10, 1, 2, b'a', 3]);
        let mut last = None;
        let kind = database.packet(&bytes).unwrap();
        kind.read(&bytes, |_, found, _| last = Some(found));
        assert_eq!(last, Some(Found::Invalid), "{of}");
    }
}

/// What refers to a field is not wrong because the field is.
#[test]
fn what_is_wrong_with_a_field_is_said_of_it_alone() {
    for (of, asked) in [("gain", "gain"), ("cells", "cells.1")] {
        let start = format!("{{ name = \"{of}\", type = \"uint\", bits = ");
        let at = GAINS.find(&start).unwrap() + start.len();
        let text = format!("{}65{}", &GAINS[..at], &GAINS[at + 1..]);
        let text = text.replace(
            "name = \"rest\", type = \"uint\", bits = 8",
            &format!("name = \"rest\", type = \"uint\", bits = 8, valid_if = {{ field = \"{asked}\", is = 1 }}"),
        );
        let said = wrong(&text);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains(".bits: is 65, which this type cannot have"),
            "{said}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_context_is_said() {
    let cases = [
        (
            "field = \"gain\", is = 1",
            "field = \"gian\", is = 1",
            "29: parameters.cells.contexts[0].when[0].field: is \"gian\", which is no field before \"cells.0\" in packets.p (did you mean \"gain\"?); name a field of the same packet that stands before",
        ),
        // Behind it, and itself.
        (
            "field = \"on\"",
            "field = \"rest\"",
            "contexts[0].when[1].field: is \"rest\", which is no field before \"cells.0\" in packets.p",
        ),
        (
            "field = \"on\"",
            "field = \"cells.0\"",
            "contexts[0].when[1].field: is \"cells.0\", which is no field before \"cells.0\" in packets.p",
        ),
        (
            "{ name = \"on\", type = \"bool\", bits = 4 }",
            "{ name = \"on\", type = \"text\", bits = 8, at_bytes = 8 }",
            "contexts[0].when[1].field: is \"on\", which is no number; name a field of a number",
        ),
        (
            "is = 1 }, {",
            "is = 16 }, {",
            "contexts[0].when[0]: never holds of \"gain\"; ask for a number that its bits can be",
        ),
        (
            "is = 1 }, {",
            "is = 1.5 }, {",
            "when[0]: never holds of \"gain\"",
        ),
        (
            "min = 1, max = 3",
            "min = 3, max = 1",
            "when[0]: never holds of \"gain\"",
        ),
        (
            "min = 1, max = 3",
            "",
            "contexts[1].when[0]: is no condition; give `is`",
        ),
        (
            "min = 1, max",
            "min = \"1\", max",
            "contexts[1].when[0].min: is of type string",
        ),
        (
            "curve = \"high\", when",
            "curve = \"hihg\", when",
            "contexts[1].curve: is \"hihg\", and there is no right [curves.hihg] (did you mean \"high\"?)",
        ),
        (
            "curve = \"high\", when",
            "when",
            "contexts[1].curve: is missing; name a table",
        ),
        (
            "when = [{ field = \"gain\", min = 1, max = 3 }]",
            "when = []",
            "contexts[1].when: has no condition; write when = ",
        ),
        (
            "when = [{ field = \"gain\", min",
            "wen = [{ field = \"gain\", min",
            "contexts[1].wen: is an unknown key",
        ),
        (
            "[parameters.cells]",
            "[parameters.cell]",
            "28: parameters.cell.contexts: are of a parameter that is no field of a packet; give extract and calibrate one file",
        ),
    ];
    each_change_says(GAINS, cases);
    let one = "{ curve = \"low\", when = [{ field = \"gain\", is = 1 }] },";
    let many = |count| {
        GAINS.replace(
            "contexts = [",
            &("contexts = [".to_owned() + &one.repeat(count)),
        )
    };
    parsed(&many(61)).unwrap();
    assert!(
        wrong(&many(62)).contains("parameters.cells.contexts: have 65 conditions; keep them to 64")
    );
}

/// Two values that decide what the other one means: one of them stands behind the other.
#[test]
fn a_circle_is_refused() {
    let text = "version = '1'\n[curves.c]\ntype = 'polynomial'\ncoefficients = [1]\n[packets.p]\napid = 1\n\
        fields = [{ name = 'a', type = 'uint', bits = 8 }, { name = 'b', type = 'uint', bits = 8 }]\n\
        [parameters.a]\ncontexts = [{ curve = 'c', when = [{ field = 'b', is = 1 }] }]\n\
        [parameters.b]\ncontexts = [{ curve = 'c', when = [{ field = 'a', is = 1 }] }]\n";
    let said = wrong(text);
    assert!(
        said.contains(
            "parameters.a.contexts[0].when[0].field: is \"b\", which is no field before \"a\""
        ),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A wrong context is told once, however many packets have it.
#[test]
fn what_is_wrong_in_many_packets_is_said_once() {
    let packet = |apid: u32| {
        format!(
            "[packets.q{apid}]\napid = {apid}\nfields = [{{ name = \"cells\", type = \"uint\", bits = 8, count = 3 }}]\n"
        )
    };
    let more: String = (43..60).map(packet).collect();
    let said = wrong(&GAINS.replace("[parameters.cells]", &(more + "[parameters.cells]")));
    assert_eq!(said.lines().count(), 3, "a line a condition:\n{said}");
}

#[test]
fn all_conditions_on_fields_have_a_bound_together() {
    // 4096 fields of 63 conditions, three times.
    let packet = |apid: u32| {
        format!(
            "[packets.q{apid}]\napid = {apid}\nfields = [{{ name = \"gain\", type = \"uint\", bits = 4 }}, {{ name = \"on\", type = \"bool\", bits = 4 }}, {{ name = \"cells\", type = \"uint\", bits = 8, count = 4094 }}]\n"
        )
    };
    let one = "{ curve = \"low\", when = [{ field = \"gain\", is = 1 }] },";
    let text = GAINS.replace(
        "contexts = [",
        &("contexts = [".to_owned() + &one.repeat(60)),
    );
    let with = |count: u32| {
        let more: String = (43..43 + count).map(packet).collect();
        text.replace("[parameters.cells]", &(more + "[parameters.cells]"))
    };
    parsed(&with(2)).unwrap();
    // What is beyond it is not looked at any more.
    let later = "[packets.r]\napid = 99\nfields = [{ name = \"z\", type = \"uint\", bits = 8 }]\n\
        [parameters.z]\ncontexts = [{ curve = \"low\", when = [{ field = \"gone\", is = 1 }] }]\n";
    let said = wrong(&(with(3) + later));
    assert!(
        said.contains("more than 524288 conditions on all fields together"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
