//! A pseudo terminal with a talker at its far end.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

/// Ends with its value.
pub struct Line {
    /// The name of the near end.
    pub port: String,
    /// Held open, so that the line does not hang up between two openings.
    _near: File,
    over: Arc<AtomicBool>,
    talker: Option<JoinHandle<()>>,
}

impl Line {
    /// Says this, two hundred times a second.
    pub fn saying(words: &'static str) -> Line {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let far = posix_openpt(flags).expect("a pseudo terminal");
        grantpt(&far)
            .and_then(|()| unlockpt(&far))
            .expect("unlocked");
        let port = ptsname_r(&far).expect("its name");
        let near = File::options().read(true).write(true).open(&port);
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let talker = std::thread::spawn(move || {
            let mut far = File::from(OwnedFd::from(far));
            while !until.load(Ordering::Relaxed) {
                // A line that nobody reads is full at some time, which is no matter here.
                let _ = far.write_all(words.as_bytes());
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Line {
            port,
            _near: near.expect("the near end"),
            over,
            talker: Some(talker),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(talker) = self.talker.take() {
            let _ = talker.join();
        }
    }
}
