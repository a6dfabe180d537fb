//! `rename`: gives channels other names, by a table, by a prefix, or both (the table first, then the prefix).
//!
//! Works on samples and frames; values, units and kinds stay. Where two channels of a stream would get one name, the
//! one that came first has it, and the other keeps its own, logged once; where that is taken too it gets `.2` or the
//! next free number behind it: two channels are never mixed into one.

use super::channels::CHANNELS_MAX;
use crate::config::Section;
use crate::pipeline::{Batch, Transform};
use crate::record::{Body, Channel};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Longest channel name, in bytes.
const NAME_BYTES_MAX: usize = 127;

/// See the module.
#[derive(Debug)]
pub(super) struct Rename {
    name: String,
    map: BTreeMap<String, String>,
    prefix: String,
    streams: HashMap<Arc<str>, Names>,
}

/// New names in one stream.
#[derive(Debug, Default)]
struct Names {
    by_name: HashMap<String, (Arc<Channel>, Arc<Channel>)>,
    taken: HashSet<String>,
}

impl Rename {
    pub(super) fn configure(name: &str, section: &mut Section<'_>) -> Option<Rename> {
        let prefix = section.text("prefix").unwrap_or_default();
        let entries = section.section("channels").map(Section::entries);
        let mut map = BTreeMap::new();
        for (from, to) in entries.unwrap_or_default() {
            if let Some((other, _)) = map.iter().find(|(_, taken)| **taken == to) {
                let what = format!("gives {from:?} and {other:?} the same name {to:?}");
                section.problem("channels", what, "give each channel a name of its own");
                return None;
            }
            map.insert(from, to);
        }
        if map.is_empty() && prefix.is_empty() {
            let remedy = "give prefix, or a table channels = { \"old\" = \"new\" }";
            section.problem("type", "is a rename with nothing to rename", remedy);
            return None;
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let all = map.values().map(|to| ("channels", to));
        for (key, text) in all.chain([("prefix", &prefix)]) {
            let empty = key == "channels" && text.is_empty();
            if empty || text.len() > NAME_BYTES_MAX / 2 || !text.chars().all(allowed) {
                let what = format!("has {text:?}, which is no channel name");
                let remedy = format!("use 1 to {} of A-Z, a-z, 0-9, _ . -", NAME_BYTES_MAX / 2);
                section.problem(key, what, remedy);
                return None;
            }
        }
        Some(Rename {
            name: name.to_owned(),
            map,
            prefix,
            streams: HashMap::new(),
        })
    }

    fn wanted(&self, name: &str) -> String {
        let mapped = self.map.get(name).map_or(name, String::as_str);
        format!("{}{mapped}", self.prefix)
    }

    fn renamed(&self, names: &mut Names, channel: &Arc<Channel>) -> Arc<Channel> {
        if let Some((seen, renamed)) = names.by_name.get(&channel.name)
            && (Arc::ptr_eq(seen, channel) || seen == channel)
        {
            return Arc::clone(renamed);
        }
        if names.by_name.len() >= CHANNELS_MAX {
            *names = Names::default();
        }
        // A channel that only changed its unit or kind keeps the name it had.
        let before = names
            .by_name
            .get(&channel.name)
            .map(|(_, to)| to.name.clone());
        let name = before.unwrap_or_else(|| self.free_name(names, &channel.name));
        names.taken.insert(name.clone());
        let renamed = Arc::new(Channel {
            name,
            unit: channel.unit.clone(),
            kind: channel.kind,
            calibration: channel.calibration.clone(),
        });
        let entry = (Arc::clone(channel), Arc::clone(&renamed));
        names.by_name.insert(channel.name.clone(), entry);
        renamed
    }

    fn free_name(&self, names: &Names, old: &str) -> String {
        let wanted = self.wanted(old);
        if !names.taken.contains(&wanted) {
            return wanted;
        }
        let numbered = (2..).map(|number| format!("{old}.{number}"));
        let mut tries = std::iter::once(old.to_owned()).chain(numbered);
        let free = tries.find(|name| !names.taken.contains(name));
        let free = free.expect("one of more numbers than channels is free");
        tracing::warn!(
            transform = self.name,
            channel = old,
            wanted,
            given = free,
            "another channel of the stream has that name already"
        );
        free
    }
}

impl Transform for Rename {
    fn apply(&mut self, mut batch: Batch, out: &mut Vec<Batch>) {
        let mut names = self.streams.remove(&batch.stream).unwrap_or_default();
        for record in Arc::make_mut(&mut batch.records) {
            match &mut record.body {
                Body::Sample { channel, .. } | Body::Frame { channel, .. } => {
                    *channel = self.renamed(&mut names, channel);
                }
                Body::Gap(_) => {}
            }
        }
        self.streams.insert(Arc::clone(&batch.stream), names);
        out.push(batch);
    }
}

#[cfg(test)]
mod tests {
    use crate::transforms::testing::*;

    #[test]
    fn map_and_prefix() {
        for (config, wanted) in [
            ("channels = { a = 'x' }", "x b gap a.b"),
            ("prefix = 'p.'", "p.a p.b gap p.a.b"),
            (
                "prefix = 'p.'\nchannels = { 'a.b' = 'y', b = 'a.b' }",
                "p.a p.a.b gap p.y",
            ),
            ("channels = { a = 'b', b = 'a' }", "b a gap a.b"),
        ] {
            let input = vec![sample("a", 1.0), int("b", 1), gap(), frame("a.b")];
            assert_eq!(run("rename", config, input), wanted, "{config}");
        }
    }

    #[test]
    fn channels_are_never_mixed_into_one() {
        let mut rig = Rig::new("rename", "channels = { a = 'b' }");
        let first = rig.apply(vec![sample("b", 1.0), sample("a", 2.0), sample("b", 3.0)]);
        assert_eq!(names(&first), "b a b");
        let mut rig = Rig::new("rename", "channels = { a = 'b' }");
        let first = rig.apply(vec![sample("a", 1.0), sample("b", 2.0), sample("a", 3.0)]);
        assert_eq!(names(&first), "b b.2 b");
    }

    #[test]
    fn problems() {
        refuses("rename", "", "t.type: is a rename with nothing to rename");
        refuses(
            "rename",
            "channels = { a = 'x', b = 'x' }",
            "the same name \"x\"",
        );
        refuses("rename", "prefix = 'a b'", "t.prefix: has \"a b\"");
        refuses("rename", "channels = { a = '' }", "t.channels: has \"\"");
    }
}
