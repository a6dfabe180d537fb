//! What a file may make grow has a bound, and nothing in it stops the reader.

use super::{good, read, text, wrong};
use crate::telemetry::testing::Chance;

/// What a file may make grow.
#[test]
fn hostile_files_are_refused_within_bounds() {
    let deep = "<SpaceSystem name=\"a\">".repeat(100_000);
    assert!(wrong(&deep).contains("more than 64 deep"));
    let many = format!("<SpaceSystem name=\"a\">{}", "<b/>".repeat(600_000));
    assert!(wrong(&many).contains("more than 524288 elements"));
    let attributes = (0..100_000).fold(String::new(), |all, n| all + &format!(" a{n}=\"\""));
    assert!(wrong(&format!("<SpaceSystem{attributes}/>")).contains("more than 32 attributes"));
    let problems = format!(
        "<SpaceSystem name=\"{}\">{}</SpaceSystem>",
        "n".repeat(1 << 20),
        "<b/>".repeat(5000)
    );
    let said = wrong(&problems);
    assert!(
        said.lines().count() <= 1000 && said.len() < 1 << 20,
        "{}",
        said.len()
    );
    let of = "<IntegerParameterType name=\"T\"><IntegerDataEncoding/></IntegerParameterType>";
    let x = "<Parameter name=\"X\" parameterTypeRef=\"T\"/>";
    let entries = text(
        of,
        x,
        &"<ParameterRefEntry parameterRef=\"X\"/>".repeat(5000),
    );
    assert!(wrong(&entries).contains("more than 4096 fields"));
    // Each container has the one before twice, and each is based on the one before.
    let line = |count: usize, inner: &dyn Fn(usize) -> String| {
        let each = (1..count).fold(String::new(), |all, n| {
            all + &format!(
                "<SequenceContainer name=\"C{n}\">{}</SequenceContainer>\n",
                inner(n)
            )
        });
        text(of, x, "<ParameterRefEntry parameterRef=\"X\"/>")
            .replace(
                "<SequenceContainer name=\"P\">",
                "<SequenceContainer name=\"C0\">",
            )
            .replace("</ContainerSet>", &(each + "</ContainerSet>"))
    };
    let doubled = line(60, &|n| {
        format!(
            "<EntryList><ContainerRefEntry containerRef=\"C{0}\"/><ContainerRefEntry containerRef=\"C{0}\"/></EntryList>",
            n - 1
        )
    });
    assert!(wrong(&doubled).contains("more than 4096 fields"));
    // Each in front of the one it has, as base or as a part, and each behind it.
    let base = |of: usize| format!("<EntryList/><BaseContainer containerRef=\"C{of}\"/>");
    let part =
        |of: usize| format!("<EntryList><ContainerRefEntry containerRef=\"C{of}\"/></EntryList>");
    for long in [
        line(500, &|n| base(n % 499 + 1)),
        line(66, &|n| base(n - 1)),
        line(500, &|n| part(n % 499 + 1)),
        line(66, &|n| part(n - 1)),
    ] {
        assert!(wrong(&long).contains("a line of more than 64 containers"));
    }
    good(&line(65, &|n| part(n - 1)));
    // Paths to and fro, looked for in each of many systems.
    let path = "A/../".repeat(200);
    let entry = format!("<ParameterRefEntry parameterRef=\"{path}X\"/>");
    let inner = format!(
        "<TelemetryMetaData><ContainerSet><SequenceContainer name=\"C\"><EntryList>{}</EntryList></SequenceContainer>\
         </ContainerSet></TelemetryMetaData>",
        entry.repeat(300)
    );
    let systems = 50;
    let inner =
        "<SpaceSystem name=\"A\">".repeat(systems) + &inner + &"</SpaceSystem>".repeat(systems);
    let said = wrong(&text(of, "", "").replace("</SpaceSystem>", &(inner + "</SpaceSystem>")));
    assert!(
        said.contains("is one of references with more than 4194304 steps together"),
        "{said}"
    );
    let wide = "<ParameterRefEntry parameterRef=\"X\"/>".repeat(4000);
    let all = line(90, &|_| {
        "<EntryList/><BaseContainer containerRef=\"C0\"/>".to_owned()
    })
    .replace("<ParameterRefEntry parameterRef=\"X\"/>", &wide);
    assert!(wrong(&all).contains("more than 262144 fields together"));
    // What was made counts, too, where it is refused behind.
    let refused = wrong(&all.replace("<EntryList/>", ""));
    assert_eq!(refused.matches("has no EntryList").count(), 65);
}

/// What is written once and holds of many: it is there once, or counted wherever it holds.
#[test]
fn no_product_of_what_a_file_has_makes_it_grow() {
    let of = "<EnumeratedParameterType name=\"T\"><IntegerDataEncoding/><EnumerationList><Enumeration value=\"3\" label=\"on\"/>\
              </EnumerationList></EnumeratedParameterType>";
    let two = ["X", "Y"]
        .map(|name| format!("<Parameter name=\"{name}\" parameterTypeRef=\"T\"/>"))
        .concat();
    let database = good(&text(of, &two, ""));
    let [x, y] = ["X", "Y"].map(|name| &database.parameter(name).unwrap().labels);
    assert!(x.len() == 1 && std::sync::Arc::ptr_eq(x, y));

    let list = |count: usize| {
        let comparison = "<Comparison parameterRef=\"ID\" comparisonOperator=\"!=\" value=\"7\"/>";
        format!(
            "<ComparisonList>{}</ComparisonList>",
            comparison.repeat(count)
        )
    };
    let repeated = |count: usize, times: usize| {
        let entry = format!(
            "<ParameterRefEntry parameterRef=\"X\"><RepeatEntry><Count><FixedValue>{times}</FixedValue></Count></RepeatEntry>\
             <IncludeCondition>{}</IncludeCondition></ParameterRefEntry>",
            list(count)
        );
        text(of, &two, &entry)
    };
    good(&repeated(64, 9));
    assert!(wrong(&repeated(65, 9)).contains("has 65 comparisons; keep it to 64"));
    // Containers behind the first one, with what they are based on.
    let behind = |text: &str, bases: &[usize]| {
        let each = (1..).zip(bases).map(|(n, base)| {
            format!(
                "<SequenceContainer name=\"C{n}\"><EntryList/><BaseContainer containerRef=\"C{base}\"><RestrictionCriteria>\
                 {}</RestrictionCriteria></BaseContainer></SequenceContainer>\n",
                list(64)
            )
        });
        let each = each.collect::<Vec<_>>().concat();
        let text = text.replace("name=\"P\"", "name=\"C0\"");
        text.replace("</ContainerSet>", &(each + "</ContainerSet>"))
    };
    let line: Vec<usize> = (0..60).chain([60; 120]).collect();
    for many in [
        behind(&repeated(64, 4000), &[0; 9]),
        behind(&text(of, &two, ""), &line),
    ] {
        // Once: what comes behind is not even made.
        let said = wrong(&many);
        let found = said.matches("more than 524288 comparisons together");
        assert_eq!(found.count(), 1, "{said}");
    }
}

#[test]
fn what_is_changed_by_chance_never_stops_it() {
    let more = include_str!("../../../../../tests/xtce/more.xml");
    let nested = include_str!("../../../../../tests/xtce/nested.xml");
    let mut chance = Chance::new(5);
    let mut refused = 0;
    for round in 0..1500 {
        let right = if round % 2 == 0 { more } else { nested };
        let mut text = right.as_bytes().to_vec();
        for _ in 0..=chance.below(3) {
            let at = chance.below(text.len());
            if chance.below(2) == 0 {
                text[at] = chance.bytes(1)[0] & 0x7f;
            } else {
                let end = (at + chance.below(200)).min(text.len());
                text.drain(at..end);
            }
        }
        let Ok(text) = String::from_utf8(text) else {
            continue;
        };
        match read(&text) {
            Ok(database) => assert!(database.size().0 > 0 || !text.contains("SequenceContainer")),
            Err(problems) => {
                assert!(
                    problems
                        .iter()
                        .all(|problem| problem.line > 0 && !problem.remedy.is_empty())
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

/// What names a size is looked for once, however many fields are of the type, and each part of a path counts.
#[test]
fn references_that_cost_much_are_refused() {
    let sized = |reference: &str| {
        let types = format!(
            "<BinaryParameterType name=\"B\"><BinaryDataEncoding><SizeInBits><DynamicValue><ParameterInstanceRef parameterRef=\"{reference}\"/>\
             </DynamicValue></SizeInBits></BinaryDataEncoding></BinaryParameterType><ArrayParameterType name=\"T\" arrayTypeRef=\"B\">\
             <DimensionList><Dimension><StartingIndex><FixedValue>0</FixedValue></StartingIndex><EndingIndex><FixedValue>2000</FixedValue>\
             </EndingIndex></Dimension></DimensionList></ArrayParameterType>"
        );
        let x = "<Parameter name=\"X\" parameterTypeRef=\"T\"/>";
        let entries = "<ParameterRefEntry parameterRef=\"X\"/>\n".repeat(2);
        let other = format!(
            "<SequenceContainer name=\"Q\" abstract=\"true\"><EntryList><ParameterRefEntry parameterRef=\"LEN\"/>{entries}</EntryList></SequenceContainer></ContainerSet>"
        );
        text(&types, x, &entries).replace("</ContainerSet>", &other)
    };
    let long = |count: usize| format!(".{}LEN", "/".repeat(count));
    let said = wrong(&sized(&long(1021)));
    let wanted = "ParameterInstanceRef: has parameterRef of 1025 bytes; keep it to 1024";
    assert!(said.contains(wanted), "{said}");
    // Of each of the 8004 fields that would be eight million steps.
    good(&sized(&long(1020)));
    let said = wrong(&sized("GONE"));
    assert_eq!(said.matches("is nowhere").count(), 1, "{said}");
    let entry = format!("<ParameterRefEntry parameterRef=\"{}\"/>", long(1000));
    let container = |n: usize| {
        format!(
            "<SequenceContainer name=\"C{n}\"><EntryList>{}</EntryList></SequenceContainer>\n",
            entry.repeat(100)
        )
    };
    let many: String = (0..60).map(container).collect();
    let many = text("", "", "").replace("</ContainerSet>", &(many + "</ContainerSet>"));
    let said = wrong(&many);
    assert!(said.contains("steps together"), "{said}");
}

/// Empty containers, each of ten of the one before, and each farther off.
#[test]
fn places_that_add_up_beyond_a_packet_are_refused() {
    let part = |of: &str, at: i64| {
        format!(
            "<ContainerRefEntry containerRef=\"{of}\"><LocationInContainerInBits><FixedValue>{at}</FixedValue></LocationInContainerInBits>\
             </ContainerRefEntry>"
        )
    };
    let of = |at: i64, levels: usize| {
        let each = (1..levels).map(|n| {
            let inner = part(&format!("C{}", n - 1), 0).repeat(10);
            format!("<SequenceContainer name=\"C{n}\" abstract=\"true\"><EntryList>{inner}</EntryList></SequenceContainer>\n")
        });
        let first = format!(
            "<SequenceContainer name=\"EMPTY\"><EntryList/></SequenceContainer><SequenceContainer name=\"C0\"><EntryList>{}</EntryList>\
             </SequenceContainer>\n",
            part("EMPTY", at)
        );
        let all = first + &each.collect::<String>() + "</ContainerSet>";
        text("", "", "").replace("</ContainerSet>", &all)
    };
    for (at, said) in [
        (
            500_000,
            "leads to bit 1000000; a packet has bits 0 to 524336",
        ),
        (-500_000, "leads to bit -1000000; a packet has bits 0 to"),
    ] {
        let problems = wrong(&of(at, 20));
        assert!(problems.contains(said), "{problems}");
    }
    good(&of(5, 5));
}
