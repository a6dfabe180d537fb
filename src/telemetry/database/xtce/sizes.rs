//! Sizes of texts and bytes: fixed, from a parameter, from a tag in front.

use super::element::{Element, clipped};

/// What Yamcs, and files made for it, name where a text has no room but that which its tag counts.
const NO_ROOM: &str = "_yamcs_ignore";
/// Widest tag, in bits.
const TAG_BITS_MAX: usize = 32;

/// The room that a value takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size<'t> {
    /// That of its layout.
    Fixed,
    Of(Counted<'t>),
    /// Its tag and what that counts.
    Tag,
    /// There is none: it is in no packet.
    Nowhere,
}

/// A number of bits that a parameter says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted<'t> {
    /// What names the parameter.
    pub(super) reference: Element<'t>,
    /// The space system of the type.
    pub(super) system: usize,
    pub(super) slope: f64,
    pub(super) intercept: f64,
}

/// Room for a value, and what of it the value may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sized<'t> {
    pub(super) size: Size<'t>,
    /// Where it is fixed.
    pub(super) bits: usize,
    /// Those of a tag.
    pub(super) tag_bits: usize,
    /// Most bits, without the tag.
    pub(super) most_bits: usize,
}

impl Sized<'_> {
    /// As many bits as said.
    pub(super) fn fixed(bits: usize) -> Self {
        Sized {
            size: Size::Fixed,
            bits,
            tag_bits: 0,
            most_bits: usize::MAX,
        }
    }
}

/// The size of a `StringDataEncoding`.
pub(super) fn text(encoding: Element<'_>, system: usize) -> Option<Sized<'_>> {
    let kinds = ["SizeInBits", "Variable"];
    let ends = ["TerminationChar", "LeadingSize"];
    let Some(around) = encoding.only(&kinds, "size") else {
        missing(encoding);
        return None;
    };
    let mut most_bits = usize::MAX;
    let (size, bits) = if around.name() == "Variable" {
        around.allow(&["maxSizeInBits"], &[&["DynamicValue"], &ends[..]].concat());
        most_bits = around.number("maxSizeInBits", Some(most_bits))?;
        let Some(value) = around.child("DynamicValue") else {
            let remedy = "give it one that names a parameter, or a SizeInBits instead";
            around.problem("has no DynamicValue", remedy);
            return None;
        };
        let named = value.child("ParameterInstanceRef");
        let named = named.and_then(|named| named.attribute("parameterRef"));
        if named == Some(NO_ROOM) && around.child(ends[1]).is_some() {
            value.allow(&[], &["ParameterInstanceRef"]);
            (Size::Tag, 0)
        } else {
            (Size::Of(counted(value, system)?), 0)
        }
    } else {
        around.allow(&[], &[&["Fixed"], &ends[..]].concat());
        let Some(fixed) = around.child("Fixed") else {
            around.problem("has no Fixed", "give it a FixedValue in a Fixed");
            return None;
        };
        fixed.allow(&[], &["FixedValue"]);
        (Size::Fixed, fixed.fixed()?)
    };
    if let Some(end) = around.child(ends[0]).filter(|end| end.text() != "00") {
        let what = format!("is {:?}", clipped(end.text()));
        end.problem(
            what,
            "take it out, or write 00: a text ends with its first NUL",
        );
    }
    let tag_bits = match around.child(ends[1]) {
        Some(leading) => tag(leading, &size, bits)?,
        None => 0,
    };
    Some(Sized {
        size,
        bits,
        tag_bits,
        most_bits,
    })
}

/// The width of a tag, which has room in what is around it.
fn tag(leading: Element<'_>, size: &Size<'_>, bits: usize) -> Option<usize> {
    leading.allow(&["sizeInBitsOfSizeTag"], &[]);
    let tag = leading.number("sizeInBitsOfSizeTag", Some(16))?;
    if !(1..=TAG_BITS_MAX).contains(&tag) || (matches!(size, Size::Fixed) && tag > bits) {
        let what = format!("has sizeInBitsOfSizeTag = {tag}");
        let remedy = format!("choose 1 to {TAG_BITS_MAX} bits, no more than the text has");
        leading.problem(what, remedy);
        return None;
    }
    Some(tag)
}

/// The size of a `BinaryDataEncoding`.
pub(super) fn bytes(encoding: Element<'_>, system: usize) -> Option<Sized<'_>> {
    let Some(size) = encoding.child("SizeInBits") else {
        missing(encoding);
        return None;
    };
    size.allow(&[], &["FixedValue", "DynamicValue"]);
    match size.child("DynamicValue") {
        Some(value) if size.child("FixedValue").is_none() => Some(Sized {
            size: Size::Of(counted(value, system)?),
            ..Sized::fixed(0)
        }),
        Some(value) => {
            value.problem("stands beside a FixedValue", "keep one of them");
            None
        }
        None => Some(Sized::fixed(size.fixed()?)),
    }
}

fn missing(encoding: Element<'_>) {
    if encoding.is_bare() {
        encoding.problem("has no SizeInBits", "give it one with a FixedValue");
    }
}

fn counted(value: Element<'_>, system: usize) -> Option<Counted<'_>> {
    value.allow(&[], &["ParameterInstanceRef", "LinearAdjustment"]);
    let Some(reference) = value.only(&["ParameterInstanceRef"], "parameter") else {
        value.problem(
            "has no ParameterInstanceRef",
            "name the parameter that says the size",
        );
        return None;
    };
    reference.allow(&["parameterRef", "instance", "useCalibratedValue"], &[]);
    reference.choice("instance", &[("0", ())])?;
    let (mut slope, mut intercept) = (1.0, 0.0);
    if let Some(linear) = value.only(&["LinearAdjustment"], "adjustment") {
        linear.allow(&["slope", "intercept"], &[]);
        linear.required("slope")?;
        slope = linear.finite("slope")?;
        if linear.attribute("intercept").is_some() {
            intercept = linear.finite("intercept")?;
        }
    }
    Some(Counted {
        reference,
        system,
        slope,
        intercept,
    })
}
