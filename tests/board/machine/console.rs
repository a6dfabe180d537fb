//! A shell on a board's serial console, driven by a program.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longest line that the terminal of a board takes at once, in bytes (`N_TTY_BUF_SIZE` of Linux is 4096).
const LINE_BYTES_MAX: usize = 4000;
/// What the shell of `lab/board/root` prints when it waits.
const PROMPT: &str = "board# ";

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Answer {
    pub status: u32,
    pub text: String,
}

#[derive(Default)]
struct Heard {
    text: String,
    closed: bool,
}

/// The console: everything that it says is kept, and written to a log.
pub struct Console {
    input: ChildStdin,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    /// How far answers have been read, in bytes.
    read: usize,
    asked: u32,
}

impl Console {
    /// Takes both ends, and copies what is heard to `log`.
    pub fn new(input: ChildStdin, output: ChildStdout, log: &Path) -> Console {
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let file = File::create(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let writer = Arc::clone(&heard);
        std::thread::spawn(move || listen(output, file, &writer));
        Console {
            input,
            heard,
            read: 0,
            asked: 0,
        }
    }

    /// Waits for the shell, and makes it quiet: no echo, no prompt.
    pub fn wait_for_shell(&mut self, limit: Duration) {
        self.wait_for(PROMPT, limit);
        self.send("stty -echo; PS1=; PS2=");
        self.run("true", limit);
    }

    /// Waits until the console says `sign`, and passes over it.
    pub fn wait_for(&mut self, sign: &str, limit: Duration) {
        self.until(sign, limit, |text| {
            text.find(sign).map(|at| ((), at + sign.len()))
        });
    }

    /// Runs a command in the shell. `limit` bounds the wait for its end.
    pub fn run(&mut self, command: &str, limit: Duration) -> Answer {
        self.asked += 1;
        let number = self.asked;
        // The quotes keep the line, where it is echoed, from looking like what it prints.
        self.send(&format!(
            "echo BE''GIN-{number}; {command}\necho E''ND-{number}-$?-"
        ));
        let (begin, end) = (format!("BEGIN-{number}"), format!("END-{number}-"));
        self.until(command, limit, |text| {
            let from = text.find(&begin)? + begin.len();
            let to = from + text[from..].find(&end)?;
            let rest = &text[to + end.len()..];
            let digits = rest.find('-')?;
            let answer = Answer {
                status: rest[..digits].parse().ok()?,
                text: text[from..to].replace('\r', "").trim().to_owned(),
            };
            Some((answer, to + end.len() + digits + 1))
        })
    }

    fn send(&mut self, lines: &str) {
        for line in lines.lines() {
            assert!(
                line.len() < LINE_BYTES_MAX,
                "{} bytes are too long a line for a terminal",
                line.len()
            );
        }
        self.input
            .write_all(format!("{lines}\n").as_bytes())
            .and_then(|()| self.input.flush())
            .expect("the board takes input");
    }

    /// Waits until `find` finds something in what was not read yet: it, and where that ends.
    fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        find: impl Fn(&str) -> Option<(T, usize)>,
    ) -> T {
        let deadline = Instant::now() + limit;
        let (lock, changed) = &*self.heard;
        let mut heard = lock.lock().unwrap();
        loop {
            if let Some((found, length)) = find(&heard.text[self.read..]) {
                self.read += length;
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let why = if heard.closed {
                "the board ended".to_owned()
            } else if left.is_zero() {
                format!("not within {limit:?}")
            } else {
                heard = changed.wait_timeout(heard, left).unwrap().0;
                continue;
            };
            let said = heard.text[self.read..].to_owned();
            drop(heard);
            panic!("{what}: {why}. The console said: {said}");
        }
    }
}

fn listen(mut output: ChildStdout, mut log: File, heard: &(Mutex<Heard>, Condvar)) {
    let mut piece = [0; 4096];
    loop {
        let n = output.read(&mut piece).unwrap_or(0);
        let (lock, changed) = heard;
        let mut heard = lock.lock().unwrap();
        if n == 0 {
            heard.closed = true;
        } else {
            // The log is for people who look into a failure; a full disk must not end the test.
            let _ = log.write_all(&piece[..n]);
            // Byte for byte as Latin-1, so that a character cut in two by a read does no harm.
            heard
                .text
                .extend(piece[..n].iter().map(|byte| char::from(*byte)));
        }
        changed.notify_all();
        if n == 0 {
            return;
        }
    }
}
