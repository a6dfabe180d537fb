//! The dunlin driver ABI 1.0, field for field as in `ffi/include/dunlin/driver.h` and `ext/*.h`.
//!
//! The header is the specification: thread rules, lifetimes and meanings are written there and not repeated here.
//! Written by hand, so that a cross build needs no libclang; `layout.c` and `tests/layout.rs` assert that both sides
//! agree. Function pointers are `Option`, because a C table may hold NULL; foreign enumerations are integers, because
//! a value that Rust has no name for must not be undefined behaviour.
#![no_std]

use core::ffi::{c_char, c_void};

/// The major version of this ABI. Drivers of another major version are refused.
pub const ABI_MAJOR: u16 = 1;
/// The minor version of this ABI.
pub const ABI_MINOR: u16 = 0;
/// The one symbol that a driver exports, NUL-terminated for `dlsym`.
pub const ENTRY_SYMBOL: &core::ffi::CStr = c"dunlin_driver_entry";
/// Id of the byte frames extension.
pub const FRAMES_1: &core::ffi::CStr = c"dunlin.frames/1";
/// Id of the writes extension.
pub const ACTUATE_1: &core::ffi::CStr = c"dunlin.actuate/1";

/// Option holds text.
pub const OPTION_TEXT: u32 = 1;
/// Option holds an integer in `i64`.
pub const OPTION_INT: u32 = 2;
/// Option holds a number in `f64`.
pub const OPTION_FLOAT: u32 = 3;
/// Option holds `true` or `false`.
pub const OPTION_BOOL: u32 = 4;
/// Option must be given.
pub const OPTION_REQUIRED: u32 = 0x1;
/// Option may be given more than once.
pub const OPTION_LIST: u32 = 0x2;

/// Channel of `f64` samples.
pub const KIND_F64: u32 = 1;
/// Channel of `i64` samples.
pub const KIND_I64: u32 = 2;
/// Channel of samples that are 0 or 1.
pub const KIND_BOOL: u32 = 3;
/// Channel of byte frames.
pub const KIND_FRAME: u32 = 4;
/// Channel accepts writes.
pub const CHANNEL_WRITABLE: u32 = 0x1;
/// Size of a channel's name in bytes, NUL included.
pub const NAME_MAX: usize = 64;
/// Size of a channel's unit in bytes, NUL included.
pub const UNIT_MAX: usize = 32;
/// Most channels that a device may declare.
pub const CHANNELS_MAX: u32 = 4096;
/// Longest frame in bytes that a driver may declare.
pub const FRAME_MAX: u32 = 65536;

/// Sample is good.
pub const QUALITY_GOOD: u32 = 0;
/// Sample is usable with care.
pub const QUALITY_UNCERTAIN: u32 = 1;
/// Sample has no usable value.
pub const QUALITY_BAD: u32 = 2;

/// `read` waits for data by itself.
pub const DRIVER_PACED: u32 = 0x1;

/// An opened instance; opaque.
#[repr(C)]
pub struct Device {
    _private: [u8; 0],
}

/// One configured option.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DriverOption {
    /// Key.
    pub key: *const c_char,
    /// Value.
    pub value: *const c_char,
}

/// Declares one option.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OptionSpec {
    /// Key.
    pub key: *const c_char,
    /// One sentence for a human.
    pub summary: *const c_char,
    /// Value used when absent, or NULL.
    pub fallback: *const c_char,
    /// `OPTION_*` kind.
    pub kind: u32,
    /// `OPTION_*` flags.
    pub flags: u32,
    /// Lower bound, inclusive.
    pub min: f64,
    /// Upper bound, inclusive.
    pub max: f64,
}

/// One measured quantity.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Channel {
    /// Name, NUL-terminated.
    pub name: [c_char; NAME_MAX],
    /// UCUM code, NUL-terminated.
    pub unit: [c_char; UNIT_MAX],
    /// `KIND_*`.
    pub kind: u32,
    /// `CHANNEL_*`.
    pub flags: u32,
    /// Lower end of the physical range.
    pub min: f64,
    /// Upper end of the physical range.
    pub max: f64,
    /// Zero.
    pub reserved: u64,
}

/// A number of a channel's kind.
#[repr(C)]
#[derive(Clone, Copy)]
pub union Number {
    /// For `KIND_F64`.
    pub f64: f64,
    /// For `KIND_I64` and `KIND_BOOL`.
    pub i64: i64,
}

/// One reading of one channel.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sample {
    /// `CLOCK_MONOTONIC` in nanoseconds, 0 = not stamped.
    pub monotonic_ns: i64,
    /// Value.
    pub value: Number,
    /// Channel index.
    pub channel: u32,
    /// `QUALITY_*`.
    pub quality: u32,
    /// Samples lost just before this one.
    pub lost: u32,
    /// Zero.
    pub reserved: u32,
}

/// Text that the host lends.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Text {
    /// NUL-terminated UTF-8.
    pub bytes: [c_char; 256],
}

/// The table that a driver exports.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Driver {
    /// Size of the table as compiled.
    pub struct_size: u32,
    /// Major version.
    pub abi_major: u16,
    /// Minor version.
    pub abi_minor: u16,
    /// `DRIVER_*`.
    pub flags: u32,
    /// Entries in `options`.
    pub option_count: u32,
    /// Id.
    pub id: *const c_char,
    /// Version of the driver.
    pub version: *const c_char,
    /// One sentence for a human.
    pub summary: *const c_char,
    /// Option specs.
    pub options: *const OptionSpec,
    /// Opens a device.
    pub open: Option<
        unsafe extern "C-unwind" fn(*const DriverOption, u32, *mut Text, *mut *mut Device) -> i32,
    >,
    /// Describes channels.
    pub channels: Option<unsafe extern "C-unwind" fn(*mut Device, *mut Channel, u32) -> i32>,
    /// Reads samples.
    pub read: Option<unsafe extern "C-unwind" fn(*mut Device, *mut Sample, u32, u32) -> i32>,
    /// Releases a device.
    pub close: Option<unsafe extern "C-unwind" fn(*mut Device) -> i32>,
    /// Explains the most recent failure.
    pub explain: Option<unsafe extern "C-unwind" fn(*mut Device, *mut Text)>,
    /// Finds an extension.
    pub get_extension: Option<unsafe extern "C-unwind" fn(*const c_char) -> *const c_void>,
}

/// One frame in the byte buffer of the same call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame {
    /// `CLOCK_MONOTONIC` in nanoseconds, 0 = not stamped.
    pub monotonic_ns: i64,
    /// Offset of the first byte.
    pub offset: u32,
    /// Length in bytes.
    pub length: u32,
    /// Channel index.
    pub channel: u32,
    /// Frames lost just before this one.
    pub lost: u32,
}

/// `dunlin.frames/1`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frames1 {
    /// Size of the table as compiled.
    pub struct_size: u32,
    /// Longest frame in bytes.
    pub frame_max: u32,
    /// Reads whole frames.
    pub read_frames:
        Option<unsafe extern "C-unwind" fn(*mut Device, *mut u8, u32, *mut Frame, u32, u32) -> i32>,
}

/// A value to write.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Value {
    /// Value.
    pub value: Number,
    /// `KIND_*`.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
}

/// `dunlin.actuate/1`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Actuate1 {
    /// Size of the table as compiled.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Writes one value.
    pub write: Option<unsafe extern "C-unwind" fn(*mut Device, u32, *const Value, u32) -> i32>,
}

// The same figures that layout.c fixes for C, checked on every target that this crate is compiled for.
const _: () = {
    assert!(size_of::<DriverOption>() == 16);
    assert!(size_of::<OptionSpec>() == 48);
    assert!(size_of::<Channel>() == 128);
    assert!(size_of::<Sample>() == 32);
    assert!(size_of::<Text>() == 256);
    assert!(size_of::<Driver>() == 96);
    assert!(size_of::<Frame>() == 24);
    assert!(size_of::<Frames1>() == 16);
    assert!(size_of::<Value>() == 16);
    assert!(size_of::<Actuate1>() == 16);
};
