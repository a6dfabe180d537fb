//! An emulated board: boots a disk, gives a shell and QEMU's machine protocol, and ends with the test.
//!
//! ```text
//! let disk = disk(dir);                                    a copy of the image that outlives a boot
//! let mut machine = Boot::new("virt").seed(seed).disk(&disk).start();
//! machine.sh("cat /proc/uptime");                          panics unless it ends with 0
//! machine.qmp.set("t0", "temperature", &json!(21500));
//! machine.cut();                                           the power is gone; boot `disk` again
//! ```
//!
//! What a board is made of is in `scripts/qemu.sh`, for tests and for people alike.

#![allow(
    dead_code,
    reason = "each test binary compiles this module and uses a part of it"
)]

mod console;
mod qmp;
mod seed;

pub use console::Answer;
pub use qmp::Qmp;
pub use seed::Seed;

use console::Console;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest boot: the slowest board needs a tenth of it on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_mins(3);
/// Longest command in a shell, unless a test gives its own limit.
const COMMAND_LIMIT: Duration = Duration::from_mins(1);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A copy of the disk image in `dir`, which boots can write to.
pub fn disk(dir: &Path) -> PathBuf {
    let copy = dir.join("disk.ext4");
    let image = root().join("target/board/disk.ext4");
    let copied = Command::new("cp")
        .arg("--sparse=always")
        .args([&image, &copy])
        .status()
        .unwrap();
    assert!(
        copied.success(),
        "{} is missing: scripts/board_image.sh makes it",
        image.display()
    );
    copy
}

/// An empty disk of this size in `dir`: a second one for a board, as a raw file.
pub fn blank_disk(dir: &Path, name: &str, mib: u64) -> PathBuf {
    let path = dir.join(name);
    File::create(&path).unwrap().set_len(mib << 20).unwrap();
    path
}

/// What is booted, and how.
pub struct Boot {
    board: &'static str,
    seed: Seed,
    options: Vec<String>,
    arguments: Vec<String>,
}

impl Boot {
    /// A board by its name in `scripts/qemu.sh`.
    pub fn new(board: &'static str) -> Boot {
        Boot {
            board,
            seed: Seed::default(),
            options: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Files for /run/seed.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Boot {
        self.seed = seed;
        self
    }

    /// Boots this disk and writes to it. Without it, the image is booted and what is written is forgotten.
    #[must_use]
    pub fn disk(self, disk: &Path) -> Boot {
        self.option("--disk", &disk.display().to_string())
    }

    /// An option of `scripts/qemu.sh`.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Boot {
        self.options.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Arguments for QEMU.
    #[must_use]
    pub fn qemu(mut self, arguments: &[&str]) -> Boot {
        self.arguments
            .extend(arguments.iter().map(|&each| each.to_owned()));
        self
    }

    /// Boots until there is a shell.
    pub fn start(self) -> Machine {
        let start = Instant::now();
        let dir = tempfile::tempdir().unwrap();
        let pages = self.options.iter().any(|option| option == "16k");
        let base = root()
            .join("target/board")
            .join(if pages { "initrd-16k" } else { "initrd" });
        let initrd = dir.path().join("initrd");
        self.seed.write(&base, &initrd);
        let socket = dir.path().join("qmp");

        let logs = root().join("target/board/log");
        fs::create_dir_all(&logs).unwrap();
        let test = std::thread::current()
            .name()
            .unwrap_or("board")
            .replace("::", ".");
        let log = logs.join(format!("{test}.{}.log", self.board));
        let mut child = Command::new(root().join("scripts/qemu.sh"))
            .args([self.board, "--exec", "--initrd"])
            .arg(&initrd)
            .args(&self.options)
            .args(["--", "-qmp"])
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log.with_extension("stderr")).unwrap())
            .spawn()
            .expect("scripts/qemu.sh starts");
        let console = Console::new(
            child.stdin.take().unwrap(),
            child.stdout.take().unwrap(),
            &log,
        );
        // From here on, whatever panics ends QEMU.
        let running = Running { child, log };
        let qmp = Qmp::connect(&socket);
        let mut machine = Machine {
            running,
            console,
            qmp,
            _dir: dir,
        };
        machine.console.wait_for_shell(BOOT_LIMIT);
        println!(
            "{}: a shell after {:.1} s",
            self.board,
            start.elapsed().as_secs_f64()
        );
        machine
    }
}

/// The process, which is QEMU itself: the script became it.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the console's log: {}", self.log.display());
        } else {
            let _ = fs::remove_file(&self.log);
            let _ = fs::remove_file(self.log.with_extension("stderr"));
        }
    }
}

/// A running board. Ends with this value; its console's log stays only where the test failed.
pub struct Machine {
    running: Running,
    console: Console,
    /// QEMU's machine protocol.
    pub qmp: Qmp,
    _dir: tempfile::TempDir,
}

impl Machine {
    /// Runs a command in the board's shell, however it ends.
    pub fn run(&mut self, command: &str) -> Answer {
        self.console.run(command, COMMAND_LIMIT)
    }

    /// Runs a command that must succeed: what it said.
    pub fn sh(&mut self, command: &str) -> String {
        let answer = self.run(command);
        assert_eq!(answer.status, 0, "{command}: {}", answer.text);
        answer.text
    }

    /// Runs a command until it succeeds: what it said.
    pub fn wait(&mut self, command: &str, limit: Duration) -> String {
        let start = Instant::now();
        loop {
            let answer = self.run(command);
            if answer.status == 0 {
                return answer.text;
            }
            assert!(
                start.elapsed() < limit,
                "{command}: not within {limit:?}: {}",
                answer.text
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The agent's status file, or null while there is none.
    pub fn status(&mut self) -> serde_json::Value {
        let text = self.run("cat /run/dunlin/status.json").text;
        serde_json::from_str(&text).unwrap_or(serde_json::Value::Null)
    }

    /// Waits until the agent's status file says so, and gives it.
    pub fn wait_status(
        &mut self,
        what: &str,
        limit: Duration,
        ready: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let start = Instant::now();
        loop {
            let status = self.status();
            if ready(&status) {
                return status;
            }
            assert!(
                start.elapsed() < limit,
                "{what}: not within {limit:?}: {status}\n{}",
                self.agent_log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The agent's process id.
    pub fn agent_pid(&mut self) -> i64 {
        self.status()["pid"].as_i64().expect("the agent runs")
    }

    /// The end of the agent's log.
    pub fn agent_log(&mut self) -> String {
        self.run("tail -n 40 /run/dunlin/log").text
    }

    /// QEMU's process id.
    pub fn pid(&self) -> u32 {
        self.running.child.id()
    }

    /// Cuts the power: what the board had not put on its disk is gone.
    pub fn cut(mut self) {
        self.running.child.kill().expect("QEMU can be killed");
        self.running.child.wait().expect("QEMU ends");
    }
}
