//! The device's key is in a token: `SoftHSM`, and a TPM (swtpm) by its PKCS#11 module. The broker asks for a certificate,
//! the token signs, and the key is nowhere in the agent's memory.

use crate::delivery::secure;
use crate::support::{Agent, dunlin_with, free_port, wait_for};
#[cfg(feature = "quic")]
use crate::support::{Lab, quic_front};
use crate::{SOON, arrived, counter, uplink};
use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// No number, which would be found by chance where an agent's output is searched for it.
pub(crate) const PIN: &str = "granite-24680-tern";
const MISSING: &str = "is installed: scripts/setup.sh test";

fn run(command: &mut Command) {
    let output = command.output().expect(MISSING);
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A token with the key of `certs/agent.pem` in it, which is in no file any more.
pub(crate) struct Token {
    dir: PathBuf,
    module: &'static str,
    /// Where the module finds its things.
    pub(crate) environment: Vec<(&'static str, String)>,
    tpm: Option<Child>,
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(mut tpm) = self.tpm.take() {
            let _ = tpm.kill();
            let _ = tpm.wait();
        }
    }
}

impl Token {
    fn new(dir: &Path, module: &'static str, environment: Vec<(&'static str, String)>) -> Token {
        let mut options = File::options();
        let pin = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(dir.join("pin"));
        std::io::Write::write_all(&mut pin.unwrap(), PIN.as_bytes()).unwrap();
        Token {
            dir: dir.to_owned(),
            module,
            environment,
            tpm: None,
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .envs(self.environment.iter().cloned())
            .current_dir(&self.dir);
        command
    }

    pub(crate) fn softhsm(dir: &Path) -> Token {
        fs::create_dir(dir.join("tokens")).unwrap();
        let conf = dir.join("softhsm2.conf");
        fs::write(
            &conf,
            format!("directories.tokendir = {}\n", dir.join("tokens").display()),
        )
        .unwrap();
        let environment = vec![("SOFTHSM2_CONF", conf.display().to_string())];
        let token = Token::new(dir, "/usr/lib/softhsm/libsofthsm2.so", environment);
        let init = [
            "--init-token",
            "--free",
            "--label",
            "dunlin",
            "--so-pin",
            "1111",
            "--pin",
            PIN,
        ];
        run(token.command("softhsm2-util").args(init));
        let import = [
            "--import",
            "certs/agent.key",
            "--token",
            "dunlin",
            "--label",
            "device",
            "--id",
            "01",
        ];
        run(token
            .command("softhsm2-util")
            .args(import)
            .args(["--pin", PIN]));
        token
    }

    fn tpm(dir: &Path) -> Token {
        fs::create_dir(dir.join("tpm")).unwrap();
        fs::create_dir(dir.join("store")).unwrap();
        let port = free_port();
        let tcti = format!("swtpm:port={port}");
        let environment = vec![
            ("TPM2_PKCS11_TCTI", tcti.clone()),
            ("TPM2TOOLS_TCTI", tcti),
            ("TPM2_PKCS11_STORE", dir.join("store").display().to_string()),
        ];
        let module = if cfg!(target_arch = "aarch64") {
            "/usr/lib/aarch64-linux-gnu/pkcs11/libtpm2_pkcs11.so"
        } else {
            "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so"
        };
        let mut token = Token::new(dir, module, environment);
        // Its clients look for the control channel at the next port.
        let child = token
            .command("swtpm")
            .args([
                "socket",
                "--tpm2",
                "--flags",
                "startup-clear",
                "--tpmstate",
                "dir=tpm",
            ])
            .arg("--server")
            .arg(format!("type=tcp,port={port}"))
            .arg("--ctrl")
            .arg(format!("type=tcp,port={}", port + 1))
            .stdout(Stdio::null())
            .spawn();
        token.tpm = Some(child.expect(MISSING));
        wait_for("swtpm listens", SOON, || {
            TcpStream::connect(("127.0.0.1", port + 1)).is_ok()
        });
        // A TPM has room for three objects. Where no resource manager makes more of it, each tool must leave it empty.
        let shim = dir.join("tools");
        fs::create_dir(&shim).unwrap();
        let script = "#!/bin/sh\nname=${0##*/}\n\"/usr/bin/$name\" \"$@\"\nstatus=$?\n/usr/bin/tpm2_flushcontext -t\nexit $status\n";
        fs::write(shim.join("run"), script).unwrap();
        fs::set_permissions(shim.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        for entry in fs::read_dir("/usr/bin").unwrap() {
            let name = entry.unwrap().file_name();
            if name.to_string_lossy().starts_with("tpm2_") && name != "tpm2_ptool" {
                symlink("run", shim.join(name)).unwrap();
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let ptool = |arguments: &[&str]| {
            let mut command = token.command("tpm2_ptool");
            command.env("PATH", format!("{}:{path}", shim.display()));
            run(command.args(arguments).args(["--path", "store"]));
        };
        ptool(&["init"]);
        ptool(&[
            "addtoken",
            "--pid=1",
            "--label=dunlin",
            "--sopin=1111",
            &format!("--userpin={PIN}"),
        ]);
        let import = [
            "import",
            "--label=dunlin",
            "--privkey=certs/agent.key",
            "--algorithm=ecc",
            "--key-label=device",
        ];
        ptool(&[&import[..], &[&format!("--userpin={PIN}")]].concat());
        token
    }

    pub(crate) fn uri(&self) -> String {
        format!(
            "pkcs11:token=dunlin;object=device?module-path={}&pin-source={}",
            self.module,
            self.dir.join("pin").display()
        )
    }
}

/// How often the key is in the memory of a process, as it is stored or as OpenSSL keeps numbers.
fn copies(pid: i32, key: &[u8]) -> usize {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let turned: Vec<u8> = key.iter().rev().copied().collect();
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // What cannot be read is not memory: a device, a guard.
        let read = memory.read_at(&mut bytes, from).unwrap_or(0);
        for start in 0..read.saturating_sub(key.len() - 1) {
            let first = bytes[start];
            if first == key[0] || first == turned[0] {
                let here = &bytes[start..start + key.len()];
                found += usize::from(here == key || here == turned);
            }
        }
    }
    found
}

/// The key itself: in SEC 1 it begins at the eighth byte.
fn scalar(dir: &Path) -> Vec<u8> {
    let der = dir.join("agent.der");
    let mut command = Command::new("openssl");
    command
        .args(["ec", "-outform", "DER", "-in"])
        .arg(dir.join("certs/agent.key"));
    run(command.arg("-out").arg(&der));
    let key = fs::read(&der).unwrap()[7..39].to_vec();
    fs::remove_file(der).unwrap();
    key
}

fn config(dir: &Path, port: u16, key: &str) -> String {
    config_to(dir, &format!("mqtts://localhost:{port}"), key)
}

fn config_to(dir: &Path, endpoint: &str, key: &str) -> String {
    let certs = dir.join("certs");
    counter("sim", 200, 0)
        + &uplink(&["sim"], endpoint)
        + &format!(
            "ca_file = \"{certs}/ca.pem\"\ncert_file = \"{certs}/agent.pem\"\n{key}\n",
            certs = certs.display()
        )
}

fn delivers_and_never_has_the_key(make: fn(&Path) -> Token) {
    let dir = tempfile::tempdir().unwrap();
    let (mut broker, port) = secure(dir.path());
    let witness = broker.subscribe();
    let key = scalar(dir.path());

    // That the search finds: with the key in a file, the agent has it.
    let file = format!("key_file = \"{}/certs/agent.key\"", dir.path().display());
    let mut agent = Agent::new(dir.path(), &config(dir.path(), port, &file));
    agent.start();
    agent.wait_count("/uplinked", 20, SOON);
    assert!(copies(agent.pid(), &key) > 0, "the search finds nothing");
    agent.stop();

    let token = make(dir.path());
    fs::remove_file(dir.path().join("certs/agent.key")).unwrap();
    let by_token = config(dir.path(), port, &format!("key = \"{}\"", token.uri()));
    let mut agent = Agent::new(dir.path(), &by_token);
    agent.start_with(|command| {
        command.envs(token.environment.iter().cloned());
    });
    agent.wait_count("/uplinked", 20, SOON);
    assert_eq!(copies(agent.pid(), &key), 0, "after a handshake");
    // Another handshake, of the same process.
    broker.stop();
    broker.restart();
    let before = agent.count("/uplinked");
    agent.wait_count("/sinks/cloud/connects", 2, SOON);
    agent.wait_count("/uplinked", before + 20, SOON);
    assert_eq!(copies(agent.pid(), &key), 0, "after another handshake");
    agent.stop();
    arrived(&witness, 60);
    let log = fs::read_to_string(dir.path().join("broker/log")).unwrap();
    assert!(log.contains("u'agent'"), "known by its certificate:\n{log}");
}

#[test]
fn a_key_in_softhsm_signs_and_never_is_in_the_agent() {
    delivers_and_never_has_the_key(Token::softhsm);
}

#[test]
fn a_key_in_a_tpm_signs_and_never_is_in_the_agent() {
    delivers_and_never_has_the_key(Token::tpm);
}

/// `lab/quic_front.py` before the broker at `port`, and its own port; it goes to the broker as `agent`, by this key.
#[cfg(feature = "quic")]
pub(crate) fn front(dir: &Path, port: u16, key: &str) -> (Lab, u16) {
    front_with(dir, port, key, &[])
}

/// The same with more arguments.
#[cfg(feature = "quic")]
pub(crate) fn front_with(dir: &Path, port: u16, key: &str, more: &[&str]) -> (Lab, u16) {
    let quic_port = free_port();
    let more = [&["--tls", "agent.pem", key], more].concat();
    let front = quic_front(quic_port, port, &dir.join("certs"), "server", &more);
    (front, quic_port)
}

/// The front asks for a certificate and verifies the signature; its broker knows the front's own.
#[cfg(feature = "quic")]
#[test]
fn a_key_in_a_token_signs_inside_quic() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = secure(dir.path());
    let witness = broker.subscribe();
    let certs = dir.path().join("certs");
    // The token takes the key of `agent` away; the front goes to the broker by the same certificate.
    fs::copy(certs.join("agent.key"), certs.join("front.key")).unwrap();
    let (_front, quic_port) = front(dir.path(), port, "front.key");

    let token = Token::softhsm(dir.path());
    fs::remove_file(certs.join("agent.key")).unwrap();
    let key = format!("key = \"{}\"", token.uri());
    let endpoint = format!("quic://localhost:{quic_port}");
    let mut agent = Agent::new(dir.path(), &config_to(dir.path(), &endpoint, &key));
    agent.start_with(|command| {
        command.envs(token.environment.iter().cloned());
    });
    agent.wait_count("/uplinked", 20, SOON);
    agent.stop();
    arrived(&witness, 20);
}

#[test]
fn a_token_that_cannot_be_used_is_named_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, port) = secure(dir.path());
    let token = Token::softhsm(dir.path());
    let check = |uri: &str| {
        let key = format!("key = \"{uri}\"");
        let agent = Agent::new(dir.path(), &config(dir.path(), port, &key));
        let path = agent.config();
        dunlin_with(
            &["check", path.to_str().unwrap(), "--no-drivers"],
            |command| {
                command.envs(token.environment.iter().cloned());
            },
        )
    };
    let good = token.uri();
    let ended = check(&good);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let no_pin = dir.path().join("wrong");
    fs::write(&no_pin, "0").unwrap();
    fs::set_permissions(&no_pin, fs::Permissions::from_mode(0o600)).unwrap();
    let wrong_pin = good.replace(
        &dir.path().join("pin").display().to_string(),
        &no_pin.display().to_string(),
    );
    for (uri, said) in [
        (
            good.replace("token=dunlin", "token=other"),
            "of its tokens are of that name",
        ),
        (
            good.replace("object=device", "object=other"),
            "not exactly one private key",
        ),
        (
            good.replace(token.module, "/no/module.so"),
            "/no/module.so does not load",
        ),
        (wrong_pin, "it refuses the PIN"),
        (good.replace("pin-source", "pin-value"), "has the PIN in it"),
    ] {
        let ended = check(&uri);
        assert_eq!(ended.code, 78, "{uri}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("sinks.cloud.key: ") && ended.stderr.contains(said),
            "{uri}: {}",
            ended.stderr
        );
        assert!(ended.stderr.contains("Remedy: "), "{}", ended.stderr);
    }
}
