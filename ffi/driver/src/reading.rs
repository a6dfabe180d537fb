//! The nouns of this layer: channels, samples and frames, after they have been checked.

use dunlin_driver_sys as sys;

/// What a value on a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 64-bit float.
    Float,
    /// 64-bit signed integer.
    Int,
    /// Truth value.
    Bool,
    /// Byte frame.
    Frame,
}

impl Kind {
    /// The kind of an ABI number, `None` where the ABI has no such number.
    pub fn from_raw(raw: u32) -> Option<Kind> {
        match raw {
            sys::KIND_F64 => Some(Kind::Float),
            sys::KIND_I64 => Some(Kind::Int),
            sys::KIND_BOOL => Some(Kind::Bool),
            sys::KIND_FRAME => Some(Kind::Frame),
            _ => None,
        }
    }

    /// The ABI number of the kind.
    pub fn raw(self) -> u32 {
        match self {
            Kind::Float => sys::KIND_F64,
            Kind::Int => sys::KIND_I64,
            Kind::Bool => sys::KIND_BOOL,
            Kind::Frame => sys::KIND_FRAME,
        }
    }

    /// The kind's name for a human.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Float => "float",
            Kind::Int => "int",
            Kind::Bool => "bool",
            Kind::Frame => "frame",
        }
    }
}

/// One measured quantity of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Name, unique within its device, `[A-Za-z0-9_.-]{1,63}`.
    pub name: String,
    /// Unit as a UCUM code, case-sensitive; `1` for a pure number.
    pub unit: String,
    /// Kind of its values.
    pub kind: Kind,
    /// Whether it accepts writes.
    pub writable: bool,
    /// Lower end of the physical range, inclusive; `-inf` where unknown.
    pub min: f64,
    /// Upper end of the physical range, inclusive; `inf` where unknown.
    pub max: f64,
}

/// A measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Of a `Kind::Float` channel.
    Float(f64),
    /// Of a `Kind::Int` channel.
    Int(i64),
    /// Of a `Kind::Bool` channel.
    Bool(bool),
}

impl Value {
    /// The kind of channel that this value fits.
    pub fn kind(self) -> Kind {
        match self {
            Value::Float(_) => Kind::Float,
            Value::Int(_) => Kind::Int,
            Value::Bool(_) => Kind::Bool,
        }
    }

    /// The value as the 64 bits that cross the ABI and the wire.
    pub fn bits(self) -> u64 {
        match self {
            Value::Float(v) => v.to_bits(),
            Value::Int(v) => v.cast_unsigned(),
            Value::Bool(v) => u64::from(v),
        }
    }

    /// The value of that kind from 64 bits; `None` for a frame, and for a truth value other than 0 and 1.
    pub fn from_bits(kind: Kind, bits: u64) -> Option<Value> {
        match (kind, bits) {
            (Kind::Float, _) => Some(Value::Float(f64::from_bits(bits))),
            (Kind::Int, _) => Some(Value::Int(bits.cast_signed())),
            (Kind::Bool, 0) => Some(Value::Bool(false)),
            (Kind::Bool, 1) => Some(Value::Bool(true)),
            (Kind::Bool | Kind::Frame, _) => None,
        }
    }
}

/// How far a sample may be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quality {
    /// As measured.
    #[default]
    Good,
    /// Usable with care: stale, out of range, warming up.
    Uncertain,
    /// No usable value: the sensor is absent or faulty.
    Bad,
}

impl Quality {
    /// The quality of an ABI number, `None` where the ABI has no such number.
    pub fn from_raw(raw: u32) -> Option<Quality> {
        match raw {
            sys::QUALITY_GOOD => Some(Quality::Good),
            sys::QUALITY_UNCERTAIN => Some(Quality::Uncertain),
            sys::QUALITY_BAD => Some(Quality::Bad),
            _ => None,
        }
    }

    /// The ABI number of the quality.
    pub fn raw(self) -> u32 {
        match self {
            Quality::Good => sys::QUALITY_GOOD,
            Quality::Uncertain => sys::QUALITY_UNCERTAIN,
            Quality::Bad => sys::QUALITY_BAD,
        }
    }
}

/// One reading of one channel, checked: the channel exists and the value is of its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// `CLOCK_MONOTONIC` when it was taken, in nanoseconds.
    pub monotonic_ns: u64,
    /// Value; meaningless where the quality is `Bad`.
    pub value: Value,
    /// Index into the channels of the device.
    pub channel: u32,
    /// Trust.
    pub quality: Quality,
    /// Samples of this channel that the driver lost just before this one.
    pub lost: u32,
}

/// Where one frame lies in the bytes of its batch, checked: it lies inside and overlaps no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSpan {
    /// `CLOCK_MONOTONIC` when its first byte arrived, in nanoseconds.
    pub monotonic_ns: u64,
    /// Index of a channel of `Kind::Frame`.
    pub channel: u32,
    /// Frames of this channel that the driver lost just before this one.
    pub lost: u32,
    /// Offset of its first byte.
    pub offset: u32,
    /// Length in bytes, at least 1.
    pub length: u32,
}

/// A batch of frames, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a> {
    pub(crate) spans: &'a [FrameSpan],
    pub(crate) bytes: &'a [u8],
}

impl<'a> Frames<'a> {
    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Each frame's place and its bytes, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (FrameSpan, &'a [u8])> + use<'a> {
        let (spans, bytes) = (self.spans, self.bytes);
        spans.iter().filter_map(move |span| {
            let start = usize::try_from(span.offset).ok()?;
            let length = usize::try_from(span.length).ok()?;
            Some((*span, bytes.get(start..start.checked_add(length)?)?))
        })
    }
}

/// Buffers for one batch, reused from call to call.
#[derive(Debug, Default)]
pub struct Batch {
    /// Samples of the last reply.
    pub samples: Vec<Sample>,
    /// Places of the frames of the last reply.
    pub spans: Vec<FrameSpan>,
    /// Bytes of the frames of the last reply.
    pub bytes: Vec<u8>,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
        self.spans.clear();
        self.bytes.clear();
    }

    /// The frames of the last reply.
    pub fn frames(&self) -> Frames<'_> {
        Frames {
            spans: &self.spans,
            bytes: &self.bytes,
        }
    }
}

/// The channels that a device declared must obey: a count, unique names, a known shape. Says what is wrong.
///
/// Run by the host over what the driver wrote, and by the agent over what the host sent.
pub fn check_channels(channels: &[Channel]) -> Result<(), String> {
    let mut names = std::collections::HashSet::with_capacity(channels.len());
    for (index, channel) in channels.iter().enumerate() {
        let good_name = (1..sys::NAME_MAX).contains(&channel.name.len())
            && channel
                .name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !good_name {
            return Err(format!(
                "channel {index}: name {:?} is not [A-Za-z0-9_.-]{{1,63}}",
                channel.name
            ));
        }
        if channel.unit.is_empty()
            || channel.unit.len() >= sys::UNIT_MAX
            || channel.unit.chars().any(|c| c.is_control() || c == ' ')
        {
            return Err(format!(
                "channel {:?}: unit {:?} is no UCUM code (1 for a pure number)",
                channel.name, channel.unit
            ));
        }
        if channel.min.is_nan() || channel.max.is_nan() || channel.min > channel.max {
            return Err(format!(
                "channel {:?}: range [{}, {}] is empty",
                channel.name, channel.min, channel.max
            ));
        }
        if !names.insert(channel.name.as_str()) {
            return Err(format!("two channels are named {:?}", channel.name));
        }
    }
    Ok(())
}
