//! Checks in a process of the kit's own. It has no sandbox, so that it can look at itself; it is lost where the driver
//! crashes, and the kit, which waits for it, says so.

use std::path::Path;
use std::time::Duration;

use dunlin_driver::{Device, Error, Library};

use crate::check::Verdict;
use crate::process_state::{Holdings, Moment, threads};
use crate::target::Target;
use crate::{raw, starve, symbols};

/// Openings before the first look, in which caches fill, and until the second.
const WARM: u32 = 100;
const OPENINGS: u32 = 1000;
/// Heap that may be more after them, in bytes: half of what one lost allocation an opening would be, of which malloc's
/// smallest takes 32 bytes; buffers that grow once take less.
const HEAP_SLACK_BYTES: usize = 16_000;
/// Threads that may be left before the check ends early. All processes of a machine share what it has of them.
const THREADS_MAX: usize = 256;

/// How a rule is broken.
struct Broken(String);

impl From<String> for Broken {
    fn from(said: String) -> Broken {
        Broken(said)
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        Broken(error.to_string())
    }
}

/// Runs one check and writes its verdict to a file; true where the rule is kept.
pub(crate) fn run(name: &str, verdict: &Path, target: &Target) -> Result<bool, String> {
    let outcome = body(name, target);
    let (kept, said) = match outcome {
        Ok(note) => (true, format!("ok {note}")),
        Err(Broken(why)) => (false, format!("FAILED {why}")),
    };
    std::fs::write(verdict, said).map_err(|error| error.to_string())?;
    Ok(kept)
}

/// What `run` wrote.
pub(crate) fn parse(said: &str) -> Option<Verdict> {
    let (word, rest) = said.split_once(' ')?;
    match word {
        "ok" => Some(Verdict::Kept(rest.to_owned())),
        "FAILED" => Some(Verdict::Failed(rest.to_owned())),
        _ => None,
    }
}

fn body(name: &str, target: &Target) -> Result<String, Broken> {
    if name == "exports-one-symbol" {
        return Ok(symbols::only_the_entry(&target.library)?);
    }
    if name == "asks-for-channels-twice" {
        // SAFETY: this process exists to be lost to the driver.
        let counts = unsafe { raw::channel_counts(target) }?;
        if counts.iter().any(|count| count != &counts[0]) {
            return Err(format!(
                "it says {counts:?} with room for none, for all, and for one too few"
            )
            .into());
        }
        return Ok(format!("{} each time", counts[0]));
    }
    // SAFETY: this process exists to be lost to the driver.
    let library = unsafe { Library::open(&target.library) }?;
    match name {
        "opens-a-thousand-times" => a_thousand_times(&library, target),
        "opens-twice-at-once" => twice_at_once(&library, target),
        "lives-on-any-thread" => on_any_thread(&library, target),
        "leaves-the-process-alone" => process_alone(&library, target),
        "survives-no-memory" => Ok(starve::each_in_turn(&library, target)?),
        _ => Err(format!("there is no check {name:?}").into()),
    }
}

fn life(library: &Library, target: &Target) -> Result<(), Error> {
    let mut device = Device::open(library, &target.options)?;
    device.read(8, target.wait_ms(library.description().paced, 0))?;
    device.close()
}

fn lives(library: &Library, target: &Target, openings: u32) -> Result<(), Broken> {
    for opening in 1..=openings {
        life(library, target)?;
        let threads = threads();
        if threads > THREADS_MAX {
            return Err(format!("{threads} threads are left after {opening} openings").into());
        }
    }
    Ok(())
}

fn a_thousand_times(library: &Library, target: &Target) -> Result<String, Broken> {
    lives(library, target, WARM)?;
    let before = Holdings::now();
    lives(library, target, OPENINGS)?;
    let mut after = Holdings::now();
    // Threads that were told to end may need a moment.
    if after.threads > before.threads {
        std::thread::sleep(Duration::from_millis(200));
        after = Holdings::now();
    }
    if after.descriptors > before.descriptors {
        let left = after.descriptors - before.descriptors;
        return Err(format!("{left} descriptors are left after {OPENINGS} openings").into());
    }
    if after.threads > before.threads {
        let left = after.threads - before.threads;
        return Err(format!("{left} threads are left after {OPENINGS} openings").into());
    }
    let grown = after.heap_bytes.saturating_sub(before.heap_bytes);
    if grown > HEAP_SLACK_BYTES {
        return Err(format!("{grown} bytes of heap are left after {OPENINGS} openings").into());
    }
    Ok(format!("{OPENINGS} openings"))
}

fn twice_at_once(library: &Library, target: &Target) -> Result<String, Broken> {
    let wait_ms = target.wait_ms(library.description().paced, 0);
    let mut first = Device::open(library, &target.options)?;
    first.read(8, wait_ms)?;
    let mut second = match Device::open(library, &target.options) {
        Ok(second) => second,
        Err(refused @ Error::Os { .. }) => {
            first.read(8, wait_ms)?;
            first.close()?;
            return Ok(format!("the second is refused: {refused}"));
        }
        Err(broken) => return Err(broken.into()),
    };
    for _ in 0..5 {
        first.read(8, wait_ms)?;
        second.read(8, wait_ms)?;
    }
    first.close()?;
    second.read(8, wait_ms)?;
    second.close()?;
    Ok("read in turn, closed one after the other".to_owned())
}

fn on_any_thread(library: &Library, target: &Target) -> Result<String, Broken> {
    for _ in 0..3 {
        let lived = std::thread::scope(|scope| scope.spawn(|| life(library, target)).join());
        lived.map_err(|_| "the thread ended".to_owned())??;
    }
    life(library, target)?;
    Ok("three threads, and the first".to_owned())
}

fn process_alone(library: &Library, target: &Target) -> Result<String, Broken> {
    let before = Moment::now();
    let mut device = Device::open(library, &target.options)?;
    for _ in 0..3 {
        device.read(8, target.wait_ms(library.description().paced, 20))?;
    }
    if let Some(change) = before.first_change(&Moment::now()) {
        return Err(format!("while the device is open, {change}").into());
    }
    device.close()?;
    match before.first_change(&Moment::now()) {
        Some(change) => Err(format!("after close, {change}").into()),
        None => Ok("signals, locale, directory, umask, environment, descriptors 0 to 2".to_owned()),
    }
}
