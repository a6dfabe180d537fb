//! Calibrators that depend on other parameters of the packet.

use super::refused::each_says;
use super::{Database, good, text, with, wrong};
use crate::telemetry::database::Found;
use crate::telemetry::packet::Part;
use crate::telemetry::testing::{Chance, packet};

const TYPES: &str = "<IntegerParameterType name=\"U8\"><IntegerDataEncoding/></IntegerParameterType>\
    <EnumeratedParameterType name=\"M\"><IntegerDataEncoding/><EnumerationList><Enumeration value=\"1\" label=\"low\"/>\
    <Enumeration value=\"2\" label=\"high\"/></EnumerationList></EnumeratedParameterType>\
    <BinaryParameterType name=\"B\"><BinaryDataEncoding><SizeInBits><FixedValue>8</FixedValue></SizeInBits></BinaryDataEncoding></BinaryParameterType>";
const PARAMETERS: &str = "<Parameter name=\"MODE\" parameterTypeRef=\"M\"/><Parameter name=\"N\" parameterTypeRef=\"U8\"/>\
    <Parameter name=\"DATA\" parameterTypeRef=\"B\"/><Parameter name=\"X\" parameterTypeRef=\"T\"/>";

fn slope(slope: u32) -> String {
    format!(
        "<PolynomialCalibrator><Term coefficient=\"{slope}\" exponent=\"1\"/></PolynomialCalibrator>"
    )
}

fn context(criteria: &str, by: u32) -> String {
    format!(
        "<ContextCalibrator>\n<ContextMatch>{criteria}</ContextMatch><Calibrator>{}</Calibrator></ContextCalibrator>",
        slope(by)
    )
}

fn compared(of: &str, operator: &str, value: &str, more: &str) -> String {
    format!(
        "<Comparison parameterRef=\"{of}\" comparisonOperator=\"{operator}\" value=\"{value}\" {more}/>"
    )
}

fn is(of: &str, value: &str) -> String {
    compared(of, "==", value, "")
}

fn entries(names: &[&str]) -> String {
    let each = names.iter();
    each.fold(String::new(), |all, name| {
        all + &format!("<ParameterRefEntry parameterRef=\"{name}\"/>\n")
    })
}

/// A packet of these entries; `X` has a default calibrator of slope 100, and these contexts.
fn database(contexts: &str, entries: &str) -> String {
    let own = format!(
        "<FloatParameterType name=\"T\"><IntegerDataEncoding><DefaultCalibrator>{}</DefaultCalibrator>\
         <ContextCalibratorList>{contexts}</ContextCalibratorList></IntegerDataEncoding></FloatParameterType>",
        slope(100)
    );
    text(&(TYPES.to_owned() + &own), PARAMETERS, entries)
}

/// The slopes of the calibrators of each `X`: none where it has no value.
fn slopes(database: &Database, data: &[u8]) -> Vec<Option<f64>> {
    let bytes = packet(42, 0, Part::Whole, data);
    let parameter = database.parameter("X").unwrap();
    let mut all = Vec::new();
    let kind = database.packet(&bytes).expect("a packet of the database");
    kind.read(&bytes, |field, found, context| {
        if field.name.starts_with('X') {
            let number = match found {
                Found::Value(raw) => raw.number(),
                _ => None,
            };
            let context = parameter.context(context);
            let value = number.map(|number| (number, parameter.calibrated(number, context)));
            all.push(value.map(|(number, value)| value.unwrap() / number));
        }
    });
    all
}

#[test]
fn the_first_context_that_holds_says_the_calibrator() {
    let both = format!(
        "<ComparisonList>{}{}</ComparisonList>",
        is("MODE", "high"),
        compared("N", "&gt;", "9", "")
    );
    let expression = "<BooleanExpression><Condition><ParameterInstanceRef parameterRef=\"N\"/><ComparisonOperator>==</ComparisonOperator>\
        <Value>0x20</Value></Condition></BooleanExpression>";
    let raw = compared("MODE", "==", "2", "useCalibratedValue=\"false\"");
    let contexts = context(&is("MODE", "low"), 2)
        + &context(&both, 3)
        + &context(&raw, 4)
        + &context(expression, 5);
    let all = good(&database(&contexts, &entries(&["MODE", "N", "X"])));
    for (mode, n, wanted) in [
        (1, 10, 2.0),
        (2, 10, 3.0),
        (2, 9, 4.0),
        (2, 0x20, 3.0),
        (3, 0x20, 5.0),
        (3, 10, 100.0),
    ] {
        assert_eq!(slopes(&all, &[mode, n, 4]), [Some(wanted)], "{mode} {n}");
    }
    let x = all.parameter("X").unwrap();
    let said: Vec<&str> = x.contexts.iter().map(|context| &*context.when).collect();
    assert_eq!(
        said,
        [
            r#""MODE" = 1"#,
            r#""MODE" = 2 and "N" >= 10"#,
            r#""MODE" = 2"#,
            r#""N" = 32"#
        ]
    );
    // Who does not know the packet does not know the calibrator.
    assert_eq!(x.calibrated(4.0, None), None);
    assert_eq!(x.calibrated(4.0, Some(9)), None);
}

#[test]
fn without_a_default_calibrator_values_stay_as_they_are() {
    let all = database(&context(&is("N", "1"), 2), &entries(&["N", "X"]));
    let start = all.find("<DefaultCalibrator>").unwrap();
    let end = all.find("</DefaultCalibrator>").unwrap() + "</DefaultCalibrator>".len();
    let all = good(&(all[..start].to_owned() + &all[end..]));
    assert_eq!(slopes(&all, &[1, 4]), [Some(2.0)]);
    assert_eq!(slopes(&all, &[0, 4]), [Some(1.0)]);
}

/// What decides is of the same packet, in whichever container it is, and each element of an array has the same.
#[test]
fn contexts_go_with_parts_and_arrays_and_conditions() {
    let contexts = context(&is("N", "1"), 2) + &context(&is("MODE", "low"), 3);
    let repeat = "<ParameterRefEntry parameterRef=\"X\"><RepeatEntry><Count><FixedValue>2</FixedValue></Count></RepeatEntry></ParameterRefEntry>";
    let part = format!(
        "<ContainerSet><SequenceContainer name=\"PART\"><EntryList>{}{repeat}</EntryList></SequenceContainer>",
        entries(&["MODE", "N"])
    );
    let all = database(
        &contexts,
        &(entries(&["DATA"]) + "<ContainerRefEntry containerRef=\"PART\"/>"),
    );
    let all = good(&all.replace("<ContainerSet>", &part));
    assert_eq!(slopes(&all, &[9, 1, 5, 4, 4]), [Some(3.0); 2]);
    assert_eq!(slopes(&all, &[1, 5, 1, 4, 4]), [Some(2.0); 2]);
    // A parameter that is not there is of no value, and no context of it holds.
    let only = "<ParameterRefEntry parameterRef=\"N\"><IncludeCondition><Comparison parameterRef=\"MODE\" value=\"high\"/>\
        </IncludeCondition></ParameterRefEntry>";
    let all = good(&database(
        &contexts,
        &(entries(&["MODE"]) + only + &entries(&["X"])),
    ));
    assert_eq!(slopes(&all, &[2, 1, 4]), [Some(2.0)]);
    assert_eq!(slopes(&all, &[3, 1]), [Some(100.0)]);
    // One that the packet ends before decides nothing: no value is better than a wrong one.
    let far = "<ParameterRefEntry parameterRef=\"N\"><LocationInContainerInBits referenceLocation=\"containerStart\"><FixedValue>96</FixedValue>\
        </LocationInContainerInBits></ParameterRefEntry>";
    let near = "<ParameterRefEntry parameterRef=\"X\"><LocationInContainerInBits referenceLocation=\"containerStart\"><FixedValue>56</FixedValue>\
        </LocationInContainerInBits></ParameterRefEntry>";
    let all = good(&database(&contexts, &(entries(&["MODE"]) + far + near)));
    assert_eq!(slopes(&all, &[3, 4, 0, 0, 0, 0, 1]), [Some(2.0)]);
    assert_eq!(slopes(&all, &[3, 4, 0, 0, 0, 0]), [None]);
}

#[test]
fn what_is_wrong_with_a_context_is_said() {
    let of =
        |criteria: &str| database(&context(criteria, 2), &entries(&["MODE", "N", "DATA", "X"]));
    let later = |names: &[&str]| database(&context(&is("N", "1"), 2), &entries(names));
    let or = "<BooleanExpression><ORedConditions/></BooleanExpression>";
    let many = many_contexts() + &context(&is("N", "1"), 2);
    let enumerated = with(&format!(
        "<EnumeratedParameterType name=\"T\"><IntegerDataEncoding><ContextCalibratorList>{}</ContextCalibratorList></IntegerDataEncoding>\
         <EnumerationList><Enumeration value=\"1\" label=\"on\"/></EnumerationList></EnumeratedParameterType>",
        context(&is("SEQ", "1"), 2)
    ));
    each_says([
        (
            of(&is("GONE", "1")),
            "8: FloatParameterType \"T\"/IntegerDataEncoding/ContextCalibratorList/ContextCalibrator/ContextMatch/Comparison: has parameterRef = \"GONE\", which is nowhere; name a Parameter",
        ),
        (
            of(&is("DATA", "1")),
            "Comparison: compares a text; compare a number",
        ),
        (
            of(&is("GONE", "1")).replace(
                "<Parameter name=\"X\" parameterTypeRef=\"T\"/>",
                "<Parameter name=\"X\" parameterTypeRef=\"U8\"/>",
            ),
            "ContextMatch/Comparison: has parameterRef = \"GONE\", which is nowhere; name a Parameter",
        ),
        (
            of(&is("N", "low")),
            "Comparison: compares with \"low\"; write a number",
        ),
        (
            of(&is("N", "256")),
            "Comparison: compares with 256, which 8 bits never are",
        ),
        (
            of(&is("MODE", "1")),
            "Comparison: compares with \"1\", which is no name of one value",
        ),
        (
            of(""),
            "ContextMatch: compares nothing; give it a Comparison",
        ),
        (
            of(or),
            "ORedConditions: is not supported (did you mean ANDedConditions?); write a Comparison, or a ComparisonList of which all must hold",
        ),
        (
            of("<CustomAlgorithm/>"),
            "CustomAlgorithm: is not supported; write a Comparison",
        ),
        (
            of(&is("X", "1")),
            "Comparison: compares what a calibrator gives; write useCalibratedValue=\"false\"",
        ),
        (
            of(&compared("X", "==", "1", "useCalibratedValue=\"false\"")),
            "ParameterRefEntry: has a calibrator by \"X\", which does not stand before; put the parameter of the context in front",
        ),
        (
            later(&["X", "N"]),
            "ParameterRefEntry: has a calibrator by \"N\", which does not stand before",
        ),
        (
            later(&["X"]),
            "ParameterRefEntry: has a calibrator by \"N\", which does not stand before",
        ),
        (
            database("", &entries(&["X"])),
            "ContextCalibratorList: has no ContextCalibrator; give it one",
        ),
        (
            database("<ContextCalibrator/>", &entries(&["X"])),
            "ContextCalibrator: has no ContextMatch; give it both parts",
        ),
        (
            database("<ContextCalibrator/>", &entries(&["X"])),
            "ContextCalibrator: has no Calibrator; give it both parts",
        ),
        (
            database(&many, &entries(&["N", "X"])),
            "is one of contexts with more than 64 comparisons; compare less",
        ),
        (
            enumerated,
            "ContextCalibratorList: stands in a EnumeratedParameterType; take it out",
        ),
        (
            of(&is("N", "1")).replace(
                "<Calibrator><Poly",
                "<Calibrator><MathOperationCalibrator/><Poly",
            ),
            "MathOperationCalibrator: is not supported",
        ),
    ]);
}

/// Many comparisons with `N`.
fn many_contexts() -> String {
    (1..=64).fold(String::new(), |all, n: u32| {
        all + &context(&is("N", &n.to_string()), 2)
    })
}

/// A database of many contexts, and so many more containers in which `X` is repeated behind other entries.
fn repeated(count: u32, before: &str) -> String {
    let containers = (0..count).fold("<ContainerSet>".to_owned(), |all, n| {
        all + &format!(
            "<SequenceContainer name=\"C{n}\" abstract=\"true\"><EntryList>{before}<ParameterRefEntry parameterRef=\"X\"><RepeatEntry>\
             <Count><FixedValue>4090</FixedValue></Count></RepeatEntry></ParameterRefEntry></EntryList></SequenceContainer>"
        )
    });
    database(&many_contexts(), &entries(&["N", "X"])).replace("<ContainerSet>", &containers)
}

/// A parameter that does not stand before is said of a type once, wherever its fields are and whatever else it asks for.
#[test]
fn what_does_not_stand_before_is_said_once_of_a_type() {
    let perhaps = "<ParameterRefEntry parameterRef=\"N\"><IncludeCondition><Comparison parameterRef=\"MODE\" value=\"high\"/>\
        </IncludeCondition></ParameterRefEntry>";
    for (before, wanted) in [
        (
            String::new(),
            "has a calibrator by \"N\", which does not stand before",
        ),
        (
            entries(&["MODE", "N"]) + perhaps,
            "is by \"N\", which stands before more than once, at last under a condition",
        ),
    ] {
        let said = wrong(&repeated(30, &before));
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(wanted), "{said}");
    }
}

/// Comparisons of contexts are of those that have a bound, in each container that has them.
#[test]
fn comparisons_of_contexts_have_a_bound_together() {
    // 261,760 in each, and 64 in the packet.
    let with = |count| repeated(count, &entries(&["N"]));
    good(&with(2));
    let said = wrong(&with(3));
    assert!(
        said.contains("is one of containers with more than 524288 comparisons together"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// Each of two parameters decides what the other one means: one of them stands behind the other, whichever values are meant.
#[test]
fn a_circle_is_refused() {
    let circle = {
        let own = |name: &str, of: &str| {
            format!(
                "<IntegerParameterType name=\"{name}\"><IntegerDataEncoding><ContextCalibratorList>{}</ContextCalibratorList></IntegerDataEncoding>\
                 </IntegerParameterType>",
                context(&compared(of, "==", "1", "useCalibratedValue=\"false\""), 2)
            )
        };
        let parameters = "<Parameter name=\"A\" parameterTypeRef=\"TA\"/><Parameter name=\"B\" parameterTypeRef=\"TB\"/>";
        text(
            &(own("TA", "B") + &own("TB", "A")),
            parameters,
            &entries(&["A", "B"]),
        )
    };
    let calibrated = circle.replace(" useCalibratedValue=\"false\"", "");
    each_says([
        (
            circle,
            "has a calibrator by \"B\", which does not stand before",
        ),
        (calibrated, "Comparison: compares what a calibrator gives"),
    ]);
}

type Holds = fn(u8, u8) -> bool;

/// Each context holds or not as its comparisons say, whatever they are.
#[test]
fn random_contexts_are_those_that_hold_first() {
    let mut chance = Chance::new(23);
    let operators: [(&str, Holds); 6] = [
        ("==", |a, b| a == b),
        ("!=", |a, b| a != b),
        ("&lt;", |a, b| a < b),
        ("&lt;=", |a, b| a <= b),
        ("&gt;", |a, b| a > b),
        ("&gt;=", |a, b| a >= b),
    ];
    let mut met = [0; 4];
    for _ in 0..60 {
        let mut one = || {
            let (operator, holds) = operators[chance.below(6)];
            let (at, value) = (chance.below(2), chance.bytes(1)[0] % 8);
            let text = compared(["N", "LEN"][at], operator, &value.to_string(), "");
            (text, move |of: [u8; 2]| holds(of[at], value))
        };
        let all: Vec<_> = (0..3).map(|_| [one(), one()]).collect();
        let contexts = all.iter().zip(2..).fold(String::new(), |text, (both, by)| {
            let list = format!(
                "<ComparisonList>{}{}</ComparisonList>",
                both[0].0, both[1].0
            );
            text + &context(&list, by)
        });
        let database = good(&database(&contexts, &entries(&["N", "X"])));
        for n in 0..8 {
            // Data of 2 to 6 bytes, of which the header counts one less.
            for more in 0..5 {
                let mut data = vec![n, 4];
                data.resize(2 + more, 0);
                let of = [n, u8::try_from(1 + more).unwrap()];
                let first = all
                    .iter()
                    .position(|both| both.iter().all(|(_, holds)| holds(of)));
                let wanted = first.map_or(100.0, |at| [2.0, 3.0, 4.0][at]);
                assert_eq!(
                    slopes(&database, &data),
                    [Some(wanted)],
                    "{of:?}\n{contexts}"
                );
                met[first.unwrap_or(3)] += 1;
            }
        }
    }
    assert!(met.iter().all(|count| *count > 100), "{met:?}");
}
