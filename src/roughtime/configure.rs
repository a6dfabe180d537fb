//! The table `[time]`.

use crate::config::Section;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Port where none is given: the one that IANA registered for Roughtime.
pub const PORT: u16 = 5319;

/// Most servers that are asked.
const SERVERS_MAX: usize = 16;

/// Who is asked for the time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One at least, each with another key.
    pub servers: Vec<Server>,
}

/// A server that signs the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// What the configuration calls it.
    pub name: String,
    /// Name or address.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// Its long-term public key, Ed25519.
    pub key: [u8; 32],
}

impl Settings {
    /// Reads `[time]`, where there is one.
    pub fn configure(root: &mut Section<'_>) -> Option<Settings> {
        let mut section = root.section("time")?;
        let tables = section.sections("servers");
        if tables.is_empty() {
            section.problem(
                "servers",
                "has no server in it",
                "add [time.servers.NAME] with address and key, or leave [time] out",
            );
            return None;
        }
        if tables.len() > SERVERS_MAX {
            section.problem(
                "servers",
                format_args!("has {} servers", tables.len()),
                format_args!("keep {SERVERS_MAX}; three to five are enough"),
            );
        }
        let mut servers: Vec<Server> = Vec::new();
        for (name, mut table) in tables {
            let Some(server) = server(name, &mut table) else {
                continue;
            };
            if let Some(other) = servers.iter().find(|other| other.key == server.key) {
                table.problem(
                    "key",
                    format_args!("is the key of {} as well", other.name),
                    "name servers of different owners: what most of them say is believed",
                );
            }
            servers.push(server);
        }
        Some(Settings { servers })
    }

    /// How many must say the same: more than half of all, whether they answer or not.
    pub fn needed(&self) -> usize {
        self.servers.len() / 2 + 1
    }
}

fn server(name: String, table: &mut Section<'_>) -> Option<Server> {
    let remedy = "write HOST or HOST:PORT; an IPv6 address in brackets";
    let address = table.required_text("address", remedy);
    let parts = address.and_then(|text| {
        let parts = split(&text);
        if parts.is_none() {
            table.problem("address", format_args!("is {text:?}"), remedy);
        }
        parts
    });
    let remedy =
        "write the server's long-term public key as its owner publishes it, 32 bytes in base64";
    let key = table.required_text("key", remedy).and_then(|text| {
        let bytes = STANDARD.decode(&text).ok();
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        if key.is_none() {
            table.problem("key", format_args!("is {text:?}"), remedy);
        }
        key
    });
    let ((host, port), key) = (parts?, key?);
    Some(Server {
        name,
        host,
        port,
        key,
    })
}

/// Host and port.
fn split(text: &str) -> Option<(String, u16)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(text) => text.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None if rest.is_empty() => PORT,
        None => return None,
    };
    let is_host = !host.is_empty()
        && !host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | '[' | ']'));
    is_host.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let host = |text: &str, port| Some((text.to_owned(), port));
        assert_eq!(split("time.example"), host("time.example", 5319));
        assert_eq!(split("time.example:2002"), host("time.example", 2002));
        assert_eq!(split("[2001:db8::1]:2002"), host("2001:db8::1", 2002));
        assert_eq!(split("[2001:db8::1]"), host("2001:db8::1", 5319));
        for wrong in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "udp://a",
            "a b",
            "2001:db8::1",
            "[::1",
            "[::1]x",
        ] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
