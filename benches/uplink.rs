//! `QoS` 1 messages a second to mosquitto on loopback, and CPU time a message, beside Debian's `mosquitto_pub -l -q 1`.
//!
//! CPU time is this process's (or the client's) user and system time; mosquitto's own is in neither.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/uplink/broker.rs"]
mod broker;
#[path = "../tests/support/ports.rs"]
mod ports;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{Broker, Certificates, Security};
use dunlin::uplink::{Event, Settings, TlsFiles, Uplink};

const COUNT: u64 = 200_000;
const PAYLOAD: &[u8] = b"{\"v\":21.5,\"ch\":\"temp\",\"seq\":12345}";

struct Figures {
    rate: f64,
    cpu_us: f64,
}

fn main() {
    let certificates = Certificates::new();
    println!("{COUNT} messages of {} bytes, QoS 1", PAYLOAD.len());
    println!(
        "{:<6}{:>16}{:>14}{:>22}{:>14}{:>14}{:>12}",
        "",
        "dunlin msg/s",
        "CPU us/msg",
        "mosquitto_pub msg/s",
        "CPU us/msg",
        "ratio msg/s",
        "ratio CPU"
    );
    for (name, security, files) in [
        ("tcp", Security::None, None),
        (
            "tls",
            Security::Mutual(&certificates, "server"),
            Some(certificates.client("client")),
        ),
    ] {
        let broker = Broker::start_logging(&security, "error");
        let ours = ours(&broker, files.clone());
        let theirs = theirs(&broker, files);
        println!(
            "{name:<6}{:>16.0}{:>14.2}{:>22.0}{:>14.2}{:>14.2}{:>12.2}",
            ours.rate,
            ours.cpu_us,
            theirs.rate,
            theirs.cpu_us,
            ours.rate / theirs.rate,
            theirs.cpu_us / ours.cpu_us,
        );
    }
}

fn ours(broker: &Broker, files: Option<TlsFiles>) -> Figures {
    let scheme = if files.is_some() { "mqtts" } else { "mqtt" };
    let endpoint = format!("{scheme}://localhost:{}", broker.port());
    let mut settings = Settings::new(vec![endpoint.parse().expect("loopback")], "bench");
    settings.tls = files;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let (start, cpu) = (Instant::now(), cpu_s("/proc/self/stat", false));
    runtime.block_on(async {
        let (uplink, mut events) = Uplink::spawn(settings).expect("settings are valid");
        let topic: Arc<str> = "bench/stream".into();
        let (mut next, mut acked) = (0, 0);
        while acked < COUNT {
            tokio::select! {
                permit = uplink.reserve(), if next < COUNT => {
                    permit.expect("the uplink lives").publish(next, Arc::clone(&topic), PAYLOAD);
                    next += 1;
                    // Batches, as a reader of a log would give them.
                    while next < COUNT && let Ok(Some(permit)) = uplink.try_reserve() {
                        permit.publish(next, Arc::clone(&topic), PAYLOAD);
                        next += 1;
                    }
                }
                event = events.recv() => match event.expect("the uplink lives") {
                    Event::Acked { last, .. } => acked = last + 1,
                    Event::Disconnected { reason, .. } => panic!("{reason}"),
                    _ => {}
                },
            }
        }
        uplink.drain(Duration::from_secs(5)).await;
    });
    figures(start, cpu_s("/proc/self/stat", false) - cpu)
}

fn theirs(broker: &Broker, files: Option<TlsFiles>) -> Figures {
    let mut command = Command::new("mosquitto_pub");
    command.args([
        "-V",
        "5",
        "-l",
        "-q",
        "1",
        "-t",
        "bench/stream",
        "-h",
        "localhost",
        "-p",
    ]);
    command.arg(broker.port().to_string()).stdin(Stdio::piped());
    if let Some(files) = files {
        command
            .arg("--cafile")
            .arg(files.ca_file)
            .arg("--cert")
            .arg(files.cert_file);
        let dunlin_crypto::PrivateKey::File(key) = files.key else {
            panic!("the key is a file");
        };
        command.arg("--key").arg(key);
    }
    let (start, cpu) = (Instant::now(), cpu_s("/proc/self/stat", true));
    let mut child = command.spawn().expect("mosquitto_pub is installed");
    let mut lines = child.stdin.take().expect("piped");
    let batch = [PAYLOAD, b"\n"].concat().repeat(1_000);
    for _ in 0..COUNT / 1_000 {
        lines.write_all(&batch).expect("mosquitto_pub reads");
    }
    drop(lines);
    assert!(child.wait().expect("a child").success());
    figures(start, cpu_s("/proc/self/stat", true) - cpu)
}

fn figures(start: Instant, cpu_s: f64) -> Figures {
    let count = COUNT as f64;
    Figures {
        rate: count / start.elapsed().as_secs_f64(),
        cpu_us: cpu_s / count * 1e6,
    }
}

/// User and system time of this process, or of its ended children, from proc(5): fields 14 and 15, or 16 and 17, in
/// ticks of 1/100 s.
fn cpu_s(path: &str, children: bool) -> f64 {
    let stat = fs::read_to_string(path).expect("proc is mounted");
    let after_name = stat.rsplit_once(')').expect("a name in brackets").1;
    let fields: Vec<f64> = after_name
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // `fields[0]` is field 4.
    let first = if children { 12 } else { 10 };
    (fields[first] + fields[first + 1]) / 100.0
}
