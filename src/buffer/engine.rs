//! The three logs under one size limit: policy, without threads or clocks, so that every step of it can be crashed.

use super::format::{FORMAT_VERSION, PAYLOAD_BYTES_MAX, record_bytes};
use super::fs::{Storage, write_all};
use super::log::{self, Log};
use super::options::{Dropped, Options, Policy, Why};
use super::recovery::{Recovery, recover};
use super::shared::{Degraded, Shared};
use super::{Batch, Class, Error};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Segments kept free of data so that a class can go on, and a drop can be reported, when the rest is full.
const RESERVE_SEGMENTS: u64 = 3;

pub(super) struct Engine {
    shared: Arc<Shared>,
    options: Options,
    logs: Vec<Log>,
    /// Held until the engine is dropped, which is after its last write.
    _lock: Box<dyn Send + Sync>,
}

impl Engine {
    pub(super) fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        options: Options,
    ) -> Result<(Engine, Recovery), Error> {
        let shared = Arc::new(Shared::new(storage, dir));
        let storage = shared.storage.as_ref();
        let known = check_format(storage, dir)?;
        let make = |path: &Path| {
            let made = storage.create_dir(path);
            made.map_err(|e| Error::io("create the directory", path, e))
        };
        make(dir)?;
        let lock = storage.lock(&dir.join("lock")).map_err(|e| {
            if e.kind() == io::ErrorKind::WouldBlock {
                let (dir, pid) = (dir.to_owned(), e.to_string());
                Error::Locked { dir, pid }
            } else {
                Error::io("lock", &dir.join("lock"), e)
            }
        })?;
        for log in &shared.logs {
            make(&log.dir)?;
        }
        if known != Some(FORMAT_VERSION) {
            write_format(storage, dir)?;
        }
        for synced in [Some(dir), dir.parent()].into_iter().flatten() {
            // The parent of a relative path of one name is the empty path.
            let synced = if synced.as_os_str().is_empty() {
                Path::new(".")
            } else {
                synced
            };
            storage
                .sync_dir(synced)
                .map_err(|e| Error::io("sync", synced, e))?;
        }
        let mut logs = Vec::new();
        let mut recovery = Recovery { logs: Vec::new() };
        for class in Class::ALL {
            let (log, found) = recover(&shared, class, &options)?;
            logs.push(log);
            recovery.logs.push(found);
        }
        let mut engine = Engine {
            shared,
            options,
            logs,
            _lock: lock,
        };
        engine.pack(engine.options.compress);
        engine.reclaim()?;
        Ok((engine, recovery))
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Compresses from now on, or not.
    pub(super) fn pack(&mut self, pack: bool) {
        for log in &mut self.logs {
            log.pack = pack;
        }
    }

    /// Appends batches as one group and returns the first position once they are durable. `Error::Full` where the
    /// policy is to wait. After an error nothing was appended.
    pub(super) fn append(&mut self, class: Class, batches: &[Batch]) -> Result<u64, Error> {
        let outcome = self.try_append(class, batches);
        let mut degraded = self.shared.degraded();
        match &outcome {
            Ok(_) => *degraded = None,
            Err(Error::Full) => {}
            Err(e) => {
                let refused = degraded.as_ref().map_or(0, |d| d.refused) + batches.len() as u64;
                let cause = e.to_string();
                *degraded = Some(Degraded { cause, refused });
            }
        }
        drop(degraded);
        outcome
    }

    fn try_append(&mut self, class: Class, batches: &[Batch]) -> Result<u64, Error> {
        let need = log::group_bytes(batches);
        let mut failed = None;
        loop {
            if self.logs[class as usize].room() < need {
                self.rotate(class)?;
            }
            match self.logs[class as usize].append(batches) {
                // The segment is poisoned; the frames are still here, so they go to a new one, once.
                Err(e) if failed.is_none() => failed = Some(e),
                outcome => {
                    let frames: usize = batches.iter().map(Batch::len).sum();
                    if outcome.is_ok() {
                        if let Some(e) = failed {
                            tracing::warn!(
                                "a segment is given up, its last group went to a new one: {e}"
                            );
                        }
                        self.shared.counters.frames_durable.add(frames as u64);
                    }
                    return outcome;
                }
            }
        }
    }

    /// Starts a segment for a class, with space made for it as the policy says.
    fn rotate(&mut self, class: Class) -> Result<(), Error> {
        let (size_max, segment) = (self.options.size_max_bytes, self.options.segment_bytes);
        if !self.fits(class, size_max - RESERVE_SEGMENTS * segment)? {
            self.reclaim()?;
        }
        match self.options.policy {
            Policy::Block => {
                if !self.fits(class, size_max)? {
                    return Err(Error::Full);
                }
            }
            Policy::DropOldest => {
                while !self.fits(class, size_max - RESERVE_SEGMENTS * segment)? {
                    if !self.drop_oldest(class)? {
                        break;
                    }
                }
                // Nothing left to drop but higher classes: into the reserve, save the part that gap frames need.
                if !self.fits(class, size_max - segment)? {
                    return Err(Error::Full);
                }
            }
        }
        self.check_free(self.logs[class as usize].growth())?;
        self.logs[class as usize].rotate()
    }

    /// Whether another segment of a class fits below a limit. Spare files give way, save the one that it will be.
    fn fits(&mut self, class: Class, limit: u64) -> Result<bool, Error> {
        loop {
            let growth = self.logs[class as usize].growth();
            if self.disk_bytes() + growth <= limit {
                return Ok(true);
            }
            let keeps = |at: usize| usize::from(at == class as usize);
            let mut logs = self.logs.iter_mut().enumerate();
            let Some((_, log)) = logs.find(|(at, log)| log.spares() > keeps(*at)) else {
                return Ok(false);
            };
            log.discard_spare()?;
        }
    }

    /// Drops the oldest segment of the lowest class up to `class` that has one to spare.
    fn drop_oldest(&mut self, class: Class) -> Result<bool, Error> {
        for victim in Class::ALL.into_iter().filter(|v| *v <= class) {
            if self.drop_oldest_of(victim, Why::Space)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Drops the oldest segment of a class, if it has another one.
    fn drop_oldest_of(&mut self, victim: Class, why: Why) -> Result<bool, Error> {
        let Some((id, path, positions)) = self.logs[victim as usize].oldest() else {
            return Ok(false);
        };
        if positions.is_empty() {
            // Released since it was looked at last: a start that does not find it must know that it was delivered.
            self.logs[victim as usize].persist()?;
        } else {
            // What cannot be read must not hold up what comes: it is dropped as the rest, and told by its count.
            let bytes = log::load(&self.shared, &path).unwrap_or_else(|e| {
                tracing::warn!("frames that are dropped are not told one by one: {e}");
                Vec::new()
            });
            let payload = self.gap(victim, why, &positions, &bytes, id);
            self.report_drop(victim, payload.as_deref(), positions.end)?;
            let frames = positions.end - positions.start;
            self.shared.counters.frames_dropped.add(frames);
            if why == Why::Age {
                self.shared.counters.frames_expired.add(frames);
            }
        }
        self.logs[victim as usize].retire_oldest()?;
        Ok(true)
    }

    /// Drops what is too old.
    pub(super) fn expire(&mut self) -> Result<(), Error> {
        for class in Class::ALL {
            let ttl_ms = self.options.ttl_ms[class as usize];
            if ttl_ms == 0 {
                continue;
            }
            // What could not be removed when it was dropped or released stands in front of what ages.
            self.logs[class as usize].reclaim()?;
            while self.logs[class as usize].is_expired(ttl_ms)? {
                // The newest segment is dropped too, once there is another for the gap frame.
                let log = &mut self.logs[class as usize];
                if log.oldest().is_none() {
                    log.rotate()?;
                }
                self.drop_oldest_of(class, Why::Age)?;
            }
        }
        Ok(())
    }

    /// Asks the owner for a gap frame.
    fn gap(
        &self,
        class: Class,
        why: Why,
        range: &Range<u64>,
        bytes: &[u8],
        id: u64,
    ) -> Option<Vec<u8>> {
        let on_drop = self.options.on_drop.as_ref()?;
        let frames = Box::new(log::frames_of(bytes, id, range.clone()));
        let payload = on_drop(Dropped {
            why,
            class,
            positions: range.clone(),
            frames,
        })?;
        let fits = payload.len() <= PAYLOAD_BYTES_MAX
            && record_bytes(payload.len()) <= self.options.append_bytes_max();
        if !fits {
            tracing::error!(
                class = class.name(),
                bytes = payload.len(),
                "gap frame exceeds append_bytes_max, left out"
            );
        }
        fits.then_some(payload)
    }

    /// Makes a drop durable before it is done. A poisoned segment is replaced once, as for any group.
    fn report_drop(&mut self, class: Class, gap: Option<&[u8]>, floor: u64) -> Result<(), Error> {
        let need = gap.map_or(0, |p| record_bytes(p.len())) + log::group_bytes(&[]);
        let mut again = true;
        loop {
            if self.logs[class as usize].room() < need {
                // Not held to `free_bytes_min`: the drop that this makes possible gives a whole segment back.
                self.logs[class as usize].rotate()?;
            }
            match self.logs[class as usize].append_gap(gap, floor) {
                Err(_) if again => again = false,
                outcome => return outcome,
            }
        }
    }

    /// Removes what is released, in every log.
    pub(super) fn reclaim(&mut self) -> Result<(), Error> {
        self.logs.iter_mut().try_for_each(Log::reclaim)
    }

    /// Persists every cursor, and removes what they release.
    pub(super) fn flush_cursors(&mut self) -> Result<(), Error> {
        for log in &mut self.logs {
            if log.unpersisted() > 0 {
                log.persist()?;
            }
            log.reclaim()?;
        }
        Ok(())
    }

    /// Ends the segments that are being written, so that they take no more space than they use.
    pub(super) fn seal(&mut self) {
        self.logs.iter_mut().for_each(Log::seal);
    }

    fn disk_bytes(&self) -> u64 {
        let of = |log: &super::shared::LogShared| log.view().disk_bytes();
        self.shared.logs.iter().map(of).sum()
    }

    /// Keeps the stated free space of the file system.
    fn check_free(&self, growth: u64) -> Result<(), Error> {
        let min = self.options.free_bytes_min;
        if min == 0 {
            return Ok(());
        }
        let dir = &self.shared.logs[0].dir;
        let free = self.shared.storage.free_bytes(dir);
        let free = free.map_err(|e| Error::io("measure the free space of", dir, e))?;
        if growth > 0 && free < min + growth {
            let source = io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{free} bytes free, free_bytes_min is {min}"),
            );
            return Err(Error::io("start a segment in", dir, source));
        }
        Ok(())
    }
}

/// The format that the directory states; an error where it is a newer one, with nothing touched.
pub(super) fn check_format(storage: &dyn Storage, dir: &Path) -> Result<Option<u16>, Error> {
    let path = dir.join("format");
    let file = match storage.open(&path, false) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| Error::io("open", &path, e))?,
    };
    let bytes = log::read_file(file.as_ref()).map_err(|e| Error::io("read", &path, e))?;
    let text = String::from_utf8_lossy(&bytes);
    let found = text
        .trim()
        .strip_prefix("dunlin-buffer ")
        .unwrap_or(text.trim());
    match found.parse::<u16>() {
        Ok(version) if (1..=FORMAT_VERSION).contains(&version) => Ok(Some(version)),
        _ => Err(Error::Version {
            dir: dir.to_owned(),
            found: found.chars().take(40).collect(),
            known: FORMAT_VERSION,
        }),
    }
}

fn write_format(storage: &dyn Storage, dir: &Path) -> Result<(), Error> {
    let (new, path) = (dir.join("format.new"), dir.join("format"));
    let write = || {
        match storage.remove(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = storage.create(&new)?;
        let text = format!("dunlin-buffer {FORMAT_VERSION}\n");
        write_all(file.as_ref(), text.as_bytes(), 0)?;
        file.sync()?;
        storage.rename(&new, &path)
    };
    write().map_err(|e| Error::io("write", &path, e))
}
