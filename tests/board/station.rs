//! What stands across the network from a board: a mosquitto with mutual TLS 1.3 on loopback, which QEMU's user network
//! shows to the board as 10.0.2.2, and a subscriber that is not ours.

use super::machine::Seed;
use crate::support::{Broker, Lab, Received, Subscriber, free_port, quic_front};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Longest way of a record from its making to the subscriber, once the agent runs. Emulation on a machine that others
/// use takes a small part of it.
pub const ARRIVAL_LIMIT: Duration = Duration::from_secs(15);
/// Longest time from a shell on the board to the first record at the subscriber.
pub const FIRST_LIMIT: Duration = Duration::from_mins(1);

/// Broker, certificates, subscriber.
pub struct Station {
    dir: TempDir,
    port: u16,
    witness: Subscriber,
    _broker: Broker,
}

impl Station {
    /// Makes certificates, starts the broker and subscribes.
    pub fn start() -> Station {
        let dir = tempfile::tempdir().unwrap();
        let certs = dir.path().join("certs");
        let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/lab/certs.sh"))
            .args([&certs])
            .status()
            .expect("lab/certs.sh runs");
        assert!(made.success());
        let port = free_port();
        let at = |name: &str| certs.join(name).display().to_string();
        // The board's only way in. The subscriber uses the broker's other listener, on the host's loopback.
        let broker = Broker::start_with(
            dir.path(),
            &format!(
                "listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
                 tls_version tlsv1.3",
                at("ca.pem"),
                at("server.pem"),
                at("server.key"),
            ),
        );
        let witness = broker.subscribe();
        Station {
            dir,
            port,
            witness,
            _broker: broker,
        }
    }

    /// A configuration with these sources, from which `inputs` go to this station.
    pub fn config(&self, sources: &str, inputs: &[&str]) -> String {
        let port = self.port;
        format!(
            "[agent]\nname = \"gw\"\ndriver_dir = \"/usr/lib/dunlin/drivers\"\n\n{sources}\n\
             [sinks.cloud]\ntype = \"uplink\"\ninputs = {inputs:?}\nendpoint = \"mqtts://10.0.2.2:{port}\"\n\
             ca_file = \"/run/seed/ca.pem\"\ncert_file = \"/run/seed/agent.pem\"\nkey_file = \"/run/seed/agent.key\"\n\
             backoff_max_ms = 1000\nbuffer = {{ size_mb = 16, segment_mb = 1, leave_free_mb = 16 }}\n"
        )
    }

    /// A seed with that configuration and the certificates that it names.
    pub fn seed(&self, sources: &str, inputs: &[&str]) -> Seed {
        self.seed_with(&self.config(sources, inputs))
    }

    /// A seed with this configuration and the certificates.
    fn seed_with(&self, config: &str) -> Seed {
        let config = Seed::with_config(config);
        let certs = self.dir.path().join("certs");
        ["ca.pem", "agent.pem", "agent.key"]
            .iter()
            .fold(config, |seed, name| {
                seed.file(name, fs::read(certs.join(name)).unwrap())
            })
    }

    /// A QUIC front before the broker, of another implementation than ours.
    pub fn front(&self) -> Front {
        let port = free_port();
        let tls = ["--tls", "agent.pem", "agent.key"];
        Front {
            _server: quic_front(
                port,
                self.port,
                &self.dir.path().join("certs"),
                "server",
                &tls,
            ),
            port,
        }
    }

    /// All that arrived so far.
    pub fn received(&self) -> Received {
        self.witness.received()
    }

    /// Waits until what arrived satisfies `find`: what it found, and how long that took.
    pub fn await_that<T>(
        &self,
        what: &str,
        limit: Duration,
        find: impl Fn(&Received) -> Option<T>,
    ) -> (T, Duration) {
        let start = Instant::now();
        loop {
            let received = self.received();
            if let Some(found) = find(&received) {
                return (found, start.elapsed());
            }
            if start.elapsed() > limit {
                let last: Vec<_> = received.records.iter().rev().take(5).collect();
                panic!(
                    "{what}: not within {limit:?}; {} records arrived, among them {last:?}",
                    received.records.len()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The front, as long as it is kept.
pub struct Front {
    _server: Lab,
    port: u16,
}

impl Front {
    /// The station's seed, by QUIC to this front first, and by TLS to the broker where that does not go.
    pub fn seed(&self, station: &Station, sources: &str, inputs: &[&str]) -> Seed {
        let tls = format!("endpoint = \"mqtts://10.0.2.2:{}\"", station.port);
        let first = format!("endpoint = \"quic://10.0.2.2:{}\"", self.port);
        let both = tls.replace("endpoint = ", "standby = [") + "]";
        let config = station.config(sources, inputs);
        assert!(config.contains(&tls), "{config}");
        station.seed_with(&config.replace(&tls, &format!("{first}\n{both}")))
    }
}

/// The value of a record that is a good sample of this channel.
pub fn good_sample(record: &Value, channel: &str) -> Option<f64> {
    let sample = record.get("sample")?;
    let good = sample["ch"] == channel && sample.get("quality").is_none();
    good.then(|| sample["v"].as_f64())?
}

/// For the kernel's command line: sets the board's clock to this machine's, since not every board has a clock that runs
/// while it is off, and certificates are valid from today.
pub fn time_now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("dunlin.time={}", now.as_secs())
}
