//! `filter`: keeps or drops records by channel, value and quality.
//!
//! A record matches when every condition that is given holds. `channels` applies to samples and frames. Values and
//! qualities are those of samples: a frame never matches where one of these conditions is given. A bool counts as 0 or
//! 1, an integer as the nearest float. Where a value condition is given, a sample of quality `bad` does not match, as
//! its value means nothing. Records left out are acknowledged: they were left out on purpose.

use super::glob::Globs;
use crate::config::Section;
use crate::pipeline::{Batch, Transform};
use crate::record::{Body, Quality, Record};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Keep,
    Drop,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Filter {
    action: Action,
    channels: Globs,
    min: Option<f64>,
    max: Option<f64>,
    equals: Option<f64>,
    qualities: Option<Vec<Quality>>,
}

const CONDITIONS: [&str; 5] = ["channels", "min", "max", "equals", "qualities"];

impl Filter {
    pub(super) fn configure(_name: &str, section: &mut Section<'_>) -> Option<Filter> {
        let actions = [("keep", Action::Keep), ("drop", Action::Drop)];
        let filter = Filter {
            action: section.choice("action", &actions, Action::Keep),
            channels: Globs::read(section, "channels"),
            min: section.number("min"),
            max: section.number("max"),
            equals: section.number("equals"),
            qualities: qualities(section),
        };
        if !CONDITIONS.iter().any(|key| section.has(key)) {
            let what = "is a filter without a condition, so it would match every record";
            let remedy = format!("give one of {}", CONDITIONS.join(", "));
            section.problem("type", what, remedy);
            return None;
        }
        if let (Some(min), Some(max)) = (filter.min, filter.max)
            && min > max
        {
            let what = format!("is {min}, above max = {max}, so nothing can match");
            section.problem("min", what, "choose min at most max");
            return None;
        }
        Some(filter)
    }

    fn matches(&self, record: &Record) -> bool {
        let by_value = self.min.is_some() || self.max.is_some() || self.equals.is_some();
        match &record.body {
            Body::Gap(_) => true,
            Body::Frame {
                channel, quality, ..
            } => {
                !by_value
                    && self
                        .qualities
                        .as_ref()
                        .is_none_or(|all| all.contains(quality))
                    && self.channels.matches(&channel.name)
            }
            Body::Sample {
                channel,
                value,
                quality,
            } => {
                let value = value.as_f64();
                #[expect(clippy::float_cmp, reason = "`equals` means the very value")]
                let value_matches = self.min.is_none_or(|min| value >= min)
                    && self.max.is_none_or(|max| value <= max)
                    && self.equals.is_none_or(|wanted| value == wanted);
                (!by_value || (*quality != Quality::Bad && value_matches))
                    && self
                        .qualities
                        .as_ref()
                        .is_none_or(|all| all.contains(quality))
                    && self.channels.matches(&channel.name)
            }
        }
    }
}

fn qualities(section: &mut Section<'_>) -> Option<Vec<Quality>> {
    let words = section.texts("qualities");
    if !section.has("qualities") {
        return None;
    }
    let mut qualities = Vec::new();
    for word in words {
        match word.as_str() {
            "good" => qualities.push(Quality::Good),
            "uncertain" => qualities.push(Quality::Uncertain),
            "bad" => qualities.push(Quality::Bad),
            other => section.problem(
                "qualities",
                format_args!("names {other:?}, which is no quality"),
                "choose of good, uncertain, bad",
            ),
        }
    }
    Some(qualities)
}

impl Transform for Filter {
    fn apply(&mut self, mut batch: Batch, out: &mut Vec<Batch>) {
        let keep = self.action == Action::Keep;
        super::retain(&mut batch, |record| {
            matches!(record.body, Body::Gap(_)) || self.matches(record) == keep
        });
        super::forward(batch, out);
    }
}

#[cfg(test)]
mod tests {
    use crate::record::{Body, Record};
    use crate::slabs::Slabs;
    use crate::transforms::testing::*;

    #[test]
    fn conditions() {
        let input = || {
            vec![
                sample("temp.in", 20.5),
                sample("temp.out", -3.0),
                int("count", 7),
                flag("door", true),
                bad("temp.in", 21.0),
                frame("can"),
                gap(),
            ]
        };
        for (config, wanted) in [
            ("channels = ['temp.*']", "temp.in temp.out temp.in! gap"),
            (
                "action = 'drop'\nchannels = ['temp.*', 'can']",
                "count door gap",
            ),
            ("min = 1", "temp.in count door gap"),
            ("max = 1.0", "temp.out door gap"),
            ("equals = 7", "count gap"),
            ("min = 0\nmax = 10\nchannels = ['c*']", "count gap"),
            ("qualities = ['bad']", "temp.in! gap"),
            (
                "qualities = ['good']",
                "temp.in temp.out count door can gap",
            ),
            (
                "action = 'drop'\nqualities = ['bad']",
                "temp.in temp.out count door can gap",
            ),
        ] {
            assert_eq!(run("filter", config, input()), wanted, "{config}");
        }
    }

    /// One frame of many would keep the slab of all of them.
    #[test]
    fn few_frames_that_stay_leave_their_slab() {
        for (kept, leaves) in [(1, true), (2, false)] {
            let mut slabs = Slabs::default();
            let name = |n: usize| if n < kept { "kept" } else { "other" };
            let frames: Vec<Record> = (0..16)
                .map(|n| {
                    let mut record = frame(name(n));
                    if let Body::Frame { bytes, .. } = &mut record.body {
                        *bytes = slabs.put(&[7; 100]);
                    }
                    record
                })
                .collect();
            let place = |record: &Record| match &record.body {
                Body::Frame { bytes, .. } => (bytes.as_ptr(), bytes.to_vec()),
                _ => panic!("a frame"),
            };
            let (before, same) = place(&frames[0]);
            let out = Rig::new("filter", "channels = ['kept']").apply(frames);
            assert_eq!(out[0].records.len(), kept);
            let (after, bytes) = place(&out[0].records[0]);
            assert_eq!((before != after, bytes), (leaves, same));
        }
    }

    #[test]
    fn a_batch_left_out_whole_is_released() {
        let mut rig = Rig::new("filter", "channels = ['x']");
        let out = rig.apply(vec![sample("y", 1.0)]);
        assert!(out.is_empty());
        assert_eq!((rig.ledger.released(), rig.ledger.failed()), (1, 0));
    }

    #[test]
    fn problems() {
        refuses(
            "filter",
            "",
            "t.type: is a filter without a condition, so it would match every record",
        );
        refuses("filter", "min = 2\nmax = 1", "t.min: is 2, above max = 1");
        refuses(
            "filter",
            "qualities = ['fine']",
            "t.qualities: names \"fine\"",
        );
        refuses(
            "filter",
            "channels = ['']",
            "t.channels: has an empty pattern",
        );
        refuses(
            "filter",
            "action = 'kep'\nmin = 1",
            "(did you mean \"keep\"?)",
        );
    }
}
