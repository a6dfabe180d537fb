//! A loaded driver: found, checked against the ABI, copied out of its table, never unloaded.

use std::ffi::{CStr, CString, c_char, c_void};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use dunlin_driver_sys as sys;

use crate::border::bordered;
use crate::error::Error;
use crate::options::{OptionKind, OptionSpec};
use crate::text;

/// Size of the table in ABI 1.0; a driver whose table is shorter is not whole.
const TABLE_MIN_BYTES: usize = 96;
/// Most options that a driver may declare.
pub(crate) const OPTIONS_MAX: usize = 256;
/// Longest id and option key in bytes.
pub(crate) const KEY_MAX_BYTES: usize = 31;
/// Longest version in bytes.
pub(crate) const VERSION_MAX_BYTES: usize = 63;
/// Longest summary or fallback in bytes.
pub(crate) const SUMMARY_MAX_BYTES: usize = 511;

/// What a driver says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The name that configurations use, `[a-z0-9_-]{1,31}`.
    pub id: String,
    /// Version of the driver.
    pub version: String,
    /// One sentence for a human.
    pub summary: String,
    /// ABI that it was compiled for, major and minor.
    pub abi: (u16, u16),
    /// Whether `read` waits for data by itself.
    pub paced: bool,
    /// Options that it takes.
    pub options: Vec<OptionSpec>,
    /// Longest frame in bytes, where it has `dunlin.frames/1`.
    pub frame_max: Option<u32>,
    /// Whether it has `dunlin.actuate/1`.
    pub actuates: bool,
}

/// The functions of a driver, every required one there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) open: unsafe extern "C-unwind" fn(
        *const sys::DriverOption,
        u32,
        *mut sys::Text,
        *mut *mut sys::Device,
    ) -> i32,
    pub(crate) channels:
        unsafe extern "C-unwind" fn(*mut sys::Device, *mut sys::Channel, u32) -> i32,
    pub(crate) read:
        unsafe extern "C-unwind" fn(*mut sys::Device, *mut sys::Sample, u32, u32) -> i32,
    pub(crate) close: unsafe extern "C-unwind" fn(*mut sys::Device) -> i32,
    pub(crate) explain: Option<unsafe extern "C-unwind" fn(*mut sys::Device, *mut sys::Text)>,
    pub(crate) frames: Option<FramesTable>,
    pub(crate) write:
        Option<unsafe extern "C-unwind" fn(*mut sys::Device, u32, *const sys::Value, u32) -> i32>,
}

/// `dunlin.frames/1`, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramesTable {
    pub(crate) frame_max: u32,
    pub(crate) read_frames: unsafe extern "C-unwind" fn(
        *mut sys::Device,
        *mut u8,
        u32,
        *mut sys::Frame,
        u32,
        u32,
    ) -> i32,
}

/// A loaded driver.
///
/// Holds function pointers and copies of the driver's strings; it never unloads the library. `dlclose` would leave
/// threads, thread-local destructors and exit functions of the library pointing at unmapped code; a driver is reloaded
/// by a new process. So the functions are valid for as long as the process lives, which is longer than any `Device`.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    table: Table,
    description: Description,
}

impl Library {
    /// Loads a driver and checks that it is one.
    ///
    /// # Safety
    /// This runs code of the library: its constructors now, its functions later. The guards of this crate find many
    /// broken promises, but code in this process can write anywhere; load a driver only in a process that may be lost
    /// to it, which is what the driver host is for.
    pub unsafe fn open(path: &Path) -> Result<Library, Error> {
        let load = |detail: String| Error::Load {
            path: path.to_owned(),
            detail,
        };
        let mut head = Vec::with_capacity(20);
        std::fs::File::open(path)
            .and_then(|file| file.take(20).read_to_end(&mut head))
            .map_err(|error| load(error.to_string()))?;
        if let Some(detail) = crate::elf::misfit(&head) {
            return Err(load(detail));
        }
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| load("the path contains a NUL byte".to_owned()))?;
        // RTLD_NOW: a missing symbol fails here, not in the middle of a read. RTLD_LOCAL: the driver's symbols, and
        // those of the libraries it brings, are not offered to anybody else.
        // SAFETY: the name is NUL-terminated; running the constructors is what the caller accepted.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(load(with_remedy(loader_error(), path)));
        }
        // SAFETY: the handle is open and stays so; the symbol is NUL-terminated.
        let entry = unsafe { libc::dlsym(handle, sys::ENTRY_SYMBOL.as_ptr()) };
        if entry.is_null() {
            return Err(Error::Abi {
                path: path.to_owned(),
                detail: "it does not export dunlin_driver_entry, so it is not a dunlin driver"
                    .to_owned(),
            });
        }
        // SAFETY: the entry is a symbol of a library that stays loaded, and a driver's entry is a constant table.
        let checked = unsafe { check_entry(entry.cast_const().cast()) };
        let (table, description) = checked.map_err(|detail| Error::Abi {
            path: path.to_owned(),
            detail,
        })?;
        Ok(Library {
            path: path.to_owned(),
            table,
            description,
        })
    }

    /// The file it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says about itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }
}

/// What the loader says about the failure just now.
fn loader_error() -> String {
    // SAFETY: dlerror has no preconditions.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return "the loader gave no reason".to_owned();
    }
    // SAFETY: not NULL, NUL-terminated by the loader, valid until the next call of the loader on this thread.
    let message = unsafe { CStr::from_ptr(message) };
    text::printable(message.to_bytes())
}

/// The loader's words, and what to do where it could not open a library that lies beside the driver: the sandbox grants
/// the driver's own file alone. To see that a file is there needs no grant.
fn with_remedy(said: String, driver: &Path) -> String {
    // glibc's dl-load.c: "NAME: cannot open shared object file: ...", the same in every version. Where the words are
    // others, in another language or C library, the remedy is left out.
    let missing = said.split_once(": cannot open shared object file");
    let name = missing.and_then(|(name, _)| Path::new(name).file_name());
    let beside = name.zip(driver.parent()).map(|(name, at)| at.join(name));
    match beside {
        Some(beside) if beside != driver && beside.exists() => {
            let grant = beside.display();
            format!(
                "{said}; {grant} is there, but only the driver's own file is granted: add \
                 {grant} to `read` of its grants"
            )
        }
        _ => said,
    }
}

/// Copies and checks the table.
///
/// # Safety
/// `entry` points to at least 8 readable bytes of constant data, and to as many as its first four bytes say; its
/// pointers are NULL or what the header says they are.
unsafe fn check_entry(entry: *const u8) -> Result<(Table, Description), String> {
    if !entry.addr().is_multiple_of(align_of::<sys::Driver>()) {
        return Err("its table is not aligned".to_owned());
    }
    // SAFETY: the caller promises eight bytes; bytes have no alignment.
    let head = unsafe { entry.cast::<[u8; 8]>().read() };
    let [s0, s1, s2, s3, major0, major1, minor0, minor1] = head;
    let struct_size = u32::from_ne_bytes([s0, s1, s2, s3]);
    let abi_major = u16::from_ne_bytes([major0, major1]);
    let abi_minor = u16::from_ne_bytes([minor0, minor1]);
    if abi_major != sys::ABI_MAJOR {
        return Err(format!(
            "it was built for driver ABI {abi_major}.{abi_minor}, this dunlin has {}.{}; build it against this \
             dunlin's header",
            sys::ABI_MAJOR,
            sys::ABI_MINOR
        ));
    }
    let struct_size = usize::try_from(struct_size).unwrap_or(usize::MAX);
    // A table larger than a page is no table: a later minor version appends a few pointers.
    if !(TABLE_MIN_BYTES..=4096).contains(&struct_size) {
        return Err(format!(
            "its table claims {struct_size} bytes, ABI 1.0 has {TABLE_MIN_BYTES}; set struct_size to \
             sizeof(dunlin_driver)"
        ));
    }
    let mut table = std::mem::MaybeUninit::<sys::Driver>::zeroed();
    let copied = struct_size.min(size_of::<sys::Driver>());
    // SAFETY: the driver claims `struct_size` bytes and at most that many are read; the target is a local of the size
    // of ours. Fields that a shorter, older table lacks stay zero, which is NULL.
    unsafe {
        table
            .as_mut_ptr()
            .cast::<u8>()
            .copy_from_nonoverlapping(entry, copied);
    };
    // SAFETY: zeroed or copied bytes are a value of every field: integers, raw pointers, optional functions.
    let table = unsafe { table.assume_init() };

    // SAFETY: the table's strings are as the header says, by the caller's promise.
    let field = |name, pointer, bound| unsafe { string(name, pointer, bound) };
    let id = field("id", table.id, KEY_MAX_BYTES)?;
    if id.is_empty()
        || !id
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
    {
        return Err(format!("its id {id:?} is not [a-z0-9_-]{{1,31}}"));
    }
    let version = field("version", table.version, VERSION_MAX_BYTES)?;
    let summary = field("summary", table.summary, SUMMARY_MAX_BYTES)?;
    // SAFETY: as above.
    let options = unsafe { option_specs(&table) }?;
    let missing = |name: &str| format!("its table has no {name}");
    let get_extension = table.get_extension;
    // SAFETY: get_extension is the driver's own, may be called from any thread, and returns NULL or a table.
    let frames = unsafe { frames_extension(get_extension) }?;
    // SAFETY: as above.
    let write = unsafe { actuate_extension(get_extension) }?;
    let description = Description {
        id,
        version: text::printable(version.as_bytes()),
        summary: text::printable(summary.as_bytes()),
        abi: (abi_major, abi_minor),
        paced: table.flags & sys::DRIVER_PACED != 0,
        options,
        frame_max: frames.map(|frames| frames.frame_max),
        actuates: write.is_some(),
    };
    let table = Table {
        open: table.open.ok_or_else(|| missing("open"))?,
        channels: table.channels.ok_or_else(|| missing("channels"))?,
        read: table.read.ok_or_else(|| missing("read"))?,
        close: table.close.ok_or_else(|| missing("close"))?,
        explain: table.explain,
        frames,
        write,
    };
    Ok((table, description))
}

/// # Safety
/// As `text::copy`.
unsafe fn string(name: &str, pointer: *const c_char, bound: usize) -> Result<String, String> {
    // SAFETY: the caller's promise.
    unsafe { text::copy(pointer, bound) }.map_err(|error| format!("its {name} {error}"))
}

/// # Safety
/// `table.options` is NULL or points to `option_count` constant entries whose strings are as the header says.
unsafe fn option_specs(table: &sys::Driver) -> Result<Vec<OptionSpec>, String> {
    let count = usize::try_from(table.option_count).unwrap_or(usize::MAX);
    if count > OPTIONS_MAX {
        return Err(format!(
            "it declares {count} options, at most {OPTIONS_MAX} are allowed"
        ));
    }
    if count > 0 && (table.options.is_null() || !table.options.is_aligned()) {
        return Err(format!(
            "it declares {count} options, but its options pointer is bad"
        ));
    }
    let mut specs: Vec<OptionSpec> = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: inside the array of `count` entries that the caller promises.
        let raw = unsafe { table.options.add(index) };
        // SAFETY: as above; aligned as checked.
        let raw = unsafe { raw.read() };
        // SAFETY: strings as the header says.
        let key = unsafe { string("option key", raw.key, KEY_MAX_BYTES) }?;
        let named = |error: String| format!("option {key:?}: {error}");
        let good = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if key.is_empty() || !key.bytes().all(good) {
            return Err(format!("its option key {key:?} is not [a-z0-9_]{{1,31}}"));
        }
        if specs.iter().any(|earlier| earlier.key == key) {
            return Err(named("is declared twice".to_owned()));
        }
        // SAFETY: as above.
        let summary = unsafe { string("summary", raw.summary, SUMMARY_MAX_BYTES) };
        let summary = summary.map_err(named)?;
        let fallback = if raw.fallback.is_null() {
            None
        } else {
            // SAFETY: as above.
            let fallback = unsafe { string("fallback", raw.fallback, SUMMARY_MAX_BYTES) };
            Some(fallback.map_err(named)?)
        };
        let kind = OptionKind::from_raw(raw.kind)
            .ok_or_else(|| named(format!("kind {} does not exist", raw.kind)))?;
        if raw.flags & !(sys::OPTION_REQUIRED | sys::OPTION_LIST) != 0 {
            return Err(named(format!(
                "flags {:#x} do not exist in ABI 1.0",
                raw.flags
            )));
        }
        if raw.min.is_nan() || raw.max.is_nan() || raw.min > raw.max {
            return Err(named(format!(
                "bounds [{}, {}] are empty",
                raw.min, raw.max
            )));
        }
        let unbounded = raw.min == 0.0 && raw.max == 0.0;
        specs.push(OptionSpec {
            summary: text::printable(summary.as_bytes()),
            fallback,
            kind,
            required: raw.flags & sys::OPTION_REQUIRED != 0,
            list: raw.flags & sys::OPTION_LIST != 0,
            bounds: (!unbounded).then_some((raw.min, raw.max)),
            key,
        });
    }
    Ok(specs)
}

type GetExtension = Option<unsafe extern "C-unwind" fn(*const c_char) -> *const c_void>;

/// Asks for an extension and copies its table.
///
/// # Safety
/// `get_extension` is a driver's; where it answers, its table is constant, and `T` starts with `struct_size: u32` and
/// is valid for every bit pattern that a driver's table may hold.
unsafe fn extension<T: Copy>(get: GetExtension, id: &CStr) -> Result<Option<T>, String> {
    let Some(get) = get else { return Ok(None) };
    // SAFETY: the id is NUL-terminated and valid during the call; any thread may ask.
    let table = bordered(|| unsafe { get(id.as_ptr()) }).cast::<T>();
    if table.is_null() {
        return Ok(None);
    }
    if !table.is_aligned() {
        return Err(format!("its table of {id:?} is not aligned"));
    }
    // SAFETY: a table starts with its size, by the caller's promise.
    let struct_size = unsafe { table.cast::<u32>().read() };
    if usize::try_from(struct_size).unwrap_or(0) < size_of::<T>() {
        return Err(format!(
            "its table of {id:?} claims {struct_size} bytes, too few"
        ));
    }
    // SAFETY: not NULL, aligned, as long as a T by its own claim, constant.
    Ok(Some(unsafe { table.read() }))
}

/// # Safety
/// As `extension`.
unsafe fn frames_extension(get: GetExtension) -> Result<Option<FramesTable>, String> {
    // SAFETY: `Frames1` starts with struct_size; integers and an optional function take any bits.
    let Some(raw) = (unsafe { extension::<sys::Frames1>(get, sys::FRAMES_1) })? else {
        return Ok(None);
    };
    if raw.frame_max == 0 || raw.frame_max > sys::FRAME_MAX {
        return Err(format!(
            "its frame_max {} is not 1 to {}",
            raw.frame_max,
            sys::FRAME_MAX
        ));
    }
    let read_frames = raw
        .read_frames
        .ok_or("its frames extension has no read_frames")?;
    Ok(Some(FramesTable {
        frame_max: raw.frame_max,
        read_frames,
    }))
}

/// # Safety
/// As `extension`.
unsafe fn actuate_extension(
    get: GetExtension,
) -> Result<
    Option<unsafe extern "C-unwind" fn(*mut sys::Device, u32, *const sys::Value, u32) -> i32>,
    String,
> {
    // SAFETY: `Actuate1` starts with struct_size; integers and an optional function take any bits.
    let Some(raw) = (unsafe { extension::<sys::Actuate1>(get, sys::ACTUATE_1) })? else {
        return Ok(None);
    };
    raw.write
        .map(Some)
        .ok_or_else(|| "its actuate extension has no write".to_owned())
}
