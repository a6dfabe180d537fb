use super::super::field::Raw;
use super::super::{Found, read as read_file};
use super::*;
use std::path::Path;

mod contexts;
mod dropped;
mod extents;
mod hostile;
mod kinds;
mod refused;
mod shapes;

/// A database of one packet: the type, parameters and entries of the test, and what packets have in front.
fn text(types: &str, parameters: &str, entries: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<SpaceSystem name=\"S\" xmlns=\"http://www.omg.org/spec/XTCE/20180204\">\n\
         <Header version=\"9\" validationStatus=\"Test\"/>\n<TelemetryMetaData>\n<ParameterTypeSet>\n\
         <IntegerParameterType name=\"U16\"><IntegerDataEncoding sizeInBits=\"16\"/></IntegerParameterType>\n\
         {types}\n</ParameterTypeSet>\n<ParameterSet>\n<Parameter name=\"ID\" parameterTypeRef=\"U16\"/>\n\
         <Parameter name=\"SEQ\" parameterTypeRef=\"U16\"/>\n<Parameter name=\"LEN\" parameterTypeRef=\"U16\"/>\n\
         {parameters}\n</ParameterSet>\n<ContainerSet>\n<SequenceContainer name=\"P\"><EntryList>\n\
         <ParameterRefEntry parameterRef=\"ID\"/><ParameterRefEntry parameterRef=\"SEQ\"/><ParameterRefEntry parameterRef=\"LEN\"/>\n\
         {entries}\n</EntryList></SequenceContainer>\n</ContainerSet>\n</TelemetryMetaData>\n</SpaceSystem>\n"
    )
}

/// The same with one parameter `X` of the type `T`.
fn with(types: &str) -> String {
    text(
        types,
        "<Parameter name=\"X\" parameterTypeRef=\"T\"/>",
        "<ParameterRefEntry parameterRef=\"X\"/>",
    )
}

fn good(text: &str) -> Database {
    read(text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

/// What is wrong, a line each.
fn wrong(text: &str) -> String {
    let Err(problems) = read(text) else {
        panic!("nothing is wrong with\n{text}")
    };
    let lines = problems
        .iter()
        .map(|p| format!("{}: {}: {}; {}\n", p.line, p.key, p.what, p.remedy));
    lines.collect()
}

fn found(database: &Database, data: &[u8]) -> Vec<(String, Found)> {
    let bytes =
        crate::telemetry::testing::packet(42, 0, crate::telemetry::packet::Part::Whole, data);
    let mut all = Vec::new();
    let packet = database.packet(&bytes).expect("a packet of the database");
    packet.read(&bytes, |field, found, _| {
        all.push((field.name.clone(), found));
    });
    all.split_off(3)
}

/// The value of `X` where these bytes follow the header.
fn value(types: &str, data: &[u8]) -> Raw {
    let all = found(&good(&with(types)), data);
    match &all[..] {
        [(name, Found::Value(raw))] if name == "X" => raw.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_encoding() {
    let integer = |encoding: &str| {
        format!(
            "<IntegerParameterType name=\"T\"><IntegerDataEncoding {encoding}/></IntegerParameterType>"
        )
    };
    let float = |encoding: &str| {
        format!(
            "<FloatParameterType name=\"T\"><FloatDataEncoding {encoding}/></FloatParameterType>"
        )
    };
    let little = "byteOrder=\"leastSignificantByteFirst\"";
    for (types, data, wanted) in [
        (integer(""), &[0xff, 1][..], Raw::Int(255)),
        (
            integer("sizeInBits=\"12\" encoding=\"unsigned\""),
            &[0xab, 0xcd],
            Raw::Int(0xabc),
        ),
        (
            integer("sizeInBits=\"12\" encoding=\"twosComplement\""),
            &[0xff, 0xe0],
            Raw::Int(-2),
        ),
        (
            integer(&format!("sizeInBits=\"24\" {little}")),
            &[1, 2, 3],
            Raw::Int(0x03_02_01),
        ),
        (
            integer("byteOrder=\"mostSignificantByteFirst\" bitOrder=\"mostSignificantBitFirst\""),
            &[7],
            Raw::Int(7),
        ),
        (float(""), &1.5_f32.to_be_bytes(), Raw::Float(1.5)),
        (
            float("sizeInBits=\"64\" encoding=\"IEEE754_1985\""),
            &(-0.25_f64).to_be_bytes(),
            Raw::Float(-0.25),
        ),
        (
            float(&format!("sizeInBits=\"32\" {little}")),
            &(-3.0_f32).to_le_bytes(),
            Raw::Float(-3.0),
        ),
        (float("sizeInBits=\"16\""), &[0xc0, 0x00], Raw::Float(-2.0)),
        (
            float("sizeInBits=\"32\" encoding=\"MILSTD_1750A\""),
            &[0x50, 0, 0, 4],
            Raw::Float(10.0),
        ),
        (
            float("sizeInBits=\"48\" encoding=\"MILSTD_1750A\""),
            &[0x40, 0, 0, 0, 0, 0],
            Raw::Float(0.5),
        ),
    ] {
        assert_eq!(value(&types, data), wanted, "{types}");
    }
    let text = "<StringParameterType name=\"T\"><StringDataEncoding encoding=\"US-ASCII\"><SizeInBits><Fixed>\
                <FixedValue>32</FixedValue></Fixed><TerminationChar>00</TerminationChar></SizeInBits></StringDataEncoding></StringParameterType>";
    assert_eq!(value(text, b"AB\0C"), Raw::Bytes(b"AB".to_vec()));
    let bytes = "<BinaryParameterType name=\"T\"><BinaryDataEncoding><SizeInBits><FixedValue>24</FixedValue></SizeInBits>\
                 </BinaryDataEncoding></BinaryParameterType>";
    assert_eq!(value(bytes, &[1, 0, 3, 4]), Raw::Bytes(vec![1, 0, 3]));
    let flag = "<BooleanParameterType name=\"T\" oneStringValue=\"hot\"><IntegerDataEncoding sizeInBits=\"2\"/></BooleanParameterType>";
    assert_eq!(value(flag, &[0x40]), Raw::Bool(true));
    let labels = good(&with(flag));
    assert_eq!(labels.parameter("X").unwrap().label(1), Some("hot"));
    assert_eq!(labels.parameter("X").unwrap().label(0), Some("False"));
    let ranges = "<EnumeratedParameterType name=\"T\"><IntegerDataEncoding/><EnumerationList><Enumeration value=\"7\" maxValue=\"9\" label=\"high\"/>\
                  <Enumeration value=\"-2\" maxValue=\"3\" label=\"low\"/><Enumeration value=\"5\" label=\"five\"/></EnumerationList></EnumeratedParameterType>";
    let ranges = good(&with(ranges));
    let label = |value| ranges.parameter("X").unwrap().label(value);
    assert_eq!(
        [-3, -2, 3, 4, 5].map(label),
        [None, Some("low"), Some("low"), None, Some("five")]
    );
    assert_eq!(
        [6, 7, 9, 10].map(label),
        [None, Some("high"), Some("high"), None]
    );
}

#[test]
fn every_sign() {
    let integer = |encoding: &str| {
        format!(
            "<IntegerParameterType name=\"T\"><IntegerDataEncoding {encoding}/></IntegerParameterType>"
        )
    };
    let little = "byteOrder=\"leastSignificantByteFirst\"";
    for (types, data, wanted) in [
        (
            integer("sizeInBits=\"4\" encoding=\"signMagnitude\""),
            &[0xd0][..],
            Raw::Int(-5),
        ),
        (
            integer(&format!(
                "sizeInBits=\"16\" encoding=\"signMagnitude\" {little}"
            )),
            &[5, 0x80],
            Raw::Int(-5),
        ),
        (
            integer("sizeInBits=\"64\" encoding=\"signMagnitude\""),
            &[0xff; 8],
            Raw::Int(-i64::MAX),
        ),
        (
            integer("sizeInBits=\"4\" encoding=\"onesComplement\""),
            &[0xa0],
            Raw::Int(-5),
        ),
        (
            integer("sizeInBits=\"64\" encoding=\"onesComplement\""),
            &[0xff; 8],
            Raw::Int(0),
        ),
        (
            integer("sizeInBits=\"64\" encoding=\"onesComplement\""),
            &[0x80, 0, 0, 0, 0, 0, 0, 0],
            Raw::Int(-i64::MAX),
        ),
        (
            integer("sizeInBits=\"64\""),
            &[0x80, 0, 0, 0, 0, 0, 0, 0],
            Raw::Float(2_f64.powi(63)),
        ),
    ] {
        assert_eq!(value(&types, data), wanted, "{types}");
    }
}

#[test]
fn every_meaning() {
    let of = |inner: &str, more: &str| {
        let types = format!(
            "<FloatParameterType name=\"T\"><UnitSet><Unit>m</Unit><Unit power=\"-2\">s</Unit></UnitSet><IntegerDataEncoding>\
             {inner}</IntegerDataEncoding>{more}</FloatParameterType>"
        );
        good(&with(&types)).parameter("X").unwrap().clone()
    };
    let curve = |inner: &str| format!("<DefaultCalibrator>{inner}</DefaultCalibrator>");
    let terms = "<PolynomialCalibrator><Term coefficient=\"2\" exponent=\"2\"/><Term coefficient=\"-1\" exponent=\"0\"/></PolynomialCalibrator>";
    let parameter = of(&curve(terms), "");
    assert_eq!(parameter.unit.as_deref(), Some("m.s-2"));
    assert_eq!(parameter.calibrated(3.0, None), Some(17.0));
    let points =
        "<SplinePoint raw=\"10\" calibrated=\"30\"/><SplinePoint raw=\"0\" calibrated=\"10\"/>";
    let line = of(
        &curve(&format!("<SplineCalibrator>{points}</SplineCalibrator>")),
        "",
    );
    assert_eq!(
        (line.calibrated(2.5, None), line.calibrated(11.0, None)),
        (Some(15.0), None)
    );
    let steps = of(
        &curve(&format!(
            "<SplineCalibrator order=\"0\" extrapolate=\"true\">{points}</SplineCalibrator>"
        )),
        "",
    );
    assert_eq!(
        (steps.calibrated(9.0, None), steps.calibrated(11.0, None)),
        (Some(10.0), Some(30.0))
    );
    let right = |attributes: &str| of(&curve(terms), &format!("<ValidRange {attributes}/>"));
    let calibrated = right("minInclusive=\"-1\" maxExclusive=\"17\"");
    let all = [0.0, 2.9, 3.0].map(|value| calibrated.calibrated(value, None).is_some());
    assert_eq!(all, [true, true, false]);
    let sent = right("minExclusive=\"-1\" validRangeAppliesToCalibrated=\"false\"");
    let all = [-1.0, -0.5, 17.0].map(|value| sent.calibrated(value, None).is_some());
    assert_eq!(all, [false, true, true]);
    let alarm = "<DefaultAlarm minViolations=\"2\"><StaticAlarmRanges><WarningRange minExclusive=\"1\" maxInclusive=\"5\"/>\
                 <CriticalRange maxExclusive=\"9\"/></StaticAlarmRanges></DefaultAlarm>";
    let limits = of("", alarm).limits.unwrap();
    assert_eq!(limits.persistence, 2);
    let mut watch = crate::telemetry::database::limit::Watch::default();
    let mut level = |value| {
        let levels = [watch.take(value, &limits), watch.take(value, &limits)];
        levels
            .into_iter()
            .flatten()
            .next()
            .map(crate::level::Level::number)
    };
    // What is excluded is an alarm, what is included is none.
    assert_eq!(
        [5.0, 5.1, 9.0, 5.0, 1.0].map(&mut level),
        [None, Some(1), Some(2), Some(0), Some(-1)]
    );
}

/// Conditions, and containers told apart by what is in them.
#[test]
fn comparisons_of_every_kind() {
    let types = "<EnumeratedParameterType name=\"E\"><IntegerDataEncoding/><EnumerationList><Enumeration value=\"3\" label=\"on\"/>\
                 </EnumerationList></EnumeratedParameterType>\
                 <IntegerParameterType name=\"I\"><IntegerDataEncoding encoding=\"twosComplement\"/></IntegerParameterType>\
                 <FloatParameterType name=\"F\"><FloatDataEncoding/></FloatParameterType>\
                 <BooleanParameterType name=\"B\"><IntegerDataEncoding/></BooleanParameterType>";
    let holds = |kind: &str, data: &[u8], comparison: &str| {
        let parameters = format!(
            "<Parameter name=\"A\" parameterTypeRef=\"{kind}\"/><Parameter name=\"X\" parameterTypeRef=\"I\"/>"
        );
        let entries = format!(
            "<ParameterRefEntry parameterRef=\"A\"/><ParameterRefEntry parameterRef=\"X\"><IncludeCondition><ComparisonList>\
             <Comparison parameterRef=\"A\" {comparison}/><Comparison parameterRef=\"LEN\" value=\"60000\" comparisonOperator=\"&lt;\"/>\
             </ComparisonList></IncludeCondition></ParameterRefEntry>"
        );
        let all = found(
            &good(&text(types, &parameters, &entries)),
            &[data, &[9]].concat(),
        );
        assert_ne!(all[1].1, Found::Short);
        all[1].1 != Found::Invalid
    };
    let op = |name: &str, value: &str| format!("comparisonOperator=\"{name}\" value=\"{value}\"");
    for (kind, data, comparison, wanted) in [
        ("I", &[0xfb][..], op("==", "-5"), true),
        ("I", &[0xfb], op("!=", "-5"), false),
        ("I", &[0xfa], op("!=", "-5"), true),
        ("I", &[0xfb], op("&lt;", "-5"), false),
        ("I", &[0xfb], op("&lt;=", "-5"), true),
        ("I", &[0xfb], op("&gt;", "-5"), false),
        ("I", &[0xfc], op("&gt;", "-5"), true),
        ("I", &[0xfb], op("&gt;=", "-5"), true),
        ("I", &[0xfb], op("==", "-0x5"), true),
        ("I", &[0x7f], op("==", "0b1111111"), true),
        ("E", &[3], op("==", "on"), true),
        ("E", &[4], op("!=", "on"), true),
        (
            "E",
            &[4],
            op("==", "4") + " useCalibratedValue=\"false\"",
            true,
        ),
        ("B", &[8], op("==", "True"), true),
        ("F", &1.5_f32.to_be_bytes(), op("&gt;", "1.5"), false),
        ("F", &1.5_f32.to_be_bytes(), op("&gt;=", "1.5"), true),
        ("F", &f32::NAN.to_be_bytes(), op("!=", "1.5"), false),
    ] {
        assert_eq!(
            holds(kind, data, &comparison),
            wanted,
            "{kind} {data:?} {comparison}"
        );
    }
}

/// None of them is of another APID by chance: the bits of a number are not cut off.
#[test]
fn a_number_that_its_bits_cannot_have_is_refused() {
    let of = "<IntegerParameterType name=\"U11\"><IntegerDataEncoding sizeInBits=\"11\"/></IntegerParameterType>\
              <IntegerParameterType name=\"I8\"><IntegerDataEncoding encoding=\"twosComplement\"/></IntegerParameterType>\
              <IntegerParameterType name=\"I64\"><IntegerDataEncoding sizeInBits=\"64\" encoding=\"twosComplement\"/></IntegerParameterType>\
              <BooleanParameterType name=\"B\"><IntegerDataEncoding sizeInBits=\"1\"/></BooleanParameterType>\
              <EnumeratedParameterType name=\"E\"><IntegerDataEncoding sizeInBits=\"2\"/><EnumerationList>\
              <Enumeration value=\"3\" label=\"on\"/><Enumeration value=\"4\" label=\"off\"/></EnumerationList></EnumeratedParameterType>";
    let file = |kind: &str, operator: &str, value: &str| {
        let x = format!("<Parameter name=\"X\" parameterTypeRef=\"{kind}\"/>");
        let entry = "<ParameterRefEntry parameterRef=\"X\"><LocationInContainerInBits referenceLocation=\"containerStart\">\
                     <FixedValue>5</FixedValue></LocationInContainerInBits></ParameterRefEntry>";
        let is_name = value.starts_with('o');
        let kind = format!(
            "<SequenceContainer name=\"K\"><EntryList/><BaseContainer containerRef=\"P\"><RestrictionCriteria><Comparison parameterRef=\"X\" \
             comparisonOperator=\"{operator}\" value=\"{value}\" useCalibratedValue=\"{is_name}\"/></RestrictionCriteria></BaseContainer>\
             </SequenceContainer></ContainerSet>"
        );
        text(of, &x, entry).replace("</ContainerSet>", &kind)
    };
    let apid = good(&file("U11", "==", "42"));
    assert_eq!(apid.packet(&[0, 42, 0, 0, 0, 0]).unwrap().name, "K");
    for (kind, value) in [
        ("U11", "0"),
        ("U11", "2047"),
        ("I8", "-128"),
        ("I8", "127"),
        ("I64", "-9007199254740991"),
        ("B", "1"),
        ("E", "on"),
    ] {
        good(&file(kind, "==", value));
    }
    // Another one would be the same as a number with a point.
    let said = wrong(&file("I64", "==", "9007199254740992"));
    assert!(said.contains("a number of at most 53 bits"), "{said}");
    for (kind, value) in [
        ("U11", "2048"),
        ("U11", "2090"),
        ("U11", "-1"),
        ("I8", "-129"),
        ("I8", "128"),
        ("B", "2"),
        ("E", "off"),
    ] {
        let said = wrong(&file(kind, "==", value));
        assert!(said.contains("bits never are"), "{kind} {value}: {said}");
        good(&file(kind, "!=", value));
    }
}

#[test]
fn what_says_nothing_of_telemetry_is_passed_over_aloud() {
    let text = with("<IntegerParameterType name=\"T\" shortDescription=\"x\"><LongDescription>y</LongDescription><AliasSet/>\
                     <IntegerDataEncoding/><ToString/></IntegerParameterType>")
    .replace("</TelemetryMetaData>", "<AlgorithmSet><x/></AlgorithmSet></TelemetryMetaData>\n<CommandMetaData><MetaCommandSet/></CommandMetaData>")
    .replace("<EntryList>", "<DefaultRateInStream minimumValue=\"1\"/><EntryList>")
    .replace("parameterTypeRef=\"T\"/>", "parameterTypeRef=\"T\"><ParameterProperties><PhysicalAddressSet/></ParameterProperties></Parameter>");
    let database = good(&text);
    let said = |name: &str, line: usize| {
        format!("{name} on line {line} is not read: no field of a packet is by it")
    };
    assert_eq!(
        database.passed,
        [said("AlgorithmSet", 21), said("CommandMetaData", 22)]
    );
    assert!(database.version.starts_with("9-"));
    // Of a long version what fits is taken, in whole characters.
    let long = text.replace("version=\"9\"", &format!("version=\"{}ü\"", "9".repeat(62)));
    let long = good(&long);
    assert_eq!(long.version.len(), 62 + 1 + 8, "{}", long.version);
}

/// As those of a ground system are; what is known of them is known.
#[test]
fn a_parameter_without_an_encoding_is_in_no_packet() {
    let types = "<FloatParameterType name=\"T\"><UnitSet><Unit>V</Unit></UnitSet></FloatParameterType>\
                 <FloatParameterType name=\"U\" baseType=\"T\"><FloatDataEncoding/></FloatParameterType>";
    let two = "<Parameter name=\"X\" parameterTypeRef=\"T\"/><Parameter name=\"Y\" parameterTypeRef=\"U\"/>";
    let entry = |name: &str| format!("<ParameterRefEntry parameterRef=\"{name}\"/>");
    let database = good(&text(types, two, &entry("Y")));
    for name in ["X", "Y"] {
        assert_eq!(database.parameter(name).unwrap().unit.as_deref(), Some("V"));
    }
    let said = wrong(&text(types, two, &entry("X")));
    assert!(
        said.contains("ParameterRefEntry: is of \"X\", whose type has no encoding"),
        "{said}"
    );
    let compared = "<ParameterRefEntry parameterRef=\"Y\"><IncludeCondition><Comparison parameterRef=\"X\" value=\"1\"/></IncludeCondition></ParameterRefEntry>";
    let said = wrong(&text(types, two, compared));
    assert!(
        said.contains("Comparison: names what has no encoding"),
        "{said}"
    );
}

#[test]
fn the_name_or_the_text_tells_xtce_from_toml() {
    let xml =
        with("<IntegerParameterType name=\"T\"><IntegerDataEncoding/></IntegerParameterType>");
    for (file, text, is_right) in [
        ("db.xml", xml.clone(), true),
        (
            "db",
            format!("\u{feff}\n{xml}").replace("<?xml version=\"1.0\"?>", ""),
            true,
        ),
        ("db.toml", xml.clone(), true),
        ("db.XML", "version = '1'".to_owned(), false),
        ("db.toml", "version = '1'".to_owned(), true),
    ] {
        let read = read_file(Path::new(file), &text);
        assert_eq!(read.is_ok(), is_right, "{file}: {read:?}");
    }
    let long = format!(
        "version = '1'\n#{}",
        "x".repeat(super::super::TEXT_BYTES_MAX)
    );
    let problems = read_file(Path::new("db.toml"), &long).unwrap_err();
    assert!(
        problems[0].what.contains("more than 16777216"),
        "{problems:?}"
    );
}
