//! Programs of `lab/`, in the Python that has what they need.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program that serves as long as this is kept.
#[derive(Debug)]
pub struct Lab(Child);

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command of a script of `lab/`.
pub fn lab(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("target/lab/venv/bin/python"));
    command.arg(root.join("lab").join(script));
    command
}

impl Lab {
    /// Starts a program that says in one line that it serves, and gives that line.
    pub fn serve(command: &mut Command) -> (Lab, String) {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("target/lab/venv is there: scripts/setup.sh test");
        let out = child.stdout.take().expect("it was asked for");
        let lab = Lab(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).unwrap();
        (lab, line)
    }
}

/// `lab/quic_front.py` on `port` before the broker at `to`, with the certificate `server` of `certs`.
pub fn quic_front(port: u16, to: u16, certs: &Path, server: &str, more: &[&str]) -> Lab {
    let mut front = lab("quic_front.py");
    front
        .args(["--listen", &port.to_string(), "--to", &to.to_string()])
        .args(["--ca", "ca.pem"])
        .args(["--cert", &format!("{server}.pem")])
        .args(["--key", &format!("{server}.key")])
        .args(more)
        .current_dir(certs);
    let (front, line) = Lab::serve(&mut front);
    assert_eq!(line, "ready\n", "the front did not start");
    front
}
