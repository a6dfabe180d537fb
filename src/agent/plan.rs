//! From a configuration file to a plan: everything that is to run, checked as far as can be without running it.

use super::settings::{Defaults, Settings};
use crate::config::{self, Problem, Problems, Report, Section, nearest};
use crate::pipeline::{Bodies, Graph, Node, QUEUE_BATCHES_DEFAULT, QUEUE_BATCHES_MAX, Role};
use crate::sinks::{self, Sink};
use crate::sources;
use crate::transforms::{self, Transform};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// What is to run.
#[derive(Debug)]
pub struct Plan {
    /// The `[agent]` table.
    pub settings: Settings,
    /// How the nodes are joined.
    pub graph: Graph,
    /// Batches that may wait before each node.
    pub queue_batches: usize,
    /// Sources, in the order of the file.
    pub sources: Vec<sources::driver::Settings>,
    /// Transforms by name.
    pub transforms: BTreeMap<String, Transform>,
    /// Sinks by name.
    pub sinks: BTreeMap<String, Sink>,
    /// Line of each source's table, for problems that only its driver can see.
    pub source_lines: BTreeMap<String, usize>,
}

/// Reads a file and checks it whole.
pub fn load(file: &Path, defaults: &Defaults) -> Result<Plan, Problems> {
    let text = read(file).map_err(|error| Problems {
        file: file.to_owned(),
        list: vec![Problem {
            line: 0,
            key: String::new(),
            what: format!("cannot be read: {error}"),
            remedy: "give the path of a readable UTF-8 configuration file below 1 MiB".to_owned(),
        }],
    })?;
    let plan = config::parse(file, &text, |root, report| {
        configure(root, report, defaults)
    })?;
    // Every `None` below was reported, so that `parse` has failed already.
    Ok(plan.expect("a plan without problems is whole"))
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

fn configure(root: &mut Section<'_>, report: &Report, defaults: &Defaults) -> Option<Plan> {
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
    let mut nodes = Vec::new();
    let mut sources = Vec::new();
    let mut source_lines = BTreeMap::new();
    for (name, section) in root.sections("sources") {
        source_lines.insert(name.clone(), section.line(""));
        let (node, made) = source(&name, section, &settings, defaults);
        nodes.push(node);
        sources.extend(made);
    }
    let mut made_transforms = BTreeMap::new();
    for (name, section) in root.sections("transforms") {
        let (node, made) = transforms::configure(&name, section);
        nodes.push(node);
        made_transforms.extend(made.map(|made| (name, made)));
    }
    let mut made_sinks = BTreeMap::new();
    for (name, section) in root.sections("sinks") {
        let (node, made) = sinks::configure(&name, section);
        nodes.push(node);
        made_sinks.extend(made.map(|made| (name, made)));
    }
    if sources.is_empty() && !root.has("sources") {
        root.problem(
            "sources",
            "is missing: there is nothing to read",
            "add a table [sources.NAME]",
        );
    }
    if made_sinks.is_empty() && !root.has("sinks") {
        root.problem(
            "sinks",
            "is missing: readings would go nowhere",
            "add a table [sinks.NAME]",
        );
    }
    let graph = Graph::check(nodes, report)?;
    Some(Plan {
        settings,
        graph,
        queue_batches: usize::try_from(queue_batches).unwrap_or(1),
        sources,
        transforms: made_transforms,
        sinks: made_sinks,
        source_lines,
    })
}

fn source(
    name: &str,
    mut section: Section<'_>,
    settings: &Settings,
    defaults: &Defaults,
) -> (Node, Option<sources::driver::Settings>) {
    const TYPES: [&str; 1] = ["driver"];
    let remedy = "write type = \"driver\"";
    let kind = section.required_text("type", remedy);
    let node = Node::read(name, Role::Source, Bodies::ANY, &mut section);
    if kind.as_deref() == Some("driver") {
        let made = sources::driver::Settings::configure(
            name,
            &mut section,
            &settings.driver_dir,
            &defaults.program,
        );
        return (node, made);
    }
    if let Some(kind) = kind {
        let hint = nearest(&kind, TYPES)
            .map_or_else(String::new, |known| format!(" (did you mean {known:?}?)"));
        section.problem(
            "type",
            format_args!("is {kind:?}, which is unknown{hint}"),
            remedy,
        );
    }
    // Which other keys are right depends on the type: none is reported.
    drop(section.entries());
    (node, None)
}
