//! Ports for servers that are started a moment later, and again after a kill.

use std::hash::{BuildHasher, RandomState};
use std::net::{TcpListener, UdpSocket};

/// A port on loopback that was free for TCP and UDP a moment ago. Below those that the kernel gives to connections
/// (`ip_local_port_range` begins at 32768), so that no connection of a neighbour takes it meanwhile.
pub fn free_port() -> u16 {
    (0..1000_u32)
        .map(|attempt| 15_000 + (RandomState::new().hash_one(attempt) % 17_000) as u16)
        .find(|&port| {
            TcpListener::bind(("127.0.0.1", port)).is_ok()
                && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        })
        .expect("a free port on loopback")
}
