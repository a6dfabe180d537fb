//! One enrolment: a key, a request, an answer, and the files that it leaves.

use super::configure::Settings;
use super::est::EstError;
use crate::credential::Credential;
use dunlin_crypto::{ClientTls, CryptoError, PrivateKey, Subject};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
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
    if !path.exists() {
        write(&path, &[&dunlin_crypto::new_key()?])?;
    }
    Ok(path)
}

/// Leaves certificates and key in one file.
fn leave(settings: &Settings, key: &PrivateKey, pem: &[u8]) -> Result<(), EnrolError> {
    let next = Credential::next(&settings.dir);
    let made = settings.dir.join("made.pem");
    let private = match key {
        PrivateKey::File(path) => dunlin_crypto::read_secret(path)?,
        #[cfg(feature = "tokens")]
        PrivateKey::Token(_) => Zeroizing::default(),
    };
    write(&made, &[&private, pem])?;
    let facts = dunlin_crypto::facts(&made)?;
    let (life_s, max_s) = (facts.to_s - facts.from_s, settings.life_max_s);
    if max_s > 0 && life_s > max_s {
        fs::remove_file(&made).map_err(file("remove", &made))?;
        return Err(EnrolError::TooLong { life_s, max_s });
    }
    fs::rename(&made, &next).map_err(file("rename", &made))?;
    match key {
        PrivateKey::File(path) => fs::remove_file(path).map_err(file("remove", path))?,
        #[cfg(feature = "tokens")]
        PrivateKey::Token(_) => {}
    }
    sync_dir(&settings.dir)
}

/// A file that is there whole or not at all, for nobody but its owner.
fn write(path: &Path, parts: &[&[u8]]) -> Result<(), EnrolError> {
    let temporary = path.with_extension("new");
    let written = || -> io::Result<()> {
        // Made anew: one that lies there may be open to others.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    written().map_err(file("write", path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn sync_dir(dir: &Path) -> Result<(), EnrolError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(file("sync", dir))
}
