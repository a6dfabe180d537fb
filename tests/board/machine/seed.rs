//! Files that a board finds in /run/seed: a cpio archive behind its initramfs.

use std::fs;
use std::path::Path;

/// Files by name, in order.
#[derive(Clone, Default)]
pub struct Seed {
    files: Vec<(String, u32, Vec<u8>)>,
}

impl Seed {
    /// A seed whose agent runs this configuration.
    pub fn with_config(config: &str) -> Seed {
        Seed::default().file("dunlin.toml", config)
    }

    /// With a file that its owner alone can read, since keys are among them.
    #[must_use]
    pub fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Seed {
        self.files
            .push((name.to_owned(), 0o100_600, content.as_ref().to_owned()));
        self
    }

    /// With an agent that is not started at boot.
    #[must_use]
    pub fn without_agent(self) -> Seed {
        self.file("no-agent", "")
    }

    /// Writes `initrd` and this behind it to `to`.
    pub fn write(&self, initrd: &Path, to: &Path) {
        let mut bytes = fs::read(initrd).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; scripts/board_image.sh makes it",
                initrd.display()
            )
        });
        // An archive may begin at any multiple of four bytes.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        entry(&mut bytes, "seed", 0o040_700, &[]);
        for (name, mode, content) in &self.files {
            entry(&mut bytes, &format!("seed/{name}"), *mode, content);
        }
        entry(&mut bytes, "TRAILER!!!", 0, &[]);
        fs::write(to, bytes).unwrap();
    }
}

/// One file in the "newc" format of cpio(5): a header of 13 fields of eight hex digits, name and content, each padded
/// to four bytes.
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let links = 1;
    let fields = [
        0,
        mode,
        0,
        0,
        links,
        0,
        u32::try_from(content.len()).unwrap(),
        0,
        0,
        0,
        0,
        u32::try_from(name.len() + 1).unwrap(),
        0,
    ];
    let start = archive.len();
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08X}").bytes());
    }
    archive.extend(name.bytes());
    archive.push(0);
    pad(archive, start);
    archive.extend(content);
    pad(archive, start);
}

fn pad(archive: &mut Vec<u8>, start: usize) {
    let length = (archive.len() - start).next_multiple_of(4);
    archive.resize(start + length, 0);
}
