//! The samples in docs/pipeline.md are one sound configuration.

use crate::config::parse;
use crate::pipeline::{Bodies, Graph, Node, Role};
use std::path::Path;

#[test]
fn every_sample_of_the_page_is_valid_and_every_type_has_one() {
    let page = include_str!("../../docs/pipeline.md");
    let mut text = "[sources.boiler]\n".to_owned();
    for block in page.split("```toml\n").skip(1) {
        text += block.split("```").next().unwrap();
    }
    let made = parse(Path::new("docs/pipeline.md"), &text, |root, report| {
        let mut nodes = Vec::new();
        for (name, mut section) in root.sections("sources") {
            nodes.push(Node::read(&name, Role::Source, Bodies::ANY, &mut section));
        }
        for (name, section) in root.sections("transforms") {
            let (node, made) = super::configure(&name, section);
            assert!(made.is_some(), "{name}");
            nodes.push(node);
        }
        for (name, section) in root.sections("sinks") {
            let (node, made) = crate::sinks::configure(&name, section);
            assert!(made.is_some(), "{name}");
            nodes.push(node);
        }
        Graph::check(nodes, report)
    });
    if let Err(problems) = made {
        panic!("{problems}");
    }
    for kind in super::TYPES.iter().chain(crate::sinks::TYPES) {
        assert!(
            text.contains(&format!("type = \"{kind}\"")),
            "no sample of {kind}"
        );
    }
}

#[test]
fn an_unknown_type_is_one_problem() {
    let text = "[transforms.t]\ntype = 'scael'\ninputs = ['a']\nfactor = 2\n";
    let found = parse(Path::new("x"), text, |root, _| {
        let (name, section) = root.sections("transforms").remove(0);
        super::configure(&name, section);
    });
    let found = found.unwrap_err();
    assert_eq!(found.list.len(), 1);
    assert!(
        found
            .to_string()
            .contains("is \"scael\", which is unknown (did you mean \"scale\"?)")
    );
}
