//! Driver hosts in a unit of their own: started by another process than the agent.

use crate::support::{Agent, kill, wait_for};
use crate::{SOON, arrived, broker, counter, counts, uplink};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `dunlin driver-hosts` on a socket of its own. Ends with this value.
struct Launcher {
    child: Child,
}

impl Launcher {
    fn start(listener: &OwnedFd) -> Launcher {
        let child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .arg("driver-hosts")
            .stdin(Stdio::from(listener.try_clone().unwrap()))
            .spawn()
            .unwrap();
        Launcher { child }
    }

    /// The pids of the hosts that it started and that live.
    fn hosts(&self) -> Vec<i32> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("the launcher lives");
        children
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A socket that listens, as the service manager makes it.
fn listener(path: &Path) -> OwnedFd {
    let kind = SockType::SeqPacket;
    let fd = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(fd.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
    listen(&fd, Backlog::new(64).unwrap()).unwrap();
    fd
}

/// Not as a zombie, which is whoever's to collect.
fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn start(agent: &mut Agent, dir: &Path) {
    let dir = dir.to_owned();
    agent.start_with(move |command| {
        command.arg("--driver-hosts").arg(dir);
    });
}

#[test]
fn hosts_of_another_unit_die_and_come_back_and_none_outlives_the_agent() {
    let (dir, broker, witness) = broker();
    let socket = listener(&dir.path().join("devices"));
    let mut launcher = Launcher::start(&socket);
    let config = "[sources.sim]\ntype = \"driver\"\ndriver = \"sim\"\nrestart = { base_ms = 5 }\n\
                  options = { rate_hz = 100, waves = [{ name = \"n\", shape = \"counter\" }] }\n\n"
        .to_owned()
        + &counter("other", 100, 0)
        + &uplink(&["sim", "other"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    start(&mut agent, dir.path());
    agent.wait_count("/sources/sim/readings", 10, SOON);
    let pid = agent.pid();
    let host = i32::try_from(agent.count("/sources/sim/host_pid")).unwrap();
    assert!(
        launcher.hosts().contains(&host),
        "{host}, {:?}",
        launcher.hosts()
    );
    assert_eq!(launcher.hosts().len(), 2);

    kill(host, "SEGV");
    agent.wait_count("/sources/sim/outages", 1, SOON);
    assert_eq!(launcher.hosts().len(), 2, "another one is there");
    assert!(!launcher.hosts().contains(&host));

    // The launcher dies and takes its hosts along. The socket stays, and so the next launcher finds who waits.
    let hosts = launcher.hosts();
    launcher = {
        drop(launcher);
        wait_for("its hosts die with it", SOON, || {
            hosts.iter().all(|pid| !lives(*pid))
        });
        Launcher::start(&socket)
    };
    agent.wait_count("/sources/sim/outages", 2, SOON);
    agent.wait_count("/sources/other/outages", 1, SOON);
    let more = agent.count("/sources/sim/readings") + 10;
    agent.wait_count("/sources/sim/readings", more, SOON);
    assert_eq!(agent.pid(), pid);

    agent.kill();
    wait_for("no host outlives the agent", SOON, || {
        launcher.hosts().is_empty()
    });

    start(&mut agent, dir.path());
    agent.wait_count("/sources/sim/readings", 10, SOON);
    agent.stop();
    assert!(launcher.hosts().is_empty(), "closed in good order");
    let received = arrived(&witness, agent.count("/produced"));
    let gaps = received.gaps("sim");
    assert_eq!(gaps.len(), 2, "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap["cause"] == "crash"), "{gaps:?}");
    assert!(
        gaps[0]["detail"].as_str().unwrap().contains("SIGSEGV"),
        "{gaps:?}"
    );
    assert!(!counts(&received, "other").is_empty());
}

/// A source goes where its grants are open: who is granted a network, to the unit that has one.
#[test]
fn a_network_is_in_another_unit_than_devices() {
    let (dir, broker, _witness) = broker();
    let devices = listener(&dir.path().join("devices"));
    let network = listener(&dir.path().join("network"));
    let launchers = [&devices, &network].map(Launcher::start);
    let config = counter("near", 100, 0)
        + &counter("far", 100, 0).replace(
            "driver = \"sim\"\n",
            "driver = \"sim\"\ngrants = { network = [\"127.0.0.1:502\"] }\n",
        )
        + &uplink(&["near", "far"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    start(&mut agent, dir.path());
    for (source, launcher) in ["near", "far"].into_iter().zip(&launchers) {
        agent.wait_count(&format!("/sources/{source}/readings"), 3, SOON);
        let host = agent.count(&format!("/sources/{source}/host_pid"));
        assert_eq!(launcher.hosts(), [i32::try_from(host).unwrap()], "{source}");
    }
    agent.stop();
}
