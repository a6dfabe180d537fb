//! The command line, parsed into one closed enum.

use super::help;
use lexopt::prelude::{Long, Short, Value};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What the user asked for.
#[derive(Debug)]
pub(super) enum Command {
    /// Print a help text.
    Help(&'static str),
    /// Print version and build.
    Version {
        /// Whether cryptography is asked for its known answers.
        self_test: bool,
    },
    /// Run the agent.
    Run {
        /// Configuration file.
        config: PathBuf,
        /// Directory with the sockets of what starts driver hosts instead of the agent.
        driver_hosts: Option<PathBuf>,
    },
    /// Check a configuration.
    Check {
        /// Configuration file.
        config: PathBuf,
        /// Whether drivers may be loaded (in their sandbox) to check their options.
        drivers: bool,
    },
    /// Print the status of a running agent.
    Status {
        /// Configuration file.
        config: PathBuf,
        /// Print it as it is in the status file.
        json: bool,
    },
    /// Something with the agent's own certificate.
    #[cfg(feature = "identity")]
    Identity {
        /// What to do.
        action: IdentityAction,
        /// Configuration file.
        config: PathBuf,
    },
    /// Something with drivers.
    #[cfg(feature = "tools")]
    Drivers(Drivers),
    /// Something with a stored buffer.
    #[cfg(feature = "tools")]
    Buffer {
        /// What to do.
        action: BufferAction,
        /// Directory of the store.
        dir: PathBuf,
    },
    /// Follow what is being sent.
    #[cfg(feature = "tools")]
    Sub(Sub),
    /// Decode a file of telemetry.
    #[cfg(all(feature = "tools", feature = "telemetry"))]
    Telemetry(Telemetry),
    /// Check a telemetry database.
    #[cfg(all(feature = "tools", feature = "telemetry"))]
    TelemetryCheck(PathBuf),
    /// Be the process that a driver lives in; not for people.
    DriverHost,
    /// Start driver hosts for an agent that asks on standard input, a listening socket; not for people.
    DriverHosts,
    /// Be the process that a token's key is reached by; not for people.
    #[cfg(feature = "tokens")]
    KeyHost,
}

/// What to do with the agent's own certificate.
#[cfg(feature = "identity")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdentityAction {
    /// Show it.
    Show,
    /// Get one by the one-time secret.
    Request,
    /// Get the next one by the one in use.
    Renew,
}

/// What to do with drivers.
#[cfg(feature = "tools")]
#[derive(Debug)]
pub(super) struct Drivers {
    /// What.
    pub action: DriversAction,
    /// Name or path of the driver; empty for `list`.
    pub driver: String,
    /// Where drivers lie.
    pub dir: Option<PathBuf>,
    /// Options, `key=value`.
    pub options: Vec<(String, String)>,
    /// Paths that the driver may read and write.
    pub devices: Vec<PathBuf>,
    /// Paths that the driver may read.
    pub read: Vec<PathBuf>,
    /// Addresses that the driver may connect to.
    pub network: Vec<String>,
    /// CAN interfaces that the driver may use.
    pub can: Vec<String>,
    /// Time between two readings, for drivers that do not pace themselves, in milliseconds.
    pub interval_ms: u32,
    /// How long to watch, in seconds; for ever if absent.
    pub seconds: Option<u64>,
    /// Channel and value to write.
    pub write: Option<(String, String)>,
}

/// What to do with drivers.
#[cfg(feature = "tools")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DriversAction {
    /// List those that are installed.
    List,
    /// Show what the drivers of a configuration may reach.
    Show,
    /// Load one and show what it says of itself.
    Probe,
    /// Open a device and read it once.
    Read,
    /// Open a device and show its readings as they come.
    Watch,
    /// Write one value to a channel.
    Write,
}

/// What to do with a stored buffer.
#[cfg(feature = "tools")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BufferAction {
    /// Show segments, positions and cursors.
    Inspect,
    /// Read and check every frame.
    Verify,
    /// Print every message that is not yet delivered, as JSON lines.
    Export,
}

/// What to follow.
#[cfg(feature = "tools")]
#[derive(Debug)]
pub(super) struct Sub {
    /// Configuration file, for endpoint and certificates.
    pub config: PathBuf,
    /// Uplink sink; the only one if absent.
    pub sink: Option<String>,
    /// Follow the agent itself, by its sink `live`.
    #[cfg(feature = "live")]
    pub local: bool,
    /// Topic filter; the sink's own topic with its placeholders opened up if absent.
    pub filter: Option<String>,
    /// Print one line a message instead of a table.
    pub json: bool,
    /// How long to follow, in seconds; for ever if absent.
    pub seconds: Option<u64>,
}

/// What to decode.
#[cfg(all(feature = "tools", feature = "telemetry"))]
#[derive(Debug)]
pub(super) struct Telemetry {
    /// The file.
    pub file: PathBuf,
    /// Options, `key=value`: those of a `decode_ccsds`.
    pub options: Vec<(String, String)>,
    /// A telemetry database: values instead of the packets that it knows.
    pub database: Option<PathBuf>,
    /// Where to draw curves of the values.
    pub plot: Option<PathBuf>,
    /// Which curves; all if there are none.
    pub channels: Vec<String>,
    /// Whether the file is packets and nothing else.
    pub packets: bool,
    /// Whether the file is what the sink `file` wrote of frames.
    pub lines: bool,
    /// Print JSON lines instead of a table.
    pub json: bool,
}

/// How to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Logging {
    /// Least severe level shown.
    pub level: Option<tracing::Level>,
    /// Form; chosen by where standard error goes if absent.
    pub json: Option<bool>,
}

/// Parses a command line without its program name. The error is one paragraph for the user.
pub(super) fn parse(args: Vec<OsString>) -> Result<(Command, Logging), String> {
    let mut words = Words::collect(args).map_err(|error| format!("{error}.\n  {}", help::SEE))?;
    let logging = words.logging()?;
    let command = words.command()?;
    words.finish()?;
    Ok((command, logging))
}

/// The words and flags of a command line, taken out one by one; what is left at the end was not understood.
struct Words {
    positional: Vec<OsString>,
    flags: Vec<(String, Option<OsString>)>,
    help: &'static str,
}

/// Flags that take a value.
const VALUED: [&str; 17] = [
    "log",
    "log-format",
    "dir",
    "driver-hosts",
    "option",
    "device",
    "read-path",
    "network",
    "can",
    "database",
    "plot",
    "interval-ms",
    "seconds",
    "sink",
    "filter",
    "channel",
    "value",
];

impl Words {
    fn collect(args: Vec<OsString>) -> Result<Words, lexopt::Error> {
        let mut parser = lexopt::Parser::from_args(args);
        let mut words = Words {
            positional: Vec::new(),
            flags: Vec::new(),
            help: help::TOP,
        };
        loop {
            // `drivers write sim setpoint -40`: no flag begins with a digit, so that such a word is a value.
            let negative = parser
                .try_raw_args()
                .and_then(|mut raw| raw.next_if(is_negative));
            if let Some(word) = negative {
                words.positional.push(word);
                continue;
            }
            let Some(arg) = parser.next()? else {
                break;
            };
            let name = match arg {
                Value(word) => {
                    words.positional.push(word);
                    continue;
                }
                Short('h') => "help".to_owned(),
                Short('V') => "version".to_owned(),
                Short('o') => "option".to_owned(),
                Long(name) => name.to_owned(),
                Short(_) => return Err(arg.unexpected()),
            };
            let value = if VALUED.contains(&name.as_str()) {
                Some(parser.value()?)
            } else {
                None
            };
            words.flags.push((name, value));
        }
        Ok(words)
    }

    fn flag(&mut self, name: &str) -> bool {
        let before = self.flags.len();
        self.flags.retain(|(flag, _)| flag != name);
        self.flags.len() < before
    }

    fn values(&mut self, name: &str) -> Vec<OsString> {
        let taken = self.flags.extract_if(.., |(flag, _)| flag == name);
        taken.filter_map(|(_, value)| value).collect()
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        let mut values = self.texts(name)?;
        if values.len() > 1 {
            return Err(format!(
                "--{name} is given {} times.\n  Remedy: once.",
                values.len()
            ));
        }
        Ok(values.pop())
    }

    fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        self.values(name)
            .into_iter()
            .map(|value| text(name, value))
            .collect()
    }

    #[cfg(feature = "tools")]
    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(word) = self.value(name)? else {
            return Ok(None);
        };
        let number = word.parse().map_err(|_| {
            format!("--{name} is {word:?}.\n  Remedy: give a whole number, such as --{name} 10.")
        })?;
        Ok(Some(number))
    }

    fn next(&mut self, what: &str) -> Result<OsString, String> {
        if self.positional.is_empty() {
            return Err(format!("{what} is missing.\n\n{}", self.help));
        }
        Ok(self.positional.remove(0))
    }

    fn path(&mut self, what: &str) -> Result<PathBuf, String> {
        self.next(what).map(PathBuf::from)
    }

    fn word(&mut self, what: &str) -> Result<String, String> {
        let word = self.next(what)?;
        text(what, word)
    }

    fn logging(&mut self) -> Result<Logging, String> {
        let level = match self.value("log")?.as_deref() {
            None => None,
            Some(word) => Some(word.parse().map_err(|_| {
                format!("--log is {word:?}.\n  Remedy: choose error, warn, info, debug or trace.")
            })?),
        };
        let json = match self.value("log-format")?.as_deref() {
            None => None,
            Some("json") => Some(true),
            Some("human") => Some(false),
            Some(word) => {
                return Err(format!(
                    "--log-format is {word:?}.\n  Remedy: choose human or json."
                ));
            }
        };
        Ok(Logging { level, json })
    }

    fn command(&mut self) -> Result<Command, String> {
        if self.flag("version") {
            return Ok(Command::Version { self_test: false });
        }
        let mut help = self.flag("help");
        if self.positional.is_empty() {
            return if help {
                Ok(Command::Help(help::TOP))
            } else {
                Err(help::TOP.to_owned())
            };
        }
        let mut word = self.word("the command")?;
        if word == "help" && !self.positional.is_empty() {
            // `dunlin help run` is `dunlin run --help`.
            (word, help) = (self.word("the command")?, true);
        }
        let (text, known) = help::of(&word);
        self.help = text;
        #[cfg(not(feature = "tools"))]
        if help::TOOLS.contains(&word.as_str()) {
            return Err(help::not_here(&word));
        }
        if help || word == "help" {
            self.positional.clear();
            return Ok(Command::Help(text));
        }
        if !known {
            let hint = crate::config::nearest(&word, help::COMMANDS)
                .map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
            return Err(format!("{word:?} is not a command{hint}.\n  {}", help::SEE));
        }
        match word.as_str() {
            "run" => Ok(Command::Run {
                driver_hosts: self.value("driver-hosts")?.map(PathBuf::from),
                config: self.path("CONFIG")?,
            }),
            "check" => {
                let drivers = !self.flag("no-drivers");
                Ok(Command::Check {
                    config: self.path("CONFIG")?,
                    drivers,
                })
            }
            "status" => {
                let json = self.flag("json");
                Ok(Command::Status {
                    config: self.path("CONFIG")?,
                    json,
                })
            }
            #[cfg(feature = "identity")]
            "identity" => self.identity(),
            #[cfg(feature = "tools")]
            "drivers" => self.drivers().map(Command::Drivers),
            #[cfg(feature = "tools")]
            "buffer" => self.buffer(),
            #[cfg(feature = "tools")]
            "sub" => self.sub().map(Command::Sub),
            #[cfg(all(feature = "tools", feature = "telemetry"))]
            "telemetry" => self.telemetry(),
            "driver-host" => Ok(Command::DriverHost),
            "driver-hosts" => Ok(Command::DriverHosts),
            #[cfg(feature = "tokens")]
            "key-host" => Ok(Command::KeyHost),
            _ => {
                let self_test = self.flag("self-test");
                Ok(Command::Version { self_test })
            }
        }
    }

    #[cfg(feature = "identity")]
    fn identity(&mut self) -> Result<Command, String> {
        let action = match self.word("what to do with the identity")?.as_str() {
            "show" => IdentityAction::Show,
            "request" => IdentityAction::Request,
            "renew" => IdentityAction::Renew,
            other => return Err(format!("identity {other:?} is unknown.\n\n{}", self.help)),
        };
        Ok(Command::Identity {
            action,
            config: self.path("CONFIG")?,
        })
    }

    #[cfg(feature = "tools")]
    fn drivers(&mut self) -> Result<Drivers, String> {
        let action = match self.word("what to do with drivers")?.as_str() {
            "list" => DriversAction::List,
            "show" => DriversAction::Show,
            "probe" => DriversAction::Probe,
            "read" => DriversAction::Read,
            "watch" => DriversAction::Watch,
            "write" => DriversAction::Write,
            other => return Err(format!("drivers {other:?} is unknown.\n\n{}", self.help)),
        };
        let driver = match action {
            DriversAction::List => String::new(),
            DriversAction::Show => self.word("CONFIG")?,
            _ => self.word("DRIVER")?,
        };
        let write = if action == DriversAction::Write {
            Some((self.word("CHANNEL")?, self.word("VALUE")?))
        } else {
            None
        };
        let options = self.options()?;
        Ok(Drivers {
            action,
            driver,
            dir: self.value("dir")?.map(PathBuf::from),
            options,
            devices: self
                .values("device")
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            read: self
                .values("read-path")
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            network: self.texts("network")?,
            can: self.texts("can")?,
            interval_ms: self.number("interval-ms")?.unwrap_or(1000),
            seconds: self.number("seconds")?,
            write,
        })
    }

    #[cfg(feature = "tools")]
    fn options(&mut self) -> Result<Vec<(String, String)>, String> {
        let mut options = Vec::new();
        for entry in self.texts("option")? {
            let Some((key, value)) = entry.split_once('=') else {
                return Err(format!(
                    "-o {entry:?} has no `=`.\n  Remedy: write -o key=value."
                ));
            };
            options.push((key.to_owned(), value.to_owned()));
        }
        Ok(options)
    }

    #[cfg(all(feature = "tools", feature = "telemetry"))]
    fn telemetry(&mut self) -> Result<Command, String> {
        match self.word("what to do with telemetry")?.as_str() {
            "decode" => {}
            "check" => return Ok(Command::TelemetryCheck(self.path("DB")?)),
            other => return Err(format!("telemetry {other:?} is unknown.\n\n{}", self.help)),
        }
        Ok(Command::Telemetry(Telemetry {
            options: self.options()?,
            database: self.value("database")?.map(PathBuf::from),
            plot: self.value("plot")?.map(PathBuf::from),
            channels: self.texts("channel")?,
            packets: self.flag("packets"),
            lines: self.flag("lines"),
            json: self.flag("json"),
            file: self.path("FILE")?,
        }))
    }

    #[cfg(feature = "tools")]
    fn buffer(&mut self) -> Result<Command, String> {
        let action = match self.word("what to do with the buffer")?.as_str() {
            "inspect" => BufferAction::Inspect,
            "verify" => BufferAction::Verify,
            "export" => BufferAction::Export,
            other => return Err(format!("buffer {other:?} is unknown.\n\n{}", self.help)),
        };
        Ok(Command::Buffer {
            action,
            dir: self.path("DIR")?,
        })
    }

    #[cfg(feature = "tools")]
    fn sub(&mut self) -> Result<Sub, String> {
        Ok(Sub {
            sink: self.value("sink")?,
            #[cfg(feature = "live")]
            local: self.flag("local"),
            filter: self.value("filter")?,
            json: self.flag("json"),
            seconds: self.number("seconds")?,
            config: self.path("CONFIG")?,
        })
    }

    fn finish(self) -> Result<(), String> {
        if let Some((flag, _)) = self.flags.first() {
            return Err(format!(
                "--{flag} does not belong to this command.\n\n{}",
                self.help
            ));
        }
        if let Some(word) = self.positional.first() {
            let word = word.display();
            return Err(format!("{word} is one word too many.\n\n{}", self.help));
        }
        Ok(())
    }
}

/// Whether a word is a number below zero.
fn is_negative(word: &OsStr) -> bool {
    let mut bytes = word.as_encoded_bytes().iter();
    bytes.next() == Some(&b'-')
        && bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.')
}

fn text(name: &str, value: OsString) -> Result<String, String> {
    value.into_string().map_err(|value| {
        let value = value.display();
        format!("{name} {value} is not UTF-8.\n  Remedy: write it in UTF-8.")
    })
}

#[cfg(test)]
mod tests;
