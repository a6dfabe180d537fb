//! Nothing that bears on bits or values vanishes in silence.

use super::refused::each_says;
use super::{Tree, found, good, text, with, wrong};
use crate::telemetry::database::Found;
use crate::telemetry::database::field::Raw;
use crate::telemetry::database::xtce::element::Element;

fn sized(kind: &str, inner: &str) -> String {
    with(&format!(
        "<{kind}ParameterType name=\"T\"><{kind}DataEncoding>{inner}</{kind}DataEncoding></{kind}ParameterType>"
    ))
}

#[test]
fn what_holds_notes_alone_is_as_what_holds_nothing() {
    let calibrator = "<DefaultCalibrator><AncillaryDataSet/></DefaultCalibrator>";
    each_says([
        (
            sized("Binary", "<LongDescription/>"),
            "BinaryDataEncoding: has no SizeInBits; give it one",
        ),
        (
            sized("String", "<LongDescription/>"),
            "StringDataEncoding: has no SizeInBits; give it one",
        ),
        (
            sized("Binary", "<SizeInBits><AncillaryDataSet/></SizeInBits>"),
            "SizeInBits: has no FixedValue; give it one",
        ),
        (
            sized("Integer", calibrator),
            "DefaultCalibrator: has no calibrator; give it",
        ),
    ]);
}

/// The net below all that reads: whatever makes nothing of an element without a word.
#[test]
fn nothing_made_is_said() {
    let tree = Tree::read("<SpaceSystem name=\"S\"/>");
    let root = Element::root(&tree).unwrap();
    assert_eq!(root.said(Some(1)), Some(1));
    assert!(!tree.has_problems());
    assert_eq!(root.said(None::<u8>), None);
    assert_eq!(root.said(None::<u8>), None);
    let problems = tree.problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].what, "cannot be read");
}

/// A text with the first element of a name twice.
fn doubled(text: &str, name: &str) -> String {
    let begins = [format!("<{name}>"), format!("<{name} ")];
    let at = begins.iter().filter_map(|begin| text.find(begin)).min();
    let end = format!("</{name}>");
    let (at, behind) = at.zip(text.find(&end)).expect(name);
    let one = &text[at..behind + end.len()];
    text.replacen(one, &one.repeat(2), 1)
}

#[test]
fn a_second_element_is_refused_where_one_is_read() {
    let types = "<StringParameterType name=\"T\"><StringDataEncoding><SizeInBits><Fixed><FixedValue>16</FixedValue></Fixed>\
                 <TerminationChar>00</TerminationChar><LeadingSize sizeInBitsOfSizeTag=\"8\"></LeadingSize></SizeInBits></StringDataEncoding>\
                 </StringParameterType><BinaryParameterType name=\"B\"><BinaryDataEncoding><SizeInBits><DynamicValue><ParameterInstanceRef \
                 parameterRef=\"LEN\"></ParameterInstanceRef></DynamicValue></SizeInBits></BinaryDataEncoding></BinaryParameterType>\
                 <EnumeratedParameterType name=\"E\"><IntegerDataEncoding/><EnumerationList><Enumeration value=\"1\" label=\"on\"/>\
                 </EnumerationList></EnumeratedParameterType>";
    let entries = "<ParameterRefEntry parameterRef=\"X\"><LocationInContainerInBits><FixedValue>8</FixedValue></LocationInContainerInBits>\
                   <RepeatEntry><Count><FixedValue>2</FixedValue></Count></RepeatEntry><IncludeCondition>\
                   <Comparison parameterRef=\"ID\" value=\"1\"/></IncludeCondition></ParameterRefEntry>";
    let child = "<SequenceContainer name=\"C\"><BaseContainer containerRef=\"P\"><RestrictionCriteria><Comparison parameterRef=\"LEN\" \
                 value=\"1\"/></RestrictionCriteria></BaseContainer><EntryList/></SequenceContainer></ContainerSet>";
    let x = "<Parameter name=\"X\" parameterTypeRef=\"T\"/>";
    let once = text(types, x, entries).replace("</ContainerSet>", child);
    good(&once);
    for name in [
        "SizeInBits",
        "Fixed",
        "FixedValue",
        "TerminationChar",
        "LeadingSize",
        "DynamicValue",
        "ParameterInstanceRef",
        "EnumerationList",
        "LocationInContainerInBits",
        "RepeatEntry",
        "Count",
        "IncludeCondition",
        "BaseContainer",
        "RestrictionCriteria",
        "ParameterTypeSet",
    ] {
        let said = wrong(&doubled(&once, name));
        let wanted = format!("{name}: stands here a second time; keep one");
        assert!(said.contains(&wanted), "{said}");
    }
}

#[test]
fn points_of_another_order_than_their_calibrator_are_refused() {
    let spline = |order: &str, own: &str| {
        let calibrator = format!(
            "<DefaultCalibrator><SplineCalibrator{order}><SplinePoint raw=\"0\" calibrated=\"1\"{own}/>\
             <SplinePoint raw=\"8\" calibrated=\"3\"{own}/></SplineCalibrator></DefaultCalibrator>"
        );
        sized("Integer", &calibrator)
    };
    let at = |text: &str| good(text).parameter("X").unwrap().calibrated(4.0, None);
    let order = |number: u8| format!(" order=\"{number}\"");
    assert_eq!(at(&spline("", &order(1))), Some(2.0));
    assert_eq!(at(&spline(&order(0), "")), Some(1.0));
    assert_eq!(at(&spline(&order(0), &order(0))), Some(1.0));
    each_says([(
        spline("", &order(0)),
        "SplinePoint: has another order than its calibrator; give the calibrator an order",
    )]);
}

/// Where a name says that there is no size, none is made.
#[test]
fn an_adjustment_of_no_size_is_refused() {
    let text = sized(
        "String",
        "<Variable maxSizeInBits=\"80\"><DynamicValue><ParameterInstanceRef parameterRef=\"_yamcs_ignore\"/>\
         <LinearAdjustment slope=\"8\"/></DynamicValue><LeadingSize/></Variable>",
    );
    each_says([(text, "DynamicValue/LinearAdjustment: is not supported")]);
}

#[test]
fn a_truth_value_has_the_word_that_it_does_not_say_from_its_base() {
    let types = "<BooleanParameterType name=\"B\" zeroStringValue=\"cold\" oneStringValue=\"hot\"><IntegerDataEncoding/></BooleanParameterType>\
                 <BooleanParameterType name=\"T\" baseType=\"B\" zeroStringValue=\"off\"/>";
    let compared = |word: &str| {
        let entries = format!(
            "<ParameterRefEntry parameterRef=\"X\"/><ParameterRefEntry parameterRef=\"SEQ\"><IncludeCondition><Comparison \
             parameterRef=\"X\" value=\"{word}\"/></IncludeCondition></ParameterRefEntry>"
        );
        text(
            types,
            "<Parameter name=\"X\" parameterTypeRef=\"T\"/>",
            &entries,
        )
    };
    let database = good(&compared("hot"));
    let label = |number| database.parameter("X").unwrap().label(number);
    assert_eq!([label(0), label(1)], [Some("off"), Some("hot")]);
    assert_eq!(found(&database, &[1, 0, 9])[1].1, Found::Value(Raw::Int(9)));
    each_says([(compared("True"), "compares with \"True\", which is no name")]);
}

#[test]
fn what_checks_a_packet_is_named_where_it_is_refused() {
    each_says([(
        sized("Integer", "<ErrorDetectCorrect/>"),
        "ErrorDetectCorrect: is not supported; take it out: what checks a packet is the transform check_crc",
    )]);
}
