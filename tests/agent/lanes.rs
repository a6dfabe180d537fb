//! Classes on streams of their own: bulk that stands still at the broker does not hold critical readings.

use crate::support::Agent;
use crate::{arrived, counter, counts, uplink};

#[test]
fn critical_readings_arrive_while_the_stream_of_bulk_stands_still() {
    const WANTED: u64 = 2_000;
    let dir = tempfile::tempdir().unwrap();
    let (broker, port) = crate::delivery::secure(dir.path());
    let witness = broker.subscribe();
    let (_front, quic) =
        crate::token::front_with(dir.path(), port, "agent.key", &["--stall", "/logs"]);
    let classed = |name: &str, class: &str, rate_hz| {
        let source = counter(name, rate_hz, 0);
        source.replace(
            "driver = \"sim\"\n",
            &format!("driver = \"sim\"\nclass = \"{class}\"\n"),
        )
    };
    // More bulk than all that may be in flight, and each critical reading in a message of its own.
    let config = classed("logs", "bulk", 20_000)
        + &classed("alarm", "critical", 500)
        + &uplink(&["logs", "alarm"], &format!("quic://localhost:{quic}"))
        + &format!(
            "quic_streams = \"by_class\"\nrecords_per_message_max = 1\nca_file = \"{certs}/ca.pem\"\n\
             cert_file = \"{certs}/agent.pem\"\nkey_file = \"{certs}/agent.key\"\n",
            certs = dir.path().join("certs").display()
        );
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    let received = arrived(&witness, WANTED);
    let alarms = counts(&received, "alarm");
    assert!(
        alarms.iter().copied().eq(0..alarms.len() as u64),
        "in order"
    );
    assert!(alarms.len() as u64 >= WANTED, "{} alarms", alarms.len());
    assert_eq!(
        counts(&received, "logs"),
        [0; 0],
        "the stream did not stand still"
    );
    assert_eq!(agent.count("/sinks/cloud/connects"), 1);
    // What stands still is stored, and would be waited for.
    agent.kill();
}
