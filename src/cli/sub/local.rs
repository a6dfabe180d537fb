//! Following the agent itself, by the socket of its sink `live`, without a broker.

use super::super::Failure;
use crate::agent::Plan;
use crate::exit::Exit;
use crate::sinks::{Feed, live_socket};
use std::path::{Path, PathBuf};

/// The agent that is followed.
pub(super) struct Local {
    feed: Feed,
    /// What a viewer that is sent away is told.
    pub(super) sent_away: String,
}

/// The socket of the sink of this name, or of the only one; with the sink's name.
pub(super) fn find(
    plan: &Plan,
    config: &Path,
    sink: Option<&str>,
) -> Result<(PathBuf, String), Failure> {
    let live = plan.sinks.iter().filter(|(_, made)| made.is_live());
    let names: Vec<&str> = live.map(|(name, _)| name.as_str()).collect();
    let mut chosen = names
        .iter()
        .filter(|name| sink.is_none_or(|wanted| wanted == **name));
    if let (Some(name), None) = (chosen.next(), chosen.next()) {
        return Ok((
            live_socket(&plan.settings.runtime_dir, name),
            (*name).to_owned(),
        ));
    }
    let config = config.display();
    let message = if names.is_empty() {
        format!(
            "{config} has no sink of the type live, so nothing can be followed here.\n  Remedy: add one, see docs/pipeline.md."
        )
    } else {
        format!(
            "there is no single live sink to follow.\n  Remedy: choose one with --sink; {config} has: {}.",
            names.join(", ")
        )
    };
    Err(Failure::new(Exit::Usage, message))
}

impl Local {
    pub(super) async fn connect(socket: &Path, sink: &str) -> Result<Local, Failure> {
        let feed = Feed::connect(socket).await.map_err(|error| {
            let message = format!(
                "cannot connect to {}: {error}.\n  Remedy: see that the agent runs with this configuration, and that this user may read and write its files.",
                socket.display()
            );
            Failure::new(Exit::Unavailable, message)
        })?;
        let sent_away = format!(
            "the agent closed the connection before it sent anything.\n  Remedy: where it has as many viewers as sinks.{sink}.viewers allows, end one or allow more."
        );
        Ok(Local { feed, sent_away })
    }

    /// The next message; none where the agent is gone. May be cancelled without loss.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        self.feed.next().await.map_err(|error| {
            let message = format!("cannot follow the agent: {error}.\n  Remedy: see its log.");
            Failure::new(Exit::Unavailable, message)
        })
    }
}
