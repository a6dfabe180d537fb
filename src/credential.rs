//! The certificate that the agent shows, where it gets its certificates itself: the one in use, and a new one until it
//! has connected.
//!
//! ```text
//! DIR/current.pem   in use: private key (unless it is in a token) and certificates in one file, so that one rename
//!                   changes both
//! DIR/next.pem      the same, new: on trial until a broker takes it; then it is renamed to current.pem
//! DIR/refused.pem   the last one that a broker did not take, where the old one was taken; for people to look at
//! ```

pub(crate) mod files;

use dunlin_crypto::PrivateKey;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What the files of one agent's identity say; shared by its uplinks and by what renews it.
#[derive(Debug)]
pub struct Credential {
    dir: PathBuf,
    /// In a token; in the files beside the certificates if absent.
    key: Option<PrivateKey>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    current: Option<Held>,
    next: Option<Held>,
    /// The new one failed, and the old one has its turn.
    old_again: bool,
    /// New ones that were set aside.
    set_aside: u64,
}

/// A file, and the number of the certificate in it. The number goes along where the file is renamed.
#[derive(Clone, Copy, Debug)]
struct Held {
    number: u64,
    inode: u64,
}

/// A certificate to connect with.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Tells it from every other one of this process.
    pub number: u64,
    /// Its file.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key: PrivateKey,
}

impl Credential {
    /// Looks at the files in `dir`, which need not be there yet.
    pub fn new(dir: PathBuf, key: Option<PrivateKey>) -> Arc<Credential> {
        let credential = Credential {
            dir,
            key,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        credential.look();
        Arc::new(credential)
    }

    /// The file of the certificate in use.
    pub fn current(dir: &Path) -> PathBuf {
        dir.join("current.pem")
    }

    /// The file of a certificate that no broker has taken yet.
    pub fn next(dir: &Path) -> PathBuf {
        dir.join("next.pem")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The files say what holds; what a panic leaves here is at worst looked at anew.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether files came or went, and tells those who wait.
    pub fn look(&self) {
        let mut state = self.state();
        let before = state.last_number;
        let (current, next) = (state.current, state.next);
        let mut held = |path: PathBuf, held: Option<Held>| {
            let inode = fs::metadata(path).ok()?.ino();
            if let Some(held) = held.filter(|held| held.inode == inode) {
                return Some(held);
            }
            state.last_number += 1;
            Some(Held {
                number: state.last_number,
                inode,
            })
        };
        let current = held(Credential::current(&self.dir), current);
        let next = held(Credential::next(&self.dir), next);
        let gone = state.current.is_some() && current.is_none();
        (state.current, state.next) = (current, next);
        if state.last_number != before || gone {
            state.old_again = false;
            self.changed.send_replace(state.last_number);
        }
    }

    /// The certificate to connect with now, if there is one.
    pub fn choose(&self) -> Option<Choice> {
        let state = self.state();
        let next = state.next.filter(|_| !state.old_again);
        let (held, cert_file) = match (next, state.current) {
            (Some(next), _) => (next, Credential::next(&self.dir)),
            (None, Some(current)) => (current, Credential::current(&self.dir)),
            (None, None) => return None,
        };
        Some(Choice {
            number: held.number,
            key: self
                .key
                .clone()
                .unwrap_or_else(|| PrivateKey::File(cert_file.clone())),
            cert_file,
        })
    }

    /// Wakes when another certificate may have to be chosen.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether a new certificate waits to be taken by a broker.
    pub fn is_on_trial(&self) -> bool {
        self.state().next.is_some()
    }

    /// How many new certificates were set aside, because a broker took the old one and not them.
    pub fn set_aside_count(&self) -> u64 {
        self.state().set_aside
    }

    /// A broker took this one. A new one is now the one in use; where the new one failed and the old one works, the new
    /// one is set aside.
    pub fn connected(&self, number: u64) {
        let mut state = self.state();
        if state.next.is_some_and(|next| next.number == number) {
            // Not synced: after a power cut the new one is on trial once more.
            match files::rename(
                &Credential::next(&self.dir),
                &Credential::current(&self.dir),
            ) {
                Ok(()) => {
                    tracing::info!("the broker took the new certificate: the old one is dropped");
                    state.current = state.next.take();
                }
                Err(error) => tracing::error!("cannot put the new certificate in use: {error}"),
            }
        } else if state.old_again {
            self.set_aside(&mut state, "the broker took the old one again");
        }
    }

    /// A connection with this one failed. `refused`: because of the certificate, as the broker said.
    pub fn failed(&self, number: u64, refused: bool) {
        let mut state = self.state();
        let on_trial = state.next.is_some_and(|next| next.number == number);
        if on_trial && state.current.is_some() {
            if refused {
                self.set_aside(&mut state, "the broker refused it");
            } else {
                state.old_again = true;
            }
        } else if !on_trial {
            state.old_again = false;
        }
    }

    fn set_aside(&self, state: &mut State, why: &str) {
        tracing::error!("the new certificate is set aside, and the old one stays in use: {why}");
        let refused = self.dir.join("refused.pem");
        if let Err(error) = files::rename(&Credential::next(&self.dir), &refused) {
            tracing::error!("cannot rename it: {error}");
        }
        state.next = None;
        state.old_again = false;
        state.set_aside += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(dir: &Path, files: &[&str]) -> Arc<Credential> {
        for file in files {
            fs::write(dir.join(file), file).unwrap();
        }
        Credential::new(dir.to_owned(), None)
    }

    fn held(dir: &Path, file: &str) -> String {
        fs::read_to_string(dir.join(file)).unwrap_or_default()
    }

    #[test]
    fn a_new_one_replaces_the_old_one_only_once_it_has_connected() {
        let dir = tempfile::tempdir().unwrap();
        let credential = make(dir.path(), &["current.pem"]);
        let old = credential.choose().unwrap();
        let watch = credential.watch();
        fs::write(dir.path().join("next.pem"), "next.pem").unwrap();
        credential.look();
        assert!(watch.has_changed().unwrap());
        let new = credential.choose().unwrap();
        assert_ne!(new.number, old.number);
        assert_eq!(held(dir.path(), "current.pem"), "current.pem");
        credential.connected(new.number);
        assert_eq!(held(dir.path(), "current.pem"), "next.pem");
        assert_eq!(credential.choose().unwrap().number, new.number);
        credential.look();
        assert_eq!(credential.choose().unwrap().number, new.number, "no news");
    }

    #[test]
    fn one_that_is_refused_is_set_aside_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let credential = make(dir.path(), &["current.pem", "next.pem"]);
        let new = credential.choose().unwrap();
        credential.failed(new.number, true);
        assert_eq!(held(dir.path(), "refused.pem"), "next.pem");
        let old = credential.choose().unwrap();
        assert_eq!(old.cert_file, dir.path().join("current.pem"));
        assert!(!credential.is_on_trial());
    }

    #[test]
    fn where_it_is_not_said_why_both_have_their_turn_and_the_first_to_connect_stays() {
        let dir = tempfile::tempdir().unwrap();
        let credential = make(dir.path(), &["current.pem", "next.pem"]);
        let new = credential.choose().unwrap();
        credential.failed(new.number, false);
        let old = credential.choose().unwrap();
        assert_ne!(old.number, new.number);
        credential.failed(old.number, false);
        assert_eq!(credential.choose().unwrap().number, new.number);
        credential.failed(new.number, false);
        credential.connected(old.number);
        assert_eq!(held(dir.path(), "current.pem"), "current.pem");
        assert_eq!(held(dir.path(), "refused.pem"), "next.pem");
    }

    #[test]
    fn the_only_one_there_is_is_never_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let credential = make(dir.path(), &["next.pem"]);
        let new = credential.choose().unwrap();
        credential.failed(new.number, true);
        assert_eq!(credential.choose().unwrap().number, new.number);
        assert!(make(&dir.path().join("none"), &[]).choose().is_none());
    }
}
