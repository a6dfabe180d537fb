//! What is not of the subset, or wrong, is refused by its name, with its line.

use super::{good, text, with, wrong};

/// Everything that is not of the subset: what is said of it, with the line of the element.
#[test]
fn what_is_not_supported_is_refused_by_name() {
    let integer = |inner: &str| {
        format!("<IntegerParameterType name=\"T\">\n{inner}\n</IntegerParameterType>")
    };
    let encoded = |inner: &str| {
        integer(&format!(
            "<IntegerDataEncoding>{inner}</IntegerDataEncoding>"
        ))
    };
    let attribute = |more: &str| integer(&format!("<IntegerDataEncoding {more}/>"));
    let alarm = |inner: &str| {
        integer(&format!(
            "<IntegerDataEncoding/><DefaultAlarm>{inner}</DefaultAlarm>"
        ))
    };
    each_is_said([
        ("<IntegralParameterType name=\"T\"/>".to_owned(), "7: IntegralParameterType \"T\": is not supported"),
        (integer(""), "ParameterRefEntry: is of \"X\", whose type has no encoding, and so no bits; give the type one"),
        (integer("<FloatDataEncoding/>"), "8: IntegerParameterType \"T\"/FloatDataEncoding: is not supported"),
        (integer("<IntegerDataEncoding/><ValidRange minInclusive=\"2\" maxInclusive=\"1\"/>"), "8: IntegerParameterType \"T\"/ValidRange: allows no value; let its maximum"),
        (integer("<IntegerDataEncoding/><ValidRange/><ValidRange/>"), "ValidRange: stands here a second time; keep one"),
        (integer("<IntegerDataEncoding/><ValidRangeSet/>"), "ValidRangeSet: is not supported"),
        (integer("<IntegerDataEncoding/><ContextAlarmList/>"), "ContextAlarmList: is not supported; give a parameter of its own"),
        (attribute("encoding=\"BCD\""), "has encoding = \"BCD\", which is not supported; choose one of unsigned, twosComplement, signMagnitude"),
        (attribute("encoding=\"packedBCD\""), "has encoding = \"packedBCD\""),
        (attribute("encoding=\"signMagnitude\" sizeInBits=\"1\""), "has 1 bits; this encoding has 2 to 64 bits"),
        (attribute("encoding=\"twosComplemend\""), "(did you mean twosComplement?)"),
        (attribute("sizeInBits=\"65\""), "8: IntegerParameterType \"T\"/IntegerDataEncoding: has 65 bits; this encoding has 1 to 64 bits"),
        (attribute("sizeInBits=\"x\""), "has sizeInBits = \"x\"; write a number as sizeInBits"),
        (attribute("sizeInBits=\"12\" byteOrder=\"leastSignificantByteFirst\""), "numbers of whole bytes alone"),
        (attribute("byteOrder=\"1,0\""), "has byteOrder = \"1,0\", which is not supported"),
        (attribute("bitOrder=\"leastSignificantBitFirst\""), "has bitOrder = \"leastSignificantBitFirst\""),
        (attribute("sizeInBit=\"8\""), "has the attribute sizeInBit, which is not read (did you mean sizeInBits?)"),
        (encoded("<ErrorDetectCorrect/>"), "ErrorDetectCorrect: is not supported"),
        (encoded("<DefaultCalibrator><MathOperationCalibrator/></DefaultCalibrator>"), "MathOperationCalibrator: is not supported; write a Polynomial"),
        (encoded("<DefaultCalibrator/>"), "DefaultCalibrator: has no calibrator"),
        (encoded("<DefaultCalibrator><SplineCalibrator order=\"3\"/></DefaultCalibrator>"), "has order = 3; choose 0 for steps or 1"),
        (encoded("<DefaultCalibrator><SplineCalibrator/></DefaultCalibrator>"), "SplineCalibrator: has too few points"),
        (encoded("<DefaultCalibrator><PolynomialCalibrator/></DefaultCalibrator>"), "PolynomialCalibrator: has no Term"),
        (encoded("<DefaultCalibrator><PolynomialCalibrator><Term coefficient=\"1\" exponent=\"5000\"/></PolynomialCalibrator></DefaultCalibrator>"), "Term: has exponent = 5000"),
        (encoded("<DefaultCalibrator><PolynomialCalibrator><Term coefficient=\"inf\" exponent=\"0\"/></PolynomialCalibrator></DefaultCalibrator>"), "write a finite number"),
        (alarm("<AlarmMultiRanges/>"), "AlarmMultiRanges: is not supported"),
        (alarm("<ChangeAlarmRanges/>"), "ChangeAlarmRanges: is not supported"),
        (alarm("<StaticAlarmRanges><SevereRange/></StaticAlarmRanges>"), "SevereRange: is not supported; use WarningRange for yellow"),
        (alarm("<StaticAlarmRanges rangeForm=\"inside\"/>"), "has rangeForm = \"inside\""),
        (alarm("<StaticAlarmRanges><WarningRange minInclusive=\"5\" maxInclusive=\"1\"/></StaticAlarmRanges>"), "has limits that do not rise"),
        (alarm("<StaticAlarmRanges><WarningRange minInclusive=\"5\" minExclusive=\"1\"/></StaticAlarmRanges>"), "has both minInclusive and minExclusive"),
        (integer("<UnitSet><Unit factor=\"1000\">m</Unit></UnitSet><IntegerDataEncoding/>"), "Unit: has a factor; put it into the calibrator"),
        (integer("<UnitSet><Unit>a very long word for any unit of measure</Unit></UnitSet><IntegerDataEncoding/>"), "a code has 1 to 31 bytes"),
        ("<EnumeratedParameterType name=\"T\"><IntegerDataEncoding/></EnumeratedParameterType>".to_owned(), "has no EnumerationList"),
        (
            "<EnumeratedParameterType name=\"T\"><IntegerDataEncoding/><EnumerationList><Enumeration value=\"3\" maxValue=\"1\" label=\"x\"/>\
             </EnumerationList></EnumeratedParameterType>".to_owned(),
            "Enumeration: has a maxValue below its value; turn them round",
        ),
        (
            "<EnumeratedParameterType name=\"T\"><IntegerDataEncoding/><EnumerationList><Enumeration value=\"1\" maxValue=\"3\" label=\"x\"/>\
             <Enumeration value=\"3\" label=\"y\"/></EnumerationList></EnumeratedParameterType>".to_owned(),
            "EnumerationList: has two labels of 3; keep one",
        ),
    ]);
}

#[test]
fn sizes_and_times_that_are_not_supported_are_refused_by_name() {
    let sized = |kind: &str, inner: &str| {
        format!(
            "<{kind}ParameterType name=\"T\">\n<{kind}DataEncoding>{inner}</{kind}DataEncoding></{kind}ParameterType>"
        )
    };
    each_is_said([
        ("<AbsoluteTimeParameterType name=\"T\"/>".to_owned(), "ParameterRefEntry: is of \"X\", whose type has no encoding, and so no bits"),
        ("<RelativeTimeParameterType name=\"T\"><Encoding units=\"years\"><IntegerDataEncoding/></Encoding></RelativeTimeParameterType>".to_owned(), "has units = \"years\", which is not supported"),
        (
            "<AbsoluteTimeParameterType name=\"T\"><Encoding><IntegerDataEncoding/></Encoding><ReferenceTime><OffsetFrom parameterRef=\"ID\"/>\
             </ReferenceTime></AbsoluteTimeParameterType>".to_owned(),
            "OffsetFrom: is not supported; take it out: what a time counts from",
        ),
        (
            "<AbsoluteTimeParameterType name=\"T\"><Encoding scale=\"2\"><IntegerDataEncoding><DefaultCalibrator><PolynomialCalibrator>\
             <Term coefficient=\"1\" exponent=\"1\"/></PolynomialCalibrator></DefaultCalibrator></IntegerDataEncoding></Encoding>\
             </AbsoluteTimeParameterType>".to_owned(),
            "Encoding: has a scale or an offset, and a calibrator; keep one",
        ),
        (sized("String", "<Variable maxSizeInBits=\"80\"/>"), "8: StringParameterType \"T\"/StringDataEncoding/Variable: has no DynamicValue; give it one"),
        (sized("String", "<SizeInBits><Fixed><FixedValue>7</FixedValue></Fixed></SizeInBits>"), "has 7 bits; this encoding has whole bytes"),
        (sized("String", "<SizeInBits><Fixed><FixedValue>8</FixedValue></Fixed><LeadingSize/></SizeInBits>"), "LeadingSize: has sizeInBitsOfSizeTag = 16; choose 1 to 32 bits, no more"),
        (sized("String", "<SizeInBits><Fixed><FixedValue>80</FixedValue></Fixed><LeadingSize sizeInBitsOfSizeTag=\"33\"/></SizeInBits>"), "LeadingSize: has sizeInBitsOfSizeTag = 33; choose 1 to 32 bits"),
        (sized("String", "<SizeInBits><Fixed><FixedValue>80</FixedValue></Fixed><LeadingSize sizeInBitsOfSizeTag=\"0\"/></SizeInBits>"), "LeadingSize: has sizeInBitsOfSizeTag = 0; choose 1 to 32 bits"),
        (sized("String", "<Variable maxSizeInBits=\"80\"><DiscreteLookupList/></Variable>").replace("<Disc", "<DynamicValue><ParameterInstanceRef parameterRef=\"LEN\"/></DynamicValue><Disc"), "DiscreteLookupList: is not supported"),
        (sized("String", "<SizeInBits><Fixed><FixedValue>8</FixedValue></Fixed><TerminationChar>0A</TerminationChar></SizeInBits>"), "TerminationChar: is \"0A\""),
        (sized("Binary", "<SizeInBits><DynamicValue/></SizeInBits>"), "DynamicValue: has no ParameterInstanceRef; name the parameter"),
        (sized("Binary", "<SizeInBits><FixedValue>8</FixedValue><DynamicValue/></SizeInBits>"), "DynamicValue: stands beside a FixedValue"),
        (
            sized("Binary", "<SizeInBits><DynamicValue><ParameterInstanceRef parameterRef=\"LEN\"/><LinearAdjustment/></DynamicValue></SizeInBits>"),
            "LinearAdjustment: has no slope; give it a slope",
        ),
        (
            sized("Binary", "<SizeInBits><DynamicValue><ParameterInstanceRef parameterRef=\"GONE\"/></DynamicValue></SizeInBits>"),
            "ParameterInstanceRef: has parameterRef = \"GONE\", which is nowhere",
        ),
        (
            sized("Binary", "<SizeInBits><DynamicValue><ParameterInstanceRef parameterRef=\"X\"/></DynamicValue></SizeInBits>"),
            "ParameterInstanceRef: is no whole number; name a parameter",
        ),
        (sized("Binary", "<SizeInBits><FixedValue>8</FixedValue></SizeInBits><FromBinaryTransformAlgorithm/>"), "FromBinaryTransformAlgorithm: is not supported"),
    ]);
}

/// Asserts that what is said of each type is said, and nothing else.
fn each_is_said(cases: impl IntoIterator<Item = (String, &'static str)>) {
    let mut failed = Vec::new();
    for (types, said) in cases {
        let problems = wrong(&with(&types));
        if !problems.contains(said) || problems.lines().count() != 1 {
            failed.push(format!("{said}:\n{problems}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

const OF: &str = "<IntegerParameterType name=\"T\"><IntegerDataEncoding/></IntegerParameterType>";

/// An entry with something in it, and one behind it.
fn entry(inner: &str) -> String {
    text(
        OF,
        "<Parameter name=\"X\" parameterTypeRef=\"T\"/>",
        &format!(
            "<ParameterRefEntry parameterRef=\"X\">{inner}</ParameterRefEntry>\n<ParameterRefEntry parameterRef=\"X\"/>"
        ),
    )
}

/// A second container that is based on the first one.
fn base(criteria: &str) -> String {
    let child = format!(
        "<SequenceContainer name=\"C\"><EntryList/><BaseContainer containerRef=\"P\"><RestrictionCriteria>{criteria}\
         </RestrictionCriteria></BaseContainer></SequenceContainer></ContainerSet>"
    );
    with(OF).replace("</ContainerSet>", &child)
}

/// Asserts that what is said of each text is said, among what may follow from it.
pub(super) fn each_says(cases: impl IntoIterator<Item = (String, &'static str)>) {
    let mut failed = Vec::new();
    for (text, said) in cases {
        let problems = wrong(&text);
        if !problems.contains(said) {
            failed.push(format!("{said}:\n{problems}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn elements_of_a_namespace_that_is_declared_below_the_root_are_refused() {
    let uri = "http://www.omg.org/spec/XTCE/20180204";
    let declared = |to: &str| with(OF).replace("<EntryList>", &format!("<EntryList xmlns={to:?}>"));
    let prefixed = |to: &str| {
        let text = with(OF).replace("</", "</x:").replace('<', "<x:");
        let text = text.replace("<x:/x:", "</x:").replace("<x:?", "<?");
        text.replace("xmlns=", "xmlns:x=")
            .replace("<x:EntryList>", &format!("<x:EntryList xmlns:x={to:?}>"))
    };
    let without = |text: String| text.replace(&format!(" xmlns={uri:?}"), "");
    let said = ": has the element EntryList, of another namespace than the root; take it out";
    each_says([
        (declared("urn:xtce"), said),
        (declared(""), said),
        (
            without(with(OF)).replace("<EntryList>", "<EntryList xmlns=\"urn:xtce\">"),
            said,
        ),
        (
            prefixed("urn:other"),
            ": has the element x:EntryList, of another namespace than the root",
        ),
    ]);
    // The same again, and what stands for no element here.
    for right in [
        declared(uri),
        prefixed(uri),
        prefixed(uri).replace("<x:EntryList ", "<x:EntryList xmlns=\"urn:other\" "),
        with(OF).replace("<EntryList>", "<EntryList xmlns:x=\"urn:other\">"),
    ] {
        good(&right);
    }
}

#[test]
fn names_that_stand_for_nothing_are_refused() {
    each_says([
        (
            with(OF).replace("parameterRef=\"X\"", "parameterRef=\"Y\""),
            "18: SequenceContainer \"P\"/EntryList/ParameterRefEntry: has parameterRef = \"Y\", which is nowhere",
        ),
        (
            with(OF).replace("parameterTypeRef=\"T\"", "parameterTypeRef=\"/R/T\""),
            "13: Parameter \"X\": has parameterTypeRef = \"/R/T\", which is nowhere",
        ),
        (
            with(OF).replace("name=\"X\"", "name=\"a.b\""),
            "has the name \"a.b\"; choose a name without",
        ),
        (
            with(OF).replace("name=\"SEQ\"", "name=\"ID\""),
            "11: Parameter \"ID\": has the name of another one here",
        ),
        (
            with(OF).replace("<ContainerSet>", "<MessageSet/><ContainerSet>"),
            "MessageSet: is not supported; take it out, and give its containers",
        ),
        (
            with(OF).replace(
                "<ContainerSet>",
                "<ContainerSet><MessageContainer name=\"M\"/>",
            ),
            "MessageContainer \"M\": is not supported",
        ),
        (
            with(OF).replace(
                "<EntryList>",
                "<EntryList><ContainerRefEntry containerRef=\"P\"/>",
            ),
            "ContainerRefEntry: leads back to its own container",
        ),
        (
            with(OF).replace(
                "<SequenceContainer name=\"P\">",
                "<SequenceContainer name=\"P\"><BinaryEncoding/>",
            ),
            "BinaryEncoding: is not supported",
        ),
    ]);
}

#[test]
fn a_comparison_with_a_name_of_no_value_or_of_several_is_refused() {
    let of = "<EnumeratedParameterType name=\"T\"><IntegerDataEncoding/><EnumerationList><Enumeration value=\"1\" label=\"on\"/>\
              <Enumeration value=\"2\" label=\"on\"/><Enumeration value=\"3\" label=\"off\"/></EnumerationList></EnumeratedParameterType>";
    let compared = |name: &str| {
        let condition = format!(
            "<ParameterRefEntry parameterRef=\"X\"/><ParameterRefEntry parameterRef=\"SEQ\"><IncludeCondition>\
             <Comparison parameterRef=\"X\" value=\"{name}\"/></IncludeCondition></ParameterRefEntry>"
        );
        with(of).replace("<ParameterRefEntry parameterRef=\"X\"/>", &condition)
    };
    good(&compared("off"));
    each_says([
        (
            compared("on"),
            "compares with \"on\", which is no name of one value",
        ),
        (
            compared("safe"),
            "compares with \"safe\", which is no name of one value",
        ),
    ]);
}

#[test]
fn entries_without_a_place_are_refused() {
    each_says([
        (
            entry("<TimeAssociation/>"),
            "ParameterRefEntry/TimeAssociation: is not supported",
        ),
        (
            entry(
                "<LocationInContainerInBits referenceLocation=\"containerEnd\"><FixedValue>0</FixedValue></LocationInContainerInBits>",
            ),
            "has referenceLocation = \"containerEnd\"",
        ),
        (
            entry("<LocationInContainerInBits><DynamicValue/></LocationInContainerInBits>"),
            "DynamicValue: is not supported",
        ),
        (
            entry(
                "<LocationInContainerInBits><FixedValue>-49</FixedValue></LocationInContainerInBits>",
            ),
            "leads from bit -1 to bit 7",
        ),
        (
            entry(
                "<LocationInContainerInBits><FixedValue>99999999</FixedValue></LocationInContainerInBits>",
            ),
            "is 99999999; a packet has",
        ),
        (
            entry("<RepeatEntry><Count><FixedValue>5000</FixedValue></Count></RepeatEntry>"),
            "repeats 5000 times",
        ),
        (entry("<RepeatEntry/>"), "RepeatEntry: has no Count"),
    ]);
}

fn boolean(condition: &str) -> String {
    format!("<BooleanExpression><Condition>{condition}</Condition></BooleanExpression>")
}

#[test]
fn criteria_that_cannot_be_tested_are_refused() {
    each_says([
        (
            base("<BooleanExpression/>"),
            "RestrictionCriteria: compares nothing; give it",
        ),
        (
            base("<ComparisonList/>"),
            "RestrictionCriteria: compares nothing; give it",
        ),
        (
            base("<BooleanExpression><ORedConditions/></BooleanExpression>"),
            "ORedConditions: is not supported",
        ),
        (
            base(&boolean(
                "<ParameterInstanceRef parameterRef=\"ID\"/><ComparisonOperator>==</ComparisonOperator>",
            )),
            "Condition: has no Value; compare one parameter",
        ),
        (
            base(&boolean(
                "<ParameterInstanceRef parameterRef=\"ID\"/><ComparisonOperator>=</ComparisonOperator><Value>1</Value>",
            )),
            "ComparisonOperator: is \"=\", which is not supported; choose one of ==, !=",
        ),
        (
            base(&boolean(
                "<ParameterInstanceRef parameterRef=\"ID\"/><ComparisonOperator>==</ComparisonOperator>\
                 <ParameterInstanceRef parameterRef=\"SEQ\"/>",
            )),
            "ParameterInstanceRef: stands here a second time",
        ),
        (
            base(
                "<Comparison parameterRef=\"ID\" value=\"1\"/><NextContainer containerRef=\"P\"/>",
            ),
            "NextContainer: is not supported",
        ),
        (
            base("<Comparison parameterRef=\"ID\" value=\"1.5\"/>"),
            "compares with \"1.5\"; write a number",
        ),
        (
            base("<Comparison parameterRef=\"ID\" value=\"1\" comparisonOperator=\"=\"/>"),
            "has comparisonOperator = \"=\"",
        ),
        (
            base("<Comparison parameterRef=\"ID\" value=\"1\" instance=\"1\"/>"),
            "has instance = \"1\"",
        ),
        (
            base(
                "<ComparisonList><Comparison parameterRef=\"ID\" value=\"1\"/><Comparison parameterRef=\"ID\" value=\"2\"/></ComparisonList>",
            ),
            "asks for two APIDs at once",
        ),
        (base(""), "RestrictionCriteria: compares nothing"),
    ]);
}

#[test]
fn what_is_no_plain_xml_is_refused() {
    each_says([
        (
            with(OF).replace("XTCE/20180204", "Other"),
            "2: : is of the namespace",
        ),
        (
            with(OF).replace("SpaceSystem", "System"),
            "2: System \"S\": is no SpaceSystem",
        ),
        (
            with(OF).replace("</ParameterSet>", "</Parameters>"),
            "is not valid XML",
        ),
        (
            with(OF).replace("</SpaceSystem>", ""),
            "ends within SpaceSystem, which began on line 2",
        ),
        (
            with(OF).replace(
                "<SpaceSystem",
                "<!DOCTYPE a [<!ENTITY b \"c\">]>\n<SpaceSystem",
            ),
            "2: : has a document type",
        ),
        (
            with(OF).replace("<EntryList>", "<EntryList>&b;"),
            "has the entity \"b\"",
        ),
        (
            with(OF).replace("name=\"X\"", "name=\"&b;\""),
            "is not valid XML",
        ),
        (
            with(OF).replace(
                "<EntryList>",
                "<EntryList><xi:include href=\"/etc/passwd\" xmlns:xi=\"x\"/>",
            ),
            "has the element xi:include, of another namespace",
        ),
        (
            with(OF).replace("version=\"1.0\"", "version=\"1.0\" encoding=\"latin1\""),
            "1: : is declared to be in latin1",
        ),
    ]);
    assert_eq!(wrong("").lines().count(), 1);
    assert!(wrong("x").contains("has text outside its elements"));
    assert!(wrong("<a/><b/>").contains("has a second root element"));
}
