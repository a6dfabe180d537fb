//! What the pipeline knows of a node: its name, its role, what it is fed by, and where in the configuration it stands.

use crate::config::Section;

/// Most nodes in one pipeline.
pub const NODES_MAX: usize = 256;

/// Longest name of a node, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 31;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Produces records.
    Source,
    /// Makes records of records.
    Transform,
    /// Takes records out of the pipeline.
    Sink,
}

impl Role {
    /// The role's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Role::Source => "source",
            Role::Transform => "transform",
            Role::Sink => "sink",
        }
    }
}

/// A set of the kinds of record that a node gives or works on. Gaps are not in it: they go everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bodies {
    samples: bool,
    frames: bool,
}

impl Bodies {
    /// Nothing.
    pub const NONE: Bodies = Bodies::of(false, false);
    /// Samples.
    pub const SAMPLES: Bodies = Bodies::of(true, false);
    /// Frames.
    pub const FRAMES: Bodies = Bodies::of(false, true);
    /// Samples and frames; also where it is not known before the device is open.
    pub const ANY: Bodies = Bodies::of(true, true);

    const fn of(samples: bool, frames: bool) -> Bodies {
        Bodies { samples, frames }
    }

    /// What is in either.
    #[must_use]
    pub fn or(self, other: Bodies) -> Bodies {
        Bodies::of(self.samples || other.samples, self.frames || other.frames)
    }

    /// Whether some kind is in both.
    pub fn meets(self, other: Bodies) -> bool {
        (self.samples && other.samples) || (self.frames && other.frames)
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match (self.samples, self.frames) {
            (true, true) => "samples and frames",
            (true, false) => "samples",
            (false, true) => "frames",
            (false, false) => "nothing",
        }
    }
}

/// Where something stands in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1; 0 where there is none.
    pub line: usize,
    /// Dotted path of the key.
    pub key: String,
}

/// What a full queue before a node means for those who feed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenSlow {
    /// They wait.
    #[default]
    Block,
    /// They go on, and the node gets a gap for what it missed.
    Skip,
}

/// A node as the graph sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Unique among all nodes.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Names of the nodes that feed it, in the order of the configuration.
    pub inputs: Vec<String>,
    /// The kinds of record it works on. Others pass it unchanged. Of no meaning for a source.
    pub takes: Bodies,
    /// The kinds of record it makes; `None`: those that reach it. Of no meaning for a sink.
    pub gives: Option<Bodies>,
    /// What a full queue before it means for those who feed it. Of no meaning for a source.
    pub when_slow: WhenSlow,
    /// How many threads of its own a transform has; none: it runs on the agent's, as all do in the core build.
    pub workers: Option<usize>,
    /// Its table.
    pub place: Place,
    /// Its list of inputs, or its table where it has none.
    pub inputs_place: Place,
}

impl Node {
    /// A node whose type is unknown, which was reported. Which other keys would be right depends on the type, so none
    /// of them is.
    pub fn of_unknown_type(name: &str, role: Role, mut section: Section<'_>) -> Node {
        let node = Node::read(name, role, Bodies::ANY, &mut section);
        section.ignore();
        node
    }

    /// Reads the keys `inputs` and `when_slow` of a node's table. `bodies` is what a source gives, or what another node
    /// works on.
    pub fn read(name: &str, role: Role, bodies: Bodies, section: &mut Section<'_>) -> Node {
        // A source has no inputs: the key is asked for only if it is there, so that no hint ever suggests it.
        let inputs = if role != Role::Source || section.has("inputs") {
            section.texts("inputs")
        } else {
            Vec::new()
        };
        let when_slow = if role == Role::Source {
            WhenSlow::Block
        } else {
            let choices = [("block", WhenSlow::Block), ("skip", WhenSlow::Skip)];
            section.choice("when_slow", &choices, WhenSlow::Block)
        };
        Node {
            name: name.to_owned(),
            role,
            inputs,
            when_slow,
            workers: None,
            takes: bodies,
            gives: (role == Role::Source).then_some(bodies),
            place: Place {
                line: section.line(""),
                key: section.path().to_owned(),
            },
            inputs_place: Place {
                line: section.line("inputs"),
                key: section.key_path("inputs"),
            },
        }
    }
}
