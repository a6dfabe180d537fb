//! Secrets stay where they are: what an agent says at the level `trace`, on standard error, in its status, in its
//! records, and its command line, is searched for every secret that it was given or made.

use crate::delivery::secure;
use crate::identity::{Est, config};
use crate::support::{Agent, dunlin_with};
use crate::token::{PIN, Token};
use crate::{SOON, arrived};
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const SECRET: &str = "gw:s3cret-4711-once";

/// A secret in the forms in which it may come out.
fn forms(name: &str, secret: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut hex = String::new();
    for byte in secret {
        write!(hex, "{byte:02x}").unwrap();
    }
    let list = format!("{secret:?}");
    let spaced = list.trim_matches(['[', ']']).to_owned();
    let mut forms = vec![
        (format!("{name}, as it is"), secret.to_vec()),
        (
            format!("{name}, upper hexadecimal"),
            hex.to_uppercase().into_bytes(),
        ),
        (format!("{name}, hexadecimal"), hex.into_bytes()),
        (format!("{name}, as bytes"), spaced.into_bytes()),
    ];
    let output = Command::new("base64")
        .arg("-w0")
        .stdin(file_with(secret))
        .output()
        .unwrap();
    forms.push((format!("{name}, base64"), output.stdout));
    forms
}

fn file_with(bytes: &[u8]) -> fs::File {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file
}

/// The lines of the private key in a PEM file, and the key itself.
fn key_of(pem: &Path) -> Vec<(String, Vec<u8>)> {
    let text = fs::read_to_string(pem).unwrap();
    let inside = |line: &&str| !line.starts_with("-----");
    let lines = text
        .lines()
        .skip_while(|line| !line.contains("BEGIN PRIVATE KEY"))
        .take_while(|line| !line.contains("END PRIVATE KEY"));
    let mut found: Vec<_> = lines
        .filter(inside)
        // The first line is the same for every key on the curve.
        .skip(1)
        .map(|line| {
            (
                "a line of the private key".to_owned(),
                line.as_bytes().to_vec(),
            )
        })
        .collect();
    assert!(!found.is_empty(), "{text}");
    let text = Command::new("openssl")
        .args(["ec", "-outform", "DER", "-in"])
        .arg(pem)
        .output()
        .unwrap();
    found.extend(forms("the private key", &text.stdout[7..39]));
    found
}

/// Everything that came out, by what it came out of.
fn said(agent: &Agent, received: &str) -> Vec<(String, Vec<u8>)> {
    let status = fs::read(agent.config().with_file_name("run/status.json")).unwrap();
    let mut said = vec![
        ("the log".to_owned(), agent.log().into_bytes()),
        ("the status".to_owned(), status),
        ("the records".to_owned(), received.as_bytes().to_vec()),
    ];
    for pid in processes(agent.pid()) {
        for part in ["cmdline", "environ"] {
            let path = PathBuf::from(format!("/proc/{pid}/{part}"));
            said.extend(fs::read(&path).map(|bytes| (path.display().to_string(), bytes)));
        }
    }
    said
}

/// The agent, its driver hosts and its key host.
fn processes(pid: i32) -> Vec<i32> {
    // Each thread has children of its own.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let children: String = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .collect();
    let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
    std::iter::once(pid).chain(children).collect()
}

fn found(said: &[(String, Vec<u8>)], secrets: &[(String, Vec<u8>)]) -> Vec<String> {
    let holds = |text: &[u8], secret: &[u8]| {
        !secret.is_empty() && text.windows(secret.len()).any(|piece| piece == secret)
    };
    let mut found = Vec::new();
    for (place, text) in said {
        for (name, secret) in secrets {
            if holds(text, secret) {
                found.push(format!("{name}, in {place}"));
            }
        }
    }
    found
}

fn secret(dir: &Path) {
    let file = dir.join("secret");
    fs::write(&file, SECRET).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn no_secret_comes_out_of_an_agent_that_says_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let est = Est::start(dir.path(), &json!({"secret": SECRET, "life": 8}));
    secret(dir.path());
    let witness = broker.subscribe();
    let mut agent = Agent::new(dir.path(), &config(dir.path(), &est, port, ""));
    agent.trace();
    agent.start();
    agent.wait_count("/uplinked", 20, SOON);
    let current = agent.state_dir().join("identity/current.pem");
    let mut secrets = key_of(&current);
    // With the next key too.
    agent.wait_count("/sinks/cloud/connects", 2, SOON);
    agent.wait_count("/uplinked", agent.count("/uplinked") + 20, SOON);
    secrets.extend(key_of(&current));
    secrets.extend(forms("the one-time secret", SECRET.as_bytes()));
    secrets.extend(forms(
        "its password",
        SECRET.split_once(':').unwrap().1.as_bytes(),
    ));
    let text = fs::read_to_string(dir.path().join("broker/received")).unwrap();
    let said = said(&agent, &text);
    agent.stop();
    arrived(&witness, 20);
    assert_eq!(found(&said, &secrets), Vec::<String>::new());
    // That the search finds.
    let planted = [(
        "planted".to_owned(),
        secrets.iter().flat_map(|s| s.1.clone()).collect(),
    )];
    assert_eq!(found(&planted, &secrets).len(), secrets.len());
}

#[test]
fn no_pin_comes_out_of_an_agent_whose_key_is_in_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let est = Est::start(dir.path(), &json!({"secret": SECRET}));
    secret(dir.path());
    let token = Token::softhsm(dir.path());
    let key = format!("key = \"{}\"", token.uri());
    let witness = broker.subscribe();
    let mut agent = Agent::new(dir.path(), &config(dir.path(), &est, port, &key));
    agent.trace();
    agent.start_with(|command| {
        command.envs(token.environment.iter().cloned());
    });
    agent.wait_count("/uplinked", 20, SOON);
    let shown = dunlin_with(
        &[
            "identity",
            "show",
            agent.config().to_str().unwrap(),
            "--log",
            "trace",
        ],
        |command| {
            command.envs(token.environment.iter().cloned());
        },
    );
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let mut said = said(&agent, "");
    let lines = said.iter().filter(|(place, _)| place.contains("cmdline"));
    assert!(lines.count() >= 3, "agent, driver host and key host");
    said.push((
        "what it shows".to_owned(),
        (shown.stdout + &shown.stderr).into_bytes(),
    ));
    agent.stop();
    arrived(&witness, 20);
    assert_eq!(
        found(&said, &forms("the PIN", PIN.as_bytes())),
        Vec::<String>::new()
    );
}
