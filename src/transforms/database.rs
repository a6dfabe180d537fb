//! A telemetry database in a file, read again when the file changes. What reads it takes the one in force before each
//! batch, so that a batch is of one version; a file with something wrong in it leaves the last good one in force.

use crate::config::{Problem, Section};
use crate::stats::Tally;
use crate::telemetry::database::{Database, TEXT_BYTES_MAX, read};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// Most problems of a file that are reported at once.
const PROBLEMS_MAX: usize = 20;

/// Why a file gives no database.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("has {0} bytes, more than {TEXT_BYTES_MAX}")]
    Large(u64),
    #[error("is wrong in line {}: {}: {}", .0[0].line, .0[0].key, .0[0].what)]
    Wrong(Vec<Problem>),
}

/// What changes when a file is written or replaced: device, inode, length, time of change.
type Look = (u64, u64, u64, i64, i64);

fn look(file: &Path) -> io::Result<Look> {
    let found = fs::metadata(file)?;
    Ok((
        found.dev(),
        found.ino(),
        found.len(),
        found.ctime(),
        found.ctime_nsec(),
    ))
}

fn load(file: &Path) -> Result<Database, LoadError> {
    let bytes = fs::metadata(file)?.len();
    if bytes > TEXT_BYTES_MAX as u64 {
        return Err(LoadError::Large(bytes));
    }
    read(file, &fs::read_to_string(file)?).map_err(LoadError::Wrong)
}

/// The database of one transform. Clones have it together.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    slot: Arc<Slot>,
    reload: Option<Duration>,
    look: Option<Look>,
}

#[derive(Debug)]
struct Slot {
    node: String,
    file: PathBuf,
    database: Mutex<Arc<Database>>,
    is_watched: AtomicBool,
    tally: Arc<Tally>,
}

impl Watched {
    /// Reads the keys `database` and `reload_ms`, and the database.
    pub(super) fn configure(
        node: &str,
        section: &mut Section<'_>,
        tally: &Arc<Tally>,
    ) -> Option<Watched> {
        let remedy = "write the path of a telemetry database; `dunlin telemetry check` finds all that is wrong with one";
        let file = section.required_text("database", remedy);
        let reload_ms = section.integer("reload_ms", 0..=3_600_000, 1000);
        let file = PathBuf::from(file?);
        let look = look(&file).ok();
        match load(&file) {
            Ok(database) => Some(Watched {
                slot: Arc::new(Slot {
                    node: node.to_owned(),
                    file,
                    database: Mutex::new(Arc::new(database)),
                    is_watched: AtomicBool::new(false),
                    tally: Arc::clone(tally),
                }),
                reload: (reload_ms > 0).then(|| Duration::from_millis(reload_ms)),
                look,
            }),
            Err(LoadError::Wrong(problems)) => {
                for problem in problems.iter().take(PROBLEMS_MAX) {
                    let Problem {
                        line,
                        key,
                        what,
                        remedy,
                    } = problem;
                    let file = file.display();
                    section.problem(
                        "database",
                        format_args!("{file}:{line}: {key}: {what}"),
                        remedy,
                    );
                }
                None
            }
            Err(error) => {
                section.problem(
                    "database",
                    format_args!("{} {error}", file.display()),
                    remedy,
                );
                None
            }
        }
    }

    /// The database in force. The first call starts to watch the file.
    pub(super) fn current(&self) -> Arc<Database> {
        let is_first = || !self.slot.is_watched.swap(true, Ordering::Relaxed);
        if let Some(every) = self.reload
            && is_first()
        {
            let (slot, last) = (Arc::downgrade(&self.slot), self.look);
            let watch = move || watch(&slot, every, last);
            if let Err(error) = thread::Builder::new()
                .name("database".to_owned())
                .spawn(watch)
            {
                tracing::warn!(node = self.slot.node, %error, "the telemetry database is not watched");
            }
        }
        self.slot.get()
    }
}

impl Slot {
    fn get(&self) -> Arc<Database> {
        Arc::clone(&self.database.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reload(&self) {
        let (node, file) = (&self.node, self.file.display());
        match load(&self.file) {
            Ok(database) => {
                let version = Arc::clone(&database.version);
                let mut current = self.database.lock().unwrap_or_else(PoisonError::into_inner);
                if current.version == version {
                    return;
                }
                *current = Arc::new(database);
                self.tally.add("databases", 1);
                tracing::info!(node, %file, %version, "telemetry database changed");
            }
            Err(error) => {
                let kept = self.get();
                self.tally.add("databases_refused", 1);
                tracing::warn!(node, %file, kept = %kept.version, "telemetry database not changed: it {error}");
            }
        }
    }
}

/// Looks at the file until nobody has the database any more.
fn watch(slot: &Weak<Slot>, every: Duration, mut last: Option<Look>) {
    loop {
        thread::sleep(every);
        let Some(slot) = slot.upgrade() else { return };
        // A file that is away for a moment, as when it is replaced, is waited for.
        let Ok(now) = look(&slot.file) else { continue };
        if last != Some(now) {
            last = Some(now);
            slot.reload();
        }
    }
}
