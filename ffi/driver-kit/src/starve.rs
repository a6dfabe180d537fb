//! Lets each allocation of a driver fail in turn. The part in C, starve.c, takes the place of malloc.

use dunlin_driver::{Device, Error, Library};

use crate::target::Target;

/// Allocations of one life that are looked at; a driver with more is looked at no further.
const ALLOCATIONS_MAX: libc::c_long = 2000;

unsafe extern "C" {
    fn dunlin_kit_starve(from: usize, to: usize, granted: libc::c_long) -> libc::c_long;
}

/// Grants the code between two addresses so many allocations; how many it was denied since the last call.
fn starve(code: (usize, usize), granted: libc::c_long) -> libc::c_long {
    // SAFETY: sets numbers that the kit's malloc looks at; any are valid.
    unsafe { dunlin_kit_starve(code.0, code.1, granted) }
}

/// Where the library is mapped, `/proc/self/maps`, proc(5).
fn mapped(library: &std::path::Path) -> Result<(usize, usize), String> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|error| error.to_string())?;
    let name = library.to_str().ok_or("its path is not UTF-8")?;
    let mut ends: Option<(usize, usize)> = None;
    for line in maps.lines().filter(|line| line.ends_with(name)) {
        let range = line.split(' ').next().unwrap_or_default();
        let (from, to) = range.split_once('-').ok_or("a map without a range")?;
        let number = |text| usize::from_str_radix(text, 16).map_err(|error| error.to_string());
        let (from, to) = (number(from)?, number(to)?);
        ends = Some(ends.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
    }
    ends.ok_or_else(|| "it is not mapped".to_owned())
}

/// One life: open, two reads, close.
fn live(library: &Library, target: &Target) -> Result<(), Error> {
    let mut device = Device::open(library, &target.options)?;
    let wait_ms = target.wait_ms(library.description().paced, 50);
    device.read(8, wait_ms)?;
    device.read(8, wait_ms)?;
    device.close()
}

/// How often an allocation was denied, each in a life of its own.
pub(crate) fn each_in_turn(library: &Library, target: &Target) -> Result<String, String> {
    let code = mapped(&target.library)?;
    live(library, target).map_err(|error| format!("with memory enough: {error}"))?;
    for granted in 0..ALLOCATIONS_MAX {
        starve(code, granted);
        let outcome = live(library, target);
        let denied = starve((0, 0), 0);
        match outcome {
            Ok(()) | Err(Error::Os { .. }) => {}
            Err(other) => return Err(format!("allocation {}: {other}", granted + 1)),
        }
        if denied == 0 {
            return Ok(format!("{granted} allocations, each denied once"));
        }
    }
    Ok(format!(
        "the first {ALLOCATIONS_MAX} allocations, each denied once"
    ))
}
