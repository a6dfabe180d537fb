//! One enrolment: a key, a request, an answer, and the files that it leaves.

use super::configure::Settings;
use super::est::EstError;
use crate::credential::{Credential, files};
use dunlin_crypto::{ClientTls, CryptoError, PrivateKey, Subject};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// By what the agent proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The one-time secret: /simpleenroll.
    Secret,
    /// The certificate in use: /simplereenroll.
    Certificate,
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A file of the identity.
    #[error("cannot {verb} {path}: {source}", path = .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process enrols this agent.
    #[error("another process is asking for a certificate of this agent")]
    Busy,
    /// There is no secret to prove it with.
    #[error("there is no one-time secret")]
    NoSecret,
    /// Key, certificate or token.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The server.
    #[error(transparent)]
    Est(#[from] EstError),
    /// It lives for too long.
    #[error(
        "the server's certificate lives for {life_s} s, and identity.life_days_max allows {max_s} s"
    )]
    TooLong {
        /// From its first second to its last.
        life_s: i64,
        /// The bound.
        max_s: i64,
    },
    /// A task of ours ended.
    #[error("{0}")]
    Internal(String),
}

/// Gets a certificate and leaves it, with its key, as the one that is on trial.
pub async fn enrol(settings: &Settings, way: Way) -> Result<(), EnrolError> {
    let settings_here = settings.clone();
    let asked = off_thread(move || ask(&settings_here, way)).await?;
    let authorities = settings.server.authorities(&asked.tls).await?;
    let operation = match way {
        Way::Secret => "simpleenroll",
        Way::Certificate => "simplereenroll",
    };
    let secret = asked.secret.as_ref().map(|secret| secret.trim_ascii());
    let answer = settings
        .server
        .enrol(&asked.tls, operation, &asked.request, secret)
        .await?;
    let settings = settings.clone();
    off_thread(move || {
        let pem = dunlin_crypto::issued(&answer, &authorities, &asked.key)?;
        leave(&settings, &asked.key, &pem)
    })
    .await
}

/// Disks, and keys in tokens, have their own time.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EnrolError> + Send + 'static,
) -> Result<T, EnrolError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(EnrolError::Internal(panic.to_string())))
}

/// Everything that an exchange needs.
struct Asked {
    tls: ClientTls,
    key: PrivateKey,
    request: Vec<u8>,
    secret: Option<Zeroizing<Vec<u8>>>,
    // Held to the end of the exchange.
    _lock: File,
}

fn ask(settings: &Settings, way: Way) -> Result<Asked, EnrolError> {
    let current = settings.current();
    let secret = match (way, &settings.secret) {
        (Way::Certificate, _) => None,
        (Way::Secret, None) => return Err(EnrolError::NoSecret),
        (Way::Secret, Some(secret)) => Some(secret.read()?),
    };
    let lock = lock(&settings.dir)?;
    let key = match &settings.key {
        Some(token) => token.clone(),
        None => PrivateKey::File(new_key(&settings.dir)?),
    };
    let (tls, subject) = match way {
        Way::Secret => (
            ClientTls::anonymous(&settings.ca_file)?,
            Subject::Name(&settings.subject),
        ),
        Way::Certificate => (
            ClientTls::new(&settings.ca_file, &current, &settings.key_of(&current))?,
            // RFC 7030, section 4.2.2: the names stay.
            Subject::Of(&current),
        ),
    };
    let request = dunlin_crypto::request(&key, subject)?;
    Ok(Asked {
        tls,
        key,
        request,
        secret,
        _lock: lock,
    })
}

fn file<'a>(verb: &'static str, path: &'a Path) -> impl Fn(io::Error) -> EnrolError + 'a {
    move |source| EnrolError::File {
        verb,
        path: path.to_owned(),
        source,
    }
}

/// One enrolment at a time, by the agent or by a person. Makes the directory, for nobody but its owner.
fn lock(dir: &Path) -> Result<File, EnrolError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(file("create directory", dir))?;
    let path = dir.join("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let lock = lock.map_err(file("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(EnrolError::Busy),
        Err(TryLockError::Error(error)) => Err(file("lock", &path)(error)),
    }
}

/// The key of the next certificate. One that a request was made with, and no certificate came for, is taken again.
fn new_key(dir: &Path) -> Result<PathBuf, EnrolError> {
    let path = dir.join("key.pem");
    if !path.exists() || is_used(dir, &path)? {
        let made = path.with_extension("new");
        files::create(&made, &[&dunlin_crypto::new_key()?]).map_err(file("write", &made))?;
        files::rename(&made, &path).map_err(file("rename", &made))?;
        sync_dir(dir)?;
    }
    Ok(path)
}

/// Whether a certificate has this key already: power was lost before the key's own file was removed.
fn is_used(dir: &Path, key: &Path) -> Result<bool, EnrolError> {
    let key = dunlin_crypto::read_secret(key)?;
    for pair in [Credential::current(dir), Credential::next(dir)] {
        match dunlin_crypto::read_secret(&pair) {
            Ok(pair) if pair.starts_with(&key) => return Ok(true),
            Ok(_) | Err(CryptoError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Leaves certificates and key in one file. The key's own file goes once that is durable: without either of them the
/// certificate would be for nobody, and the secret for it is used up.
fn leave(settings: &Settings, key: &PrivateKey, pem: &[u8]) -> Result<(), EnrolError> {
    let next = Credential::next(&settings.dir);
    let made = settings.dir.join("made.pem");
    let private = match key {
        PrivateKey::File(path) => dunlin_crypto::read_secret(path)?,
        #[cfg(feature = "tokens")]
        PrivateKey::Token(_) => Zeroizing::default(),
    };
    files::create(&made, &[&private, pem]).map_err(file("write", &made))?;
    let facts = dunlin_crypto::facts(&made)?;
    let (life_s, max_s) = (facts.to_s - facts.from_s, settings.life_max_s);
    if max_s > 0 && life_s > max_s {
        files::remove(&made).map_err(file("remove", &made))?;
        return Err(EnrolError::TooLong { life_s, max_s });
    }
    files::rename(&made, &next).map_err(file("rename", &made))?;
    sync_dir(&settings.dir)?;
    match key {
        PrivateKey::File(path) => {
            files::remove(path).map_err(file("remove", path))?;
            sync_dir(&settings.dir)
        }
        #[cfg(feature = "tokens")]
        PrivateKey::Token(_) => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> Result<(), EnrolError> {
    files::sync_dir(dir).map_err(file("sync", dir))
}

#[cfg(test)]
mod power_cuts;
