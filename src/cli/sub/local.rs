//! Following the agent itself, by the socket of its sink `live`, without a broker.

use super::super::Failure;
use super::super::args::Sub;
use super::super::check::placed;
use super::choose;
use crate::agent::Defaults;
use crate::exit::Exit;
use crate::sinks::{Feed, live_socket};
use std::path::{Path, PathBuf};

/// The agent that is followed.
pub(super) struct Local {
    feed: Feed,
    /// Whether it has closed the connection.
    pub(super) is_gone: bool,
    /// What a viewer that is sent away is told.
    pub(super) sent_away: String,
}

/// The socket of the sink that is named, or of the only one; with the sink's name. A viewer need not be able to read the
/// certificates that other sinks name.
pub(super) fn find(request: &Sub, defaults: &Defaults) -> Result<(PathBuf, String), Failure> {
    if request.filter.is_some() {
        let message =
            "--filter is of topics, and --local knows none.\n  Remedy: leave one of them out.";
        return Err(Failure::new(Exit::Usage, message));
    }
    let plan = placed(&request.config, defaults)?;
    let live = plan.sinks.iter().filter(|(_, made)| made.is_live());
    let names: Vec<&str> = live.map(|(name, _)| name.as_str()).collect();
    let none = "has no sink of the type live, so nothing can be followed here.\n  Remedy: add one, see docs/pipeline.md.";
    let name = choose(request, &names, "live", none)?;
    let socket = live_socket(&plan.settings.runtime_dir, name);
    Ok((socket, name.to_owned()))
}

impl Local {
    pub(super) async fn connect(socket: &Path, sink: &str) -> Result<Local, Failure> {
        let feed = Feed::connect(socket).await.map_err(|error| {
            let message = format!(
                "cannot connect to {}: {error}.\n  Remedy: see that the agent runs with this configuration, and that this user is the agent's or in its group.",
                socket.display()
            );
            Failure::new(Exit::Unavailable, message)
        })?;
        let sent_away = format!(
            "the agent closed the connection before it sent anything.\n  Remedy: where it has as many viewers as sinks.{sink}.viewers allows, end one or allow more."
        );
        Ok(Local {
            feed,
            is_gone: false,
            sent_away,
        })
    }

    /// The next message; none where the agent is gone. May be cancelled without loss.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let message = self.feed.next().await.map_err(|error| {
            let message = format!("cannot follow the agent: {error}.\n  Remedy: see its log.");
            Failure::new(Exit::Unavailable, message)
        })?;
        self.is_gone |= message.is_none();
        Ok(message)
    }
}
