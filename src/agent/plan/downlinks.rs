//! What only both know: a downlink source, and the sink whose session brings its messages.

use crate::config::{Problem, Report};
use crate::downlink::{Settings, filter};
use crate::pipeline::{Node, Place, Role};
use crate::sinks::Sink;
use std::collections::BTreeMap;

/// Holds the downlink sources against the sinks whose sessions they are to use.
pub(super) fn join(
    downlinks: &[(Place, Settings)],
    nodes: &[Node],
    sinks: &BTreeMap<String, Sink>,
    agent: &str,
    report: &Report,
) {
    for (at, (place, source)) in downlinks.iter().enumerate() {
        let problem = |key: &str, what: String, remedy: &str| {
            report.add(Problem {
                line: place.line,
                key: format!("{}.{key}", place.key),
                what,
                remedy: remedy.to_owned(),
            });
        };
        let uplink = &source.uplink;
        let Some(sink) = sinks.get(uplink) else {
            let there = nodes
                .iter()
                .any(|n| n.role == Role::Sink && n.name == *uplink);
            if !there {
                let what = format!("names the sink {uplink:?}, which there is not");
                problem("uplink", what, "name a sink of type = \"uplink\"");
            }
            continue;
        };
        let Some(follow) = sink.uplink() else {
            let what = format!("names {uplink:?}, which is no uplink");
            problem("uplink", what, "name a sink of type = \"uplink\"");
            continue;
        };
        if downlinks[..at]
            .iter()
            .any(|(_, other)| other.uplink == *uplink)
        {
            let what = format!("names {uplink:?}, whose messages another source has");
            let remedy = "put the subscriptions into one source; a filter tells its topics apart, which are its channels";
            problem("uplink", what, remedy);
        }
        if follow.settings.session_expiry_s == 0 {
            let what = format!("names {uplink:?}, whose session ends with each connection");
            let remedy = "leave session_expiry_s out there, or make it longer than an outage lasts";
            problem("uplink", what, remedy);
        }
        let own = follow
            .topic
            .replace("{agent}", agent)
            .replace("{stream}", "+");
        for asked in &source.subscriptions {
            let filter = filter::unshared(&asked.filter);
            let published = std::iter::once(&own).chain(follow.replies);
            for published in published.filter(|own| filter::meet(filter, own)) {
                let what = format!(
                    "{:?} takes in {published}, where {uplink:?} publishes",
                    asked.filter
                );
                let remedy = "subscribe to topics that this agent does not publish on";
                problem("subscriptions", what, remedy);
            }
        }
    }
}
