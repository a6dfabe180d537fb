//! Who may read a secret that a configuration names.

use crate::support::{dunlin, dunlin_with};
use crate::{good, refused};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "gw:word").unwrap();
    let config = good(dir.path()).replace(
        "[sources.sim]",
        &format!(
            "[identity]\nest = \"https://est.example\"\nca_file = \"/no/ca\"\nsecret_file = \"{}\"\n[sources.sim]",
            secret.display()
        ),
    );
    for mode in [0o644, 0o640, 0o604, 0o660] {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        let said = format!("has mode {mode:03o}");
        refused(
            dir.path(),
            "secret",
            &config,
            &["identity.secret_file", &said, "chmod 600"],
        );
    }
    // As systemd gives it to a user's unit: root's, the mask of an ACL where the group's bits are.
    let credential = config.replace(
        &format!("secret_file = \"{}\"", secret.display()),
        "secret_credential = \"secret\"",
    );
    fs::write(dir.path().join("dunlin.toml"), &credential).unwrap();
    for (mode, good) in [(0o440, true), (0o400, true), (0o444, false), (0o460, false)] {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        let path = dir.path().join("dunlin.toml");
        let ended = dunlin_with(&["check", path.to_str().unwrap()], |command| {
            command.env("CREDENTIALS_DIRECTORY", dir.path());
        });
        let refused = ended.stderr.contains("identity.secret_file: secret ");
        assert_eq!(refused, !good, "{mode:o}: {}", ended.stderr);
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(dir.path().join("dunlin.toml"), &config).unwrap();
        let ended = dunlin(&["check", dir.path().join("dunlin.toml").to_str().unwrap()]);
        assert!(
            !ended.stderr.contains("identity.secret_file"),
            "{}",
            ended.stderr
        );
    }
}
