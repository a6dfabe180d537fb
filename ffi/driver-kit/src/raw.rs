//! The table of a driver, called directly: for what the safe layer never does, such as asking for channels with no room.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr::NonNull;

use dunlin_driver_sys as sys;

use crate::target::Target;

/// How many channels a driver says it has, asked with room for none, for all, and for one too few.
///
/// # Safety
/// Runs code of the library, which may do anything to this process.
pub(crate) unsafe fn channel_counts(target: &Target) -> Result<Vec<i32>, String> {
    let path = CString::new(target.library.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: NUL-terminated; running the library is what the caller accepted.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return Err("it does not load".to_owned());
    }
    // SAFETY: an open handle and a NUL-terminated name.
    let entry = unsafe { libc::dlsym(handle, sys::ENTRY_SYMBOL.as_ptr()) };
    let entry = NonNull::new(entry.cast::<sys::Driver>()).ok_or("it has no entry")?;
    // SAFETY: the check `loads` found a whole table of this ABI there before; the library is never unloaded.
    let table = unsafe { entry.as_ref() };
    let (Some(open), Some(channels), Some(close)) = (table.open, table.channels, table.close)
    else {
        return Err("its table has holes".to_owned());
    };
    let texts: Result<Vec<(CString, CString)>, _> = target
        .options
        .iter()
        .map(|(key, value)| Ok((CString::new(key.as_str())?, CString::new(value.as_str())?)))
        .collect();
    let texts = texts.map_err(|error: std::ffi::NulError| error.to_string())?;
    let options: Vec<sys::DriverOption> = texts
        .iter()
        .map(|(key, value)| sys::DriverOption {
            key: key.as_ptr(),
            value: value.as_ptr(),
        })
        .collect();
    let count = u32::try_from(options.len()).map_err(|error| error.to_string())?;
    let mut why = sys::Text { bytes: [0; 256] };
    let mut device = std::ptr::null_mut();
    // SAFETY: options, why and device are whole and live until the call is over; no device exists yet.
    let answer = unsafe { open(options.as_ptr(), count, &raw mut why, &raw mut device) };
    if answer != 0 || device.is_null() {
        why.bytes[255] = 0;
        // SAFETY: NUL-terminated by the line above.
        let said = unsafe { CStr::from_ptr(why.bytes.as_ptr()) };
        return Err(format!("open: {answer} {}", said.to_string_lossy()));
    }
    // SAFETY: an open device, on its thread; no room may be NULL, driver.h.
    let none = unsafe { channels(device, std::ptr::null_mut(), 0) };
    let mut counts = vec![none];
    let room = usize::try_from(none)
        .unwrap_or(0)
        .min(sys::CHANNELS_MAX as usize);
    for cap in [room, room.saturating_sub(1)] {
        // SAFETY: integers, byte arrays and floats: zero bytes are a channel.
        let zeroed: sys::Channel = unsafe { std::mem::zeroed() };
        // One more than is said, which must stay as it is.
        let mut out = vec![zeroed; cap + 1];
        let said = u32::try_from(cap).map_err(|error| error.to_string())?;
        // SAFETY: room for `cap` entries, zeroed.
        counts.push(unsafe { channels(device, out.as_mut_ptr(), said) });
        if out[cap].kind != 0 || out[cap].name[0] != 0 {
            return Err(format!("with room for {cap} channels it writes one more"));
        }
    }
    // SAFETY: the device of above, closed once.
    unsafe { close(device) };
    Ok(counts)
}
