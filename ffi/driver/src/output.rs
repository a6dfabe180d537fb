//! What a driver prints: lines for the log, as data, and never so many that they cost the agent anything.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::Instant;

/// Longest line in bytes that is kept whole.
const LINE_MAX_BYTES: usize = 1024;
/// Lines that are logged in each second; more are counted.
const LINES_PER_SECOND: u32 = 20;
/// Bytes that are taken from a driver in each second. A driver that prints more is slowed down by its own pipe.
const BYTES_PER_SECOND: usize = 8 * 1024 * 1024;

/// Reads until the driver's end is closed.
pub(crate) async fn forward(driver: String, mut from: pipe::Receiver) {
    let mut chunk = vec![0; 16 * 1024];
    let mut line = Vec::with_capacity(LINE_MAX_BYTES);
    let mut window = Window::new();
    loop {
        let count = match from.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        for byte in &chunk[..count] {
            if *byte == b'\n' {
                window.log(&driver, &line);
                line.clear();
            } else if line.len() < LINE_MAX_BYTES {
                line.push(*byte);
            }
        }
        window.bytes += count;
        if window.bytes >= BYTES_PER_SECOND {
            tokio::time::sleep_until(window.ends).await;
        }
        window.turn(&driver);
    }
    if !line.is_empty() {
        window.log(&driver, &line);
    }
    window.report(&driver);
}

struct Window {
    ends: Instant,
    lines: u32,
    suppressed: u64,
    bytes: usize,
}

impl Window {
    fn new() -> Window {
        Window {
            ends: Instant::now() + Duration::from_secs(1),
            lines: 0,
            suppressed: 0,
            bytes: 0,
        }
    }

    fn log(&mut self, driver: &str, line: &[u8]) {
        self.turn(driver);
        if self.lines < LINES_PER_SECOND {
            self.lines += 1;
            let line = crate::text::printable(line);
            tracing::info!(target: "driver", driver, line, "driver output");
        } else {
            self.suppressed += 1;
        }
    }

    fn turn(&mut self, driver: &str) {
        if Instant::now() >= self.ends {
            self.report(driver);
            *self = Window::new();
        }
    }

    fn report(&self, driver: &str) {
        if self.suppressed > 0 {
            let suppressed = self.suppressed;
            tracing::warn!(target: "driver", driver, suppressed, "driver prints too much");
        }
    }
}
