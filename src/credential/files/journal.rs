//! What was done to the files, and every directory that a power cut can leave of it.
//!
//! After a cut a directory has all changes of names up to the last `SyncDir`, and of the later ones any choice: a file system
//! may write them in any order. A file that was not wholly written when the power went is empty, or half there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create(PathBuf, Vec<u8>),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir,
}

thread_local! {
    static STEPS: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn note(step: Step) {
    STEPS.with_borrow_mut(|steps| steps.push(step));
}

/// What this thread has done since it was last asked.
pub(crate) fn take() -> Vec<Step> {
    STEPS.take()
}

/// Names and contents.
pub(crate) type Dir = BTreeMap<PathBuf, Vec<u8>>;

/// A change of names that is there whole or not at all.
#[derive(Clone)]
struct Change {
    set: Option<(PathBuf, Vec<u8>)>,
    gone: Option<PathBuf>,
}

impl Change {
    fn apply(&self, dir: &mut Dir) {
        if let Some((path, content)) = &self.set {
            dir.insert(path.clone(), content.clone());
        }
        if let Some(path) = &self.gone {
            dir.remove(path);
        }
    }
}

/// Every directory that a cut during `steps`, or after them, can leave of `before`.
pub(crate) fn cuts(before: &Dir, steps: &[Step]) -> BTreeSet<Dir> {
    let mut found = BTreeSet::new();
    // What the process sees, what is surely on disk, and what perhaps is.
    let (mut seen, mut durable, mut open) = (before.clone(), before.clone(), Vec::new());
    choices(&durable, &open, &mut found);
    for step in steps {
        let change = match step {
            Step::SyncDir => {
                durable.clone_from(&seen);
                open.clear();
                choices(&durable, &open, &mut found);
                continue;
            }
            Step::Create(path, content) => {
                for part in [0, content.len() / 2] {
                    let mut half = open.clone();
                    half.push(Change {
                        set: Some((path.clone(), content[..part].to_vec())),
                        gone: None,
                    });
                    choices(&durable, &half, &mut found);
                }
                Change {
                    set: Some((path.clone(), content.clone())),
                    gone: None,
                }
            }
            Step::Rename(from, to) => Change {
                set: Some((to.clone(), seen[from].clone())),
                gone: Some(from.clone()),
            },
            Step::Remove(path) => Change {
                set: None,
                gone: Some(path.clone()),
            },
        };
        change.apply(&mut seen);
        open.push(change);
        choices(&durable, &open, &mut found);
    }
    found
}

fn choices(durable: &Dir, open: &[Change], found: &mut BTreeSet<Dir>) {
    for choice in 0..1_u32 << open.len() {
        let mut dir = durable.clone();
        for (at, change) in open.iter().enumerate() {
            if choice & 1 << at != 0 {
                change.apply(&mut dir);
            }
        }
        found.insert(dir);
    }
}
