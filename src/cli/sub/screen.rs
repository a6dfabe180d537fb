//! A table that is drawn again and again on a terminal, and once more where it stays.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

/// Lines that fit where the terminal does not say.
const LINES_DEFAULT: usize = 24;

/// The alternate screen of a terminal, left when this is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    lines: usize,
}

impl Screen {
    /// Takes the screen. Lines longer than it is wide are cut by the terminal, so that a row stays a row.
    pub(super) fn take() -> io::Result<Screen> {
        let mut out = io::stdout();
        out.write_all(b"\x1b[?1049h\x1b[?7l\x1b[?25l")?;
        out.flush()?;
        Ok(Screen {
            lines: lines_of_terminal().unwrap_or(LINES_DEFAULT),
        })
    }

    /// Draws these lines in the place of those before; says how many do not fit.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let room = self.lines.saturating_sub(1).max(2);
        let mut text = "\x1b[H\x1b[J".to_owned();
        let shown = if lines.len() > room {
            room - 1
        } else {
            lines.len()
        };
        for line in &lines[..shown] {
            text += line;
            text += "\r\n";
        }
        if shown < lines.len() {
            text += &format!(
                "... {} more lines; a taller window shows them\r\n",
                lines.len() - shown
            );
        }
        let mut out = io::stdout();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout();
        // A terminal that is gone needs nothing put back.
        let _ = out
            .write_all(b"\x1b[?25h\x1b[?7h\x1b[?1049l")
            .and_then(|()| out.flush());
    }
}

/// How many lines the terminal has: `stty`, of every system, knows the call that asks.
fn lines_of_terminal() -> Option<usize> {
    let asked = Command::new("stty")
        .arg("size")
        .stdin(Stdio::inherit())
        .output()
        .ok()?;
    let text = String::from_utf8(asked.stdout).ok()?;
    text.split_whitespace()
        .next()?
        .parse()
        .ok()
        .filter(|lines| *lines > 2)
}
