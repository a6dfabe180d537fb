//! Types of several values, and types that extend others.

use super::refused::each_says;
use super::{found, good, text, with, wrong};
use crate::telemetry::database::field::Raw;
use crate::telemetry::database::{Database, Found};
use std::fmt::Write as _;

const U8: &str =
    "<IntegerParameterType name=\"U8\"><IntegerDataEncoding/></IntegerParameterType>\n";

fn aggregate(name: &str, members: &[(&str, &str)]) -> String {
    let members = members.iter().fold(String::new(), |mut all, (name, of)| {
        write!(all, "<Member name=\"{name}\" typeRef=\"{of}\"/>").unwrap();
        all
    });
    format!(
        "<AggregateParameterType name=\"{name}\"><MemberList>{members}</MemberList></AggregateParameterType>\n"
    )
}

fn array(name: &str, of: &str, lasts: &[usize]) -> String {
    let dimensions = lasts.iter().fold(String::new(), |mut all, last| {
        write!(
            all,
            "<Dimension><StartingIndex><FixedValue>0</FixedValue></StartingIndex><EndingIndex><FixedValue>{last}</FixedValue>\
             </EndingIndex></Dimension>"
        )
        .unwrap();
        all
    });
    format!(
        "<ArrayParameterType name=\"{name}\" arrayTypeRef=\"{of}\"><DimensionList>{dimensions}</DimensionList></ArrayParameterType>\n"
    )
}

/// The values of `X` of the type `T`.
fn values(types: &str, data: &[u8]) -> Vec<(String, i64)> {
    let all = found(&good(&with(types)), data);
    let each = all.into_iter().map(|(name, found)| match found {
        Found::Value(Raw::Int(value)) => (name, value),
        other => panic!("{name}: {other:?}"),
    });
    each.collect()
}

fn named(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    let each = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    each.collect()
}

#[test]
fn members_and_elements_are_behind_each_other() {
    let inner = aggregate("A", &[("M", "U8"), ("N", "U16")]);
    let types = inner.clone() + U8 + &aggregate("T", &[("P", "U8"), ("Q", "A")]);
    assert_eq!(
        values(&types, &[1, 2, 0, 3]),
        named(&[("X.P", 1), ("X.Q.M", 2), ("X.Q.N", 3)])
    );
    // The last dimension goes round first.
    let types = U8.to_owned() + &array("T", "U8", &[1, 2]);
    let wanted = [
        ("X.0.0", 1),
        ("X.0.1", 2),
        ("X.0.2", 3),
        ("X.1.0", 4),
        ("X.1.1", 5),
        ("X.1.2", 6),
    ];
    assert_eq!(values(&types, &[1, 2, 3, 4, 5, 6]), named(&wanted));
    let types = inner + U8 + &array("T", "A", &[1]);
    let wanted = [("X.0.M", 1), ("X.0.N", 2), ("X.1.M", 3), ("X.1.N", 4)];
    assert_eq!(values(&types, &[1, 0, 2, 3, 0, 4]), named(&wanted));
}

/// As many indices as an array has dimensions are of its elements, and no more.
#[test]
fn a_parameter_is_known_by_as_many_indices_as_it_has() {
    let known = |database: &Database, names: &[&str]| {
        let each = names.iter().map(|name| database.parameter(name).is_some());
        each.collect::<Vec<_>>()
    };
    let two = good(&with(&(U8.to_owned() + &array("T", "U8", &[1, 2]))));
    let of = ["X", "X.1.2", "X.1.2.3"];
    assert_eq!(known(&two, &of), [true, true, false]);
    let one = good(&with(&U8.replace("U8", "T")));
    assert_eq!(known(&one, &["X.1", "X.1.2"]), [true, false]);
    // An array of one element may be repeated.
    let repeated = text(
        &(U8.to_owned() + &array("T", "U8", &[0])),
        "<Parameter name=\"X\" parameterTypeRef=\"T\"/>",
        "<ParameterRefEntry parameterRef=\"X\"><RepeatEntry><Count><FixedValue>2</FixedValue></Count></RepeatEntry></ParameterRefEntry>",
    );
    let repeated = good(&repeated);
    assert_eq!(found(&repeated, &[1, 2])[1].0, "X.1.0");
    assert_eq!(known(&repeated, &["X.1.0", "X.1.0.0"]), [true, false]);
    let inner = U8.to_owned() + &array("R", "U8", &[1]) + &aggregate("A", &[("M", "R")]);
    let nested = good(&with(&(inner + &array("T", "A", &[1]))));
    assert_eq!(known(&nested, &["X.1.M.1", "X.1.M.1.0"]), [true, false]);
}

/// `X` with two members, the second of them an array, and an entry where one of them is as said.
fn compared(reference: &str) -> String {
    let types =
        U8.to_owned() + &array("R", "U8", &[2]) + &aggregate("T", &[("M", "U8"), ("N", "R")]);
    let entries = format!(
        "<ParameterRefEntry parameterRef=\"X\"/><ParameterRefEntry parameterRef=\"SEQ\"><IncludeCondition>\
         <Comparison parameterRef=\"{reference}\" value=\"7\"/></IncludeCondition></ParameterRefEntry>"
    );
    text(
        &types,
        "<Parameter name=\"X\" parameterTypeRef=\"T\"/>",
        &entries,
    )
}

#[test]
fn comparisons_name_members_by_path() {
    for reference in ["X/N/1", "X.N.1", "X/N[1]", "X.N[1]", "/S/X/N/1", "./X/N/1"] {
        let database = good(&compared(reference));
        let holds = |data: &[u8]| found(&database, data)[4].1 != Found::Invalid;
        assert!(holds(&[0, 0, 7, 0, 1, 1]), "{reference}");
        assert!(!holds(&[7, 7, 0, 7, 1, 1]), "{reference}");
    }
    for (reference, said) in [
        (
            "X",
            "names \"X\", which is no value; name a member of it, such as M, N.0, N.1, N.2",
        ),
        ("X/N", "names \"X.N\", which is no value; name a member"),
        ("X/N/3", "names \"X.N.3\", which is no value; name a member"),
        (
            "LEN/M",
            "names \"LEN.M\", which is no value; name the parameter alone",
        ),
        ("Y/M", "has parameterRef = \"Y/M\", which is nowhere"),
        ("/R/X/M", "has parameterRef = \"/R/X/M\", which is nowhere"),
    ] {
        each_says([(compared(reference), said)]);
    }
}

#[test]
fn a_type_has_what_it_does_not_say_from_the_one_it_extends() {
    let base = "<IntegerParameterType name=\"B\"><UnitSet><Unit>V</Unit></UnitSet><IntegerDataEncoding sizeInBits=\"16\"><DefaultCalibrator>\
                <PolynomialCalibrator><Term coefficient=\"2\" exponent=\"1\"/></PolynomialCalibrator></DefaultCalibrator></IntegerDataEncoding>\
                <DefaultAlarm><StaticAlarmRanges><WarningRange maxInclusive=\"9\"/></StaticAlarmRanges></DefaultAlarm></IntegerParameterType>\n";
    let own = |inner: &str| {
        let own = format!(
            "<IntegerParameterType name=\"M\" baseType=\"B\"/><IntegerParameterType name=\"T\" baseType=\"M\">{inner}</IntegerParameterType>"
        );
        good(&with(&(own + base)))
    };
    let plain = own("");
    let known = plain.parameter("X").unwrap();
    assert_eq!(known.calibrated(3.0, None), Some(6.0));
    assert_eq!(known.unit.as_deref(), Some("V"));
    assert!(known.limits.is_some());
    let sent = own("<UnitSet/><IntegerDataEncoding/>");
    let known = sent.parameter("X").unwrap();
    assert_eq!(
        (known.calibrated(3.0, None), &known.unit),
        (Some(3.0), &None)
    );
    assert_eq!(found(&sent, &[5, 6])[0].1, Found::Value(Raw::Int(5)));
    let names = "<EnumeratedParameterType name=\"B\"><IntegerDataEncoding/><EnumerationList><Enumeration value=\"1\" label=\"on\"/>\
                 </EnumerationList></EnumeratedParameterType><EnumeratedParameterType name=\"T\" baseType=\"B\"/>";
    assert_eq!(
        good(&with(names)).parameter("X").unwrap().label(1),
        Some("on")
    );
    let of = |own: &str| with(&format!("{base}{own}"));
    each_says([
        (
            of("<FloatParameterType name=\"T\" baseType=\"B\"/>"),
            "FloatParameterType \"T\": extends an IntegerParameterType; extend one of the same kind",
        ),
        (
            of("<IntegerParameterType name=\"T\" baseType=\"C\"/>"),
            "has baseType = \"C\", which is nowhere",
        ),
        (
            of("<IntegerParameterType name=\"T\" baseType=\"T\"/>"),
            "leads back to its own type; let no type be of itself",
        ),
    ]);
}

#[test]
fn what_cannot_be_made_of_types_is_refused() {
    let of = |types: &str| with(&format!("{U8}{types}"));
    let bare = |inner: &str| {
        of(&format!(
            "<ArrayParameterType name=\"T\" arrayTypeRef=\"U8\">{inner}</ArrayParameterType>"
        ))
    };
    let repeated = text(
        &(U8.to_owned() + &array("T", "U8", &[1])),
        "<Parameter name=\"X\" parameterTypeRef=\"T\"/>",
        "<ParameterRefEntry parameterRef=\"X\"><RepeatEntry><Count><FixedValue>2</FixedValue></Count></RepeatEntry></ParameterRefEntry>",
    );
    each_says([
        (
            bare(""),
            "ArrayParameterType \"T\": has 0 dimensions; give it a DimensionList",
        ),
        (of(&array("T", "U8", &[0; 9])), "has 9 dimensions"),
        (
            of(&array("T", "U8", &[4096])),
            "Dimension: goes from 0 to 4096; begin with 0",
        ),
        (
            of(&array("T", "U8", &[63, 64])),
            "has 4160 elements; keep it to 4096",
        ),
        (
            of(&array("T", "U8", &[4095; 8])),
            "elements; keep it to 4096",
        ),
        (
            of(&array("T", "U8", &[1]).replace(
                "<StartingIndex><FixedValue>0",
                "<StartingIndex><FixedValue>1",
            )),
            "Dimension: goes from 1 to 1; begin with 0",
        ),
        (
            of(&array("T", "U8", &[1]).replace(
                "<EndingIndex><FixedValue>1</FixedValue>",
                "<EndingIndex><DynamicValue/>",
            )),
            "EndingIndex/DynamicValue: is not supported; give a fixed number",
        ),
        (
            of(&array("T", "U9", &[1])),
            "has arrayTypeRef = \"U9\", which is nowhere",
        ),
        (
            of(&aggregate("T", &[])),
            "AggregateParameterType \"T\": has no member",
        ),
        (
            of(&aggregate("T", &[("M", "U8"), ("M", "U8")])),
            "Member \"M\": has the name of another member",
        ),
        (
            of(&aggregate("T", &[("M.N", "U8")])),
            "has the name \"M.N\"; choose a name without",
        ),
        (
            of(&aggregate("T", &[("0", "U8"), ("1", "U8")])),
            "Member \"0\": has the name \"0\"; choose a name with a letter: numbers are of",
        ),
        (
            of(&array("T", "U8", &[1])).replace(
                "</SpaceSystem>",
                "<SpaceSystem name=\"X\"><TelemetryMetaData><ParameterSet><Parameter name=\"1\" parameterTypeRef=\"U8\"/></ParameterSet>\
                 </TelemetryMetaData></SpaceSystem></SpaceSystem>",
            ),
            "Parameter \"1\": has the name of an element of \"X\"; choose a name with a letter",
        ),
        (
            of(&aggregate("T", &[("M", "T")])),
            "Member \"M\": leads back to its own type",
        ),
        (
            of(&aggregate("T", &[(&"m".repeat(127), "U8")])),
            "makes the name",
        ),
        (
            with(&(U8.to_owned() + &aggregate("T", &[("MEMBER", "U8")])))
                .replace("\"X\"", &format!("\"{}\"", "x".repeat(121))),
            "\": makes the name",
        ),
        (
            with(&(U8.to_owned() + &aggregate("T", &[("M", "U8")]))).replace(
                "</SpaceSystem>",
                "<SpaceSystem name=\"X\"><TelemetryMetaData><ParameterSet><Parameter name=\"M\" parameterTypeRef=\"U8\"/></ParameterSet>\
                 </TelemetryMetaData></SpaceSystem></SpaceSystem>",
            ),
            "Parameter \"M\": makes the name \"X.M\", which another value has; choose another",
        ),
        (
            repeated,
            "ParameterRefEntry: repeats what is several values; name an ArrayParameterType",
        ),
    ]);
}

/// Types of types of types: what they make together has a bound, and so has their line.
#[test]
fn types_that_grow_are_refused_within_bounds() {
    let doubled = (1..80).fold(U8.to_owned() + &aggregate("T", &[("A", "U8")]), |all, n| {
        let of = if n == 1 {
            "T".to_owned()
        } else {
            format!("T{}", n - 1)
        };
        all + &aggregate(&format!("T{n}"), &[("A", &of), ("B", &of)])
    });
    let said = wrong(&with(&doubled));
    assert!(
        said.contains("makes more than 4096 values of one parameter"),
        "{said}"
    );
    // In whichever order they are.
    let line = |count: usize, is_turned: bool| {
        let each = (1..count).map(|n| {
            format!(
                "<IntegerParameterType name=\"B{n}\" baseType=\"B{}\"/>\n",
                n - 1
            )
        });
        let mut all: Vec<String> = each.collect();
        all.push(U8.replace("\"U8\"", "\"B0\""));
        if is_turned {
            all.reverse();
        }
        with(&(all.concat() + &U8.replace("\"U8\"", "\"T\"")))
    };
    for is_turned in [false, true] {
        good(&line(65, is_turned));
        let said = wrong(&line(66, is_turned));
        assert!(
            said.contains("is the end of a line of more than 64 types"),
            "{said}"
        );
    }
    let wide = (0..70).fold(U8.to_owned() + &array("T", "U8", &[4095]), |all, n| {
        all + &aggregate(&format!("T{n}"), &[("A", "T")])
    });
    let said = wrong(&with(&wide));
    let many = "is one of types with more than 262144 values together";
    assert_eq!(said.matches(many).count(), 1, "{said}");
    // Once a type, and many times as that of a parameter.
    let parameters = (0..70).fold(String::new(), |mut all, n| {
        writeln!(all, "<Parameter name=\"X{n}\" parameterTypeRef=\"T\"/>").unwrap();
        all
    });
    let types = U8.to_owned() + &array("T", "U8", &[4095]);
    let said = wrong(&text(&types, &parameters, ""));
    assert!(
        said.contains("is one of parameters with more than 262144 values together"),
        "{said}"
    );
}
