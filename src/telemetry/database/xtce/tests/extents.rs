//! Entries whose place or size is in the packet.

use super::refused::each_says;
use super::{found, good, text};
use crate::telemetry::database::field::Raw;
use crate::telemetry::database::{Database, Found};

const TYPES: &str = "<IntegerParameterType name=\"U8\"><IntegerDataEncoding/></IntegerParameterType>\n\
    <BinaryParameterType name=\"B\"><BinaryDataEncoding><SizeInBits><DynamicValue><ParameterInstanceRef parameterRef=\"N\"/>\
    <LinearAdjustment slope=\"4\" intercept=\"-8\"/></DynamicValue></SizeInBits></BinaryDataEncoding></BinaryParameterType>\n\
    <StringParameterType name=\"S\"><StringDataEncoding><Variable maxSizeInBits=\"80\"><DynamicValue><ParameterInstanceRef \
    parameterRef=\"_yamcs_ignore\"/></DynamicValue><LeadingSize sizeInBitsOfSizeTag=\"8\"/></Variable></StringDataEncoding></StringParameterType>\n\
    <StringParameterType name=\"R\"><StringDataEncoding><SizeInBits><Fixed><FixedValue>32</FixedValue></Fixed>\
    <LeadingSize sizeInBitsOfSizeTag=\"8\"/></SizeInBits></StringDataEncoding></StringParameterType>\n\
    <AggregateParameterType name=\"A\"><MemberList><Member name=\"P\" typeRef=\"U8\"/><Member name=\"Q\" typeRef=\"U8\"/></MemberList>\
    </AggregateParameterType>\n";

const PARAMETERS: [(&str, &str); 7] = [
    ("N", "U8"),
    ("DATA", "B"),
    ("TEXT", "S"),
    ("ROOM", "R"),
    ("PAIR", "A"),
    ("X", "U8"),
    ("Y", "U8"),
];

fn database(entries: &str) -> String {
    let parameters = PARAMETERS
        .map(|(name, of)| format!("<Parameter name=\"{name}\" parameterTypeRef=\"{of}\"/>"));
    text(TYPES, &parameters.concat(), entries)
}

fn entries(names: &[&str]) -> String {
    let each = names.iter().map(|name| entry(name, ""));
    each.collect()
}

fn entry(name: &str, inner: &str) -> String {
    format!("<ParameterRefEntry parameterRef=\"{name}\">{inner}</ParameterRefEntry>\n")
}

fn only_if(name: &str, value: u8) -> String {
    format!(
        "<IncludeCondition><Comparison parameterRef=\"{name}\" value=\"{value}\"/></IncludeCondition>"
    )
}

/// What is found, in short: numbers, bytes as a text, `-` for what is not there, `?` for what the packet ends before.
fn read(database: &Database, data: &[u8]) -> String {
    let each = found(database, data)
        .into_iter()
        .map(|(_, found)| match found {
            Found::Value(Raw::Int(value)) => value.to_string(),
            Found::Value(Raw::Bytes(bytes)) => format!("{:?}", String::from_utf8_lossy(&bytes)),
            Found::Invalid => "-".to_owned(),
            Found::Short => "?".to_owned(),
            other @ Found::Value(_) => panic!("{other:?}"),
        });
    each.collect::<Vec<_>>().join(" ")
}

#[test]
fn bytes_are_as_many_as_a_parameter_says() {
    let all = good(&database(&entries(&["N", "DATA", "X"])));
    assert_eq!(read(&all, b"\x06ab\x07"), "6 \"ab\" 7");
    assert_eq!(read(&all, b"\x02\x07"), "2 \"\" 7");
    // Below nothing, no whole bytes, and more than there is.
    for data in [b"\x00ab\x07", b"\x05ab\x07", b"\xfeab\x07"] {
        assert_eq!(
            read(&all, data).split_once(' ').unwrap().1,
            "? ?",
            "{data:?}"
        );
    }
    assert_eq!(read(&all, b"\x08abc"), "8 \"abc\" ?");
    assert_eq!(read(&all, b""), "? ? ?");
}

#[test]
fn a_tag_counts_the_bytes_of_a_text() {
    let all = good(&database(&entries(&["TEXT", "X"])));
    assert_eq!(read(&all, b"\x03abc\x07"), "\"abc\" 7");
    assert_eq!(read(&all, b"\x00\x07"), "\"\" 7");
    assert_eq!(read(&all, b"\x03a\0c\x07"), "\"a\" 7");
    assert_eq!(read(&all, b"\x09abc\x07"), "? ?");
    // In a room of its own, which it cannot leave.
    let all = good(&database(&entries(&["ROOM", "X"])));
    assert_eq!(read(&all, b"\x02abc\x07"), "\"ab\" 7");
    assert_eq!(read(&all, b"\x03abc\x07"), "\"abc\" 7");
    assert_eq!(read(&all, b"\x01ab"), "? ?");
    assert_eq!(read(&all, b"\x04abcd\x07").split(' ').next(), Some("?"));
}

#[test]
fn what_follows_an_entry_that_is_not_there_takes_its_place() {
    let all = entries(&["N"])
        + &entry("X", &only_if("N", 1))
        + &entry("PAIR", &only_if("N", 2))
        + &entries(&["Y"]);
    let all = good(&database(&all));
    assert_eq!(read(&all, &[0, 9]), "0 - - - 9");
    assert_eq!(read(&all, &[1, 8, 9]), "1 8 - - 9");
    assert_eq!(read(&all, &[2, 7, 8, 9]), "2 - 7 8 9");
    assert_eq!(read(&all, &[2, 7]), "2 - 7 ? ?");
    // Where it would have been does not count: with a gap before it, and with a place of its own.
    let gap = "<LocationInContainerInBits><FixedValue>8</FixedValue></LocationInContainerInBits>";
    let fixed = "<LocationInContainerInBits referenceLocation=\"containerStart\"><FixedValue>80</FixedValue></LocationInContainerInBits>";
    for (place, data) in [(gap, &[1, 0, 8, 9][..]), (fixed, &[1, 0, 0, 0, 8, 9])] {
        let all = entries(&["N"])
            + &entry("X", &(place.to_owned() + &only_if("N", 1)))
            + &entries(&["Y"]);
        let all = good(&database(&all));
        assert_eq!(read(&all, data), "1 8 9");
        assert_eq!(read(&all, &[0, 9]), "0 - 9");
    }
}

#[test]
fn a_container_in_another_one_goes_with_what_is_before_it() {
    let part = "<SequenceContainer name=\"PART\"><EntryList>".to_owned()
        + &entries(&["N", "DATA"])
        + &entry("X", &only_if("N", 6))
        + &entries(&["Y"])
        + "</EntryList></SequenceContainer>";
    let all = entries(&["TEXT"]) + "<ContainerRefEntry containerRef=\"PART\"/>" + &entries(&["X"]);
    let all = database(&all).replace("<ContainerSet>", &("<ContainerSet>".to_owned() + &part));
    let all = good(&all);
    assert_eq!(
        read(&all, b"\x01a\x06bc\x01\x02\x03"),
        "\"a\" 6 \"bc\" 1 2 3"
    );
    assert_eq!(read(&all, b"\x00\x04b\x02\x03"), "\"\" 4 \"b\" - 2 3");
}

#[test]
fn what_has_no_place_is_no_size_and_tells_no_packet() {
    let back = "<LocationInContainerInBits><FixedValue>-8</FixedValue></LocationInContainerInBits>";
    let child = |of: &str| {
        format!(
            "<SequenceContainer name=\"C\"><EntryList/><BaseContainer containerRef=\"P\"><RestrictionCriteria><Comparison \
             parameterRef=\"{of}\" value=\"1\"/></RestrictionCriteria></BaseContainer></SequenceContainer></ContainerSet>"
        )
    };
    let based = |all: &str, of: &str| database(all).replace("</ContainerSet>", &child(of));
    let optional = entries(&["N"]) + &entry("X", &only_if("N", 1)) + &entries(&["Y"]);
    good(&based(&optional, "N"));
    each_says([
        (
            database(&entries(&["DATA", "N"])),
            "ParameterRefEntry: has a size of \"N\", which does not stand before; put the parameter",
        ),
        (
            database(&(entries(&["N", "DATA"]) + &entry("X", back))),
            "leads from bit -8 to bit 0, counted from another entry",
        ),
        (based(&optional, "X"), "Comparison: compares what may not be there"),
        (based(&optional, "Y"), "Comparison: compares what has no fixed place"),
        (
            database(&entries(&["N", "DATA"])).replace(
                "name=\"U8\"><IntegerDataEncoding/>",
                "name=\"U8\"><IntegerDataEncoding><DefaultCalibrator><PolynomialCalibrator><Term coefficient=\"1\" exponent=\"1\"/>\
                 </PolynomialCalibrator></DefaultCalibrator></IntegerDataEncoding>",
            ),
            "ParameterInstanceRef: takes a size from what a calibrator gives; write useCalibratedValue=\"false\"",
        ),
    ]);
}

#[test]
fn conditions_are_comparisons_in_three_elements() {
    let condition = |of: &str, operator: &str, value: &str| {
        format!(
            "<Condition><ParameterInstanceRef parameterRef=\"{of}\"/><ComparisonOperator>{operator}</ComparisonOperator>\
             <Value> {value} </Value></Condition>"
        )
    };
    let both = condition("N", "&gt;", "2") + &condition("Y", "!=", "4");
    for (inner, wanted) in [
        (condition("N", "&gt;", "2"), [false, true, true]),
        (
            format!("<ANDedConditions>{both}</ANDedConditions>"),
            [false, false, true],
        ),
    ] {
        let inner = format!(
            "<IncludeCondition><BooleanExpression>{inner}</BooleanExpression></IncludeCondition>"
        );
        let all = good(&database(&(entries(&["N", "Y"]) + &entry("X", &inner))));
        let holds = [[2, 5, 9], [3, 4, 9], [3, 5, 9]].map(|data| read(&all, &data).ends_with('9'));
        assert_eq!(holds, wanted, "{inner}");
    }
}

/// What is not known neither holds nor does not: what is behind has no place.
#[test]
fn a_condition_on_what_the_packet_ends_before_gives_no_value() {
    let far = "<LocationInContainerInBits referenceLocation=\"containerStart\"><FixedValue>96</FixedValue></LocationInContainerInBits>";
    let near = "<LocationInContainerInBits referenceLocation=\"containerStart\"><FixedValue>48</FixedValue></LocationInContainerInBits>";
    let all =
        entry("N", far) + &entry("X", &(near.to_owned() + &only_if("N", 1))) + &entries(&["Y"]);
    let all = good(&database(&all));
    assert_eq!(read(&all, &[8, 9, 0, 0, 0, 0, 1]), "1 8 9");
    assert_eq!(read(&all, &[8, 9, 0, 0, 0, 0]), "? ? ?");
    // One that is known not to hold is enough.
    let both = "<IncludeCondition><ComparisonList><Comparison parameterRef=\"N\" value=\"1\"/><Comparison parameterRef=\"LEN\" \
                comparisonOperator=\"&gt;\" value=\"9999\"/></ComparisonList></IncludeCondition>";
    let all = good(&database(
        &(entry("N", far) + &entry("X", &(near.to_owned() + both))),
    ));
    assert_eq!(read(&all, &[8]), "? -");
}

#[test]
fn what_stands_several_times_and_may_be_missing_is_no_reference() {
    let twice = entries(&["N"]) + &entry("X", &only_if("N", 1)) + &entry("X", &only_if("N", 2));
    let said =
        "is by \"X\", which stands before more than once, at last under a condition; give each";
    let dynamic =
        |all: &str| database(all).replace("parameterRef=\"N\"/><Lin", "parameterRef=\"X\"/><Lin");
    each_says([
        (
            database(&(twice.clone() + &entry("Y", &only_if("X", 5)))),
            said,
        ),
        (dynamic(&(twice.clone() + &entries(&["DATA"]))), said),
    ]);
    // Once, at last in every packet, or under the same condition: there is no doubt.
    let once = entries(&["N"]) + &entry("X", &only_if("N", 1));
    let same = once.clone() + &entry("X", &only_if("N", 1)) + &entry("Y", &only_if("X", 5));
    let same = good(&database(&same));
    assert_eq!(read(&same, &[1, 4, 5, 9]), "1 4 5 9");
    assert_eq!(read(&same, &[1, 5, 4, 9]), "1 5 4 -");
    good(&database(&(once.clone() + &entry("Y", &only_if("X", 5)))));
    good(&database(
        &(once + &entries(&["X"]) + &entry("Y", &only_if("X", 5))),
    ));
    let all = good(&dynamic(&(twice + &entry("DATA", &only_if("N", 2)))));
    assert_eq!(read(&all, b"\x02\x06ab"), "2 - 6 \"ab\"");
}

#[test]
fn a_size_may_be_of_any_number_with_a_sign() {
    for (encoding, minus) in [("signMagnitude", 0x86), ("onesComplement", 0xf9)] {
        let coded = format!("<IntegerDataEncoding encoding=\"{encoding}\"/>");
        let all = database(&entries(&["N", "DATA"])).replace(
            "name=\"U8\"><IntegerDataEncoding/>",
            &format!("name=\"U8\">{coded}"),
        );
        let all = good(&all);
        assert_eq!(read(&all, b"\x06ab"), "6 \"ab\"");
        assert_eq!(read(&all, &[minus, 1, 2]), "-6 ?");
    }
}

/// The place where it would go on without an entry counts for those alone that may be missing.
#[test]
fn a_part_before_the_place_that_it_is_in_begins_with_an_entry_of_its_own_place() {
    let own = "<LocationInContainerInBits referenceLocation=\"containerStart\"><FixedValue>56</FixedValue></LocationInContainerInBits>";
    let part = "<SequenceContainer name=\"PART\"><EntryList>".to_owned()
        + &entries(&["N", "DATA"]).replace("\"N\">", &format!("\"N\">{own}"))
        + "</EntryList></SequenceContainer>";
    let place = "<LocationInContainerInBits referenceLocation=\"containerStart\"><FixedValue>-8</FixedValue></LocationInContainerInBits>";
    let all = format!("<ContainerRefEntry containerRef=\"PART\">{place}</ContainerRefEntry>");
    let all = database(&all).replace("<ContainerSet>", &("<ContainerSet>".to_owned() + &part));
    let all = good(&all);
    assert_eq!(read(&all, b"\x06ab"), "6 \"ab\"");
}

fn string(inner: &str) -> String {
    let begin = TYPES.find("<StringParameterType name=\"S\"").unwrap();
    let end = TYPES.find("<StringParameterType name=\"R\"").unwrap();
    let text = format!(
        "<StringParameterType name=\"S\"><StringDataEncoding><Variable{inner}</Variable></StringDataEncoding></StringParameterType>"
    );
    database(&entries(&["N", "TEXT", "X"])).replace(&TYPES[begin..end], &text)
}

const OF_N: &str = "<DynamicValue><ParameterInstanceRef parameterRef=\"N\"/><LinearAdjustment slope=\"8\"/></DynamicValue>";

#[test]
fn a_tag_may_have_the_room_that_a_parameter_says() {
    let all = good(&string(&format!(
        ">{OF_N}<LeadingSize sizeInBitsOfSizeTag=\"8\"/>"
    )));
    assert_eq!(read(&all, b"\x04\x02abc\x07"), "4 \"ab\" 7");
    assert_eq!(read(&all, b"\x04\x03abc\x07"), "4 \"abc\" 7");
    assert_eq!(read(&all, b"\x04\x04abc\x07"), "4 ? ?");
    assert_eq!(read(&all, b"\x00\x00\x07"), "0 ? ?");
}

#[test]
fn a_text_of_more_than_it_may_have_has_no_value() {
    let plain = good(&string(&format!(" maxSizeInBits=\"24\">{OF_N}")));
    assert_eq!(read(&plain, b"\x03abc\x07"), "3 \"abc\" 7");
    assert_eq!(read(&plain, b"\x04abcd\x07"), "4 ? ?");
    let tagged = good(&string(&format!(
        " maxSizeInBits=\"16\">{OF_N}<LeadingSize sizeInBitsOfSizeTag=\"8\"/>"
    )));
    assert_eq!(read(&tagged, b"\x04\x02abc\x07"), "4 \"ab\" 7");
    assert_eq!(read(&tagged, b"\x04\x03abc\x07"), "4 ? ?");
    each_says([(
        string(&format!(" maxSizeInBits=\"x\">{OF_N}")),
        "Variable: has maxSizeInBits = \"x\"; write a number",
    )]);
}

/// Fields that lie over each other do not make a packet any greater than it may be.
#[test]
fn texts_and_bytes_of_a_packet_have_a_bound_together() {
    let types = "<BinaryParameterType name=\"T\"><BinaryDataEncoding><SizeInBits><FixedValue>480000</FixedValue></SizeInBits></BinaryDataEncoding>\
                 </BinaryParameterType>";
    let entry = "<ParameterRefEntry parameterRef=\"X\"><LocationInContainerInBits referenceLocation=\"containerStart\">\
                 <FixedValue>48</FixedValue></LocationInContainerInBits></ParameterRefEntry>";
    let x = "<Parameter name=\"X\" parameterTypeRef=\"T\"/>";
    let all = good(&text(types, x, &entry.repeat(20)));
    let all = found(&all, &vec![7; 60_000]);
    let short = all.iter().map(|(_, found)| *found == Found::Short);
    // Of 1048576 bytes.
    assert_eq!(short.clone().filter(|is_short| !is_short).count(), 17);
    assert!(short.skip(17).all(|is_short| is_short));
}
