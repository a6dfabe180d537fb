//! Checks that nodes make a pipeline: every problem at once, each with its place and its remedy.

use super::node::{Bodies, NAME_BYTES_MAX, NODES_MAX, Node, Place, Role, WhenSlow};
use crate::config::{Problem, Report, nearest};
use crate::stats::Count;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

/// Most threads of all transforms together.
#[cfg(feature = "telemetry")]
const THREADS_MAX: usize = 64;

/// Nodes that make a pipeline: acyclic, fed, and every output used.
#[derive(Clone, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    skipped: BTreeMap<String, Arc<Count>>,
}

impl Graph {
    /// Checks `nodes`; `None` where a problem was reported.
    pub fn check(nodes: Vec<Node>, report: &Report) -> Option<Graph> {
        let mut check = Check {
            nodes: &nodes,
            by_name: BTreeMap::new(),
            report,
            problems: 0,
        };
        check.count();
        check.names();
        check.inputs();
        check.unused();
        #[cfg(feature = "telemetry")]
        check.workers();
        let cyclic = check.cycles();
        check.bodies(&cyclic);
        let sound = check.problems == 0;
        let skips = nodes.iter().filter(|n| n.when_slow == WhenSlow::Skip);
        let skipped = skips.map(|node| (node.name.clone(), Arc::default()));
        let skipped = skipped.collect();
        sound.then_some(Graph { nodes, skipped })
    }

    /// Records that each node missed that may be skipped, by its name.
    pub fn skipped(&self) -> &BTreeMap<String, Arc<Count>> {
        &self.skipped
    }

    /// The nodes, in the order of the configuration.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes that `name` feeds, in the order of the configuration.
    pub fn consumers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        let feeds = move |node: &&Node| node.inputs.iter().any(|input| input == name);
        self.nodes.iter().filter(feeds)
    }
}

struct Check<'a> {
    nodes: &'a [Node],
    by_name: BTreeMap<&'a str, usize>,
    report: &'a Report,
    problems: usize,
}

impl<'a> Check<'a> {
    fn problem(&mut self, place: &Place, what: impl Display, remedy: impl Display) {
        self.problems += 1;
        self.report.add(Problem {
            line: place.line,
            key: place.key.clone(),
            what: what.to_string(),
            remedy: remedy.to_string(),
        });
    }

    fn count(&mut self) {
        for (role, key) in [(Role::Source, "sources"), (Role::Sink, "sinks")] {
            if !self.nodes.iter().any(|node| node.role == role) {
                let place = Place {
                    line: 0,
                    key: key.to_owned(),
                };
                let remedy = format!("add a table [{key}.NAME]");
                self.problem(&place, format_args!("has no {}", role.name()), remedy);
            }
        }
        if let Some(first) = self.nodes.get(NODES_MAX) {
            let what = format!(
                "is one of {} sources, transforms and sinks, more than {NODES_MAX}",
                self.nodes.len()
            );
            self.problem(&first.place, what, "join nodes that do the same work");
        }
    }

    fn names(&mut self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
            let bytes = node.name.as_bytes();
            if !(1..=NAME_BYTES_MAX).contains(&bytes.len()) || !bytes.iter().all(|b| allowed(*b)) {
                let what = format!("has the name {:?}, which is not allowed", node.name);
                let remedy = format!("use 1 to {NAME_BYTES_MAX} of a-z, 0-9, _ and -");
                self.problem(&node.place, what, remedy);
            }
            if let Some(&other) = self.by_name.get(node.name.as_str()) {
                let other = &self.nodes[other].place;
                let what = format!("has the name of {} (line {})", other.key, other.line);
                self.problem(&node.place, what, "give one of them another name");
            } else {
                self.by_name.insert(&node.name, index);
            }
        }
    }

    fn inputs(&mut self) {
        for node in self.nodes {
            let place = &node.inputs_place;
            match (node.role, node.inputs.is_empty()) {
                (Role::Source, true) => continue,
                (Role::Source, false) => {
                    let remedy = "remove the key; let the other node name this source as its input";
                    self.problem(place, "is given, but a source has no inputs", remedy);
                    continue;
                }
                (role, true) => {
                    let what = format!("names no input, so this {} gets nothing", role.name());
                    let remedy = "name at least one source or transform, as inputs = [\"NAME\"]";
                    self.problem(place, what, remedy);
                }
                (_, false) => {}
            }
            let mut seen = BTreeSet::new();
            for input in &node.inputs {
                self.input(node, input, seen.insert(input));
            }
        }
    }

    fn input(&mut self, node: &Node, input: &str, first: bool) {
        let place = &node.inputs_place;
        if !first {
            let what = format!("names {input:?} twice, so its records would come twice");
            self.problem(place, what, "name it once");
        } else if input == node.name {
            let what = format!("names {input:?}, the node itself");
            self.problem(place, what, "name the node that feeds it");
        } else if let Some(&at) = self.by_name.get(input) {
            if self.nodes[at].role == Role::Sink {
                let what = format!("names {input:?}, a sink, which gives nothing");
                self.problem(place, what, "name what feeds that sink");
            }
        } else {
            let known = self.nodes.iter().filter(|other| other.role != Role::Sink);
            let names: Vec<&str> = known.map(|other| other.name.as_str()).collect();
            let others = names.iter().copied().filter(|name| *name != node.name);
            let hint = nearest(input, others)
                .map_or_else(String::new, |name| format!(" (did you mean {name:?}?)"));
            let what = format!("names {input:?}, which does not exist{hint}");
            let remedy = format!("name one of {}", names.join(", "));
            self.problem(place, what, remedy);
        }
    }

    /// The runtime has 512 threads for what blocks, and the service as many tasks.
    #[cfg(feature = "telemetry")]
    fn workers(&mut self) {
        let mut threads = 0;
        for node in self.nodes {
            threads += node.workers.unwrap_or(0);
            if threads > THREADS_MAX {
                let place = Place {
                    line: node.place.line,
                    key: format!("{}.workers", node.place.key),
                };
                let what = format!("makes {threads} threads of all transforms together");
                let remedy =
                    format!("give them {THREADS_MAX} at most; more than processors help nobody");
                self.problem(&place, what, remedy);
                return;
            }
        }
    }

    fn unused(&mut self) {
        let used: BTreeSet<&str> = self
            .nodes
            .iter()
            .flat_map(|node| node.inputs.iter().map(String::as_str))
            .collect();
        for node in self.nodes {
            if node.role != Role::Sink && !used.contains(node.name.as_str()) {
                let what = format!("is a {} that no node uses", node.role.name());
                let remedy = format!("add {:?} to the inputs of a sink, or remove it", node.name);
                self.problem(&node.place, what, remedy);
            }
        }
    }

    fn edges(&self, index: usize) -> impl Iterator<Item = usize> + use<'a, '_> {
        let node = &self.nodes[index];
        let inputs = if node.role == Role::Source {
            &[][..]
        } else {
            &node.inputs
        };
        let known = inputs.iter().filter(|input| **input != node.name);
        known.filter_map(|input| self.by_name.get(input.as_str()).copied())
    }

    /// Reports each cycle once; gives back the nodes that lie on one.
    fn cycles(&mut self) -> BTreeSet<usize> {
        let mut state = vec![Visit::New; self.nodes.len()];
        let mut cycles = Vec::new();
        for index in 0..self.nodes.len().min(NODES_MAX) {
            self.visit(index, &mut state, &mut Vec::new(), &mut cycles);
        }
        let mut cyclic = BTreeSet::new();
        for cycle in cycles {
            // Found against the flow of records; told with it.
            let with_flow = cycle.first().into_iter().chain(cycle.iter().rev());
            let path: Vec<&str> = with_flow.map(|at| self.nodes[*at].name.as_str()).collect();
            let what = format!("closes a cycle: {}", path.join(" -> "));
            let place = &self.nodes[cycle[0]].inputs_place;
            self.problem(place, what, "remove one of these inputs");
            cyclic.extend(cycle);
        }
        cyclic
    }

    /// Depth-first, at most [`NODES_MAX`] deep.
    fn visit(
        &self,
        index: usize,
        state: &mut [Visit],
        path: &mut Vec<usize>,
        cycles: &mut Vec<Vec<usize>>,
    ) {
        match state[index] {
            Visit::Finished => {}
            Visit::Open => {
                let start = path.iter().position(|at| *at == index);
                cycles.push(path[start.expect("an open node is on the path")..].to_vec());
            }
            Visit::New => {
                state[index] = Visit::Open;
                path.push(index);
                for input in self.edges(index) {
                    self.visit(input, state, path, cycles);
                }
                path.pop();
                state[index] = Visit::Finished;
            }
        }
    }

    /// Follows what each node gives down to the sinks, and reports a node that nothing it works on can reach.
    fn bodies(&mut self, cyclic: &BTreeSet<usize>) {
        let mut gives: Vec<Option<Bodies>> = self
            .nodes
            .iter()
            .map(|node| node.gives.filter(|_| node.role == Role::Source))
            .collect();
        // Each round settles at least one node, where any can be settled.
        for _ in 0..self.nodes.len().min(NODES_MAX) {
            for (index, node) in self.nodes.iter().enumerate() {
                if gives[index].is_some() || cyclic.contains(&index) {
                    continue;
                }
                let mut reaching = Some(Bodies::NONE);
                for input in self.edges(index) {
                    reaching = reaching.and_then(|sum| gives[input].map(|given| sum.or(given)));
                }
                let Some(reaching) = reaching.filter(|sum| *sum != Bodies::NONE) else {
                    continue;
                };
                gives[index] = Some(node.gives.unwrap_or(reaching));
                if !reaching.meets(node.takes) {
                    let what = format!(
                        "gives only {}, and this {} works on {}",
                        reaching.name(),
                        node.role.name(),
                        node.takes.name()
                    );
                    let remedy = format!("name an input that gives {}", node.takes.name());
                    self.problem(&node.inputs_place, what, remedy);
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Finished,
}

#[cfg(test)]
mod tests;
