//! The power goes at every step of an enrolment and of the change to a new certificate, and whatever the disk then holds,
//! there is a certificate with its key, or, before there was any, the key that one can be asked for with again.

use super::*;
use crate::credential::files::journal::{self, Dir};
use dunlin_crypto::ClientTls;
use std::fs;
use std::process::Command;
use std::sync::Arc;

/// A place with an authority, and two pairs that it signed.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/lab/certs.sh"))
            .arg(dir.path())
            .args(["old", "new"])
            .status();
        assert!(made.unwrap().success(), "lab/certs.sh");
        Place { dir }
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(file)).unwrap()
    }

    fn pair(&self, name: &str) -> Vec<u8> {
        [
            self.read(&format!("{name}.key")),
            self.read(&format!("{name}.pem")),
        ]
        .concat()
    }

    fn settings(&self, dir: &Path) -> Settings {
        Settings {
            dir: dir.to_owned(),
            server: "https://localhost".parse().unwrap(),
            ca_file: self.dir.path().join("ca.pem"),
            secret: None,
            subject: "gw".to_owned(),
            key: None,
            renew_percent: 67,
            life_max_s: 0,
        }
    }

    /// Lays files down as they were before.
    fn lay(&self, name: &str, files: &Dir) -> (PathBuf, Dir) {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        let mut before = Dir::new();
        for (file, content) in files {
            let path = dir.join(file);
            files::create(&path, &[content]).unwrap();
            before.insert(path, content.clone());
        }
        journal::take();
        (dir, before)
    }

    /// Whether a connection could be made with what the agent chooses in a directory of these files, and with what it
    /// falls back on where a broker refuses that.
    fn usable(&self, left: &Dir) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in left {
            files::create(&dir.path().join(path.file_name().unwrap()), &[content]).unwrap();
        }
        let credential = Credential::new(dir.path().to_owned(), None);
        let mut chosen = String::new();
        for _ in 0..2 {
            let Some(choice) = credential.choose() else {
                journal::take();
                return Err("no certificate".to_owned());
            };
            let ca = self.dir.path().join("ca.pem");
            ClientTls::new(&ca, &choice.cert_file, &choice.key).map_err(|e| e.to_string())?;
            chosen = dunlin_crypto::facts(&choice.cert_file).unwrap().subject;
            credential.failed(choice.number, true);
        }
        // Of this directory nothing is asked.
        journal::take();
        Ok(chosen)
    }
}

fn dir_of(files: &[(&str, &[u8])]) -> Dir {
    let of = |(name, content): &(&str, &[u8])| (PathBuf::from(name), content.to_vec());
    files.iter().map(of).collect()
}

#[test]
fn a_first_certificate_is_never_lost_together_with_its_key() {
    let place = Place::new();
    let (dir, before) = place.lay("first", &dir_of(&[("key.pem", &place.read("new.key"))]));
    let key = PrivateKey::File(dir.join("key.pem"));
    leave(&place.settings(&dir), &key, &place.read("new.pem")).unwrap();
    let cuts = journal::cuts(&before, &journal::take());
    assert!(cuts.len() >= 6, "{} cuts", cuts.len());
    for left in &cuts {
        let again = left.get(&dir.join("key.pem")) == Some(&place.read("new.key"));
        assert!(
            again || place.usable(left).is_ok(),
            "neither key nor certificate in {:?}",
            left.keys()
        );
    }
    let made = fs::read(Credential::next(&dir)).unwrap();
    assert_eq!(made, place.pair("new"));
}

#[test]
fn a_renewal_leaves_a_pair_that_works_whatever_step_the_power_goes_at() {
    let place = Place::new();
    let old = place.pair("old");
    for refused in [false, true] {
        let name = format!("renewal-{refused}");
        let files = [
            ("current.pem", &old[..]),
            ("key.pem", &place.read("new.key")),
        ];
        let (dir, before) = place.lay(&name, &dir_of(&files));
        let credential = Credential::new(dir.clone(), None);
        let key = PrivateKey::File(dir.join("key.pem"));
        leave(&place.settings(&dir), &key, &place.read("new.pem")).unwrap();
        let untaken = journal::take();
        for left in &journal::cuts(&before, &untaken) {
            let fallback = place.usable(left);
            assert_eq!(fallback.as_deref(), Ok("CN=old"), "in {:?}", left.keys());
        }
        take_up(&credential, refused);
        let all = [untaken, journal::take()].concat();
        let cuts = journal::cuts(&before, &all);
        assert!(cuts.len() >= 7, "{} cuts", cuts.len());
        for left in &cuts {
            let used = place.usable(left);
            assert!(used.is_ok(), "{used:?} in {:?}", left.keys());
        }
        let current = fs::read(Credential::current(&dir)).unwrap();
        assert_eq!(current, place.pair(if refused { "old" } else { "new" }));
    }
}

/// The broker takes the new certificate, or refuses it.
fn take_up(credential: &Arc<Credential>, refused: bool) {
    credential.look();
    let new = credential.choose().unwrap();
    if refused {
        credential.failed(new.number, true);
    } else {
        credential.connected(new.number);
    }
}

#[test]
fn a_key_that_has_its_certificate_is_not_asked_with_again() {
    let place = Place::new();
    let key = place.read("new.key");
    let (dir, _) = place.lay(
        "used",
        &dir_of(&[("key.pem", &key), ("next.pem", &place.pair("new"))]),
    );
    new_key(&dir).unwrap();
    assert_ne!(fs::read(dir.join("key.pem")).unwrap(), key);
    let (dir, _) = place.lay(
        "unused",
        &dir_of(&[("key.pem", &key), ("current.pem", &place.pair("old"))]),
    );
    new_key(&dir).unwrap();
    assert_eq!(fs::read(dir.join("key.pem")).unwrap(), key);
}
