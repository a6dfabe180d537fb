//! From a configuration file to a plan: everything that is to run, checked as far as can be without running it.

use super::settings::{Defaults, Settings};
use crate::config::{self, Problem, Report, Section};
#[cfg(feature = "downlink")]
use crate::downlink;
#[cfg(feature = "identity")]
use crate::identity;
use crate::pipeline::{Bodies, Graph, Node, QUEUE_BATCHES_DEFAULT, QUEUE_BATCHES_MAX, Role};
#[cfg(feature = "roughtime")]
use crate::roughtime;
use crate::sinks::{self, Sink};
use crate::sources;
use crate::transforms::{self, Transform};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

#[cfg(feature = "downlink")]
mod downlinks;

/// What is to run.
#[derive(Debug)]
pub struct Plan {
    /// The `[agent]` table.
    pub settings: Settings,
    /// The `[identity]` table, where there is one.
    #[cfg(feature = "identity")]
    pub identity: Option<identity::Settings>,
    /// The `[time]` table, where there is one.
    #[cfg(feature = "roughtime")]
    pub time: Option<roughtime::Settings>,
    /// How the nodes are joined.
    pub graph: Graph,
    /// Batches that may wait before each node.
    pub queue_batches: usize,
    /// Sources, in the order of the file.
    pub sources: Vec<sources::Settings>,
    /// Sources of what brokers send, in the order of the file.
    #[cfg(feature = "downlink")]
    pub downlinks: Vec<downlink::Settings>,
    /// Transforms by name.
    pub transforms: BTreeMap<String, Transform>,
    /// Sinks by name.
    pub sinks: BTreeMap<String, Sink>,
}

/// A configuration file as far as it could be read.
#[derive(Debug, Default)]
pub struct Draft {
    /// The plan; worth nothing where there are problems.
    pub plan: Option<Plan>,
    /// The sources that are sound in themselves, each with the line of its table: what only their drivers can judge is
    /// judged whatever else is wrong.
    pub sources: Vec<(usize, sources::Settings)>,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// Reads a file and checks it as far as can be without loading a driver.
pub fn draft(file: &Path, defaults: &Defaults) -> Draft {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => {
            let problem = Problem {
                line: 0,
                key: String::new(),
                what: format!("cannot be read: {error}"),
                remedy: "give the path of a readable UTF-8 configuration file below 1 MiB"
                    .to_owned(),
            };
            return Draft {
                problems: vec![problem],
                ..Draft::default()
            };
        }
    };
    draft_of(&text, defaults)
}

/// The same for the text of a file.
pub fn draft_of(text: &str, defaults: &Defaults) -> Draft {
    let mut sources = Vec::new();
    let (plan, problems) = config::parse_all(text, |root, report| {
        configure(root, report, defaults, &mut sources)
    });
    Draft {
        plan: plan.flatten(),
        sources,
        problems,
    }
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = config::FILE_BYTES_MAX + 1;
    let bytes = File::open(file)?.take(limit).read_to_string(&mut text)? as u64;
    if bytes == limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 1 MiB",
        ));
    }
    Ok(text)
}

fn configure(
    root: &mut Section<'_>,
    report: &Report,
    defaults: &Defaults,
    sources: &mut Vec<(usize, sources::Settings)>,
) -> Option<Plan> {
    let settings = Settings::configure(root, defaults);
    let queue_batches = root
        .section("pipeline")
        .map_or(QUEUE_BATCHES_DEFAULT, |mut section| {
            section.integer(
                "queue_batches",
                1..=QUEUE_BATCHES_MAX,
                QUEUE_BATCHES_DEFAULT,
            )
        });
    #[cfg(feature = "identity")]
    let identity = identity::Settings::configure(
        root,
        &settings.name,
        &settings.state_dir,
        defaults.credentials_dir.as_deref(),
    );
    #[cfg(feature = "identity")]
    let own = identity.as_ref().map(|identity| sinks::Own {
        cert_file: identity.current(),
        key: identity.key_of(&identity.current()),
    });
    #[cfg(not(feature = "identity"))]
    let own = {
        let is_for = "certificates that the agent gets itself, which this build does not do";
        refuse(
            root,
            "identity",
            is_for,
            "name cert_file and key_file in the sinks",
        );
        None::<sinks::Own>
    };
    #[cfg(feature = "roughtime")]
    let time = roughtime::Settings::configure(root);
    #[cfg(not(feature = "roughtime"))]
    refuse(
        root,
        "time",
        "servers that sign the time, which this build does not ask",
        "leave [time] out",
    );
    let mut nodes = Vec::new();
    #[cfg(feature = "downlink")]
    let mut downlinks = Vec::new();
    for (name, section) in root.sections("sources") {
        let line = section.line("options");
        let (node, made) = source(&name, section, &settings, defaults);
        match made {
            Some(Source::Reads(made)) => sources.push((line, made)),
            #[cfg(feature = "downlink")]
            Some(Source::Downlink(made)) => downlinks.push((node.place.clone(), made)),
            None => {}
        }
        nodes.push(node);
    }
    let mut made_transforms = BTreeMap::new();
    for (name, section) in root.sections("transforms") {
        let (node, made) = transforms::configure(&name, section);
        nodes.push(node);
        made_transforms.extend(made.map(|made| (name, made)));
    }
    let mut made_sinks = BTreeMap::new();
    for (name, section) in root.sections("sinks") {
        let (node, made) = sinks::configure(&name, section, own.as_ref());
        #[cfg(feature = "live")]
        if made.as_ref().is_some_and(Sink::is_live) {
            reachable(&settings.runtime_dir, &node, report);
        }
        nodes.push(node);
        made_sinks.extend(made.map(|made| (name, made)));
    }
    #[cfg(feature = "downlink")]
    downlinks::join(&downlinks, &nodes, &made_sinks, &settings.name, report);
    let graph = Graph::check(nodes, report)?;
    Some(Plan {
        settings,
        #[cfg(feature = "identity")]
        identity,
        #[cfg(feature = "roughtime")]
        time,
        graph,
        queue_batches: usize::try_from(queue_batches).unwrap_or(1),
        sources: sources.iter().map(|(_, source)| source.clone()).collect(),
        #[cfg(feature = "downlink")]
        downlinks: downlinks.into_iter().map(|(_, made)| made).collect(),
        transforms: made_transforms,
        sinks: made_sinks,
    })
}

/// A Unix socket has a path of bounded length, where viewers of this sink connect.
#[cfg(feature = "live")]
fn reachable(runtime_dir: &Path, node: &Node, report: &Report) {
    let socket = sinks::live_socket(runtime_dir, &node.name);
    if std::os::unix::net::SocketAddr::from_pathname(&socket).is_err() {
        report.add(Problem {
            line: node.place.line,
            key: node.place.key.clone(),
            what: format!(
                "would listen at {}, a path that is too long for a socket",
                socket.display()
            ),
            remedy: "shorten agent.runtime_dir, or the name of the sink".to_owned(),
        });
    }
}

/// Refuses a table that is for what this build has not.
#[cfg(any(not(feature = "identity"), not(feature = "roughtime")))]
fn refuse(root: &mut Section<'_>, table: &'static str, is_for: &str, else_do: &str) {
    if let Some(section) = root.section(table) {
        section.problem(
            "",
            format_args!("is for {is_for}"),
            format_args!("install the full build, or {else_do}"),
        );
        section.ignore();
    }
}

impl Plan {
    /// The sources that keep something in the state directory.
    pub fn keeping_sources(&self) -> Vec<&String> {
        #[cfg(feature = "downlink")]
        return self.downlinks.iter().map(|source| &source.name).collect();
        #[cfg(not(feature = "downlink"))]
        Vec::new()
    }
}

enum Source {
    Reads(sources::Settings),
    #[cfg(feature = "downlink")]
    Downlink(downlink::Settings),
}

fn source(
    name: &str,
    mut section: Section<'_>,
    settings: &Settings,
    defaults: &Defaults,
) -> (Node, Option<Source>) {
    match section.kind(sources::TYPES) {
        Some("driver") => {
            let node = Node::read(name, Role::Source, Bodies::ANY, &mut section);
            let made = sources::driver::Settings::configure(
                name,
                &mut section,
                &settings.driver_dir,
                &defaults.program,
                defaults.driver_hosts.as_deref(),
            );
            let made = made.map(|made| sources::Settings::Driver(Box::new(made)));
            (node, made.map(Source::Reads))
        }
        #[cfg(feature = "downlink")]
        Some("downlink") => {
            let made = sources::downlink::configure(name, &mut section, &settings.name);
            let node = Node::read(name, Role::Source, Bodies::FRAMES, &mut section);
            (node, made.map(Source::Downlink))
        }
        #[cfg(feature = "telemetry")]
        Some(kind) => {
            let node = Node::read(name, Role::Source, Bodies::FRAMES, &mut section);
            let made = sources::receive::Settings::configure(kind, name, &mut section);
            (
                node,
                made.map(|made| Source::Reads(sources::Settings::Receive(made))),
            )
        }
        _ => (Node::of_unknown_type(name, Role::Source, section), None),
    }
}

#[cfg(test)]
mod tests;
