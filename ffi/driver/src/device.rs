//! An opened device: every call of the table on it, with arguments copied in and results copied out.

use std::ptr::NonNull;

use dunlin_driver_sys as sys;

use crate::border::bordered;
use crate::buffer::{Guarded, Lent, POISON, Plain, Returned, TakeBack};
use crate::check::{FrameRule, channel, check_write, counted, in_order, sample};
use crate::error::Error;
use crate::fpu;
use crate::library::Library;
use crate::options::check_options;
use crate::reading::{Batch, Channel, Frames, Sample, Value, check_channels};
use crate::regions::Region;
use crate::text;

/// Most samples that one `read` is asked for.
pub const READ_CAP_MAX: u32 = 4096;
/// Most frames that one `read_frames` is asked for.
pub const FRAMES_CAP_MAX: u32 = 1024;
/// Bytes that one `read_frames` may fill: the longest frame that a driver may declare.
pub const FRAME_BYTES_MAX: u32 = sys::FRAME_MAX;
/// Channels that are asked for at first; more are asked for only where there are more.
const CHANNELS_FIRST: u32 = 64;

/// An opened device.
///
/// Borrows its library, so it cannot outlive it:
/// ```compile_fail,E0505
/// fn outlive(library: dunlin_driver::Library) -> Result<(), dunlin_driver::Error> {
///     let device = dunlin_driver::Device::open(&library, &[])?;
///     drop(library);
///     device.close()
/// }
/// ```
/// Every call for one device comes from one thread (the header's [device-thread]), so it is neither `Send` ...
/// ```compile_fail,E0277
/// fn needs_send<T: Send>() {}
/// needs_send::<dunlin_driver::Device<'static>>();
/// ```
/// ... nor `Sync`:
/// ```compile_fail,E0277
/// fn needs_sync<T: Sync>() {}
/// needs_sync::<dunlin_driver::Device<'static>>();
/// ```
/// It is closed exactly once: `close` consumes it, and dropping it closes it too.
/// ```compile_fail,E0382
/// fn twice(device: dunlin_driver::Device<'_>) {
///     let _ = device.close();
///     let _ = device.close();
/// }
/// ```
/// What a read returned is borrowed from the device: it ends with the next call ...
/// ```compile_fail,E0499
/// fn overlap(device: &mut dunlin_driver::Device<'_>) -> Result<(), dunlin_driver::Error> {
///     let first = device.read(16, 0)?;
///     let second = device.read(16, 0)?;
///     assert_eq!(first, second);
///     Ok(())
/// }
/// ```
/// ... and with the device:
/// ```compile_fail,E0505
/// fn late(mut device: dunlin_driver::Device<'_>) -> Result<usize, dunlin_driver::Error> {
///     let samples = device.read(16, 0)?;
///     device.close()?;
///     Ok(samples.len())
/// }
/// ```
/// The same uses in the right order compile:
/// ```
/// fn once(library: &dunlin_driver::Library) -> Result<usize, dunlin_driver::Error> {
///     let mut device = dunlin_driver::Device::open(library, &[])?;
///     let count = device.read(16, 0)?.len();
///     device.close()?;
///     Ok(count)
/// }
/// ```
#[derive(Debug)]
pub struct Device<'lib> {
    library: &'lib Library,
    raw: NonNull<sys::Device>,
    channels: Vec<Channel>,
    /// Stamp of the latest sample or frame of each channel, which never decreases.
    latest_ns: Vec<u64>,
    samples: Guarded,
    why: Guarded,
    value: Guarded,
    /// Spans and bytes, where the driver has frames.
    frames: Option<(Guarded, Guarded)>,
    batch: Batch,
    /// Set by `close`, so that Drop does not close again.
    closed: bool,
}

impl<'lib> Device<'lib> {
    /// Checks the options, opens a device with them and asks for its channels.
    pub fn open(library: &'lib Library, options: &[(String, String)]) -> Result<Self, Error> {
        let problems = check_options(&library.description().options, options);
        if !problems.is_empty() {
            return Err(Error::Options(problems));
        }
        let call = "open";
        let samples_bytes = elements::<sys::Sample>(READ_CAP_MAX);
        let samples = memory(call, Region::Samples, samples_bytes)?;
        let mut why = memory(call, Region::Text, size_of::<sys::Text>())?;
        let value = memory(call, Region::Value, size_of::<sys::Value>())?;
        let frames = match library.table().frames {
            None => None,
            Some(_) => Some((
                memory(call, Region::Frames, elements::<sys::Frame>(FRAMES_CAP_MAX))?,
                memory(call, Region::FrameBytes, elements::<u8>(FRAME_BYTES_MAX))?,
            )),
        };
        let raw = open_raw(library, options, &mut why)?;
        // From here on the device exists: whatever fails below, Drop closes it.
        let mut device = Device {
            library,
            raw,
            channels: Vec::new(),
            latest_ns: Vec::new(),
            samples,
            why,
            value,
            frames,
            batch: Batch::default(),
            closed: false,
        };
        device.channels = device.ask_channels()?;
        device.latest_ns = vec![0; device.channels.len()];
        Ok(device)
    }

    /// The channels, which do not change while the device is open.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Reads at most `cap` samples (1 to `READ_CAP_MAX`), oldest first, waiting up to `timeout_ms` where the driver is
    /// paced. Each sample was checked against its channel.
    pub fn read(&mut self, cap: u32, timeout_ms: u32) -> Result<&[Sample], Error> {
        let call = "read";
        let cap = cap.clamp(1, READ_CAP_MAX);
        let lent = lend(
            call,
            &mut self.samples,
            elements::<sys::Sample>(cap),
            POISON,
        )?;
        let read = self.library.table().read;
        // SAFETY: the device is open and this is its thread (`Device` cannot leave the one that made it); `out` has
        // room for `cap` samples, is aligned, and stays lent until the call is over.
        let answer =
            bordered(|| unsafe { read(self.raw.as_ptr(), lent.pointer(), cap, timeout_ms) });
        fpu::left_alone(call)?;
        let returned = take_back(call, lent)?;
        let count = counted(call, answer, cap, || {
            explain(self.library, self.raw, &mut self.why)
        })?;
        let now_ns = crate::monotonic_ns();
        self.batch.samples.clear();
        for index in 0..count {
            let raw = element::<sys::Sample>(call, &returned, index)?;
            let checked = sample(&raw, &self.channels, now_ns).and_then(|sample| {
                in_order(&mut self.latest_ns, sample.channel, sample.monotonic_ns)?;
                Ok(sample)
            });
            let sample = checked.map_err(|detail| Error::Contract {
                call,
                detail: format!("sample {index} of {count}: {detail}"),
            })?;
            self.batch.samples.push(sample);
        }
        Ok(&self.batch.samples)
    }

    /// Reads at most `cap` frames (1 to `FRAMES_CAP_MAX`), oldest first, waiting up to `timeout_ms` for the first.
    pub fn read_frames(&mut self, cap: u32, timeout_ms: u32) -> Result<Frames<'_>, Error> {
        let call = "read_frames";
        let (Some(table), Some((spans, bytes))) = (self.library.table().frames, &mut self.frames)
        else {
            return Err(unsupported(call, "the driver has no dunlin.frames/1"));
        };
        let cap = cap.clamp(1, FRAMES_CAP_MAX);
        let bytes_cap = FRAME_BYTES_MAX;
        let lent_spans = lend(call, spans, elements::<sys::Frame>(cap), POISON)?;
        let lent_bytes = lend(call, bytes, elements::<u8>(bytes_cap), POISON)?;
        let (out, room) = (lent_spans.pointer(), lent_bytes.pointer());
        // SAFETY: as in `read`; `bytes` has room for `bytes_cap` bytes and `out` for `cap` frames.
        let answer = bordered(|| unsafe {
            (table.read_frames)(self.raw.as_ptr(), room, bytes_cap, out, cap, timeout_ms)
        });
        fpu::left_alone(call)?;
        let spans = take_back(call, lent_spans)?;
        let bytes = take_back(call, lent_bytes)?;
        let count = counted(call, answer, cap, || {
            explain(self.library, self.raw, &mut self.why)
        })?;
        let now_ns = crate::monotonic_ns();
        self.batch.spans.clear();
        let mut end = 0;
        for index in 0..count {
            let raw = element::<sys::Frame>(call, &spans, index)?;
            let rule = FrameRule {
                channels: &self.channels,
                frame_max: table.frame_max,
                from: end,
                now_ns,
            };
            let checked = rule.check(&raw).and_then(|span| {
                in_order(&mut self.latest_ns, span.channel, span.monotonic_ns)?;
                Ok(span)
            });
            let span = checked.map_err(|detail| Error::Contract {
                call,
                detail: format!("frame {index} of {count}: {detail}"),
            })?;
            end = span.offset + span.length;
            self.batch.spans.push(span);
        }
        self.batch.bytes.clear();
        let used = usize::try_from(end).unwrap_or(usize::MAX);
        let used = bytes
            .bytes()
            .get(..used)
            .expect("the rule kept every frame inside the bytes");
        self.batch.bytes.extend_from_slice(used);
        Ok(self.batch.frames())
    }

    /// Writes one value to a writable channel of its kind. Never repeated here: after `ETIMEDOUT` the device may or may
    /// not have taken it.
    pub fn write(&mut self, channel: u32, value: Value, timeout_ms: u32) -> Result<(), Error> {
        let call = "write";
        let Some(write) = self.library.table().write else {
            return Err(unsupported(call, "the driver has no dunlin.actuate/1"));
        };
        check_write(&self.channels, channel, value)?;
        let mut lent = lend(call, &mut self.value, size_of::<sys::Value>(), 0)?;
        // The layout of dunlin_value: 8 bytes of number, kind, reserved.
        lent.put(0, &value.bits().to_ne_bytes());
        lent.put(8, &value.kind().raw().to_ne_bytes());
        lent.freeze().map_err(|errno| system(call, errno))?;
        // SAFETY: the device is open, this is its thread; `value` is whole, aligned and readable until taken back.
        let answer =
            bordered(|| unsafe { write(self.raw.as_ptr(), channel, lent.pointer(), timeout_ms) });
        fpu::left_alone(call)?;
        drop(take_back(call, lent)?);
        counted(call, answer, 0, || {
            explain(self.library, self.raw, &mut self.why)
        })
        .map(|_| ())
    }

    /// Closes the device and says how that went; the device is gone in any case.
    pub fn close(mut self) -> Result<(), Error> {
        self.closed = true;
        let answer = close_raw(self.library, self.raw);
        counted("close", answer, 0, String::new).map(|_| ())
    }

    fn ask_channels(&mut self) -> Result<Vec<Channel>, Error> {
        let call = "channels";
        let mut cap = CHANNELS_FIRST;
        loop {
            let mut memory = memory(call, Region::Channels, elements::<sys::Channel>(cap))?;
            let lent = lend(call, &mut memory, elements::<sys::Channel>(cap), 0)?;
            let ask = self.library.table().channels;
            // SAFETY: the device is open, this is its thread; `out` has room for `cap` channels, zeroed, aligned.
            let answer = bordered(|| unsafe { ask(self.raw.as_ptr(), lent.pointer(), cap) });
            fpu::left_alone(call)?;
            let returned = take_back(call, lent)?;
            let count = counted(call, answer, sys::CHANNELS_MAX, || {
                explain(self.library, self.raw, &mut self.why)
            })?;
            if count > cap {
                if cap != CHANNELS_FIRST {
                    let detail = format!("it had {cap} channels and now has {count}");
                    return Err(Error::Contract { call, detail });
                }
                cap = count;
                continue;
            }
            let mut channels = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
            for index in 0..count {
                let raw = element::<sys::Channel>(call, &returned, index)?;
                let checked = channel(&raw).map_err(|detail| Error::Contract {
                    call,
                    detail: format!("channel {index}: {detail}"),
                })?;
                channels.push(checked);
            }
            check_channels(&channels).map_err(|detail| Error::Contract { call, detail })?;
            return Ok(channels);
        }
    }
}

impl Drop for Device<'_> {
    fn drop(&mut self) {
        if !self.closed {
            // Nobody is left to tell how it went.
            let _ = close_raw(self.library, self.raw);
        }
    }
}

/// Calls `open` with the options copied into memory that the driver can read and not write.
fn open_raw(
    library: &Library,
    options: &[(String, String)],
    why: &mut Guarded,
) -> Result<NonNull<sys::Device>, Error> {
    let call = "open";
    let entries = options.len() * size_of::<sys::DriverOption>();
    let text: usize = options
        .iter()
        .map(|(key, value)| key.len() + value.len() + 2)
        .sum();
    // The strings end flush with the guard page; the padding that keeps the entries aligned lies between the two.
    let bytes = (entries + text).next_multiple_of(align_of::<sys::DriverOption>());
    let mut memory = memory(call, Region::Options, bytes)?;
    let mut lent = lend(call, &mut memory, bytes, 0)?;
    let base = lent.pointer::<u8>().addr();
    let mut at = bytes - text;
    for (index, (key, value)) in options.iter().enumerate() {
        for (field, string) in [key, value].into_iter().enumerate() {
            // The byte behind each string is the zero that `lend` filled in.
            lent.put(at, string.as_bytes());
            let slot = index * size_of::<sys::DriverOption>() + field * size_of::<usize>();
            lent.put(slot, &(base + at).to_ne_bytes());
            at += string.len() + 1;
        }
    }
    lent.freeze().map_err(|errno| system(call, errno))?;
    let count = u32::try_from(options.len()).map_err(|_| Error::Os {
        call,
        errno: libc::E2BIG,
        why: String::new(),
    })?;
    let mut out = self::memory(call, Region::DeviceOut, size_of::<*mut sys::Device>())?;
    let lent_out = lend(call, &mut out, size_of::<*mut sys::Device>(), 0)?;
    let lent_why = lend(call, why, size_of::<sys::Text>(), 0)?;
    let open = library.table().open;
    // SAFETY: the library stays loaded; options, why and device are lent, whole, aligned and valid until the call is
    // over; no device exists yet, so no other call runs.
    let answer = bordered(|| unsafe {
        open(
            lent.pointer(),
            count,
            lent_why.pointer(),
            lent_out.pointer(),
        )
    });
    fpu::left_alone(call)?;
    let device = take_back(call, lent_out)?;
    let raw: *mut sys::Device = element(call, &device, 0)?;
    let why = take_back(call, lent_why)?;
    counted(call, answer, 0, || text::explanation(why.bytes()))?;
    drop(take_back(call, lent)?);
    NonNull::new(raw).ok_or_else(|| Error::Contract {
        call,
        detail: "it returned success and no device".to_owned(),
    })
}

fn close_raw(library: &Library, raw: NonNull<sys::Device>) -> i32 {
    // SAFETY: `raw` came from this library's open, and this is the only call of close for it: `Device::close` and Drop
    // exclude each other by `closed`, and nobody uses `raw` afterwards because both consume the device.
    bordered(|| unsafe { (library.table().close)(raw.as_ptr()) })
}

/// Asks the driver to explain the failure just now; empty where it has nothing to add or breaks the contract doing so.
fn explain(library: &Library, raw: NonNull<sys::Device>, why: &mut Guarded) -> String {
    let Some(explain) = library.table().explain else {
        return String::new();
    };
    let Ok(lent) = why.lend(size_of::<sys::Text>(), 0) else {
        return String::new();
    };
    // SAFETY: the device is open, this is its thread, no other call runs; `why` is whole, zeroed and lent.
    bordered(|| unsafe { explain(raw.as_ptr(), lent.pointer()) });
    match lent.take_back() {
        Ok(returned) => text::explanation(returned.bytes()),
        Err(_) => String::new(),
    }
}

fn memory(call: &'static str, region: Region, bytes: usize) -> Result<Guarded, Error> {
    Guarded::new(region, bytes).map_err(|errno| system(call, errno))
}

fn lend<'a>(
    call: &'static str,
    memory: &'a mut Guarded,
    bytes: usize,
    fill: u8,
) -> Result<Lent<'a>, Error> {
    memory
        .lend(bytes, fill)
        .map_err(|errno| system(call, errno))
}

fn take_back<'a>(call: &'static str, lent: Lent<'a>) -> Result<Returned<'a>, Error> {
    lent.take_back().map_err(|error| match error {
        TakeBack::System(errno) => system(call, errno),
        TakeBack::Trespass(trespass) => Error::Contract {
            call,
            detail: trespass.to_string(),
        },
    })
}

fn element<T: Plain>(call: &'static str, memory: &Returned<'_>, index: u32) -> Result<T, Error> {
    let place = usize::try_from(index).unwrap_or(usize::MAX);
    memory.element(place).ok_or_else(|| Error::Contract {
        call,
        detail: format!("element {index} lies outside what was lent"),
    })
}

fn elements<T>(count: u32) -> usize {
    usize::try_from(count)
        .unwrap_or(usize::MAX)
        .saturating_mul(size_of::<T>())
}

fn system(call: &'static str, errno: nix::Error) -> Error {
    Error::Os {
        call,
        errno: errno as i32,
        why: "of the host, not of the driver".to_owned(),
    }
}

pub(crate) fn unsupported(call: &'static str, detail: &str) -> Error {
    Error::Unsupported {
        call,
        detail: detail.to_owned(),
    }
}
