//! What the tests of sinks share.

use super::{Context, configure};
use crate::clock::BootId;
use crate::config::parse;
use crate::pipeline::{Batch, Bodies, Graph, Node, Outlet, Role, Running, Transform, start};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The transform of pipelines that have none.
#[derive(Debug)]
pub(super) struct NoTransform {
    _name: &'static str,
}

impl Transform for NoTransform {
    fn apply(&mut self, batch: Batch, out: &mut Vec<Batch>) {
        out.push(batch);
    }
}

/// A pipeline of one source and one sink as this configuration has them, with this directory for all that the sink keeps.
pub(super) fn started(config: &str, dir: &Path) -> (Running, Outlet) {
    let (graph, mut sink) = parse(Path::new("x"), config, |root, report| {
        let (name, mut source) = root.sections("sources").remove(0);
        let source = Node::read(&name, Role::Source, Bodies::ANY, &mut source);
        let (name, section) = root.sections("sinks").remove(0);
        let (node, sink) = configure(&name, section, None);
        let graph = Graph::check(vec![source, node], report);
        (graph.unwrap(), sink.unwrap())
    })
    .unwrap();
    sink.open(&context(dir)).unwrap();
    let sinks = BTreeMap::from([("k".to_owned(), sink)]);
    let mut running = start(&graph, BTreeMap::<String, NoTransform>::new(), sinks, 4);
    let outlet = running.outlet("s").unwrap();
    (running, outlet)
}

pub(super) fn context(dir: &Path) -> Context {
    Context {
        agent: "gw".into(),
        boot: BootId {
            number: 3,
            nonce: 0xab,
        },
        stats: Arc::default(),
        state_dir: dir.to_owned(),
        #[cfg(feature = "live")]
        runtime_dir: dir.to_owned(),
        drain: Duration::from_millis(10),
        #[cfg(feature = "downlink")]
        inbox: None,
        #[cfg(feature = "identity")]
        credential: None,
    }
}
