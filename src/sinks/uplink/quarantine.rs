//! Messages that the broker refused for ever: set aside durably, so that they neither block the rest nor vanish.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Bytes of refused messages that are kept. What comes after is counted and logged only.
pub(super) const QUARANTINE_BYTES_MAX: u64 = 16 << 20;

/// A file of refused messages, one JSON object a line.
#[derive(Debug)]
pub(super) struct Quarantine {
    dir: PathBuf,
}

/// One line.
#[derive(serde::Serialize)]
struct Line<'a> {
    wall_ns: i64,
    reason: &'a str,
    topic: &'a str,
    payload: &'a str,
}

impl Quarantine {
    /// A quarantine in `dir`, which is made when the first message comes.
    pub(super) fn new(dir: PathBuf) -> Quarantine {
        Quarantine { dir }
    }

    /// Keeps a message; durable when this returns `true`. `false` where the quarantine is full. Blocks on the disk.
    pub(super) fn keep(&self, reason: &str, topic: &str, payload: &[u8]) -> io::Result<bool> {
        fs::create_dir_all(&self.dir)?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("messages.jsonl"))?;
        let payload = printable(payload);
        let line = Line {
            wall_ns: crate::clock::wall_ns(),
            reason,
            topic,
            payload: &payload,
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        if file.metadata()?.len() + text.len() as u64 > QUARANTINE_BYTES_MAX {
            return Ok(false);
        }
        file.write_all(&text)?;
        file.sync_all()?;
        File::open(&self.dir)?.sync_all()?;
        Ok(true)
    }
}

/// Text as it is, other bytes in hexadecimal behind `hex:`.
fn printable(payload: &[u8]) -> String {
    std::str::from_utf8(payload).map_or_else(
        |_| {
            payload.iter().fold("hex:".to_owned(), |text, byte| {
                text + &format!("{byte:02x}")
            })
        },
        str::to_owned,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_until_full() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(dir.path().join("cloud"));
        assert!(
            quarantine
                .keep("topic name invalid", "a/b", b"{\"v\":1}")
                .unwrap()
        );
        assert!(
            quarantine
                .keep("payload format invalid", "a/b", &[0xFF, 0x00])
                .unwrap()
        );
        let text = fs::read_to_string(dir.path().join("cloud/messages.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["payload"], "{\"v\":1}");
        assert_eq!(lines[1]["payload"], "hex:ff00");
        let big = vec![b'x'; usize::try_from(QUARANTINE_BYTES_MAX).unwrap()];
        assert!(!quarantine.keep("r", "t", &big).unwrap());
    }
}
