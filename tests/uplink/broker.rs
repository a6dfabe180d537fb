//! A mosquitto on a free loopback port, in a directory of its own, ended by its pid; and certificates for it.

use std::fmt::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dunlin::uplink::TlsFiles;
use dunlin_crypto::PrivateKey;
use tempfile::TempDir;

use crate::ports::free_port;

pub(crate) enum Security<'a> {
    None,
    /// The name of the server's certificate.
    Mutual(&'a Certificates, &'static str),
    Tls12(&'a Certificates),
    /// The rules of an ACL file.
    Rules(&'static str),
}

pub(crate) struct Broker {
    dir: TempDir,
    port: u16,
    child: Child,
}

impl Broker {
    pub(crate) fn start(security: &Security<'_>) -> Broker {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
             persistence_location {}/\nmax_inflight_messages 100\nmax_queued_messages 1000000\n\
             log_dest file {}/log\nlog_type all\n",
            dir.path().display(),
            dir.path().display(),
        );
        let (certificates, server) = match security {
            Security::None | Security::Rules(_) => (None, ""),
            Security::Mutual(certificates, server) => (Some(certificates), *server),
            Security::Tls12(certificates) => (Some(certificates), "server"),
        };
        if let Some(certificates) = certificates {
            let path = |name: String| certificates.path(&name).display().to_string();
            writeln!(text, "cafile {}", path("ca.pem".into())).unwrap();
            writeln!(text, "certfile {}", path(format!("{server}.pem"))).unwrap();
            writeln!(text, "keyfile {}", path(format!("{server}.key"))).unwrap();
            writeln!(text, "require_certificate true").unwrap();
        }
        if let Security::Rules(rules) = security {
            let path = dir.path().join("acl");
            std::fs::write(&path, rules).unwrap();
            writeln!(text, "acl_file {}", path.display()).unwrap();
        }
        if let Security::Tls12(_) = security {
            writeln!(text, "tls_version tlsv1.2").unwrap();
            let openssl_conf = "openssl_conf = c\n[c]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\n\
                                MaxProtocol = TLSv1.2\n";
            std::fs::write(dir.path().join("openssl.cnf"), openssl_conf).unwrap();
        }
        // As root mosquitto would become another user, who cannot read the keys.
        writeln!(text, "user root").unwrap();
        std::fs::write(dir.path().join("mosquitto.conf"), text).unwrap();
        let child = run(dir.path());
        let broker = Broker { dir, port, child };
        broker.wait_until_up();
        broker
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Other rules, read without a restart.
    pub(crate) fn set_rules(&self, rules: &str) {
        std::fs::write(self.dir.path().join("acl"), rules).unwrap();
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(status.unwrap().success());
    }

    /// Lines of its log that contain `sign`.
    pub(crate) fn logged(&self, sign: &str) -> usize {
        let log = std::fs::read(self.dir.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| line.contains(sign)).count()
    }

    /// Ends it in order (its sessions are on disk) and starts it again.
    pub(crate) fn restart(&mut self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap();
        self.child = run(self.dir.path());
        self.wait_until_up();
    }

    /// Kills it, and its memory with it, and starts it again.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = run(self.dir.path());
        self.wait_until_up();
    }

    pub(crate) fn wait_for_subscription(&self, client_id: &str) {
        let sign = format!("Sending SUBACK to {client_id}");
        self.wait(|| {
            std::fs::read(self.dir.path().join("log"))
                .is_ok_and(|log| String::from_utf8_lossy(&log).contains(&sign))
        });
    }

    fn wait_until_up(&self) {
        self.wait(|| TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    fn wait(&self, mut ready: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !ready() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "mosquitto is not ready: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn run(dir: &Path) -> Child {
    let mut command = Command::new("mosquitto");
    // Debian keeps it where users do not look.
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{path}:/usr/sbin"))
        .arg("-c")
        .arg(dir.join("mosquitto.conf"));
    if dir.join("openssl.cnf").exists() {
        command.env("OPENSSL_CONF", dir.join("openssl.cnf"));
    }
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto is installed")
}

/// `ca`: signs `server`, `client`, and the expired `old-server`, `old-client`. `other-ca`: signs `stranger`.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn new() -> Certificates {
        let certificates = Certificates(tempfile::tempdir().unwrap());
        for ca in ["ca", "other-ca"] {
            certificates.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={ca} \
                 -keyout {ca}.key -out {ca}.pem"
            ));
        }
        let san = "subjectAltName=DNS:localhost";
        std::fs::write(certificates.path("san.cnf"), san).unwrap();
        for (name, ca, expired) in [
            ("server", "ca", false),
            ("client", "ca", false),
            ("old-server", "ca", true),
            ("old-client", "ca", true),
            ("stranger", "other-ca", false),
        ] {
            certificates.openssl(&format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
                 -keyout {name}.key -out {name}.csr"
            ));
            // A life of -1 days ended yesterday.
            let days = if expired { "-1" } else { "2" };
            certificates.openssl(&format!(
                "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial \
                 -extfile san.cnf -days {days} -out {name}.pem"
            ));
        }
        certificates
    }

    /// One more certificate of `ca`, with a key of another kind (`req -newkey`).
    #[cfg(feature = "quic")]
    pub(crate) fn sign(&self, name: &str, kind: &str) {
        self.openssl(&format!(
            "req -newkey {kind} -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile san.cnf -days 2 -out {name}.pem"
        ));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn client(&self, name: &str) -> TlsFiles {
        TlsFiles {
            ca_file: self.path("ca.pem"),
            cert_file: self.path(&format!("{name}.pem")),
            key: PrivateKey::File(self.path(&format!("{name}.key"))),
        }
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("openssl is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {said}");
    }
}
