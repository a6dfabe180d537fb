//! Whether what a driver answered is what the header allows.

use dunlin_driver_sys as sys;

use crate::buffer::POISON;
use crate::device::{FRAME_BYTES_MAX, unsupported};
use crate::error::Error;
use crate::reading::{Channel, FrameSpan, Kind, Quality, Sample, Value};
use crate::text;

/// The count in an answer: a negated errno becomes `Os`, everything else that is not `0..=most` breaks the contract.
pub(crate) fn counted(
    call: &'static str,
    answer: i32,
    most: u32,
    why: impl FnOnce() -> String,
) -> Result<u32, Error> {
    match u32::try_from(answer) {
        Ok(count) if count <= most => Ok(count),
        Ok(count) => Err(Error::Contract {
            call,
            detail: format!("it returned {count}, at most {most} is possible"),
        }),
        Err(_) if answer >= -4095 => Err(Error::Os {
            call,
            errno: -answer,
            why: why(),
        }),
        Err(_) => Err(Error::Contract {
            call,
            detail: format!("it returned {answer}, which is no negated errno"),
        }),
    }
}

/// Whether a value fits a channel that can be written.
pub(crate) fn check_write(channels: &[Channel], channel: u32, value: Value) -> Result<(), Error> {
    let call = "write";
    let place = usize::try_from(channel).unwrap_or(usize::MAX);
    let Some(target) = channels.get(place) else {
        return Err(unsupported(call, &format!("there is no channel {channel}")));
    };
    if !target.writable {
        return Err(unsupported(
            call,
            &format!("channel {:?} is read-only", target.name),
        ));
    }
    if target.kind != value.kind() {
        let (is, given) = (target.kind.name(), value.kind().name());
        let detail = format!(
            "channel {:?} is of kind {is}, the value is {given}",
            target.name
        );
        return Err(unsupported(call, &detail));
    }
    Ok(())
}

/// A channel as the driver wrote it, its text copied; its rules are checked for all channels together.
pub(crate) fn channel(raw: &sys::Channel) -> Result<Channel, String> {
    // c_char is signed on some targets and not on others; the bytes are the same.
    let name = raw.name.map(|c| c.to_ne_bytes()[0]);
    let unit = raw.unit.map(|c| c.to_ne_bytes()[0]);
    let copied = |what: &str, bytes: &[u8]| match text::from_array(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(format!("its {what} {error}")),
    };
    Ok(Channel {
        name: copied("name", &name)?,
        unit: copied("unit", &unit)?,
        kind: Kind::from_raw(raw.kind)
            .ok_or_else(|| format!("kind {} does not exist", raw.kind))?,
        writable: raw.flags & sys::CHANNEL_WRITABLE != 0,
        min: raw.min,
        max: raw.max,
    })
}

const POISON_U32: u32 = u32::from_ne_bytes([POISON; 4]);
const POISON_U64: u64 = u64::from_ne_bytes([POISON; 8]);

/// A sample as the driver wrote it, checked against its channel.
pub(crate) fn sample(
    raw: &sys::Sample,
    channels: &[Channel],
    now_ns: u64,
) -> Result<Sample, String> {
    // SAFETY: both members of the union are 8 bytes for which every bit pattern is a value.
    let bits = unsafe { raw.value.i64 }.cast_unsigned();
    if raw.channel == POISON_U32 || raw.lost == POISON_U32 {
        return Err("was counted but not written".to_owned());
    }
    let place = usize::try_from(raw.channel).unwrap_or(usize::MAX);
    let Some(channel) = channels.get(place) else {
        return Err(format!(
            "channel {} of {} does not exist",
            raw.channel,
            channels.len()
        ));
    };
    let quality = Quality::from_raw(raw.quality)
        .ok_or_else(|| format!("quality {} does not exist", raw.quality))?;
    let value = if quality == Quality::Bad && channel.kind != Kind::Frame {
        // Nobody uses the value of a bad sample, so its bits mean nothing and need not be a value of the kind.
        let zero = Value::from_bits(channel.kind, 0);
        zero.ok_or_else(|| "zero is a value of every kind but frames".to_owned())?
    } else if bits == POISON_U64 {
        return Err("its value was not written".to_owned());
    } else {
        Value::from_bits(channel.kind, bits).ok_or_else(|| {
            format!(
                "{bits:#x} is no value of channel {:?} ({})",
                channel.name,
                channel.kind.name()
            )
        })?
    };
    Ok(Sample {
        monotonic_ns: stamp(raw.monotonic_ns, now_ns)?,
        value,
        channel: raw.channel,
        quality,
        lost: raw.lost,
    })
}

/// What a frame of one call must obey.
pub(crate) struct FrameRule<'a> {
    pub(crate) channels: &'a [Channel],
    pub(crate) frame_max: u32,
    /// End of the frame before it.
    pub(crate) from: u32,
    pub(crate) now_ns: u64,
}

impl FrameRule<'_> {
    pub(crate) fn check(&self, raw: &sys::Frame) -> Result<FrameSpan, String> {
        if raw.channel == POISON_U32 || raw.lost == POISON_U32 {
            return Err("was counted but not written".to_owned());
        }
        let place = usize::try_from(raw.channel).unwrap_or(usize::MAX);
        match self.channels.get(place) {
            None => return Err(format!("channel {} does not exist", raw.channel)),
            Some(channel) if channel.kind != Kind::Frame => {
                return Err(format!("channel {:?} carries no frames", channel.name));
            }
            Some(_) => {}
        }
        if raw.length == 0 || raw.length > self.frame_max {
            return Err(format!(
                "{} bytes, the driver's frames have 1 to {}",
                raw.length, self.frame_max
            ));
        }
        let inside = raw
            .offset
            .checked_add(raw.length)
            .is_some_and(|end| end <= FRAME_BYTES_MAX);
        if !inside || raw.offset < self.from {
            return Err(format!(
                "bytes {} + {} lie outside the buffer or before {}",
                raw.offset, raw.length, self.from
            ));
        }
        Ok(FrameSpan {
            monotonic_ns: stamp(raw.monotonic_ns, self.now_ns)?,
            channel: raw.channel,
            lost: raw.lost,
            offset: raw.offset,
            length: raw.length,
        })
    }
}

/// The stamp of a reading: the driver's, or now where it gave none. A stamp cannot be later than now.
fn stamp(raw_ns: i64, now_ns: u64) -> Result<u64, String> {
    match u64::try_from(raw_ns) {
        Ok(0) => Ok(now_ns),
        Ok(ns) if ns <= now_ns => Ok(ns),
        Ok(ns) => Err(format!("its stamp lies {} ns in the future", ns - now_ns)),
        Err(_) => Err(format!("its stamp {raw_ns} is negative")),
    }
}

pub(crate) fn in_order(latest_ns: &mut [u64], channel: u32, stamp_ns: u64) -> Result<(), String> {
    let place = usize::try_from(channel).unwrap_or(usize::MAX);
    let latest = latest_ns
        .get_mut(place)
        .ok_or("its channel does not exist")?;
    if stamp_ns < *latest {
        return Err(format!(
            "its stamp lies {} ns before the one before it",
            *latest - stamp_ns
        ));
    }
    *latest = stamp_ns;
    Ok(())
}
