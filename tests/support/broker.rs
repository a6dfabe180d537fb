//! A real mosquitto on loopback, and `mosquitto_sub` as the independent witness of what arrived.

use super::{Received, free_port, wait_for};
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A mosquitto that keeps sessions and queues across an orderly restart.
pub struct Broker {
    dir: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Broker {
    /// Starts a broker on a free port, its files in `dir/broker`.
    pub fn start(dir: &Path) -> Broker {
        Broker::start_with(dir, "")
    }

    /// The same, with further lines of configuration.
    pub fn start_with(dir: &Path, extra: &str) -> Broker {
        let dir = dir.join("broker");
        fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000\n\
             persistence true\npersistence_location {}/\nuser root\nlog_dest file {}/log\nlog_type all\n{extra}\n",
            dir.display(),
            dir.display()
        );
        fs::write(dir.join("mosquitto.conf"), config).unwrap();
        let mut broker = Broker {
            dir,
            port,
            child: None,
        };
        broker.restart();
        broker
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its endpoint, as an uplink names it.
    pub fn endpoint(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Starts it again after `stop`.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the broker runs already");
        let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or("mosquitto");
        let child = Command::new(program)
            .arg("-c")
            .arg(self.dir.join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed: scripts/setup.sh test");
        self.child = Some(child);
        let port = self.port;
        wait_for("mosquitto listens", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// Ends it in order, so that it stores its sessions.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("the broker runs");
        super::kill(i32::try_from(child.id()).unwrap(), "TERM");
        child.wait().unwrap();
    }

    /// Kills it: its sessions are gone with it.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the broker runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// A subscriber with a session that outlives connections, which gets everything below `dunlin/`.
    pub fn subscribe(&self) -> Subscriber {
        let file = self.dir.join("received");
        let child = Command::new("mosquitto_sub")
            .args(["-V", "5", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args([
                "-i", "witness", "-c", "-x", "3600", "-q", "1", "-t", "dunlin/#", "-F", "%p",
            ])
            .stdin(Stdio::null())
            .stdout(File::create(&file).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto_sub is installed: scripts/setup.sh test");
        let subscriber = Subscriber { file, child };
        let log = self.dir.join("log");
        wait_for("the witness is subscribed", Duration::from_secs(10), || {
            fs::read_to_string(&log)
                .unwrap_or_default()
                .contains("Sending SUBACK to witness")
        });
        subscriber
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A running `mosquitto_sub`.
pub struct Subscriber {
    file: PathBuf,
    child: Child,
}

impl Subscriber {
    /// What arrived so far. A line that is still being written is left out.
    pub fn received(&self) -> Received {
        let text = fs::read_to_string(&self.file).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Received::parse(whole)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
