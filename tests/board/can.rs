//! Two emulated controllers (SJA1000 on PCI) on one bus, the kernel's driver for them, raw sockets out of the sandbox of a driver,
//! and the can driver on the one; frames are sent and seen on the other by can-utils, which are not ours.

use super::machine::Boot;
use super::station::{ARRIVAL_LIMIT, FIRST_LIMIT, Station, good_sample, time_now};
use crate::support::Received;
use std::path::Path;
use std::process::Command;

const OPTIONS: &str = "interface = \"can0\"\nframes = true\n\
     filters = [{ id = 0x18FEF100, mask = 0x1FFFFF00 }, { id = 0x123 }]\nsignals = [\n\
     { name = \"speed\", id = 0x123, start = 0, length = 16, scale = 0.01, unit = \"km/h\" },\n\
     { name = \"torque\", id = 0x123, start = 23, length = 12, order = \"big\", type = \"signed\", scale = 0.5, \
     unit = \"N.m\" },\n\
     { name = \"limit\", id = 0x200, start = 0, length = 12, scale = 0.5, writable = true, frame_bytes = 4 },\n]\n";

fn sources() -> String {
    format!(
        "[sources.engine]\ntype = \"driver\"\ndriver = \"can\"\ngrants = {{ can = [\"can0\"] }}\n\
         restart = {{ base_ms = 50, max_ms = 500 }}\n\n[sources.engine.options]\n{OPTIONS}\n"
    )
}

/// Good values of a channel, in the order of their records.
fn values(received: &Received, channel: &str) -> Vec<f64> {
    received
        .stream("engine")
        .filter_map(|(_, record)| good_sample(record, channel))
        .collect()
}

/// Frames, in base64.
fn frames(received: &Received) -> Vec<String> {
    received
        .stream("engine")
        .filter_map(|(_, record)| record["frame"]["bytes"].as_str().map(str::to_owned))
        .collect()
}

/// What sets the rate of a controller: busybox cannot.
fn bitrate() -> Vec<u8> {
    let room = tempfile::tempdir().unwrap();
    let program = room.path().join("can_bitrate");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/board/can_bitrate.c");
    let built = Command::new("aarch64-linux-gnu-gcc")
        .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([&program, &source])
        .status();
    assert!(built.expect("scripts/setup.sh cross installs it").success());
    std::fs::read(program).unwrap()
}

#[test]
fn board_virt_can_frames_reach_the_broker() {
    let station = Station::start();
    let seed = station.seed(&sources(), &["engine"]);
    let mut machine = Boot::new("virt")
        .seed(seed.file("can_bitrate", bitrate()).without_agent())
        .option("--append", &time_now())
        .qemu(&["-object", "can-bus,id=bus"])
        .qemu(&["-device", "kvaser_pci,canbus=bus"])
        .qemu(&["-device", "kvaser_pci,canbus=bus"])
        .start();
    machine.sh(
        "modprobe kvaser_pci && modprobe can-raw && cp /run/seed/can_bitrate /tmp && chmod +x /tmp/can_bitrate && \
         /tmp/can_bitrate can0 500000 && /tmp/can_bitrate can1 500000 && ip link set can0 up && ip link set can1 up",
    );
    // Without the grant there is no socket, with it there is. What runs beside a command is no job of the shell's: that of
    // busybox 1.35 may end where a job does while it waits for a line.
    let read = "dunlin drivers read can -o interface=can0 -o signals=name=a,id=1,start=0,length=8";
    let refused = machine.run(read);
    assert_ne!(refused.status, 0, "{}", refused.text);
    assert!(
        refused.text.contains("grants = { can = [...] }"),
        "{}",
        refused.text
    );
    let sent = machine.sh(&format!(
        "( (for n in 1 2 3 4 5 6 7 8 9 10; do cansend can1 001#2A; sleep 0.2; done) & ); {read} --can can0"
    ));
    assert!(sent.contains("42"), "{sent}");

    machine.sh("rm /run/seed/no-agent && (setsid /etc/init.d/agent &)");
    machine.wait_status("the source runs", FIRST_LIMIT, |status| {
        status["sources"]["engine"]["state"] == "running"
    });
    let pid = machine.agent_pid();
    // Numbers at both ends of their bits, a frame of 29 bits, one that no filter names, and a remote request.
    machine.sh(
        "cansend can1 123#1027800F00000080; cansend can1 18FEF100#AA55; cansend can1 7FF#01; cansend can1 123#R; \
         cansend can1 123#FFFF7FF000000000",
    );
    let ((), took) = station.await_that("speed and torque", FIRST_LIMIT, |received| {
        (values(received, "torque").len() >= 2 && frames(received).len() >= 4).then_some(())
    });
    println!("values arrived after {} ms", took.as_millis());
    let received = station.received();
    assert_eq!(values(&received, "speed"), [100.0, 65535.0 * 0.01]);
    assert_eq!(values(&received, "torque"), [-1024.0, 1023.5]);
    let expected = [
        "AAABIwgAAAAQJ4APAAAAgA==", // what candump shows as 123#1027800F00000080, as LINKTYPE_CAN_SOCKETCAN
        "mP7xAAIAAACqVQ==",
        "QAABIwAAAAA=",
        "AAABIwgAAAD//3/wAAAAAA==",
    ];
    assert_eq!(frames(&received), expected);

    // A write is a frame on the bus, and what was on the bus a sample of whoever listens.
    let write = "( (sleep 1; dunlin drivers write can limit 100 --can can0 -o interface=can0 \
         -o signals=name=limit,id=0x200,start=0,length=12,scale=0.5,writable=true,frame_bytes=4) >/dev/null 2>&1 & ); \
         candump -L -n 1 can1,200:7FF";
    let dumped = machine.sh(write);
    assert!(dumped.contains("200#C8000000"), "{dumped}");
    station.await_that("the written limit", ARRIVAL_LIMIT, |received| {
        (values(received, "limit") == [100.0]).then_some(())
    });

    // The interface goes and comes.
    machine.sh("ip link set can0 down");
    machine.wait_status("the source is down", ARRIVAL_LIMIT, |status| {
        let state = status["sources"]["engine"]["state"].as_str();
        state.is_some_and(|state| state != "running")
    });
    machine.sh("ip link set can0 up");
    machine.wait_status("the source runs again", ARRIVAL_LIMIT, |status| {
        status["sources"]["engine"]["state"] == "running"
    });
    machine.sh("cansend can1 123#0100001000000000");
    station.await_that("what came after", ARRIVAL_LIMIT, |received| {
        (values(received, "speed").last() == Some(&0.01)).then_some(())
    });
    let received = station.received();
    let gaps = received.gaps("engine");
    println!("gaps: {gaps:?}");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["cause"], "device");
    let detail = gaps[0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("Network is down"), "{detail}");
    assert_eq!(machine.agent_pid(), pid, "the agent is the same process");
    received.assert_dense_and_ordered();
}
