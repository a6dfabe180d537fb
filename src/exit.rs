//! Exit codes, from sysexits(3) where it has one. `dunlin --help` and docs/cli.md list them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exit {
    /// All went well.
    Ok,
    /// The command line is wrong (`EX_USAGE`).
    Usage,
    /// Stored data is damaged (`EX_DATAERR`): `dunlin buffer verify` found something.
    Data,
    /// A driver or a broker that the command needs is not there (`EX_UNAVAILABLE`).
    Unavailable,
    /// A task of the agent failed where none should (`EX_SOFTWARE`).
    Internal,
    /// OpenSSL gives wrong answers (`EX_OSERR`): its self-test failed, and nothing was started.
    SelfTest,
    /// The state directory cannot be used (`EX_CANTCREAT`).
    State,
    /// The agent was told to stop and could not drain within its bound (`EX_TEMPFAIL`). What it acknowledged is
    /// stored and will be sent at the next start.
    Drain,
    /// The configuration is wrong (`EX_CONFIG`). A service should not be restarted for it.
    Config,
    /// A driver host ended; its code means something to its agent only.
    Host(ExitCode),
}

impl Exit {
    /// The code.
    pub fn code(self) -> ExitCode {
        let code: u8 = match self {
            Exit::Host(code) => return code,
            Exit::Ok => 0,
            Exit::Usage => 64,
            Exit::Data => 65,
            Exit::Unavailable => 69,
            Exit::Internal => 70,
            Exit::SelfTest => 71,
            Exit::State => 73,
            Exit::Drain => 75,
            Exit::Config => 78,
        };
        code.into()
    }
}
