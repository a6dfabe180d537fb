//! Nodes from the text of a configuration. Sources and sinks have their inputs there and nothing else.

use dunlin::config::parse;
use dunlin::pipeline::{Bodies, Graph, Node, Role};
use dunlin::transforms::{self, Transform};
use std::collections::BTreeMap;
use std::path::Path;

/// The graph, and its transforms by name.
pub fn nodes(text: &str) -> (Graph, BTreeMap<String, Transform>) {
    parse(Path::new("bench"), text, |root, report| {
        let mut nodes = Vec::new();
        let mut made = BTreeMap::new();
        for (name, mut section) in root.sections("sources") {
            nodes.push(Node::read(&name, Role::Source, Bodies::ANY, &mut section));
        }
        for (name, section) in root.sections("transforms") {
            let (node, transform) = transforms::configure(&name, section);
            nodes.push(node);
            made.extend(transform.map(|transform| (name, transform)));
        }
        for (name, mut section) in root.sections("sinks") {
            nodes.push(Node::read(&name, Role::Sink, Bodies::ANY, &mut section));
        }
        (Graph::check(nodes, report).expect("a sound graph"), made)
    })
    .expect("a sound configuration")
}
