//! The tables of these sources.

use super::{FRAME_BYTES_MAX, Origin, Pace, Settings};
use crate::config::Section;
use crate::record::Class;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Longest name of a channel, in bytes: that of a driver's.
const CHANNEL_BYTES_MAX: usize = 63;

impl Settings {
    /// Reads the table of a source of type `udp`, `tcp` or `file`; all problems are reported.
    pub fn configure(kind: &str, name: &str, section: &mut Section<'_>) -> Option<Settings> {
        let classes = Class::ALL.map(|class| (class.name(), class));
        let class = section.choice("class", &classes, Class::Normal);
        let channel = section
            .text("channel")
            .unwrap_or_else(|| "frames".to_owned());
        if !(1..=CHANNEL_BYTES_MAX).contains(&channel.len()) {
            let remedy = format_args!("choose a name of 1 to {CHANNEL_BYTES_MAX} bytes");
            section.problem("channel", format_args!("is {channel:?}"), remedy);
        }
        let origin = match kind {
            "udp" => udp(section),
            "tcp" => tcp(section),
            _ => file(section),
        };
        Some(Settings {
            name: name.to_owned(),
            class,
            channel,
            origin: origin?,
        })
    }
}

fn address(section: &mut Section<'_>, key: &'static str, remedy: &str) -> Option<SocketAddr> {
    let text = section.required_text(key, remedy)?;
    let address = text
        .parse::<SocketAddr>()
        .ok()
        .filter(|address| address.port() > 0);
    if address.is_none() {
        section.problem(
            key,
            format_args!("is {text:?}, which is no address with a port"),
            remedy,
        );
    }
    address
}

fn udp(section: &mut Section<'_>) -> Option<Origin> {
    let remedy = "write a numeric address of this machine and a port, such as 127.0.0.1:5000";
    let listen = address(section, "listen", remedy);
    let mut from = Vec::new();
    for text in section.texts("from") {
        if let Ok(address) = text.parse::<IpAddr>() {
            from.push(address.to_canonical());
        } else {
            let what = format_args!("has {text:?}, which is no address");
            section.problem("from", what, "write numeric addresses, such as 192.0.2.17");
        }
    }
    let listen = listen?;
    if from.is_empty() && !listen.ip().is_loopback() {
        let what = "is missing where others than this machine can send";
        section.problem("from", what, "list the addresses whose datagrams are meant");
        return None;
    }
    Some(Origin::Udp { listen, from })
}

fn tcp(section: &mut Section<'_>) -> Option<Origin> {
    let remedy = "write a numeric address and a port, such as 192.0.2.17:4000";
    let connect = address(section, "connect", remedy);
    let wait_ms_max = section.integer("wait_ms_max", 100..=3_600_000, 30_000);
    Some(Origin::Tcp {
        connect: connect?,
        wait_ms_max,
    })
}

fn file(section: &mut Section<'_>) -> Option<Origin> {
    let path = section.required_text("path", "write the path of a recording");
    let is_lines = section.choice("format", &[("raw", false), ("lines", true)], false);
    let pace = if is_lines {
        let speed = section.number("speed").unwrap_or(1.0);
        if speed < 0.0 {
            let remedy =
                "write how many times as fast as it was recorded; 0 for as fast as it is taken";
            section.problem("speed", format_args!("is {speed}"), remedy);
        }
        Pace::Lines { speed }
    } else {
        let piece_bytes = section.integer("piece_bytes", 1..=FRAME_BYTES_MAX as u64, 4096);
        Pace::Raw {
            piece_bytes: usize::try_from(piece_bytes).unwrap_or(FRAME_BYTES_MAX),
            bytes_per_s: section.integer("bytes_per_s", 0..=u64::from(u32::MAX), 0),
        }
    };
    let path = PathBuf::from(path?);
    if !path.is_absolute() {
        let what = format_args!("is {}, which is not absolute", path.display());
        section.problem("path", what, "write it from the root");
    }
    Some(Origin::File { path, pace })
}
