use super::*;
use crate::config::parse;
use crate::pipeline::testing::node;
use std::path::Path;

/// Nodes from lines `name kind inputs...`, where kind is one of source, frames (a source), transform, samples (a
/// transform that works on samples) and sink; node n stands in line n.
fn nodes(text: &str) -> Vec<Node> {
    let made = |(index, line): (usize, &str)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (role, bodies) = match words[1] {
            "source" => (Role::Source, Bodies::SAMPLES),
            "frames" => (Role::Source, Bodies::FRAMES),
            "transform" => (Role::Transform, Bodies::ANY),
            "samples" => (Role::Transform, Bodies::SAMPLES),
            _ => (Role::Sink, Bodies::ANY),
        };
        let place = Place {
            line: index + 1,
            key: format!("{}s.{}", role.name(), words[0]),
        };
        Node {
            takes: bodies,
            gives: (role == Role::Source).then_some(bodies),
            inputs_place: Place {
                line: place.line,
                key: format!("{}.inputs", place.key),
            },
            place,
            ..node(words[0], role, &words[2..])
        }
    };
    text.lines().enumerate().map(made).collect()
}

fn problems(text: &str) -> Vec<String> {
    let report = Report::default();
    let graph = Graph::check(nodes(text), &report);
    let found = report.take();
    assert_eq!(graph.is_none(), !found.is_empty());
    let line = |p: Problem| format!("{} {} {}; {}", p.line, p.key, p.what, p.remedy);
    found.into_iter().map(line).collect()
}

#[test]
fn a_sound_graph() {
    let text = "a source\nb source\nt transform a b\nu samples t a\nk sink u\nl sink u t";
    assert_eq!(problems(text), [""; 0]);
    let graph = Graph::check(nodes(text), &Report::default()).unwrap();
    let names: Vec<&str> = graph.consumers("t").map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["u", "l"]);
}

#[test]
fn each_error() {
    for (text, wanted) in [
        (
            "boiler source\nk sink boilr boiler",
            "2 sinks.k.inputs names \"boilr\", which does not exist (did you mean \"boiler\"?); name one of boiler",
        ),
        (
            "a source\nt transform a v\nu transform t\nv transform u\nk sink v",
            "2 transforms.t.inputs closes a cycle: t -> u -> v -> t; remove one of these inputs",
        ),
        (
            "a source\nb source\nk sink a",
            "2 sources.b is a source that no node uses; add \"b\" to the inputs of a sink, or remove it",
        ),
        (
            "a source\nt transform a\nk sink a",
            "2 transforms.t is a transform that no node uses; add \"t\" to the inputs of a sink, or remove it",
        ),
        (
            "a source\nk sink a\nl sink",
            "3 sinks.l.inputs names no input, so this sink gets nothing; name at least one source or transform, as inputs = [\"NAME\"]",
        ),
        (
            "a source\nb source a\nk sink a b",
            "2 sources.b.inputs is given, but a source has no inputs; remove the key; let the other node name this source as its input",
        ),
        (
            "a source\na transform a\nk sink a",
            "2 transforms.a has the name of sources.a (line 1); give one of them another name",
        ),
        (
            "a source\nk sink a a",
            "2 sinks.k.inputs names \"a\" twice, so its records would come twice; name it once",
        ),
        (
            "a source\nt transform a t\nk sink t",
            "2 transforms.t.inputs names \"t\", the node itself; name the node that feeds it",
        ),
        (
            "Boiler source\nk sink Boiler",
            "1 sources.Boiler has the name \"Boiler\", which is not allowed; use 1 to 31 of a-z, 0-9, _ and -",
        ),
        (
            "a source\nk sink a\nl sink k a",
            "3 sinks.l.inputs names \"k\", a sink, which gives nothing; name what feeds that sink",
        ),
        (
            "a frames\nt transform a\nu samples t\nk sink u",
            "3 transforms.u.inputs gives only frames, and this transform works on samples; name an input that gives samples",
        ),
        (
            "k sink k",
            "0 sources has no source; add a table [sources.NAME]",
        ),
        ("a source", "0 sinks has no sink; add a table [sinks.NAME]"),
    ] {
        let found = problems(text);
        assert!(
            found.iter().any(|problem| problem == wanted),
            "{found:#?}\n{wanted}"
        );
        if !text.starts_with('k') && text.contains("sink") && !text.contains("a transform") {
            assert_eq!(found.len(), 1, "follow-up errors: {found:#?}");
        }
    }
}

#[test]
fn all_errors_at_once() {
    let text =
        "a source\na source\nUp transform a\nt transform u b\nu transform t\nk sink zzz\nl sink";
    let found = problems(text).len();
    assert_eq!(found, 7, "{:#?}", problems(text));
}

#[test]
fn two_cycles_are_told_apart() {
    let text =
        "a source\nt transform a u\nu transform t\nv transform a w\nw transform v\nk sink u w";
    let found = problems(text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("t -> u -> t") && found[1].contains("v -> w -> v"));
}

#[test]
fn too_many_nodes() {
    let sinks: Vec<String> = (0..NODES_MAX).map(|n| format!("k{n} sink a")).collect();
    let text = format!("a source\n{}", sinks.join("\n"));
    let wanted = "257 sinks.k255 is one of 257 sources, transforms and sinks, more than 256";
    assert!(problems(&text)[0].starts_with(wanted));
}

#[test]
fn frames_reach_a_transform_on_samples_beside_samples() {
    assert_eq!(
        problems("a frames\nb source\nt samples a b\nk sink t"),
        [""; 0]
    );
}

#[test]
fn read_from_a_table() {
    let text = "\n[sinks.k]\n\ninputs = ['a']\n";
    let node = parse(Path::new("x"), text, |root, _| {
        let mut tables = root.sections("sinks");
        Node::read("k", Role::Sink, Bodies::ANY, &mut tables[0].1)
    });
    let node = node.unwrap();
    assert_eq!(node.inputs, ["a"]);
    assert_eq!(
        (node.inputs_place.line, node.inputs_place.key.as_str()),
        (4, "sinks.k.inputs")
    );
}

#[cfg(feature = "telemetry")]
#[test]
fn threads_are_bounded_together() {
    let text = "s source\na transform s\nb transform a\nk sink b";
    let found = |workers| {
        let mut nodes = nodes(text);
        nodes[1].workers = Some(16);
        nodes[2].workers = Some(workers);
        let report = Report::default();
        let graph = Graph::check(nodes, &report);
        (graph.is_some(), report.take())
    };
    assert!(found(48).0);
    let (is_sound, problems) = found(49);
    assert!(!is_sound);
    assert_eq!((problems.len(), problems[0].line), (1, 3));
    assert_eq!(problems[0].key, "transforms.b.workers");
    assert!(problems[0].what.contains("65 threads"));
}
