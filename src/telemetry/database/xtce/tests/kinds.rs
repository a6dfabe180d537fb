//! Which container takes a packet, and which is none.

use super::{good, text, wrong};

/// A container whose APID is asked for in bits of more than the APID, one that asks for something else, and one for the rest.
#[test]
fn the_nearest_container_takes_a_packet() {
    let child = |name: &str, base: &str, comparison: &str| {
        format!(
            "<SequenceContainer name=\"{name}\"><EntryList/><BaseContainer containerRef=\"{base}\"><RestrictionCriteria>\
             <Comparison {comparison}/></RestrictionCriteria></BaseContainer></SequenceContainer>\n"
        )
    };
    let children = child("First", "P", "parameterRef=\"ID\" value=\"43\"")
        + &child(
            "Second",
            "First",
            "parameterRef=\"SEQ\" comparisonOperator=\"&gt;\" value=\"49152\"",
        )
        + &child(
            "Long",
            "P",
            "parameterRef=\"LEN\" comparisonOperator=\"&gt;=\" value=\"256\"",
        );
    let text = text("", "", "").replace("</ContainerSet>", &(children + "</ContainerSet>"));
    let database = good(&text);
    let name = |bytes: [u8; 6]| database.packet(&bytes).map(|packet| packet.name.as_str());
    assert_eq!(name([0, 43, 0xc0, 0, 0, 0]), Some("First"));
    assert_eq!(name([0, 43, 0xc0, 1, 0, 0]), Some("Second"));
    // The same APID with another flag is not of that number.
    assert_eq!(name([8, 43, 0xc0, 1, 0, 0]), Some("P"));
    assert_eq!(name([8, 43, 0xc0, 1, 1, 0]), Some("Long"));
    assert_eq!(name([0, 7, 0, 0, 0, 0]), Some("P"));
    let twice = text
        .replace("\"49152\"", "\"-1\"")
        .replace("name=\"Second\"", "name=\"Second\" abstract=\"true\"");
    assert_eq!(
        good(&twice).packet(&[0, 43, 0, 0, 0, 0]).unwrap().name,
        "First"
    );
    let same = text.replace(
        "parameterRef=\"LEN\" comparisonOperator=\"&gt;=\" value=\"256\"",
        "parameterRef=\"ID\" value=\"43\"",
    );
    assert!(
        wrong(&same).contains("SequenceContainer \"Long\": is told from \"First\" by nothing"),
        "{}",
        wrong(&same)
    );
}

/// In whichever order they are, the deepest of an APID comes first, and behind all of these the deepest without one.
#[test]
fn the_container_farthest_from_the_root_takes_a_packet() {
    let child = |name: &str, base: &str, parameter: &str, value: u32| {
        format!(
            "<SequenceContainer name=\"{name}\"><EntryList/><BaseContainer containerRef=\"{base}\"><RestrictionCriteria>\
             <Comparison parameterRef=\"{parameter}\" comparisonOperator=\"&gt;=\" value=\"{value}\"/></RestrictionCriteria>\
             </BaseContainer></SequenceContainer>\n"
        )
    };
    let mut children = [
        child("A", "P", "LEN", 1),
        child("AA", "A", "LEN", 2),
        child("B", "P", "SEQ", 1),
        child("BB", "B", "SEQ", 2),
        child("BBB", "BB", "SEQ", 3),
        child("Apid", "P", "LEN", 4)
            .replace(
                "<Comparison ",
                "<ComparisonList><Comparison parameterRef=\"ID\" value=\"43\"/><Comparison ",
            )
            .replace("/></Rest", "/></ComparisonList></Rest"),
    ];
    for is_turned in [false, true] {
        if is_turned {
            children.reverse();
        }
        let all = children.concat() + "</ContainerSet>";
        let database = good(&text("", "", "").replace("</ContainerSet>", &all));
        let name = |apid, seq, len| {
            let packet = database.packet(&[0, apid, 0, seq, 0, len]);
            packet.unwrap().name.as_str()
        };
        assert_eq!(name(42, 3, 2), "BBB");
        assert_eq!(name(42, 1, 2), "AA");
        assert_eq!(name(42, 1, 1), if is_turned { "B" } else { "A" });
        assert_eq!(name(42, 0, 0), "P");
        assert_eq!(name(43, 3, 4), "Apid");
        assert_eq!(name(43, 3, 3), "BBB");
    }
}

#[test]
fn what_is_only_part_of_others_is_no_packet_nor_what_it_is_based_on() {
    let other = |name: &str, inner: &str| {
        format!("<SequenceContainer name=\"{name}\">{inner}</SequenceContainer>\n")
    };
    let based = "<EntryList/><BaseContainer containerRef=\"Inner\"/>";
    let part = "<EntryList><ContainerRefEntry containerRef=\"Part\"/></EntryList>\
                <BaseContainer containerRef=\"P\"><RestrictionCriteria><Comparison parameterRef=\"ID\" value=\"43\"/>\
                </RestrictionCriteria></BaseContainer>";
    let all = other(
        "Inner",
        "<EntryList><ParameterRefEntry parameterRef=\"X\"/></EntryList>",
    ) + &other("Part", based)
        + &other("Whole", part);
    let of = "<IntegerParameterType name=\"T\"><IntegerDataEncoding/></IntegerParameterType>";
    let right = text(of, "<Parameter name=\"X\" parameterTypeRef=\"T\"/>", "")
        .replace("name=\"P\"", "name=\"P\" abstract=\"true\"")
        .replace("</ContainerSet>", &(all + "</ContainerSet>"));
    let database = good(&right);
    assert_eq!(database.size().0, 1);
    assert_eq!(database.packet(&[0, 43, 0, 0, 0, 0]).unwrap().name, "Whole");
    assert!(database.packet(&[0, 42, 0, 0, 0, 0]).is_none());
    // What a packet is based on is one, unless it is abstract.
    let own = other(
        "Own",
        &part
            .replace("\"P\"", "\"Part\"")
            .replace("\"ID\" value=\"43\"", "\"X\" value=\"7\""),
    );
    let own = own.replace("<ContainerRefEntry containerRef=\"Part\"/>", "");
    let database = good(
        &right
            .replace("name=\"Inner\"", "name=\"Inner\" abstract=\"true\"")
            .replace("</ContainerSet>", &(own + "</ContainerSet>")),
    );
    assert_eq!(database.packet(&[7, 42, 0, 0, 0, 0]).unwrap().name, "Own");
    assert_eq!(database.packet(&[0, 42, 0, 0, 0, 0]).unwrap().name, "Part");
}
