//! The agent as a process.

use super::wait_for;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// How a tool of dunlin ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `dunlin` with these arguments to its end.
pub fn dunlin(args: &[&str]) -> Ended {
    dunlin_with(args, |_| {})
}

/// The same, with a chance to change the command first.
pub fn dunlin_with(args: &[&str], change: impl FnOnce(&mut Command)) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(args).stdin(Stdio::null());
    change(&mut command);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("dunlin starts");
    Ended {
        code: status.code().expect("dunlin ends by itself"),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// A running agent with a directory of its own.
pub struct Agent {
    dir: PathBuf,
    child: Option<Child>,
    starts: u32,
    level: &'static str,
}

impl Agent {
    /// Writes `config` to `dir/dunlin.toml`, with an `[agent]` table that keeps everything in `dir`; starts nothing.
    pub fn new(dir: &Path, config: &str) -> Agent {
        let drivers = dunlin_drivers::DIR;
        let agent = format!(
            "[agent]\nname = \"gw\"\nstate_dir = \"{dir}/state\"\nruntime_dir = \"{dir}/run\"\n\
             driver_dir = \"{drivers}\"\ndrain_timeout_ms = 20000\n\n{config}",
            dir = dir.display()
        );
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("dunlin.toml"), agent).unwrap();
        Agent {
            dir: dir.to_owned(),
            child: None,
            starts: 0,
            level: "debug",
        }
    }

    /// Has everything logged.
    pub fn trace(&mut self) {
        self.level = "trace";
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("dunlin.toml")
    }

    /// The state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Starts the agent; its log goes to a file of its own for each start.
    pub fn start(&mut self) {
        self.start_with(|_| {});
    }

    /// The same, with a chance to change the command first.
    pub fn start_with(&mut self, change: impl FnOnce(&mut Command)) {
        assert!(self.child.is_none(), "the agent runs already");
        self.starts += 1;
        // The file would otherwise speak of the last start until the new one writes it.
        let _ = fs::remove_file(self.dir.join("run/status.json"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command
            .args(["run", "--log", self.level])
            .arg(self.config())
            .stdin(Stdio::null());
        command
            .stdout(Stdio::null())
            .stderr(File::create(self.log_file()).unwrap());
        change(&mut command);
        self.child = Some(command.spawn().expect("dunlin starts"));
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join(format!("log-{}", self.starts))
    }

    /// What the agent logged since its last start.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap()).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().expect("the agent runs").id()).unwrap()
    }

    /// Its status file, or null before there is one.
    pub fn status(&self) -> Value {
        let Ok(text) = fs::read_to_string(self.dir.join("run/status.json")) else {
            return Value::Null;
        };
        serde_json::from_str(&text).expect("the status file is whole at every instant")
    }

    /// A number of the status file, 0 before there is one.
    pub fn count(&self, pointer: &str) -> u64 {
        self.status()
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }

    /// Waits until a number of the status file is at least `least`.
    pub fn wait_count(&mut self, pointer: &str, least: u64, limit: Duration) {
        let what = format!("{pointer} >= {least}");
        wait_for(&what, limit, || {
            self.assert_alive();
            self.count(pointer) >= least
        });
    }

    /// Panics with its log if the agent has ended.
    pub fn assert_alive(&mut self) {
        let child = self.child.as_mut().expect("the agent runs");
        if let Some(status) = child.try_wait().unwrap() {
            panic!("the agent ended with {status}:\n{}", self.log());
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        kill(self.pid(), signal);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.take().expect("the agent runs").wait().unwrap()
    }

    /// Kills it, as a power cut would as far as the process goes.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.wait();
    }

    /// Ends it in order; panics with its log if it does not end well.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(
            status.success(),
            "the agent ended with {status}:\n{}",
            self.log()
        );
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log_file()).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            for line in tail.iter().rev() {
                eprintln!("agent: {line}");
            }
        }
    }
}

/// Sends a signal to a process that a test started, or a driver host of such a one.
pub fn kill(pid: i32, signal: &str) {
    assert!(pid > 1, "{pid} is not a process that a test started");
    let status = Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{signal} {pid}");
}
