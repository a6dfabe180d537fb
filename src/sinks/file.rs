//! `file`: JSON lines, rotated by size. A record is acknowledged once its file and directory are fsynced.
//!
//! Group commit: what came within `sync_ms`, at most about [`GROUP_BYTES_MAX`], is written and synced at once. Where the disk
//! is full or fails, the group is kept and tried again with backoff; meanwhile the queue fills and the sources wait: nothing is
//! lost, nothing acknowledged. After an error the file is opened anew and cut back to what was durable, because a failed
//! fsync says nothing about which bytes are on disk, and then the whole group is written again.
//!
//! At the start, trailing lines that are not whole (the power went while they were written) are cut off; they were
//! never acknowledged. Rotation keeps `keep_files` old files, `PATH.1` the youngest, and deletes the oldest.

use super::{Context, Own, SinkError, line};
use crate::config::Section;
use crate::pipeline::{Ack, Batch, Inlet};
use crate::stats::SinkStats;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Bytes at which a group is committed before its time. A group is longer by one batch at most.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// Batches in one group.
const GROUP_BATCHES_MAX: usize = 4096;

/// How far back from its end a file is searched for its last whole line, in bytes.
const REPAIR_BYTES_MAX: u64 = 16 << 20;

/// First and longest wait before a failed commit is tried again, in milliseconds.
const RETRY_MS: (u64, u64) = (100, 5_000);

/// See the module.
#[derive(Debug)]
pub(super) struct File {
    name: String,
    sync: Duration,
    boot: String,
    stats: Arc<SinkStats>,
    log: Log,
}

impl File {
    pub(super) fn configure(
        name: &str,
        section: &mut Section<'_>,
        _own: Option<&Own>,
    ) -> Option<File> {
        let path = section.required_text(
            "path",
            "give the file, such as \"/var/lib/dunlin/records.jsonl\"",
        );
        let rotate_mb = section.integer("rotate_mb", 1..=65_536, 64);
        let keep_files = section.integer("keep_files", 0..=1_000, 8);
        let sync_ms = section.integer("sync_ms", 0..=60_000, 200);
        let path = PathBuf::from(path?);
        if path.file_name().is_none() || path.is_dir() {
            section.problem("path", "names no file", "append the name of a file");
            return None;
        }
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            && !folder.is_dir()
        {
            let folder = folder.display();
            section.problem(
                "path",
                format_args!("is in {folder}, which is no folder"),
                "make the folder, writable for the agent's user, or name another",
            );
            return None;
        }
        Some(File {
            name: name.to_owned(),
            sync: Duration::from_millis(sync_ms),
            boot: String::new(),
            stats: Arc::default(),
            log: Log {
                path,
                rotate_bytes: rotate_mb << 20,
                keep_files,
                file: None,
                cut_back: None,
            },
        })
    }

    pub(super) fn open(&mut self, context: &Context) -> Result<(), SinkError> {
        self.boot = context.boot.to_string();
        self.stats = Arc::clone(&context.stats);
        self.log.open().map_err(|source| SinkError::Open {
            sink: self.name.clone(),
            path: self.log.path.clone(),
            source,
        })
    }

    pub(super) async fn run(self, mut inlet: Inlet) -> Result<(), SinkError> {
        let mut log = self.log;
        let mut encoder = Encoder {
            boot: self.boot,
            numbers: HashMap::new(),
        };
        let mut open = true;
        self.stats.state.set("running");
        while open {
            let Some(first) = inlet.recv().await else {
                break;
            };
            let mut group = Group::default();
            encoder.add(first, &mut group);
            let until = Instant::now() + self.sync;
            while open && !group.is_full() {
                match timeout_at(until, inlet.recv()).await {
                    Ok(Some(batch)) => encoder.add(batch, &mut group),
                    Ok(None) => open = false,
                    Err(_) => break,
                }
            }
            log = commit(log, &self.name, group, &self.stats).await;
        }
        Ok(())
    }
}

/// Numbers the records of each stream, dense from 0 in each boot, and writes their lines.
#[derive(Debug)]
struct Encoder {
    boot: String,
    /// Bounded by the streams, and these by the nodes.
    numbers: HashMap<Arc<str>, u64>,
}

impl Encoder {
    fn add(&mut self, batch: Batch, group: &mut Group) {
        let Batch {
            stream,
            records,
            ack,
            ..
        } = batch;
        let next = self.numbers.entry(Arc::clone(&stream)).or_default();
        for record in records.iter() {
            line::append(&mut group.text, &stream, &self.boot, *next, record);
            *next += 1;
        }
        group.records += records.len() as u64;
        group.acks.push(ack);
    }
}

/// What is written and synced at once.
#[derive(Debug, Default)]
struct Group {
    text: Vec<u8>,
    records: u64,
    acks: Vec<Ack>,
}

impl Group {
    fn is_full(&self) -> bool {
        self.text.len() >= GROUP_BYTES_MAX || self.acks.len() >= GROUP_BATCHES_MAX
    }
}

/// Writes and syncs a group, however long the disk refuses it, then acknowledges it.
async fn commit(mut log: Log, sink: &str, group: Group, stats: &SinkStats) -> Log {
    let text = Arc::new(group.text);
    let mut wait_ms = RETRY_MS.0;
    let mut refused = 0u64;
    loop {
        let bytes = Arc::clone(&text);
        // The thread gives the log back, also where it failed; only a panic in it, a bug, does not.
        let written = tokio::task::spawn_blocking(move || {
            let result = log.append(&bytes);
            (log, result)
        });
        let result;
        (log, result) = written.await.expect("appending does not panic");
        let path = log.path.display();
        match result {
            Ok(()) => break,
            Err(error) if refused == 0 => {
                stats.degraded.store(true, Ordering::Relaxed);
                stats.state.set(format!("cannot write {path}: {error}"));
                tracing::warn!(sink, %path, %error, "cannot write; the records wait, and their sources with them");
            }
            Err(error) => tracing::debug!(sink, %path, %error, refused, "still cannot write"),
        }
        refused += 1;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        wait_ms = (wait_ms * 2).min(RETRY_MS.1);
    }
    if refused > 0 {
        let path = log.path.display();
        tracing::info!(sink, %path, refused, "writing again; nothing was lost");
        stats.degraded.store(false, Ordering::Relaxed);
        stats.state.set("running");
    }
    stats.durable.add(group.records);
    stats.stored_bytes.add(text.len() as u64);
    stats.payload_bytes.add(text.len() as u64);
    group.acks.into_iter().for_each(Ack::done);
    log
}

/// The files.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    rotate_bytes: u64,
    keep_files: u64,
    /// The open file and how many bytes of it are durable; `None` after an error, and before the first start.
    file: Option<(fs::File, u64)>,
    /// How far the file that had an error is to be cut back, and which it is (device, inode).
    cut_back: Option<((u64, u64), u64)>,
}

impl Log {
    fn open(&mut self) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&self.path)?;
        let found = file.metadata()?;
        let whole = match self.cut_back {
            Some((id, bytes)) if id == identity(&found) => bytes.min(found.len()),
            _ => whole_lines(&mut file, found.len())?,
        };
        if whole < found.len() {
            let bytes = found.len() - whole;
            let path = self.path.display();
            tracing::warn!(%path, bytes, "cut off lines that were not written whole; they were never acknowledged");
            file.set_len(whole)?;
            file.sync_all()?;
        }
        sync_directory(&self.path)?;
        self.cut_back = None;
        self.file = Some((file, whole));
        Ok(())
    }

    /// Makes `bytes` durable at the end of the file.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let result = self.try_append(bytes);
        if result.is_err()
            && let Some((file, durable)) = self.file.take()
            && let Ok(found) = file.metadata()
        {
            self.cut_back = Some((identity(&found), durable));
        }
        result
    }

    fn try_append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let moved = match &self.file {
            Some((file, _)) => match fs::metadata(&self.path) {
                Ok(named) => identity(&named) != identity(&file.metadata()?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Err(error) => return Err(error),
            },
            None => true,
        };
        if moved {
            // Somebody moved or removed the file: what follows belongs to the one that the path names now.
            self.file = None;
            self.open()?;
        }
        let (_, durable) = self.file.as_ref().expect("opened above");
        if *durable > 0 && durable.saturating_add(len(bytes)) > self.rotate_bytes {
            self.rotate()?;
        }
        let (file, durable) = self.file.as_mut().expect("open or rotated above");
        file.write_all(bytes)?;
        file.sync_data()?;
        *durable += len(bytes);
        Ok(())
    }

    /// `PATH.1` becomes `PATH.2` and so on, the oldest going; `PATH` becomes `PATH.1`. An interruption leaves a number
    /// unused, never a file overwritten.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        if self.keep_files == 0 {
            remove_if_there(&self.path)?;
        } else {
            let first_free = (1..self.keep_files).find(|n| !self.numbered(*n).exists());
            let last = first_free.unwrap_or(self.keep_files);
            if last == self.keep_files {
                remove_if_there(&self.numbered(last))?;
            }
            for number in (1..last).rev() {
                fs::rename(self.numbered(number), self.numbered(number + 1))?;
            }
            fs::rename(&self.path, self.numbered(1))?;
        }
        self.open()
    }

    fn numbered(&self, number: u64) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length in memory fits in 64 bits")
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Length of a file without its trailing lines that are no JSON; searched for [`REPAIR_BYTES_MAX`] back.
fn whole_lines(file: &mut fs::File, length: u64) -> io::Result<u64> {
    let from = length.saturating_sub(REPAIR_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(REPAIR_BYTES_MAX).read_to_end(&mut tail)?;
    let mut end = tail.len();
    while end > 0 {
        let start = tail[..end - 1].iter().rposition(|b| *b == b'\n');
        let start = start.map_or(0, |newline| newline + 1);
        // A line that begins before the tail cannot be judged: it stays.
        let cut = start == 0 && from > 0;
        let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(&tail[start..end]);
        if tail[end - 1] == b'\n' && (cut || parsed.is_ok()) {
            break;
        }
        end = start;
    }
    Ok(from + len(&tail[..end]))
}

#[cfg(test)]
mod tests;
